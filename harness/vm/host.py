# SPDX-License-Identifier: GPL-2.0-or-later
"""The host: its accelerator, its firmware, and the programs under test."""

import os
import re
import shlex
from pathlib import Path

from harness.common import BUILD, STOCK, capture

MIB = 1 << 20
GIB = 1 << 30
PAGE = 4096

# Firmware from Debian's seabios, qemu-system-data and ipxe-qemu.
FIRMWARE = ('/usr/share/seabios', '/usr/share/qemu', '/usr/lib/ipxe/qemu')

# The two halves of a guest, by name.
KERNELS = {'ours': BUILD / 'kernel', 'stock': STOCK}
# BALLOON_TEST_QEMU: the build with sanitizers, which tests/projects/test_qemu.py sets.
QEMUS = {'ours': Path(os.environ.get('BALLOON_TEST_QEMU')
                      or BUILD / 'qemu' / 'qemu-system-x86_64'),
         'stock': STOCK / 'qemu-system-x86_64'}


def accelerator():
    """Return 'kvm' where the CPU and /dev/kvm really offer it, else 'tcg'."""
    if forced := os.environ.get('ACCEL'):
        return forced
    flags = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    if not re.search(r'^flags\s*:.*\b(vmx|svm)\b', flags, re.M):
        return 'tcg'
    try:
        os.close(os.open('/dev/kvm', os.O_RDWR))
    except OSError:
        return 'tcg'
    return 'kvm'


def qemu_version(name):
    """Return the version that a QEMU reports."""
    return re.search(r'version (\S+)', capture([QEMUS[name], '--version']))[1]


def write_qemu_wrapper(path, qemu, *options):
    """Write a program that runs a QEMU with its firmware, and options before others."""
    # Other projects' test programs take a QEMU, but not where its firmware is. Of
    # several -accel, QEMU takes the first that works.
    folders = [word for folder in FIRMWARE for word in ('-L', folder)]
    words = shlex.join(str(word) for word in (qemu, *folders, *options))
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding='utf-8')
    path.chmod(0o755)
    return path


def resident(pid, field='Rss'):
    """Return a line of a process's smaps_rollup in bytes."""
    text = Path(f'/proc/{pid}/smaps_rollup').read_text(encoding='ascii')
    return int(re.search(rf'^{field}:\s+(\d+)', text, re.M)[1]) * 1024


def cpu_seconds_of_all(pid):
    """Return CPU time of all threads of a process, user and system."""
    fields = Path(f'/proc/{pid}/stat').read_text(encoding='ascii')
    return sum(map(int, fields.rsplit(')')[1].split()[11:13])) \
        / os.sysconf('SC_CLK_TCK')
