# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that migrates on and on, with programs in it that notice lost pages."""

import re
import time
from contextlib import ExitStack

from harness.disk import writable_disk
from harness.limits import CONVERGE
from harness.vm import GIB, MIB, Guest, GuestError, GuestTimeout, Refused
from harness.vm.migration import Trip
from harness.workloads import STATES as CASES
from harness.workloads import disk_args, freed
from tests.support.protocol import SYNC

OURS = {'page_bitmap': True, 'host_request': True}
# Arguments of the states here, where churn also runs in the guest and has the first disk.
SIZES = {1: {}, 2: {'mib': 800}, 3: {'how': 800}, 4: {'first': 'b'},
         5: {'share': 1 / 2}, 6: {'mib': 128}}
# The signal with which churn checks its pages.
CHECK = 10


class Lost(Exception):
    """The destination lacks memory that the source had."""

    @property
    def proven(self):
        """Return whether a page was wrong or the kernel complained; if not, it may hang."""
        return bool(re.search('pages wrong|kernel log', str(self)))


class Journey(Trip):
    """Take a guest from QEMU to QEMU while churn runs in it.

    case: 1 to 6, the state that the guest is in besides; folder: for a disk
    throttle: bytes that are written to it in a second at most; options: of Guest

    Each step, and leaving, checks all pages of churn and the kernel log.
    """

    def __init__(self, case, seed, folder, churn=512, rate=100,
                 throttle=None, **options):
        self.case, self._checks, self._churn = case, 0, None
        # sum: of the file that is in the page cache in case 4
        # ended: requests that ended at the source of the last migration
        self.sum, self.ended, self._state = None, [], ExitStack()
        args = [*writable_disk(folder / 'own.ext4', 256 * MIB, throttle),
                *disk_args(CASES[case], GIB)]
        super().__init__(Guest(**({'memory': 1536 * MIB, 'args': args, 'append': SYNC,
                                   'name': '-'.join(folder.parts[-2:])}
                                  | OURS | options)))
        # A disk is slow: only one case has its files there.
        self._command = f'churn -s {seed} -r {rate} ' \
            f'{"-d /tmp/own" if case == 4 else ""} {churn} 2>&1'

    def __enter__(self):
        try:
            self.guest.launch()
            self.guest.load_balloon()
            self.guest.run('mkdir /tmp/own && mount -t ext4 /dev/vda /tmp/own')
            self._state.enter_context(CASES[self.case](self.guest, **SIZES[self.case]))
            if self.case == 4:
                self.sum = md5sum(self.guest, 0, 0)
            self._churn = self.guest.start(self._command)
        except BaseException:
            self.guest.kill()
            raise
        return self

    def __exit__(self, kind, value, traceback):
        try:
            if kind is None:
                self.finish()
        finally:
            self.guest.kill()

    def go(self, meanwhile=None, **limits):
        """Migrate once; return QEMU's report."""
        # pylint: disable=arguments-differ
        # A migration that misses its downtime for long gets 2 s.
        if self.case == 2:
            with freed(self.guest, **SIZES[2]):
                pass

        def move(source, target):
            source.start_migration(target, **limits)
            if meanwhile:
                meanwhile(source, target)
            try:
                result = source.complete_migration(CONVERGE)
            except GuestTimeout:
                print(f'{source.name}: not within {limits} in {CONVERGE} s')
                source.set_migration_parameters(downtime_limit=2000)
                result = source.complete_migration()
            source.check()
            target.arrived(source)
            self.ended = source.events('BALLOON_REQUEST_COMPLETED')
            return result
        result = self.take(move)
        self.check()
        return result

    def cancel(self, after, **limits):
        """Begin a migration and cancel it after some seconds."""
        # If it has been completed by then, go on at the destination.
        source, target = self.guest, self.guest.twin()
        try:
            # When it is cancelled in the last moment, all may have arrived.
            target.launch(paused=True)
            source.start_migration(target, **limits)
            # The test tries moments, so this does not wait for an event.
            time.sleep(after)
            cancelled = source.cancel_migration()
            if not cancelled:
                target.resume()
                target.arrived(source)
                self.guest, target = target, source
        finally:
            target.kill()
        self.check()
        return cancelled

    def check(self):
        """Have churn check all its pages; raise Lost if one is not right."""
        try:
            if self._churn.running:
                self._checks += 1
                self._churn.signal(CHECK)
                mark = f'check {self._checks}:'
                self.guest.wait_for(
                    lambda: self.guest.said('churn').count(mark) == 2
                    or not self._churn.running, mark)
            self._right()
        except GuestError as error:
            raise Lost(str(error)) from error

    def _right(self):
        """Raise Lost if churn or the kernel has complained."""
        said = self.guest.said('churn')
        if not self._churn.running and self._churn.status:
            raise Lost(f'{self.guest.name}: churn ended with status '
                       f'{self._churn.status}: {said[-3000:]}')
        if self.case == 4:
            number, skip = self._checks % 7, self._checks * 8 % 120
            if md5sum(self.guest, number, skip) != self.sum:
                raise Lost(f'{self.guest.name}: page cache, file {number}')
        self.guest.check()

    def finish(self):
        """End churn, which checks everything once more."""
        try:
            self._churn.end(check=False)
            self._right()
            self._state.close()
            pages = re.findall(r'check \d+: (\d+) pages right',
                               self.guest.said('churn'))
        except GuestError as error:
            raise Lost(str(error)) from error
        assert len(pages) == 2 * (self._checks + 1) and all(map(int, pages))


def md5sum(guest, number, skip):
    """Return the checksum of 8 equal MiB of a file in the page cache."""
    return guest.run(f'dd if=/tmp/cache{number}/file bs=1M skip={skip} count=8 '
                     '2>/dev/null | md5sum')


def ask(guest, kinds, rng):
    """Make requests; that another one runs is a good answer."""
    for kind in kinds:
        arguments = {'size': rng.randrange(1, 64) * MIB} \
            if kind == 'reclaim' and rng.random() < 0.5 else {}
        try:
            guest.start_request(kind, **arguments)
        except Refused as error:
            if 'running' not in str(error) and 'stopped' not in str(error):
                raise
