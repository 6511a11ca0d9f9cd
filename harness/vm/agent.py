# SPDX-License-Identifier: GPL-2.0-or-later
"""Run commands in a guest: the host's end of guest/agent.c.

qemu-ga's guest-exec and ssh do not serve: they do not answer while the guest is out of
memory, do not follow a migrating guest, and are not static programs.
"""

import itertools
import socket
import threading
from contextlib import suppress

from harness.limits import COMMAND


class GuestError(Exception):
    """The guest or its QEMU did not obey a command."""


class GuestTimeout(GuestError, TimeoutError):
    """Something did not happen in time; the message quotes the console."""


class Refused(GuestError):
    """QEMU refused a QMP command, in these words."""


class Job:
    """A command that runs in the guest."""

    def __init__(self, agent, number, text):
        self._agent = agent
        self._number = number
        self._done = threading.Event()
        self.text = text
        self.status = None
        self.output = ''

    def finish(self, status, output):
        """Take the result (called by the agent's reader)."""
        self.status = status
        self.output = output
        self._done.set()

    @property
    def running(self):
        """Return whether the command has not ended yet."""
        return not self._done.is_set()

    def signal(self, number):
        """Send a signal to the command and its children."""
        self._agent.send(f'SIGNAL {self._number} {int(number)}\n'.encode())

    def wait(self, timeout=COMMAND, check=True):
        """Wait for the end; return the output. A bad status raises GuestError."""
        if not self._done.wait(timeout):
            raise GuestTimeout(f'"{self.text}" still runs after {timeout} s')
        if check and self.status:
            raise GuestError(f'"{self.text}" ended with status {self.status}: '
                             f'{self.output.strip()[-2000:]}')
        return self.output

    def end(self, timeout=COMMAND, check=True):
        """Send SIGTERM, unless it has ended; wait()."""
        if self.running:
            self.signal(15)
        return self.wait(timeout, check)


class Agent:
    """The host's end of guest/agent.c, which goes where the guest goes."""

    def __init__(self, path, timeout):
        self._numbers = itertools.count(1)
        self._jobs = {}
        self._restarted = threading.Event()
        self._lock = threading.Lock()
        self._socket = self._reading = self.connect(path, timeout)
        self._read_so_far = b''
        self._socket.settimeout(timeout)
        if self._line() != b'READY':
            raise GuestError('the agent in the guest did not say READY')
        self._socket.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()

    @staticmethod
    def connect(path, timeout):
        """Return a connection to a QEMU's agent port."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.settimeout(None)
        return connection

    def move(self, connection):
        """Go on with the agent at another QEMU, which has the guest now."""
        # An answer may have begun on the old connection: the reader takes all
        # that is there before it turns to the new one.
        with self._lock:
            old, self._socket = self._socket, connection
            with suppress(OSError):
                old.shutdown(socket.SHUT_RDWR)

    def _more(self):
        """Read something."""
        while True:
            try:
                data = self._reading.recv(65536)
            except ConnectionResetError:
                data = b''
            if data:
                self._read_so_far += data
                return
            with self._lock:
                if self._reading is self._socket:
                    raise EOFError
                self._reading.close()
                self._reading = self._socket

    def _bytes(self, count):
        while len(self._read_so_far) < count:
            self._more()
        data = self._read_so_far[:count]
        self._read_so_far = self._read_so_far[count:]
        return data

    def _line(self):
        while (end := self._read_so_far.find(b'\n')) < 0:
            self._more()
        return self._bytes(end + 1)[:-1]

    def _read(self):
        """Hand each answer to its job, until the connection ends."""
        with suppress(OSError, ValueError, EOFError):
            while True:
                line = self._line()
                if line == b'READY':
                    self._end_jobs('the guest has been restarted')
                    self._restarted.set()
                    continue
                _, number, status, length = line.split()
                output = self._bytes(int(length))
                job = self._jobs.pop(int(number))
                job.finish(int(status), output.decode(errors='replace'))
        self._end_jobs('the guest is gone')

    def _end_jobs(self, reason):
        """Let nobody wait for commands that will not answer."""
        while self._jobs:
            self._jobs.popitem()[1].finish(255, reason)

    def wait_restarted(self, timeout=COMMAND):
        """Wait until the guest has booted again since the last call."""
        if not self._restarted.wait(timeout):
            raise GuestTimeout(f'the guest did not boot again within {timeout} s')
        self._restarted.clear()

    def send(self, data):
        """Write one request."""
        with self._lock:
            self._socket.sendall(data)

    def spawn(self, text):
        """Start a shell command."""
        number = next(self._numbers)
        job = self._jobs[number] = Job(self, number, text)
        data = text.encode()
        self.send(f'RUN {number} {len(data)}\n'.encode() + data)
        return job

    def adopt(self, other):
        """Take over the commands of a guest that goes on here after hibernation."""
        # Commands of the guest that was here before are never answered.
        # pylint: disable=protected-access
        self._end_jobs('another guest has taken over')
        self._numbers, self._jobs = other._numbers, other._jobs
        for job in self._jobs.values():
            job._agent = self
        other._jobs = {}

    def close(self):
        """Hang up."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
