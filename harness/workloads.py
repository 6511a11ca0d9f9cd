# SPDX-License-Identifier: GPL-2.0-or-later
"""The states of guests in benchmarks and tests, as contexts.

Without further arguments a state takes a share of the guest's memory that suits a guest
which does nothing else. Programs in the guest end with the context, on whatever QEMU the
guest has migrated to.
"""

from contextlib import contextmanager

from harness.disk import DISKS, disk_image, disks
from harness.vm import MIB


def most(guest):
    """Return seven eighths of the memory that a guest has left for programs, in MiB."""
    return guest.meminfo()['MemAvailable'] * 7 // 8 // MIB


def touch_all(guest, spare=96 * MIB):
    """Have a program write to nearly all free memory, and end."""
    guest.run(f"memfill {(guest.meminfo()['MemAvailable'] - spare) // MIB}")


def disk_args(state, memory):
    """Return QEMU's arguments for the disks that a state needs."""
    return disks(disk_image(memory // 8)) if state is page_cache else []


@contextmanager
def idle(_guest):
    """Nothing but the boot."""
    yield


@contextmanager
def freed(guest, mib=None):
    """A program has written to most of memory, and ended."""
    guest.run(f'memfill {mib or most(guest)}')
    yield


@contextmanager
def pieces(guest, how=None):
    """Small pages fill most of memory; three of every four 64 KiB were freed."""
    # how: other arguments of guest/fragment.c, whose last is MiB
    with guest.background(f'fragment {how or most(guest)}'):
        yield


@contextmanager
def page_cache(guest, first='a'):
    """All files have been read of the disks of disk_args()."""
    # first: the letter of the first of these disks
    letters = [chr(ord(first) + number) for number in range(DISKS)]
    size = 0
    for number, letter in enumerate(letters):
        folder = f'/tmp/cache{number}'
        guest.run(f'mkdir {folder} && mount -t ext4 -o ro /dev/vd{letter} {folder} '
                  f'&& dd if={folder}/file of=/dev/null bs=1M')
        size += int(guest.run(f'stat -c %s {folder}/file'))
    cached = guest.meminfo()['Cached']
    assert cached > size * 6 // 7, f'{cached // MIB} of {size // MIB} MiB cached'
    yield


@contextmanager
def ballooned(guest, share=3 / 4):
    """The balloon holds a share of memory."""
    guest.balloon_to(int(guest.memory * (1 - share)) // MIB * MIB)
    yield


@contextmanager
def dirtying(guest, mib=None):
    """A program writes 200 MB/s to an eighth of memory."""
    with guest.background(f'dirty {mib or guest.memory // 8 // MIB} 200'):
        yield


# The states by the number of their case in bench/migration.py.
STATES = {1: idle, 2: freed, 3: pieces, 4: page_cache, 5: ballooned, 6: dirtying}
