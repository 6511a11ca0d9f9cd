# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of user-mode Linux, whose balloon is native/device.c behind vhost-user."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from harness import native
from harness.common import LOGS, tail
from harness.limits import COMMAND
from harness.vm.agent import Agent, GuestError, GuestTimeout
from harness.vm.guest import SPLATS
from harness.vm.host import GIB, MIB, PAGE
from harness.vm.inside import Inside

BALLOON_ID = 5
# The guest's file systems, and how much of them is to be in the host's memory
SHM = '/dev/shm'


class PortAgent(Agent):
    """An agent whose connection has been made: the other end is UML's serial line."""

    @staticmethod
    def connect(path, timeout):
        """Take the socket in place of a path."""
        path.settimeout(timeout)
        return path


class Device:
    """The process of the balloon device: commands, and its answers."""

    def __init__(self, path, words, log):
        # words: options of native/device.c
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            self._control, theirs = socket.socketpair()
            with theirs, open(log, 'wb') as errors:
                self._process = subprocess.Popen(
                    [native.DEVICE, *words, str(listener.fileno())], stdin=theirs,
                    stdout=theirs, stderr=errors, pass_fds=[listener.fileno()])
        self._answers = self._control.makefile('rb')
        self.log = log

    def ask(self, command, timeout=COMMAND):
        """Give one command; return its answer."""
        self._control.settimeout(timeout)
        self._control.sendall(f'{command}\n'.encode())
        try:
            line = self._answers.readline()
        except TimeoutError:
            raise GuestTimeout(f'device: "{command}": no answer within {timeout} s') \
                from None
        if not line:
            raise GuestError(f'device: gone at "{command}"\n{tail(self.log)}')
        return json.loads(line)

    def kill(self):
        """End the process."""
        self._control.close()
        self._process.kill()
        self._process.wait()


class UmlGuest(Inside):
    """A guest, from launch to the check of its kernel log; a context."""

    def __init__(self, name, kernel, memory, words=(), append='', cpus=2):
        # kernel: 'ours' or 'stock'; words: options of the device
        self.name, self.kernel, self.memory = name, kernel, memory
        self.words, self.append, self.cpus = words, append, cpus
        LOGS.mkdir(parents=True, exist_ok=True)
        self.console = LOGS / f'{name}.console'
        self.agent = self.device = self._process = None
        self._stack = ExitStack()

    def _arguments(self, folder, port):
        """UML's command line."""
        return [native.kernel_path(self.kernel, self.cpus),
                *([f'ncpus={self.cpus}'] if self.cpus > 1 else ()), 'seccomp=on',
                f'mem={self.memory // MIB}M', f'initrd={native.INITRAMFS}',
                f'uml_dir={folder}/', 'umid=guest', 'con=null', 'con0=null,fd:1',
                'ssl=null', f'ssl1=fd:{port}', 'field.port=/dev/ttyS1',
                f'virtio_uml.device={folder}/balloon:{BALLOON_ID}',
                'panic=-1', 'quiet', 'loglevel=6', *self.append.split()]

    def __enter__(self):
        folder = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix='balloon-'))
        try:
            self.device = Device(Path(folder) / 'balloon', self.words,
                                 LOGS / f'{self.name}.device')
            ours, theirs = socket.socketpair()
            with theirs, open(self.console, 'wb') as console:
                self._process = subprocess.Popen(
                    self._arguments(folder, theirs.fileno()), stdin=subprocess.DEVNULL,
                    stdout=console, stderr=subprocess.STDOUT, start_new_session=True,
                    pass_fds=[theirs.fileno()], env=os.environ | {'TMPDIR': SHM})
            self.agent = PortAgent(ours, COMMAND)
            self.wait_for(self.driver_bound, 'driver bound to device')
        except BaseException as error:
            self.kill()
            if isinstance(error, (OSError, EOFError)):
                raise GuestTimeout(f'{self.name} did not boot: {error}\n'
                                   f'{self.console_tail()}') from error
            raise
        return self

    def check(self):
        """Raise GuestError if the guest is gone, or its kernel log holds a splat."""
        if self._process.poll() is not None:
            raise GuestError(f'{self.name} is gone\n{self.console_tail()}')
        for line in self.console.read_text(errors='replace').splitlines():
            if SPLATS.search(line):
                raise GuestError(f'{self.name}: kernel log: {line.strip()}\n'
                                 f'{self.console_tail()}')

    def kill(self):
        """End all processes."""
        if self.agent:
            self.agent.close()
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self.device:
            self.device.kill()
        self._stack.close()

    def wait_for(self, condition, what, timeout=COMMAND):
        """Poll until condition() is true; return its value."""
        end = time.monotonic() + timeout
        while not (value := condition()):
            self.check()
            if time.monotonic() > end:
                raise GuestTimeout(f'{self.name}: {what}: not within {timeout} s\n'
                                   f'{self.console_tail()}')
            time.sleep(0.02)
        return value

    def balloon_to(self, size, timeout=COMMAND):
        """Leave the guest so many bytes; return the counts of the device."""
        found = self.device.ask(f'balloon {(self.memory - size) // PAGE}', timeout)
        if found['verdict'] != 'reached' or found['failed']:
            raise GuestError(f'{self.name}: {size / GIB:g} GiB: {found}')
        return found

    def about(self):
        """Return the negotiated features, and the state of the balloon."""
        return self.device.ask('about')
