# SPDX-License-Identifier: GPL-2.0-or-later
"""F9: what the host gains from a guest with pieces and memory it never touched.

A program has written to part of memory, and gave three of every four 64 KiB of it
back. The host has only that to gain: the rest has never been touched. What counts
is by how much QEMU's resident memory has become less.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.vm import GIB, MIB, Guest
from harness.workloads import pieces
from tests.support.pairs import PAIRS

THP = Path('/sys/kernel/mm/transparent_hugepage/enabled')
# Of what stock gains.
LEAST = 0.9


@dataclass(frozen=True)
class Kind:
    """What is asked for, and of which guest.

    asked    MiB, or a share of what the guest has free
    how      arguments of guest/fragment.c, whose last is MiB
    thp      transparent huge pages of host and guest: always or never
    """
    asked: float
    memory: int = 2 * GIB
    how: str = '750'
    backend: str = 'anon'
    thp: str = None


KINDS = {'asked-1024': Kind(1024, 4 * GIB, '1500'),
         **{f'{share}%': Kind(share / 100) for share in (10, 25, 50, 75)},
         'memfd': Kind(0.25, backend='memfd'),
         'thp-always': Kind(0.25, thp='always'),
         'thp-never': Kind(0.25, thp='never')}
# Three of every four huge pages of the host are given back.
IN_HUGE_PAGES = {'asked': 0.25, 'memory': GIB, 'how': '-k 2048 -f 6144 500'}


@contextmanager
def host_thp(setting):
    """Transparent huge pages of the host as wanted, and then as before."""
    before = THP.read_text(encoding='ascii').split('[')[1].split(']')[0]
    THP.write_text(setting or before, encoding='ascii')
    try:
        yield
    finally:
        THP.write_text(before, encoding='ascii')


def backed(guest):
    """Bytes of the guest's memory that the host has memory for."""
    # Huge pages are no part of Rss, and of what only QEMU maps none is "shared".
    return sum(map(guest.resident, ('Rss', 'Shared_Hugetlb', 'Private_Hugetlb')))


def measure(name, kind):
    """(bytes asked for, bytes that the host gained)."""
    with Guest(memory=kind.memory, backend=kind.backend, **PAIRS[name],
               append=f'transparent_hugepage={kind.thp}' if kind.thp else '',
               name=f'host-gain-{name}') as guest:
        guest.load_balloon()
        with pieces(guest, kind.how):
            asked = kind.asked * MIB if kind.asked >= 1 else \
                int(kind.asked * guest.meminfo()['MemFree']) // MIB * MIB
            before = backed(guest)
            # What the program wrote to, for one.
            assert before >= int(kind.how.split()[-1]) * MIB, f'{before} bytes'
            guest.balloon_to(guest.memory - asked)
            return asked, before - backed(guest)


def report(row, found):
    """Report a row of {pair: (bytes asked for, bytes that the host gained)}."""
    shown = {pair: f'{gained / MIB:.0f} of {asked / MIB:.0f} MiB'
             for pair, (asked, gained) in found.items()}
    # Else there is nothing to compare.
    assert found['stock'][1] > found['stock'][0] / 4, shown
    row.report(must='host gains >= 0.9 of what stock gives', **shown,
               green=found['ours'][1] >= LEAST * found['stock'][1])


@pytest.mark.parametrize('name', KINDS)
def test_f09_gain(row, name):
    """The host gains what it gains from stock, whatever it asks for."""
    with host_thp(KINDS[name].thp):
        report(row, {pair: measure(pair, KINDS[name]) for pair in PAIRS})


@pytest.mark.usefixtures('huge_pages')
def test_f09_hugetlb(row):
    """With huge pages, too: stock, which frees none, is asked on small ones."""
    report(row, {pair: measure(pair, Kind(backend=backend, **IN_HUGE_PAGES))
                 for pair, backend in (('stock', 'memfd'), ('ours', 'hugetlb'))})
