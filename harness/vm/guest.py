# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest, from launch to the check of its kernel log."""

import itertools
import os
import re
import sys
import tempfile
import time
from dataclasses import fields, replace

from harness.common import LOGS, SRC, tail
from harness.limits import COMMAND
from harness.vm import cgroup
from harness.vm.agent import Agent, GuestError, GuestTimeout
from harness.vm.balloon import Balloon
from harness.vm.command import Shape, agent_args, command_line
from harness.vm.inside import Inside
from harness.vm.migration import Migration

# QEMU's own package runs QEMU and speaks QMP.
sys.path.insert(0, str(SRC / 'qemu' / 'python'))

SPLATS = re.compile(r'BUG:|BUG at|WARNING:|Oops|general protection|'
                    r'soft lockup|hung task|blocked for more than|'
                    r'list_(add|del) corruption|Bad page state|'
                    r'Kernel panic|refcount_t:|rcu: INFO|KASAN|UBSAN|'
                    r'INFO: (trying to register|lockdep is turned off)|'
                    r'Internal error|Unable to handle|invalid opcode|'
                    r'unreferenced object|suspected memory leaks')
SHAPE = {field.name for field in fields(Shape)} - {'balloon'}


class Guest(Inside, Balloon, Migration):
    """A guest, made of what Shape has, and of properties such as page_bitmap=True."""
    # balloon: whether there is a balloon device; name: of log files under build/logs
    # incoming: made by twin(), waits for a guest to migrate to it

    _count = itertools.count(1)

    def __init__(self, balloon=True, name=None, incoming=False, **options):
        made = {key: options.pop(key) for key in SHAPE & options.keys()}
        for key in ('args', 'trace', 'wrapper'):
            made[key] = tuple(made.get(key, ()))
        self.shape = Shape(**made, balloon=options if balloon else None)
        self.arch, self.memory = self.shape.target, self.shape.memory
        self.name = name or f'guest-{os.getpid()}-{next(self._count)}'
        LOGS.mkdir(parents=True, exist_ok=True)
        self.console = LOGS / f'{self.name}.console'
        self.qemu_log = LOGS / f'{self.name}.qemu'
        self.trace_log = LOGS / f'{self.name}.trace'
        self.total = None
        self._incoming = incoming
        # _port: the agent's connection until the guest has come.
        self.agent = self._vm = self._socket_dir = self._cgroup = self._port = None
        self._twins = itertools.count(1)
        self._expected, self._unclaimed = [], []

    def twin(self, **changes):
        """Return a guest made like this one, as the destination of its migration."""
        # changes are fields of Shape. Its logs are its own.
        guest = Guest(name=f'{self.name}-{next(self._twins)}', incoming=True)
        guest.shape = replace(self.shape, **changes)
        guest.arch, guest.memory = guest.shape.target, guest.shape.memory
        return guest

    def command_line(self, interactive=False):
        """Return QEMU's arguments without the QMP connection."""
        args = command_line(self.shape)
        if not interactive:
            args += agent_args(self.shape, self.console,
                               f'{self._socket_dir.name}/agent')
        if self._incoming:
            args += ['-incoming', 'defer']
        if self.shape.trace:
            args += ['-D', str(self.trace_log)]
        for event in self.shape.trace:
            args += ['-trace', event]
        return args + list(self.shape.args)

    def _wrapper(self):
        """Return the words before QEMU's command."""
        if not self.shape.cgroup:
            return self.shape.wrapper
        self._cgroup = cgroup.make(self.name, self.shape.cgroup)
        return (*self.shape.wrapper, *cgroup.wrapper(self._cgroup))

    def launch(self, timeout=COMMAND, paused=False):
        """Start QEMU; unless it is to wait for a guest, until the agent answers."""
        # paused: a guest that arrives does not run before resume()
        from qemu.machine import QEMUMachine
        self._socket_dir = tempfile.TemporaryDirectory(prefix='balloon-')
        self.console.write_bytes(b'')
        self._vm = QEMUMachine(str(self.shape.program), wrapper=self._wrapper(),
                               args=self.command_line() + paused * ['-S'],
                               name=self.name, base_temp_dir=self._socket_dir.name,
                               qmp_timer=timeout)
        try:
            self._vm.launch()
            path = f'{self._socket_dir.name}/agent'
            if self._incoming:
                self._port = Agent.connect(path, timeout)
            else:
                self.agent = Agent(path, timeout)
        except BaseException as error:
            self.kill()
            if isinstance(error, (OSError, EOFError, GuestError)):
                raise GuestTimeout(f'{self.name} did not boot within {timeout} s: '
                                   f'{error}\n{self.console_tail()}') from error
            raise
        return self

    def __enter__(self):
        return self.launch()

    def check(self):
        """Raise GuestError if QEMU died or the kernel log holds a splat."""
        if not self._vm.is_running():
            raise GuestError(f'{self.name}: QEMU is gone (exit status '
                             f'{self._vm.exitcode()})\n{self._vm.get_log()}')
        for line in self.log_lines():
            if SPLATS.search(line) and \
                    not any(re.search(p, line) for p in self._expected):
                raise GuestError(f'{self.name}: kernel log: {line.strip()}\n'
                                 f'{self.console_tail()}')

    def expect_splat(self, pattern):
        """Let lines of the kernel log pass that match a pattern."""
        self._expected.append(pattern)

    def kill(self):
        """End QEMU, keep its own output in build/logs."""
        for connection in filter(None, (self.agent, self._port)):
            connection.close()
        if self._vm:
            self._vm.kill()
            self.qemu_log.write_text(self._vm.get_log() or '')
        if self._socket_dir:
            self._socket_dir.cleanup()
        if self._cgroup:
            self._cgroup.rmdir()
        self.agent = self._port = self._socket_dir = self._cgroup = None

    def log_lines(self):
        """Return the guest's console so far."""
        return self.console.read_text(errors='replace').splitlines()

    def wait_for(self, condition, what, timeout=COMMAND, interval=0.02):
        """Poll until condition() is true; return its value."""
        # interval: seconds between two polls, or a function that returns them
        end = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > end:
                raise GuestTimeout(f'{self.name}: {what}: not within '
                                   f'{timeout} s\n{self.console_tail()}')
            if not self._vm.is_running():
                raise GuestError(f'{self.name}: QEMU is gone while waiting: '
                                 f'{what}\n{self.console_tail()}')
            time.sleep(interval() if callable(interval) else interval)
        return value
