# SPDX-License-Identifier: GPL-2.0-or-later
"""F5, F16: memory of which the host cannot, or must not, free all that is named."""

import hashlib
import mmap
import os
import re
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from harness.vm import GIB, MIB, cgroup
from harness.vm.memory import DISK, HUGETLBFS, prepare
from tests.support import hugepages
from tests.support.pairs import OURS, STOCK
from tests.support.trial import fill, outcome, trial

# One after another, as they share the host's huge pages.
pytestmark = pytest.mark.xdist_group('huge pages')

MEMORY = 512 * MIB
SMALL = 256 * MIB
BALLOON = MEMORY - SMALL

# -- F5 ---------------------------------------------------------------------

UNCHANGED = 'file unchanged'
FOLDERS = {'tmpfs': Path('/dev/shm'), 'disk': DISK, 'hugetlbfs': HUGETLBFS}


class Template:
    """A file from which guests are started, and which must stay as it is."""

    def __init__(self, folder, size):
        prepare(str(folder))
        self.path = folder / f'template-{os.getpid()}'
        with open(self.path, 'wb+') as file:
            file.truncate(size)
            # What is on hugetlbfs cannot be written in any other way.
            with mmap.mmap(file.fileno(), size) as memory:
                for offset in range(0, size, MIB):
                    memory[offset:offset + MIB] = os.urandom(MIB)
                memory.flush()
            os.fsync(file.fileno())
        self.first = self.state()

    def state(self):
        """(bytes that the file occupies, a sum over its content)."""
        with open(self.path, 'rb') as file:
            digest = hashlib.file_digest(file, 'sha256').hexdigest()
        return os.stat(self.path).st_blocks * 512, digest

    def lost(self):
        """What happened to the file: UNCHANGED, or how much of it is gone."""
        now = self.state()
        if now == self.first:
            return UNCHANGED
        return f'file changed, {(self.first[0] - now[0]) // MIB} MiB of holes'


@contextmanager
def template(folder, guests=1):
    """A context with the template of so many guests, and huge pages if need be."""
    with hugepages.pool((guests + 1) * MEMORY // hugepages.HUGE) \
            if folder == 'hugetlbfs' else nullcontext():
        try:
            yield Template(FOLDERS[folder], MEMORY)
        finally:
            (FOLDERS[folder] / f'template-{os.getpid()}').unlink(missing_ok=True)


def own_copies(guest):
    """Bytes of pages that only this QEMU has."""
    return guest.resident('Anonymous') + guest.resident('Private_Hugetlb')


class Start:
    """What a guest that was started from a template did to it.

    file       what became of the template
    freed      bytes of the guest's own copies that inflating freed
    inhibited  messages that were answered with INHIBITED
    lines      what QEMU said of discarding
    """

    def __init__(self, request, pair, folder, properties=''):
        with template(folder, guests=1) as file:
            backend = f'{folder}-private,mem-path={file.path}{properties}'
            with trial(request, pair, memory=MEMORY, backend=backend,
                       trace=('virtio_balloon_pages_message',)) as guest:
                fill(guest)
                before = own_copies(guest)
                guest.balloon_to(SMALL)
                self.freed = before - own_copies(guest)
                # Later, the guest's writes fill the holes again.
                self.file = file.lost()
                self.fate = outcome(guest, lambda: guest.balloon_to(MEMORY),
                                    lambda: fill(guest))
            if self.file == UNCHANGED:
                self.file = file.lost()
            answers = guest.trace_log.read_text() if guest.trace_log.exists() else ''
            self.inhibited = len(re.findall(r'status: 1\b', answers))
            self.lines = len(re.findall('iscard', guest.output()))

    def good(self):
        """Whether the file is as it was, and the guest's copies are freed or kept."""
        return self.fate == 'alive' and self.file == UNCHANGED and (
            self.inhibited or self.freed >= BALLOON * 95 // 100)

    def __str__(self):
        """One cell of the table."""
        return f'{self.file}, {self.freed // MIB} MiB freed, {self.lines} lines, ' \
            f'{self.fate}'


FORMATS = {'packed': OURS, 'legacy': OURS | {'page_bitmap': False}}


@pytest.fixture(name='stock_start', scope='module')
def fixture_stock_start():
    """A function of a folder: what stock does there, tried once."""
    known = {}

    def start(request, folder):
        if folder not in known:
            known[folder] = Start(request, STOCK, folder)
        return known[folder]
    return start


# The legacy format frees no huge page.
@pytest.mark.parametrize('folder, layout', [
    ('tmpfs', 'packed'), ('tmpfs', 'legacy'), ('disk', 'packed'), ('disk', 'legacy'),
    ('hugetlbfs', 'packed')])
def test_f05_template(row, request, stock_start, folder, layout):
    """A template stays as it is; the guest's own copies of its pages are freed."""
    stock = stock_start(request, folder)
    ours = Start(request, FORMATS[layout], folder)
    row.report(must='file unchanged, own copies freed or INHIBITED',
               stock=str(stock), ours=str(ours), green=ours.good())


@pytest.mark.parametrize('layout', FORMATS)
def test_f05_read_only(row, request, layout):
    """The same of a file that QEMU cannot write to, with one line in the log."""
    properties = ',readonly=on,rom=off'
    stock = Start(request, STOCK, 'tmpfs', properties)
    ours = Start(request, FORMATS[layout], 'tmpfs', properties)
    row.report(must='file unchanged, own copies freed or INHIBITED, 1 line at most',
               stock=str(stock), ours=str(ours), green=ours.good() and ours.lines <= 1)


def use_beside(request, pair, folder):
    """Inflate a guest beside another that has the same template; its fate."""
    with template(folder, guests=2) as file:
        options = {'memory': MEMORY,
                   'backend': f'{folder}-private,mem-path={file.path}'}
        with trial(request, pair, **options) as guest, \
                trial(request, pair, **options) as other:
            fill(guest)
            job = other.start('pattern 128')
            guest.balloon_to(SMALL)
            return outcome(other, job.end, lambda: fill(other))


@pytest.mark.parametrize('folder', FOLDERS)
def test_f05_neighbour(row, request, folder):
    """A guest beside, from the same template, keeps what it has written."""
    stock, ours = (use_beside(request, pair, folder) for pair in (STOCK, OURS))
    row.report(must='the other guest is alive', stock=stock, ours=ours,
               green=ours == 'alive')


# -- F16 --------------------------------------------------------------------

class Gain:
    """What the host gains by inflating.

    freed    bytes of QEMU that are no longer resident
    counted  bytes that our device says it has discarded
    """

    def __init__(self, request, pair, **options):
        options = {'memory': MEMORY} | options
        with trial(request, pair, **options) as guest:
            fill(guest)
            before = guest.resident()
            guest.balloon_to(options['memory'] // 2)
            self.freed = before - guest.resident()
            self.counted = guest.counters()['discarded-bytes'] \
                if pair['qemu'] == 'ours' else None

    def __str__(self):
        """One cell of the table."""
        counted = '' if self.counted is None else f', {self.counted // MIB} counted'
        return f'{self.freed // MIB} MiB freed{counted}'


def report_gain(row, stock, ours):
    """Report a row: as much as stock frees, and the counters tell what."""
    # The guest and QEMU themselves use, and leave, some memory meanwhile.
    slack = BALLOON // 16
    row.report(must='>= stock, and as many counted', stock=str(stock), ours=str(ours),
               green=ours.freed >= stock.freed - slack and
               abs(ours.counted - max(ours.freed, 0)) <= slack)


@pytest.mark.parametrize('backend, lock', [
    ('anon', 'on'), ('anon', 'on-fault'), ('anon-shared', 'on'), ('memfd', 'on'),
    ('memfd', 'on-fault'), ('memfd-private', 'on'), ('tmpfs', 'on')])
def test_f16_locked(row, request, backend, lock):
    """QEMU's memory is locked: what stock can free of it, ours frees."""
    options = {'backend': backend, 'args': ('-overcommit', f'mem-lock={lock}')}
    report_gain(row, Gain(request, STOCK, **options), Gain(request, OURS, **options))


def gain_beside_file(request, pair, file_node, path):
    """What one node of two gives to the host, in % of what the balloon has of it."""
    # file_node  the other node, whose memory is a file that cannot be changed
    names = ['anon', 'anon']
    names[file_node] = f'tmpfs-private,mem-path={path},readonly=on,rom=off'
    with trial(request, pair, memory=2 * MEMORY, nodes=2,
               backend='+'.join(names)) as guest:
        fill(guest)
        before = guest.resident('Anonymous')
        guest.balloon_to(MEMORY * 3 // 4)
        freed = before - guest.resident('Anonymous')
        node = guest.read(f'/sys/devices/system/node/node{1 - file_node}/meminfo')
        return freed * 100 // (int(re.search(r'Balloon: +(\d+)', node)[1]) * 1024)


@pytest.mark.parametrize('file_node', [0, 1])
def test_f16_one_node_refuses(row, request, file_node):
    """Memory of one NUMA node cannot be discarded: that of the other is."""
    with template('tmpfs') as file:
        stock, ours = (gain_beside_file(request, pair, file_node, file.path)
                       for pair in (STOCK, OURS))
    row.report(must='>= 95 % of the other node', stock=f'{stock} %', ours=f'{ours} %',
               green=ours >= 95)


# What a cgroup leaves to QEMU beside what it uses.
SPARE = 64 * MIB


def inflate_in_cgroup(request, pair):
    """Inflate a guest that has not touched its memory; how it ends."""
    with trial(request, pair, memory=GIB, cgroup=2 * GIB,
               append='init_on_alloc=1') as guest:
        cgroup.make(guest.name, guest.resident() + SPARE)
        return outcome(guest, lambda: guest.balloon_to(SMALL),
                       lambda: guest.balloon_to(GIB))


def test_f16_cgroup(row, request):
    """A memory cgroup that has little to spare lets memory be given away."""
    stock, ours = (inflate_in_cgroup(request, pair) for pair in (STOCK, OURS))
    row.report(must='alive', stock=stock, ours=ours, green=ours == 'alive')
