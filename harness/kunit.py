# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own tests, run by kunit.py: on UML, and on an emulated x86_64.

Only x86_64 has holes, zones, nodes, memory that goes offline, and other CPUs. Both have
KASAN, lockdep and fault injection; x86_64 also has kmemleak. It takes minutes to build
and is for make test-long. make test runs the suites that can be modules.
"""

import functools
import json
import os
import re
import subprocess

from harness.build import compiler_environment
from harness.common import BUILD, LOGS, SRC, jobs, run_logged
from harness.limits import KUNIT, SUITES
from harness.vm import MIB, QEMUS, accelerator
from harness.vm.host import write_qemu_wrapper

SUITE = re.compile(r'struct kunit_suite \w+ = \{[^}]*?\.name = "([^"]+)"')
SOURCES = ('drivers/virtio/tests/*.c', 'mm/tests/[bu]*_kunit.c')
VIRTIO_CONFIG = '--kunitconfig=drivers/virtio/tests/.kunitconfig'
MM_CONFIG = '--kunitconfig=mm/tests/.kunitconfig'

# Two nodes whose border lies within a pageblock, and a hole up to 4 GiB. After the
# tests the kernel runs its first process.
X86_QEMU = '''
-smp 2 -machine pc,max-ram-below-4g=512M -m 1280M
-object memory-backend-ram,id=m0,size=643M,reserve=off
-object memory-backend-ram,id=m1,size=637M,reserve=off
-numa node,memdev=m0,cpus=0-1 -numa node,memdev=m1
'''.split()
# The same of a guest of the harness, with a CPU, and so a socket, on each node.
GUEST = {'memory': 1286 * MIB, 'nodes': 2, 'machine': 'pc,max-ram-below-4g=512M',
         'args': ('-smp', '2,sockets=2'), 'balloon': False}
# The modules that it loads, in this order, and their suites. Only a suite that is built in
# tests memory that is offline or isolated.
MODULES = {'kunit': (),
           'virtio_balloon_kunit': ('virtio_balloon_encode',),
           'virtio_balloon_request_kunit': ('virtio_balloon_request',),
           'virtio_balloon_device_test': (
               'virtio_balloon_features', 'virtio_balloon_hostile',
               'virtio_balloon_life', 'virtio_balloon_nomem'),
           'unused_pages_kunit': ('unused_pages',)}
QEMU_CONFIG = '''
from qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(
    linux_arch='x86_64', qemu_arch='x86_64', kernel_path='arch/x86/boot/bzImage',
    kconfig='CONFIG_SERIAL_8250=y\\nCONFIG_SERIAL_8250_CONSOLE=y',
    kernel_command_line='console=ttyS0 kunit_shutdown=none rdinit=/bin/leaks',
    extra_qemu_params={parameters!r})
'''

# Options that find bugs. Outline KASAN finds the same bugs and compiles faster.
# Without EXPERT, some of the next can't be turned off.
DEBUG = '''
    DEBUG_KERNEL KASAN KASAN_OUTLINE PROVE_LOCKING DEBUG_ATOMIC_SLEEP DEBUG_VM
    DEBUG_LIST DEBUG_FS PAGE_POISONING FAULT_INJECTION FAULT_INJECTION_DEBUG_FS
    FAILSLAB FAIL_PAGE_ALLOC EXPERT
'''.split()
# Options that are on by default and only cost time to compile.
UNUSED = 'BLOCK INPUT HWMON USB_SUPPORT IO_URING SECCOMP HW_RANDOM PCIEASPM DNOTIFY ' \
    'INOTIFY_USER'.split()
# The driver's .kunitconfig is for UML.
X86 = '''
    VIRTIO_MENU VIRTIO_PCI VIRTIO_BALLOON VIRTIO_BALLOON_KUNIT_TEST
    VIRTIO_BALLOON_DEVICE_KUNIT_TEST SUSPEND SMP PCI ACPI NUMA ACPI_NUMA
    MEMORY_HOTPLUG MEMORY_HOTREMOVE COMPACTION HUGETLBFS X86_MCE MEMORY_FAILURE
    PAGE_OWNER DEBUG_VM_PGFLAGS DEBUG_KMEMLEAK BLK_DEV_INITRD
'''.split()
NOT_X86 = UNUSED + '''
    DEBUG_KMEMLEAK_AUTO_SCAN MODULES VT SERIO VIRTUALIZATION CPU_MITIGATIONS
    IOMMU_SUPPORT ACPI_FAN ACPI_THERMAL ACPI_PROCESSOR SCHED_MC_PRIO CPU_FREQ
    CPU_IDLE PCC MAILBOX X86_PLATFORM_DEVICES X86_KERNEL_IBT INTEL_MEI UPROBE_EVENTS
    PERF_EVENTS_INTEL_UNCORE PERF_EVENTS_INTEL_RAPL PERF_EVENTS_INTEL_CSTATE
    PERF_EVENTS_AMD_UNCORE SERIAL_8250_EXAR SERIAL_8250_MOXA_PCIE SERIAL_8250_LPSS
    SERIAL_8250_MID SERIAL_8250_PERICOM RD_BZIP2 RD_LZMA RD_XZ RD_LZO RD_LZ4 RD_ZSTD
'''.split()


def options(on, off=()):
    """Return arguments of kunit.py that turn options on and off."""
    return [f'--kconfig_add=CONFIG_{name}={value}'
            for names, value in ((on, 'y'), (off, 'n')) for name in names]


WRAPPERS = BUILD / 'kunit-qemu'
# Where each machine is built, with which arguments for kunit.py.
MACHINES = {
    # With several CPUs, for the true cost of atomics; that kernel cannot suspend.
    'uml': ('kunit', [VIRTIO_CONFIG, MM_CONFIG, *options(['SMP'], ['SUSPEND'])]),
    'uml-debug': ('kunit-debug', [VIRTIO_CONFIG, MM_CONFIG, *options(DEBUG, UNUSED)]),
    'x86_64': ('kunit-x86', [MM_CONFIG, f'--qemu_config={WRAPPERS / "x86_64.py"}',
                             *options((*X86, *DEBUG), NOT_X86)]),
}

# Kernels in the field zero pages on allocation by default; the balloon must not.
ZEROING = '--kernel_args=init_on_alloc=1'

# Kernels for tests. The other one measures: options that find bugs take time.
TESTED = ('uml-debug', 'x86_64')
LONG = ('x86_64',)


def environment():
    """Write a wrapper of our QEMU; return an environment that has it on PATH.

    The wrapper names the accelerator that works here: kunit.py tries KVM first, wherever
    there is a /dev/kvm, and would hang.
    """
    WRAPPERS.mkdir(exist_ok=True)
    parameters = [*X86_QEMU, '-initrd', str(BUILD / 'kernel' / 'initramfs')]
    (WRAPPERS / 'x86_64.py').write_text(QEMU_CONFIG.format(parameters=parameters),
                                        encoding='utf-8')
    write_qemu_wrapper(WRAPPERS / 'qemu-system-x86_64', QEMUS['ours'],
                       '-accel', accelerator())
    env = compiler_environment()
    return env | {'PATH': f'{WRAPPERS}{os.pathsep}{env["PATH"]}'}


def command(action, machine, *arguments, source=SRC / 'linux', out=BUILD):
    """Return kunit.py's command line for a machine."""
    folder, given = MACHINES[machine]
    # A tree with only some of the series may have only one of the configurations.
    given = [option for option in given if not option.startswith('--kunitconfig=')
             or (source / option.split('=')[1]).exists()]
    return ['./tools/testing/kunit/kunit.py', action, f'--jobs={jobs()}',
            f'--build_dir={out / folder}', *given, '--make_options=CC=ccache gcc',
            '--make_options=HOSTCC=ccache gcc', *arguments]


def kunit_py(action, machine, log, *arguments, source=SRC / 'linux', out=BUILD):
    """Run kunit.py for a machine; return its exit status."""
    # source, out: the kernel tree, and where build folders are
    LOGS.mkdir(parents=True, exist_ok=True)
    with open(log, 'wb') as file:
        return subprocess.run(
            command(action, machine, *arguments, source=source, out=out), cwd=source,
            env=environment(), stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, timeout=KUNIT, check=False).returncode


def build(machine):
    """Build the kernel that runs the suites on a machine."""
    run_logged(f'KUnit kernel, {machine}', command('build', machine),
               f'kunit-build-{machine}.log', cwd=SRC / 'linux', env=environment())


@functools.cache
def results(machine, *arguments):
    """Run kunit.py; return (status, {suite: [(case, verdict)]}, log, kernel's log)."""
    name = '-'.join([machine, *(re.sub(r'\W+', '-', word) for word in arguments)])
    out, log = BUILD / f'kunit-{name}.json', LOGS / f'kunit-{name}.log'
    out.unlink(missing_ok=True)
    status = kunit_py('run', machine, log, ZEROING, f'--timeout={SUITES}',
                      f'--json={out}', *arguments)
    groups = json.loads(out.read_text())['sub_groups'] if out.exists() else ()
    suites = {suite['name']: cases_of(suite) for suite in groups}
    return status, suites, log, kernel_log(machine)


def kernel_log(machine, out=BUILD):
    """Return the lines that the kernel printed while it ran the tests."""
    # At most 32 MiB: a broken kernel may repeat a message forever.
    with open(out / MACHINES[machine][0] / 'test.log', 'rb') as file:
        return file.read(32 << 20).decode(errors='replace').splitlines()


def cases_of(group):
    """Return the cases of one of kunit.py's groups, with and without parameters."""
    cases = [(case['name'], case['status']) for case in group['test_cases']]
    return cases + [case for sub in group['sub_groups'] for case in cases_of(sub)]


def suites_in_tree(pattern):
    """Return the names of the suites in some sources; never an empty list."""
    names = [name for path in sorted((SRC / 'linux').glob(pattern))
             for name in SUITE.findall(path.read_text(encoding='utf-8'))]
    return names or [f'(no suite in {pattern})']


def runs():
    """Return every machine with every suite that it must run."""
    return [(machine, suite) for machine in TESTED
            for pattern in SOURCES for suite in suites_in_tree(pattern)]
