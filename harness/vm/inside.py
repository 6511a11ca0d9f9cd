# SPDX-License-Identifier: GPL-2.0-or-later
"""Actions inside a guest: commands, files, the driver."""

import re
from contextlib import contextmanager

from harness.common import tail
from harness.limits import COMMAND
from harness.vm.agent import GuestTimeout


class Inside:
    """The part of a guest that works through its agent; a context, checked at its end."""

    def __exit__(self, kind, value, traceback):
        try:
            if kind is None:
                self.check()
        finally:
            self.kill()

    def console_tail(self):
        """Return the end of the console, for messages."""
        return f'the end of {self.console.name}:\n{tail(self.console, 25)}'

    def run(self, text, timeout=COMMAND, check=True):
        """Run a shell command in the guest; return its output."""
        job = self.agent.spawn(text)
        try:
            return job.wait(timeout, check)
        except GuestTimeout as error:
            raise GuestTimeout(f'{self.name}: {error}\n{self.console_tail()}') from None

    def spawn(self, text):
        """Start a shell command in the guest; return a Job."""
        return self.agent.spawn(text)

    def read(self, path):
        """Return the content of a small file in the guest."""
        return self.run(f'cat {path}').strip()

    def said(self, program):
        """Return the output so far of a program that start() started."""
        return self.run(f'cat /tmp/{program} 2>/dev/null', check=False)

    def meminfo(self):
        """Return /proc/meminfo in bytes (counts stay counts)."""
        return self._numbers('/proc/meminfo', 1024)

    def vmstat(self):
        """Return /proc/vmstat as numbers, with counts that are still per CPU."""
        self.run('echo 1 > /proc/sys/vm/stat_refresh')
        return self._numbers('/proc/vmstat', 1)

    def _numbers(self, path, kilo):
        lines = re.findall(r'(?m)^(\S+?):?\s+(\d+)( kB)?$', self.read(path))
        return {name: int(value) * (kilo if unit else 1) for name, value, unit in lines}

    def load_balloon(self, timeout=COMMAND):
        """Load the balloon driver and wait until it has taken the device."""
        # total: MemTotal without a balloon
        self.total = self.meminfo()['MemTotal']
        # As modprobe does: parameters stand on the kernel's command line.
        parameters = re.findall(r'\bvirtio_balloon\.(\S+)', self.shape.append)
        self.run(f"insmod /lib/modules/virtio_balloon.ko {' '.join(parameters)}", timeout)
        if self.shape.balloon is not None:
            self.wait_for(self.driver_bound, 'driver bound to device', timeout)

    def unload_balloon(self, timeout=COMMAND):
        """Unload the balloon driver, which gives back the pages it holds."""
        self.run('rmmod virtio_balloon', timeout)

    def unbind_balloon(self, timeout=COMMAND):
        """Take the device from the driver, which gives back the pages in the balloon."""
        self.run('cd /sys/bus/virtio/drivers/virtio_balloon && '
                 'for device in virtio*; do echo $device > unbind; done', timeout)

    def driver_bound(self):
        """Return whether the balloon driver has a device, and has set DRIVER_OK."""
        status = self.run('cat /sys/bus/virtio/drivers/virtio_balloon/virtio*'
                          '/status', check=False)
        return status.startswith('0x') and bool(int(status, 16) & 4)

    def negotiated(self, bit):
        """Return whether guest and device agreed on a feature bit of the balloon."""
        text = self.read('/sys/bus/virtio/drivers/virtio_balloon/virtio*/features')
        return text[bit] == '1'

    def start(self, command, timeout=COMMAND):
        """Start a program; return its Job once it has said() something: it is ready."""
        program = command.split()[0]
        # The output of an earlier run would pass for that of this one.
        self.run(f'rm -f /tmp/{program}')
        job = self.spawn(f'> /tmp/{program} exec {command}')
        self.wait_for(lambda: not job.running or self.said(program),
                      f'"{command}" is ready', timeout)
        return job

    @contextmanager
    def background(self, command, timeout=COMMAND):
        """start() a program; at the end, SIGTERM it and check its status."""
        job = self.start(command, timeout)
        yield job
        job.end(timeout)
