# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line for a guest."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from harness.arch import ARCHES, X86
from harness.common import BUILD, Failure
from harness.vm.host import FIRMWARE, GIB, KERNELS, QEMUS, accelerator
from harness.vm.memory import memory_args
from harness.vm.tsc import tsc_khz

# CONFIG_HZ of guests on x86.
HZ = 250
ON_OFF = {True: 'on', False: 'off'}


@dataclass(frozen=True)
class Shape:
    """The parts of a guest; twin() makes other guests from them."""
    # 'ours' or 'stock', or other keys of QEMUS and KERNELS
    qemu: str = 'ours'
    kernel: str = 'ours'
    memory: int = GIB
    # A name of harness/vm/memory.py; nodes, dimm and virtio_mem: see memory_args()
    backend: str = 'anon'
    nodes: int = 1
    dimm: int = 0
    virtio_mem: int = 0
    # Added to the kernel's command line, and to QEMU's arguments
    append: str = ''
    args: tuple = ()
    smp: int = 2
    trace: tuple = ()
    machine: str = None
    # The agent uses a serial port: slow, but in reach after S3, when the virtio console
    # of Linux 7.3 is not
    serial: bool = False
    # A guest that reboots starts again, rather than end QEMU.
    reboot: bool = False
    # For others than x86_64 there is only our pair.
    arch: str = 'x86_64'
    # Limit of QEMU's memory cgroup in bytes
    cgroup: int = 0
    # Words before QEMU's command, such as env VARIABLE=VALUE
    wrapper: tuple = ()
    # Properties of the balloon device, or None: no device
    balloon: dict = None

    @property
    def target(self):
        """Return the guest's architecture."""
        return ARCHES[self.arch]

    @property
    def accelerator(self):
        """Return the accelerator that QEMU uses."""
        return accelerator() if self.target is X86 else 'tcg'

    @property
    def bus(self):
        """Return the end of the names of virtio devices: -device is for virtio-mmio."""
        return '-device' if self.machine == 'microvm' else ''

    @property
    def program(self):
        """Return the QEMU that the guest runs in."""
        return QEMUS[self.qemu] if self.target is X86 else \
            BUILD / 'arch' / 'qemu' / f'qemu-system-{self.target.qemu}'

    @property
    def folder(self):
        """Return where the kernel and the initramfs are."""
        return KERNELS[self.kernel] if self.target is X86 else self.target.folder


def balloon_device(shape):
    """Return the balloon device as -device wants it."""
    return ','.join([f'virtio-balloon{shape.bus},id=balloon0', *(
        f"{key.replace('_', '-')}={ON_OFF.get(value, value)}"
        for key, value in shape.balloon.items())])


def clock_options(shape):
    """Return the kernel's options for its clocks."""
    if shape.target.kernel not in ('x86_64', 'i386'):
        return ''
    clock = ''
    if shape.accelerator == 'tcg' and tsc_khz():
        # lpj: loops of the counter in a jiffy. Calibrating them takes seconds when
        # the host is busy, for each CPU.
        clock = f'tsc_early_khz={tsc_khz()} lpj={tsc_khz() * 1000 // HZ} '
    return f'tsc=reliable {clock}no_timer_check '


def command_line(shape):
    """Return QEMU's arguments without console, agent and QMP."""
    kernel = shape.folder / Path(shape.target.image).name
    for path in (shape.program, kernel):
        if not path.exists():
            raise Failure(f'{path} is missing: run make')
    args = ['-machine', shape.machine or shape.target.machine, *shape.target.cpu,
            '-accel', shape.accelerator, '-smp', str(shape.smp),
            '-nodefaults', '-no-user-config',
            *itertools.chain(*(('-L', path) for path in FIRMWARE)),
            *memory_args(shape.backend, shape.memory, shape.nodes, shape.dimm,
                         shape.virtio_mem),
            '-kernel', str(kernel), '-initrd', str(shape.folder / 'initramfs'),
            '-append', f'console={shape.target.console} panic=-1 quiet loglevel=6 '
                       f'{clock_options(shape)}{shape.append}']
    if not shape.reboot:
        args.append('-no-reboot')
    if shape.machine == 'microvm':
        args += ['-global', 'virtio-mmio.force-legacy=false']
    if shape.balloon is not None:
        args += ['-device', balloon_device(shape)]
    return args


def agent_args(shape, console, path):
    """Return QEMU's arguments for the console's log and the agent's port."""
    args = ['-serial', f'file:{console}',
            '-chardev', f'socket,id=agent,server=on,wait=off,path={path}']
    if shape.serial:
        return [*args, '-serial', 'chardev:agent']
    return [*args, '-device', f'virtio-serial{shape.bus},id=serial0',
            '-device', 'virtserialport,chardev=agent,name=agent']
