# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's pool of huge pages, which one test at a time has to itself."""

import fcntl
import mmap
import os
import time
from contextlib import contextmanager
from pathlib import Path

from harness.common import Failure
from harness.limits import PROGRAM
from harness.vm import MIB

HUGE = 2 * MIB
POOL = Path('/sys/kernel/mm/hugepages/hugepages-2048kB')
MAP_HUGETLB = 0x40000


def read_pool(name):
    """Return a number of the pool: nr_hugepages, free_hugepages, resv_hugepages."""
    return int((POOL / name).read_text(encoding='ascii'))


def free():
    """Return how many huge pages are free, reserved or not."""
    return read_pool('free_hugepages')


def available():
    """Return how many huge pages anyone may take: free, and reserved for nobody."""
    return free() - read_pool('resv_hugepages')


def resize(count):
    """Give the pool so many pages; raise Failure if the host has no room."""
    # Page cache may be in the way, or move, at the first try.
    for _ in range(5):
        (POOL / 'nr_hugepages').write_text(str(count), encoding='ascii')
        if read_pool('nr_hugepages') == count:
            return
        Path('/proc/sys/vm/drop_caches').write_text('1', encoding='ascii')
        Path('/proc/sys/vm/compact_memory').write_text('1', encoding='ascii')
    raise Failure(f'the host could not make its pool {count} huge pages')


@contextmanager
def locked():
    """A context in which no test of this host, in whatever clone, uses the pool."""
    lock = os.open(POOL, os.O_RDONLY)
    try:
        deadline = time.monotonic() + PROGRAM
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Failure('another test uses the pool of huge pages') from None
                time.sleep(1)
        yield
    finally:
        os.close(lock)


@contextmanager
def pool(count):
    """A context in which that many huge pages are free, for one test at a time."""
    if not POOL.exists():
        raise Failure('the host has no huge pages of 2 MiB')
    if os.geteuid():
        raise Failure('only root can reserve huge pages of the host')
    with locked():
        before = read_pool('nr_hugepages')
        try:
            resize(before - available() + count)
            yield
        finally:
            (POOL / 'nr_hugepages').write_text(str(before), encoding='ascii')


@contextmanager
def taken(count):
    """A context in which this process has so many huge pages, as another guest may."""
    if not count:
        yield
        return
    memory = mmap.mmap(-1, count * HUGE,
                       flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_HUGETLB)
    try:
        for page in range(count):
            memory[page * HUGE] = 1
        yield
    finally:
        memory.close()
