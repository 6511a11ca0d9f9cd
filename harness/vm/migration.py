# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrate a guest from one QEMU to another: live, by way of a file, from hop to hop."""

import os
import re
import secrets
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from harness.limits import COMMAND
from harness.vm.agent import GuestError, Refused

# The bandwidth of a migration in bytes per second: 10 Gbit/s.
BANDWIDTH = 1_250_000_000
ENDED = ('completed', 'failed', 'cancelled')


def held_memory(pid, size):
    """Return the bytes of the host's memory that a QEMU holds."""
    # size: of the guest's memory. A file that has it is taken for the guest's memory,
    # and all its blocks count, mapped or not. Huge pages count.
    text = Path(f'/proc/{pid}/smaps_rollup').read_text(encoding='ascii')
    mapped = sum(map(int, re.findall(
        r'(?m)^(?:Rss|Shared_Hugetlb|Private_Hugetlb):\s+(\d+)', text))) * 1024
    files = {}
    for link in Path(f'/proc/{pid}/fd').iterdir():
        try:
            found = link.stat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode) and found.st_size == size:
            files[found.st_dev, found.st_ino] = found.st_blocks * 512
    return max(mapped, sum(files.values()))


class Migration:
    """The part of Guest that takes it to another QEMU."""

    # -- Preparation --------------------------------------------------------

    def set_up_migration(self, capabilities=(), downtime=300, bandwidth=BANDWIDTH,
                         **parameters):
        """Set the capabilities and the parameters of this end of a migration."""
        # capabilities: names; all others are off, but "events"
        # downtime: limit in ms; bandwidth: limit in bytes per second
        # parameters: others, such as multifd_channels=4
        # Drop events of an earlier migration, or of a snapshot:
        self.events('MIGRATION')
        wanted = {'events', *capabilities}
        known = {entry['capability']
                 for entry in self.qmp('query-migrate-capabilities')}
        self.qmp('migrate-set-capabilities', capabilities=[
            {'capability': name, 'state': name in wanted}
            for name in sorted(known | wanted)])
        self.set_migration_parameters(max_bandwidth=bandwidth,
                                      downtime_limit=downtime, **parameters)

    def set_migration_parameters(self, **parameters):
        """Set parameters, before a migration or while it runs."""
        self.qmp('migrate-set-parameters', **{
            key.replace('_', '-'): value for key, value in parameters.items()})

    def _address(self, name='migration'):
        """Return the URI of a socket of this QEMU."""
        return f'unix:{self._socket_dir.name}/{name}'

    # -- From QEMU to QEMU --------------------------------------------------

    def start_migration(self, target, capabilities=(), tls=False, **limits):
        """Begin to migrate to a guest that twin() made and that was launched."""
        # tls: encrypt, with a new key; limits: as for set_up_migration()
        # Until it is over the agent may answer, but must receive no commands: a source
        # that has been stopped would lose them.
        # pylint: disable=protected-access
        folder = target._socket_dir.name
        if tls:
            Path(folder, 'keys.psk').write_text(f'qemu:{secrets.token_hex(32)}\n',
                                                encoding='ascii')
        for guest, endpoint in ((target, 'server'), (self, 'client')):
            if tls:
                limits['tls_creds'] = f'tls-{endpoint}'
                guest.qmp('object-add', **{'qom-type': 'tls-creds-psk', 'dir': folder,
                                           'id': f'tls-{endpoint}', 'endpoint': endpoint})
            guest.set_up_migration(capabilities, **limits)
        target.qmp('migrate-incoming', uri=target._address())
        self.qmp('migrate', uri=target._address())

    def migration(self):
        """Return QEMU's report of the migration (query-migrate)."""
        return self.qmp('query-migrate')

    def migration_becomes(self, *states, timeout=COMMAND):
        """Wait until a migration is in one of some states, or over; return which."""
        end = time.monotonic() + timeout
        while True:
            event = self.event('MIGRATION', max(0.1, end - time.monotonic()))
            if event['data']['status'] in (*states, *ENDED):
                return event['data']['status']

    def _expect_state(self, *states, timeout=COMMAND):
        """Wait for one of some states; raise GuestError if the migration ends before."""
        if (state := self.migration_becomes(*states, timeout=timeout)) not in states:
            raise GuestError(f'{self.name}: not {states[0]}: migration {state}')

    def end_migration(self, timeout=COMMAND):
        """Wait until a migration is over, one way or the other."""
        self.migration_becomes(timeout=timeout)
        return self.migration()

    def complete_migration(self, timeout=COMMAND):
        """Wait until a migration has been completed; return QEMU's report."""
        result = self.end_migration(timeout)
        if result['status'] != 'completed':
            raise GuestError(f'{self.name}: migration {result["status"]}: '
                             f'{result.get("error-desc")}')
        return result

    def cancel_migration(self, timeout=COMMAND):
        """Cancel the migration; return whether it was in time."""
        self.qmp('migrate_cancel')
        return self.end_migration(timeout)['status'] == 'cancelled'

    def _take_agent(self, source):
        """Go on with the agent, which has come with the guest."""
        if source.agent:
            source.agent.move(self._port)
            self.agent, source.agent, self._port = source.agent, None, None

    def arrived(self, source, timeout=COMMAND):
        """Wait until the guest runs here; take its agent over from the source."""
        self.event('MIGRATION', timeout, status='completed')
        # With postcopy it has run here for long.
        if not self.agent:
            self.event('RESUME', timeout)
            self._take_agent(source)

    def migrate(self, target, timeout=COMMAND, **limits):
        """Migrate, and continue there; return QEMU's report."""
        self.start_migration(target, **limits)
        result = self.complete_migration(timeout)
        target.arrived(self)
        return result

    # -- Postcopy -----------------------------------------------------------

    def start_postcopy(self, target, timeout=COMMAND):
        """Let the guest run at the target, which asks for the pages that it lacks."""
        # The migration has been begun with the capability postcopy-ram, and so little
        # bandwidth that it is not over yet.
        self.qmp('migrate-start-postcopy')
        self._expect_state('postcopy-active', timeout=timeout)
        target.event('RESUME', timeout)
        # pylint: disable=protected-access
        target._take_agent(self)

    def _qmp_out_of_band(self, command, **arguments):
        """Run a QMP command that does not wait for a main loop that waits for pages."""
        # pylint: disable=protected-access
        answer = self._vm._qmp.cmd_obj({'exec-oob': command, 'id': command,
                                        'arguments': arguments})
        if 'error' in answer:
            raise Refused(f'{self.name}: {answer["error"]["desc"]}')

    def break_postcopy(self, target, timeout=COMMAND):
        """Break the connection of a migration in postcopy; wait until both know."""
        self._qmp_out_of_band('migrate-pause')
        for guest in (self, target):
            # pylint: disable=protected-access
            guest._expect_state('postcopy-paused', timeout=timeout)

    def recover_postcopy(self, target, timeout=COMMAND):
        """Go on with a migration whose connection has broken, on another one."""
        # pylint: disable=protected-access
        uri = target._address('recovery')
        target._qmp_out_of_band('migrate-recover', uri=uri)
        self.qmp('migrate', uri=uri, resume=True)
        self._expect_state('postcopy-active', 'completed', timeout=timeout)

    # -- By way of a file ---------------------------------------------------

    def save(self, path, capabilities=(), timeout=COMMAND, uri='file:{}', **limits):
        """Save the guest to a file; return QEMU's report."""
        # uri: such as "exec:cat > {}"
        self.set_up_migration(capabilities, **limits)
        self.qmp('migrate', uri=uri.format(path))
        return self.complete_migration(timeout)

    def restore(self, source, path, capabilities=(), timeout=COMMAND, uri='file:{}',
                **limits):
        """End the source, which was saved to a file, and go on here from the file."""
        self._take_agent(source)
        source.kill()
        self.set_up_migration(capabilities, **limits)
        self.qmp('migrate-incoming', uri=uri.format(path))
        self.event('MIGRATION', timeout, status='completed')
        self.resume()

    # -- Internal snapshots -------------------------------------------------

    def run_job(self, command, name, **arguments):
        """Run a job of QEMU and wait until it has succeeded."""
        self.qmp(command, **{'job-id': name}, **arguments)
        self.event('JOB_STATUS_CHANGE', id=name, status='concluded')
        ended = [entry for entry in self.qmp('query-jobs') if entry['id'] == name]
        if len(ended) != 1 or 'error' in ended[0]:
            raise GuestError(f'{self.name}: {command}: {ended}')
        self.qmp('job-dismiss', id=name)

    def add_snapshot_disk(self, path):
        """Make a qcow2 image for internal snapshots; no device uses it."""
        image = {'driver': 'file', 'filename': str(path)}
        self.run_job('blockdev-create', 'make-file', options={**image, 'size': 0})
        self.qmp('blockdev-add', **image, **{'node-name': 'snapshot-file'})
        self.run_job('blockdev-create', 'make-qcow2', options={
            'driver': 'qcow2', 'file': 'snapshot-file', 'size': 1 << 20})
        self.qmp('blockdev-add', driver='qcow2', file='snapshot-file',
                 **{'node-name': 'snapshots'})

    def save_snapshot(self, tag='now'):
        """Save the guest as it is, running or stopped, to add_snapshot_disk()."""
        self.run_job('snapshot-save', f'save-{tag}', tag=tag, vmstate='snapshots',
                     devices=['snapshots'])

    def load_snapshot(self, tag='now'):
        """Load what save_snapshot() has saved over the guest."""
        self.run_job('snapshot-load', f'load-{tag}', tag=tag, vmstate='snapshots',
                     devices=['snapshots'])

    # -- The host's side ----------------------------------------------------

    def held(self):
        """Return the bytes of the host's memory that QEMU holds for the guest."""
        return held_memory(self.pid, self.memory)


@dataclass
class Hop:
    """One migration: QEMU's report, and the memory of both QEMUs after it."""
    info: dict
    source: int
    target: int

    @property
    def pages(self):
        """Return the number of pages that QEMU sent, with content or as zeroes."""
        return self.info['ram']['normal'] + self.info['ram']['duplicate']


class Trip:
    """Take a guest from QEMU to QEMU; end it where it is when all is done.

    The kernel's log is checked at each QEMU that the guest leaves.
    """

    def __init__(self, guest):
        self.guest = guest

    def __enter__(self):
        self.guest.launch()
        return self

    def __exit__(self, kind, value, traceback):
        self.guest.__exit__(kind, value, traceback)

    def take(self, move, **changes):
        """Have a new QEMU take the guest by a function of both; end the old one."""
        source, target = self.guest, self.guest.twin(**changes)
        try:
            target.launch()
            result = move(source, target)
        except BaseException:
            target.kill()
            raise
        self.guest = target
        source.kill()
        return result

    def go(self, meanwhile=None, changes=None, timeout=COMMAND, **limits):
        """Migrate live; return the Hop."""
        # The function "meanwhile" is called with (source, target) after the start
        # changes: as for Guest.twin()
        def move(source, target):
            source.start_migration(target, **limits)
            if meanwhile:
                meanwhile(source, target)
            info = source.complete_migration(timeout)
            target.arrived(source)
            source.check()
            return Hop(info, source.held(), target.held())
        return self.take(move, **(changes or {}))

    def save_and_restore(self, path, stop=True, restore_uri='file:{}', **limits):
        """Save to a file and continue from it; return QEMU's report of the saving."""
        # stop: stop the guest first, as "virsh save" does
        if stop:
            self.guest.pause()
        info = self.guest.save(path, **limits)
        self.guest.check()
        limits['uri'] = restore_uri

        def move(source, target):
            target.restore(source, path, **limits)
        self.take(move)
        os.unlink(path)
        return info
