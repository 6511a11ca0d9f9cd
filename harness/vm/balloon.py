# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP of a guest: the balloon, its counters, its requests; QEMU's memory and CPU."""

import time
from pathlib import Path

from harness.limits import COMMAND
from harness.vm import host
from harness.vm.agent import GuestTimeout, Refused
from harness.vm.host import MIB


class Balloon:
    """The part of Guest that works through QMP and the host's /proc."""

    @property
    def pid(self):
        """Return QEMU's process."""
        return self._vm.get_pid()

    def qmp(self, command, **arguments):
        """Run a QMP command; return its answer, raise Refused if it is an error."""
        from qemu.qmp import ExecuteError
        try:
            return self._vm.cmd(command, **arguments)
        except ExecuteError as error:
            raise Refused(str(error)) from error

    def event(self, name, timeout=COMMAND, **match):
        """Wait for a QMP event, whose data may have to match; return it."""
        end = time.monotonic() + timeout
        while True:
            for event in self._unclaimed:
                if event['event'] == name and match.items() <= event.get(
                        'data', {}).items():
                    self._unclaimed.remove(event)
                    return event
            try:
                # QEMU's event_wait() waits as long again after every other event.
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._unclaimed.append(self._vm.get_qmp_event(left))
            except TimeoutError:
                raise GuestTimeout(f'{self.name}: no event {name} within {timeout} s\n'
                                   f'{self.console_tail()}') from None

    def events(self, name):
        """Take all events of a kind that have come by now; return their data."""
        events = self._unclaimed + self._vm.get_qmp_events()
        self._unclaimed = [event for event in events if event['event'] != name]
        return [event.get('data', {}) for event in events if event['event'] == name]

    def running(self):
        """Return whether QEMU runs."""
        return self._vm.is_running()

    def output(self):
        """Return the output of QEMU itself, once it has exited (see kill())."""
        return self.qemu_log.read_text(errors='replace')

    def get(self, name, path='/machine/peripheral/balloon0'):
        """Return a QOM property, of the balloon device by default."""
        return self.qmp('qom-get', path=path, property=name)

    def actual(self):
        """Return the memory left to the guest in bytes, as QEMU reports it."""
        return self.qmp('query-balloon')['actual']

    def set_target(self, size):
        """Ask for a balloon target without waiting for it."""
        self.qmp('balloon', value=size)

    def balloon_to(self, size, timeout=COMMAND):
        """Ask for a target and wait until it is reached; return seconds."""
        # Polls every 2 ms at first, then often enough for a result that is right to
        # 1 %: each poll takes time from QEMU's main loop, which limits the legacy
        # format.
        started = time.monotonic()
        self.set_target(size)

        def interval():
            return max(0.002, (time.monotonic() - started) / 100)
        try:
            self.wait_for(lambda: self.actual() == size,
                          f'balloon at {size // MIB} MiB', timeout, interval)
        except GuestTimeout as error:
            raise GuestTimeout(
                f'{error}\nit stands at {self.actual() // MIB} MiB') from None
        return time.monotonic() - started

    def resident(self, field='Rss'):
        """Return a line of QEMU's smaps_rollup in bytes; Rss includes shared memory."""
        return host.resident(self.pid, field)

    def cpu_seconds(self, thread=None):
        """Return the CPU time of a thread of QEMU, of its main thread by default."""
        path = f'/proc/{self.pid}/task/{thread or self.pid}/schedstat'
        return int(Path(path).read_text(encoding='ascii').split()[0]) / 1e9

    def counters(self):
        """Return our QEMU's counters of the balloon (property page-set-stats)."""
        return self.get('page-set-stats')

    def driver_counters(self):
        """Return the counters of our driver, in debugfs."""
        return self._numbers('/sys/kernel/debug/virtio_balloon/*/stats', 1)

    def pause(self):
        """Stop the guest's CPUs."""
        self.qmp('stop')

    def resume(self):
        """Let the guest's CPUs go on."""
        self.qmp('cont')

    def start_request(self, kind, **arguments):
        """Ask the guest for something (QMP balloon-request); return the id."""
        return self.qmp('balloon-request', type=kind, **arguments)['id']

    def request_ends(self, number, timeout=COMMAND):
        """Wait until a request has ended; return the event's data."""
        return self.event('BALLOON_REQUEST_COMPLETED', timeout, id=number)['data']

    def request(self, kind, timeout=COMMAND, **arguments):
        """Ask the guest for something and wait for it."""
        return self.request_ends(self.start_request(kind, **arguments), timeout)
