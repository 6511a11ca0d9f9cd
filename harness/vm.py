# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest to try balloons on: a kernel, a QEMU, and hands inside the guest.

    with Guest(page_bitmap=True) as guest:
        guest.load_balloon()
        guest.balloon_to(1 << 30)
        print(guest.meminfo()['MemFree'])

Every wait is bounded; what it raises quotes the end of the guest's console.
"""

import ctypes
import functools
import itertools
import mmap
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from harness.arch import ARCHES, X86
from harness.common import BUILD, LOGS, SRC, STOCK, Failure, tail

sys.path.insert(0, str(SRC / 'qemu' / 'python'))

MIB = 1 << 20
GIB = 1 << 30
PAGE = 4096
# The bandwidth of a migration in bytes per second: 10 Gbit/s.
BANDWIDTH = 1_250_000_000

# Firmware from Debian's seabios, qemu-system-data and ipxe-qemu.
FIRMWARE = ('/usr/share/seabios', '/usr/share/qemu', '/usr/lib/ipxe/qemu')
SPLATS = re.compile(r'BUG:|BUG at|WARNING:|Oops|general protection|'
                    r'soft lockup|hung task|blocked for more than|'
                    r'list_(add|del) corruption|Bad page state|'
                    r'Kernel panic|refcount_t:|rcu: INFO|KASAN|UBSAN|'
                    r'INFO: (trying to register|lockdep is turned off)|'
                    r'Internal error|Unable to handle|invalid opcode|'
                    r'unreferenced object|suspected memory leaks')

# The two halves of a guest, by name.
KERNELS = {'ours': BUILD / 'kernel', 'stock': STOCK}
# BALLOON_TEST_QEMU: the build with sanitizers, where tests/test_qemu_unit.py says so.
QEMUS = {'ours': Path(os.environ.get('BALLOON_TEST_QEMU')
                      or BUILD / 'qemu' / 'qemu-system-x86_64'),
         'stock': STOCK / 'qemu-system-x86_64'}


class GuestError(Exception):
    """The guest or its QEMU did not do what it was told."""


class GuestTimeout(GuestError, TimeoutError):
    """Something did not happen in time; the message quotes the console."""


class Refused(GuestError):
    """QEMU refused a QMP command, in these words."""


def accelerator():
    """'kvm' where the CPU and /dev/kvm really offer it, else 'tcg'."""
    forced = os.environ.get('ACCEL')
    if forced:
        return forced
    flags = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    if not re.search(r'^flags\s*:.*\b(vmx|svm)\b', flags, re.M):
        return 'tcg'
    try:
        os.close(os.open('/dev/kvm', os.O_RDWR))
    except OSError:
        return 'tcg'
    return 'kvm'


@functools.cache
def tsc_khz():
    """The rate of the host's time stamp counter; None if it is not x86-64.

    A guest under TCG sees this counter. When the host is busy, the guest's own
    measurement may be wrong by a factor, and so are all its clocks then.
    """
    if platform.machine() != 'x86_64':
        return None
    # rdtsc; shl $32, %rdx; or %rdx, %rax; ret
    code = mmap.mmap(-1, mmap.PAGESIZE,
                     prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b'\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3')
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(
        ctypes.addressof(ctypes.c_char.from_buffer(code)))

    def look():
        """(ns, ticks) of the same moment: the pair read fastest of some."""
        pairs = []
        for _ in range(20):
            before, ticks = time.monotonic_ns(), rdtsc()
            pairs.append((time.monotonic_ns() - before, before, ticks))
        return min(pairs)[1:]
    began = look()
    time.sleep(0.1)
    ended = look()
    return round((ended[1] - began[1]) * 1e6 / (ended[0] - began[0]))


def qemu_version(name):
    """What a QEMU says of itself."""
    out = subprocess.run([QEMUS[name], '--version'], capture_output=True,
                         text=True, check=True).stdout
    return re.search(r'version (\S+)', out)[1]


def resident(pid, field='Rss'):
    """A line of a process's smaps_rollup in bytes."""
    text = Path(f'/proc/{pid}/smaps_rollup').read_text(encoding='ascii')
    return int(re.search(rf'^{field}:\s+(\d+)', text, re.M)[1]) * 1024


def _qom_bool(value):
    return value if isinstance(value, str) else ('on' if value else 'off')


def device_properties(values):
    """{'page_bitmap': True} as ',page-bitmap=on'."""
    return ''.join(f",{key.replace('_', '-')}={_qom_bool(value)}"
                   for key, value in values.items())


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
        """Whether the command has not ended yet."""
        return not self._done.is_set()

    def signal(self, number):
        """Send a signal to the command and its children."""
        self._agent.send(f'SIGNAL {self._number} {int(number)}\n'.encode())

    def wait(self, timeout=60, check=True):
        """Wait for the end; return the output. A bad status raises GuestError."""
        if not self._done.wait(timeout):
            raise GuestTimeout(f'"{self.text}" still runs after {timeout} s')
        if check and self.status:
            raise GuestError(f'"{self.text}" ended with status {self.status}: '
                             f'{self.output.strip()[-2000:]}')
        return self.output


class Agent:
    """The host's end of guest/agent.c, which goes where the guest goes."""

    def __init__(self, path, timeout):
        self._numbers = itertools.count(1)
        self._jobs = {}
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
        """A connection to a QEMU's agent port."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.settimeout(None)
        return connection

    def move(self, connection):
        """Go on with the agent at another QEMU, which has the guest now.

        An answer may have begun on the old connection: the reader takes all
        that is there before it turns to the new one.
        """
        with self._lock:
            old, self._socket = self._socket, connection
            try:
                old.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

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
        try:
            while True:
                _, number, status, length = self._line().split()
                output = self._bytes(int(length))
                job = self._jobs.pop(int(number))
                job.finish(int(status), output.decode(errors='replace'))
        except (OSError, ValueError, EOFError):
            pass
        for job in list(self._jobs.values()):
            job.finish(255, 'the guest is gone')

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

    def close(self):
        """Hang up."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()


class Guest:
    """One guest, from launch to the check of its kernel log.

    qemu, kernel   'ours' or 'stock'
    memory         bytes of RAM
    backend        'anon' (nothing is reserved), 'memfd' (shared) or 'hugetlb'
    balloon        False: no balloon device at start
    append         added to the kernel command line
    args           added to QEMU's arguments
    trace          QEMU trace events, written to self.trace_log
    name           of the log files under build/logs
    serial         talk to the agent through a serial port: slow, but in reach
                   after S3, when the virtio console of Linux 7.3 is not
    incoming       made by twin(): waits for a guest to migrate to it
    arch           one of ARCHES; for others than x86_64 there is only our pair
    other keywords properties of the balloon device: page_bitmap=True
    """

    _count = itertools.count(1)

    def __init__(self, qemu='ours', kernel='ours', memory=GIB, backend='anon',
                 balloon=True, append='', args=(), smp=2, trace=(), name=None,
                 machine=None, serial=False, incoming=False, arch='x86_64',
                 **properties):
        self.qemu_name, self.kernel_name = qemu, kernel
        self.arch = ARCHES[arch]
        self.memory = memory
        self.accel = accelerator() if self.arch is X86 else 'tcg'
        self.name = name or f'guest-{os.getpid()}-{next(self._count)}'
        LOGS.mkdir(parents=True, exist_ok=True)
        self.console = LOGS / f'{self.name}.console'
        self.qemu_log = LOGS / f'{self.name}.qemu'
        self.trace_log = LOGS / f'{self.name}.trace'
        # The end of the names of virtio devices: -device is for virtio-mmio.
        self.bus = '-device' if machine == 'microvm' else ''
        self.agent = None
        self._vm = None
        self._socket_dir = None
        self._incoming = incoming
        # The agent's connection until the guest has come.
        self._port = None
        self._twins = itertools.count(1)
        self._expected = []
        self._balloon = properties if balloon else None
        self._parts = {'backend': backend, 'append': append, 'smp': smp,
                       'args': list(args), 'trace': tuple(trace),
                       'machine': machine, 'serial': serial, 'arch': arch}

    # -- Start and end ------------------------------------------------------

    def _memory_args(self):
        kind = {'anon': 'memory-backend-ram,reserve=off',
                'memfd': 'memory-backend-memfd,share=on,reserve=off',
                'hugetlb': 'memory-backend-memfd,hugetlb=on,hugetlbsize=2M,'
                           'reserve=off,share=on'}[self._parts['backend']]
        return ['-m', f'{self.memory // MIB}M', '-object',
                f'{kind},id=ram,size={self.memory}']

    def qemu(self):
        """The QEMU that the guest runs in."""
        return QEMUS[self.qemu_name] if self.arch is X86 else \
            BUILD / 'arch' / 'qemu' / f'qemu-system-{self.arch.qemu}'

    def _clock_args(self):
        """What the kernel's command line says of clocks."""
        if self.arch.kernel not in ('x86_64', 'i386'):
            return ''
        clock = f'tsc_early_khz={tsc_khz()} ' \
            if self.accel == 'tcg' and tsc_khz() else ''
        return f'tsc=reliable {clock}no_timer_check '

    def command_line(self, interactive=False):
        """QEMU's arguments without the QMP connection."""
        parts, arch = self._parts, self.arch
        folder = KERNELS[self.kernel_name] if arch is X86 else arch.folder
        kernel = folder / Path(arch.image).name
        for path in (self.qemu(), kernel):
            if not path.exists():
                raise Failure(f'{path} is missing: run make')
        args = ['-machine', f"{parts['machine'] or arch.machine},"
                            'memory-backend=ram', *arch.cpu,
                '-accel', self.accel, '-smp', str(parts['smp']),
                '-nodefaults', '-no-user-config', '-no-reboot',
                *itertools.chain(*(('-L', path) for path in FIRMWARE)),
                *self._memory_args(),
                '-kernel', str(kernel), '-initrd', str(folder / 'initramfs'),
                '-append', f'console={arch.console} panic=-1 quiet loglevel=6 '
                           f"{self._clock_args()}{parts['append']}"]
        if parts['machine'] == 'microvm':
            args += ['-global', 'virtio-mmio.force-legacy=false']
        if self._balloon is not None:
            args += ['-device', self.balloon_device()]
        if not interactive:
            args += ['-serial', f'file:{self.console}',
                     '-chardev', f'socket,id=agent,server=on,wait=off,'
                                 f'path={self._socket_dir.name}/agent']
            args += ['-serial', 'chardev:agent'] if parts['serial'] else [
                '-device', f'virtio-serial{self.bus},id=serial0',
                '-device', 'virtserialport,chardev=agent,name=agent']
        if self._incoming:
            args += ['-incoming', 'defer']
        if parts['trace']:
            args += ['-D', str(self.trace_log)]
            for event in parts['trace']:
                args += ['-trace', event]
        return args + parts['args']

    def balloon_device(self):
        """The balloon device as -device or device_add wants it."""
        return f'virtio-balloon{self.bus},id=balloon0' \
            + device_properties(self._balloon)

    def launch(self, timeout=60, paused=False):
        """Start QEMU; unless it is to wait for a guest, until the agent answers.

        paused: a guest that arrives does not run before resume()
        """
        from qemu.machine import QEMUMachine
        self._socket_dir = tempfile.TemporaryDirectory(prefix='balloon-')
        self.console.write_bytes(b'')
        self._vm = QEMUMachine(str(self.qemu()),
                               args=self.command_line() + paused * ['-S'],
                               name=self.name,
                               base_temp_dir=self._socket_dir.name,
                               qmp_timer=timeout)
        try:
            self._vm.launch()
            path = f'{self._socket_dir.name}/agent'
            if self._incoming:
                self._port = Agent.connect(path, timeout)
            else:
                self.agent = Agent(path, timeout)
        except (OSError, EOFError, GuestError) as error:
            self.kill()
            raise GuestTimeout(f'{self.name} did not boot within {timeout} s: '
                               f'{error}\n{self.console_tail()}') from error
        except BaseException:
            self.kill()
            raise
        return self

    def __enter__(self):
        return self.launch()

    def __exit__(self, kind, value, traceback):
        try:
            if kind is None:
                self.check()
        finally:
            self.kill()

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
        if self.agent:
            self.agent.close()
            self.agent = None
        if self._port:
            self._port.close()
            self._port = None
        if self._vm:
            self._vm.kill()
            self.qemu_log.write_text(self._vm.get_log() or '')
        if self._socket_dir:
            self._socket_dir.cleanup()
            self._socket_dir = None

    def log_lines(self):
        """The guest's console so far."""
        return self.console.read_text(errors='replace').splitlines()

    def console_tail(self):
        """The end of the console, for messages."""
        return f'the end of {self.console.name}:\n{tail(self.console, 25)}'

    # -- Waiting ------------------------------------------------------------

    def wait_for(self, condition, what, timeout=60, interval=0.02):
        """Poll until condition() is true; return its value.

        interval: seconds between two looks, or a function that says how many
        """
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

    # -- Inside the guest ---------------------------------------------------

    def run(self, text, timeout=60, check=True):
        """Run a shell command in the guest; return its output."""
        job = self.agent.spawn(text)
        try:
            return job.wait(timeout, check)
        except GuestTimeout as error:
            raise GuestTimeout(f'{self.name}: {error}\n'
                               f'{self.console_tail()}') from None

    def spawn(self, text):
        """Start a shell command in the guest; return a Job."""
        return self.agent.spawn(text)

    def read(self, path):
        """The content of a small file in the guest."""
        return self.run(f'cat {path}').strip()

    def said(self, path):
        """What a program has written to a file so far, if there is one yet."""
        return self.run(f'cat {path} 2>/dev/null', check=False)

    def meminfo(self):
        """/proc/meminfo in bytes (counts stay counts)."""
        return self._numbers('/proc/meminfo', 1024)

    def vmstat(self):
        """/proc/vmstat as numbers, with what the CPUs still keep to themselves."""
        self.run('echo 1 > /proc/sys/vm/stat_refresh')
        return self._numbers('/proc/vmstat', 1)

    def _numbers(self, path, kilo):
        result = {}
        for line in self.read(path).splitlines():
            words = line.replace(':', ' ').split()
            unit = kilo if words[-1] == 'kB' else 1
            result[words[0]] = int(words[1]) * unit
        return result

    def load_balloon(self, timeout=30):
        """Load the balloon driver and wait until it has taken the device."""
        self.run('insmod /lib/modules/virtio_balloon.ko', timeout)
        if self._balloon is not None:
            self.wait_for(self.driver_bound, 'driver bound to device', timeout)

    def unload_balloon(self, timeout=60):
        """Unload the balloon driver, which gives back what it holds."""
        self.run('rmmod virtio_balloon', timeout)

    def driver_bound(self):
        """Whether the balloon driver has a device, and has said DRIVER_OK."""
        status = self.run('cat /sys/bus/virtio/drivers/virtio_balloon/virtio*'
                          '/status', check=False)
        return status.startswith('0x') and bool(int(status, 16) & 4)

    def negotiated(self, bit):
        """Whether guest and device agreed on a feature bit of the balloon."""
        text = self.read('/sys/bus/virtio/drivers/virtio_balloon/virtio*'
                         '/features')
        return text[bit] == '1'

    def start(self, text, ready=None, timeout=120):
        """Start a shell command; return a Job.

        ready: a shell condition to wait for before going on.
        """
        job = self.spawn(text)
        if ready:
            self.wait_for(lambda: not job.running or self.run(
                f'{ready} && echo yes || true').strip() == 'yes',
                f'{ready} after "{text}"', timeout)
        return job

    @contextmanager
    def background(self, text, ready=None, timeout=120):
        """start() a command; at the end, SIGTERM it and check its status."""
        job = self.start(text, ready, timeout)
        yield job
        if job.running:
            job.signal(15)
        job.wait(timeout)

    # -- Outside ------------------------------------------------------------

    @property
    def pid(self):
        """QEMU's process."""
        return self._vm.get_pid()

    def qmp(self, command, **arguments):
        """Run a QMP command; return its answer, raise Refused if it is an error."""
        from qemu.qmp import ExecuteError
        try:
            return self._vm.cmd(command, **arguments)
        except ExecuteError as error:
            raise Refused(str(error)) from error

    def event(self, name, timeout=60, **match):
        """Wait for a QMP event, whose data may have to match; return it."""
        wanted = {'data': match} if match else None
        try:
            # An integer would be taken for "wait for ever".
            return self._vm.event_wait(name, float(timeout), wanted)
        except TimeoutError:
            raise GuestTimeout(f'{self.name}: no event {name} within '
                               f'{timeout} s\n{self.console_tail()}') from None

    def events(self, name):
        """The data of all events of a kind that have come by now."""
        found = [event for event in self._vm.get_qmp_events()
                 if event['event'] == name]
        return [event['data'] for event in found]

    def running(self):
        """Whether QEMU runs."""
        return self._vm.is_running()

    def output(self):
        """What QEMU itself has said, once it has ended (see kill())."""
        return self.qemu_log.read_text(errors='replace')

    def get(self, name, path='/machine/peripheral/balloon0'):
        """A QOM property, of the balloon device unless told otherwise."""
        return self.qmp('qom-get', path=path, property=name)

    def actual(self):
        """What QEMU says is left to the guest, in bytes."""
        return self.qmp('query-balloon')['actual']

    def set_target(self, size):
        """Ask for a balloon target without waiting for it."""
        self.qmp('balloon', value=size)

    def balloon_to(self, size, timeout=120):
        """Ask for a target and wait until it is reached; return seconds.

        Looks every 2 ms at first, then so often that the result is right to
        1 %: each look takes time from QEMU's main loop, which is what limits
        the legacy format.
        """
        started = time.monotonic()
        self.set_target(size)

        def interval():
            return max(0.002, (time.monotonic() - started) / 100)
        try:
            self.wait_for(lambda: self.actual() == size,
                          f'balloon at {size // MIB} MiB', timeout, interval)
        except GuestTimeout as error:
            raise GuestTimeout(f'{error}\nit stands at '
                               f'{self.actual() // MIB} MiB') from None
        return time.monotonic() - started

    def resident(self, field='Rss'):
        """Resident memory of QEMU in bytes, shared memory included.

        field: another line of smaps_rollup, such as AnonHugePages
        """
        return resident(self.pid, field)

    def cpu_seconds(self, thread=None):
        """CPU time of a thread of QEMU, of its main thread unless told otherwise."""
        path = f'/proc/{self.pid}/task/{thread or self.pid}/schedstat'
        return int(Path(path).read_text().split()[0]) / 1e9

    def counters(self):
        """Our QEMU's counters of the balloon (property page-set-stats)."""
        return self.get('page-set-stats')

    def driver_counters(self):
        """The counters of our driver, in debugfs."""
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

    def request_ends(self, number, timeout=120):
        """Wait until a request has ended; return the event's data."""
        return self.event('BALLOON_REQUEST_COMPLETED', timeout,
                          id=number)['data']

    def request(self, kind, timeout=120, **arguments):
        """Ask the guest for something and wait for it."""
        return self.request_ends(self.start_request(kind, **arguments), timeout)

    # -- Migration ----------------------------------------------------------

    def twin(self, **changes):
        """A guest made like this one that waits for it to migrate there.

        changes are arguments of Guest. Its logs are its own.
        """
        shape = {'qemu': self.qemu_name, 'kernel': self.kernel_name,
                 'memory': self.memory, 'balloon': self._balloon is not None,
                 **self._parts, **(self._balloon or {}),
                 'name': f'{self.name}-{next(self._twins)}'}
        return Guest(**(shape | changes), incoming=True)

    def start_migration(self, target, downtime=300, bandwidth=BANDWIDTH):
        """Begin to migrate to a guest that twin() made and that was launched.

        downtime: limit in ms; bandwidth: limit in bytes per second

        Until it is over the agent may answer, but must not be sent anything:
        it would be lost where the source has been stopped meanwhile.
        """
        # pylint: disable=protected-access
        uri = f'unix:{target._socket_dir.name}/migration'
        for guest in (target, self):
            guest.qmp('migrate-set-capabilities', capabilities=[
                {'capability': 'events', 'state': True}])
            guest.qmp('migrate-set-parameters', **{
                'max-bandwidth': bandwidth, 'downtime-limit': downtime})
        target.qmp('migrate-incoming', uri=uri)
        self.qmp('migrate', uri=uri)

    def migration(self):
        """What QEMU says of the migration (query-migrate)."""
        return self.qmp('query-migrate')

    def end_migration(self, timeout=120):
        """Wait until a migration is over, one way or the other."""
        end = time.monotonic() + timeout
        while True:
            event = self.event('MIGRATION', max(0.1, end - time.monotonic()))
            if event['data']['status'] in ('completed', 'failed', 'cancelled'):
                return self.migration()

    def cancel_migration(self, timeout=60):
        """Cancel, if it is not too late; say whether it was in time."""
        self.qmp('migrate_cancel')
        return self.end_migration(timeout)['status'] == 'cancelled'

    def arrived(self, source, timeout=60):
        """Wait until the guest runs here; take its agent over from the source."""
        self.event('MIGRATION', timeout, status='completed')
        self.event('RESUME', timeout)
        if source.agent:
            source.agent.move(self._port)
            self.agent, source.agent, self._port = source.agent, None, None

    def migrate(self, target, timeout=120, **limits):
        """Migrate, and go on there; return what QEMU says of it."""
        self.start_migration(target, **limits)
        result = self.end_migration(timeout)
        if result['status'] != 'completed':
            raise GuestError(f'{self.name}: migration {result["status"]}: '
                             f'{result.get("error-desc")}')
        target.arrived(self)
        return result
