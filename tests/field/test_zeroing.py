# SPDX-License-Identifier: GPL-2.0-or-later
"""F8: kernels that zero what they allocate, as Debian's and Ubuntu's do by default.

A page that is zeroed only to be given away costs the guest's time, and the host a
page for as long as it takes until the page is discarded.
"""

import threading
from contextlib import ExitStack
from statistics import median

import pytest

from harness.vm import GIB, MIB, Guest
from tests.support.pairs import OURS, STOCK

# They compare times, and share what has been measured.
pytestmark = pytest.mark.alone

KINDS = {'stock': STOCK, 'packed': OURS, 'legacy': {'qemu': 'ours', 'kernel': 'ours'}}
ROUNDS = 3
# Of memory that nobody has touched.
MEMORY, LEFT = 4 * GIB, GIB
# The most that the host may have to find for memory that is given away.
PEAK = 32 * MIB
FORMATS = pytest.mark.parametrize('kind', ['packed', 'legacy'])


def inflate(guest):
    """Inflate; return by how many bytes QEMU was larger meanwhile than before."""
    sizes, ended = [guest.resident()], threading.Event()

    def sample():
        while not ended.wait(0.003):
            sizes.append(guest.resident())
    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        guest.balloon_to(LEFT)
    finally:
        ended.set()
        sampler.join()
    assert len(sizes) > 3, sizes
    return max(sizes) - sizes[0]


@pytest.fixture(name='measured', scope='module')
def fixture_measured():
    """{(kind, zeroing): (median of seconds, peak in bytes)} of guests in turn."""
    with ExitStack() as stack:
        guests, peaks = {}, {}
        for kind, pair in KINDS.items():
            for zeroing in (0, 1):
                guest = stack.enter_context(Guest(
                    memory=MEMORY, append=f'init_on_alloc={zeroing}',
                    name=f'zeroing-{kind}-{zeroing}', **pair))
                guest.load_balloon()
                # The first inflate is not timed: it is watched.
                peaks[kind, zeroing] = inflate(guest)
                guest.balloon_to(MEMORY)
                guest.pause()
                guests[kind, zeroing] = guest
        seconds = {key: [] for key in guests}
        for _ in range(ROUNDS):
            for key, guest in guests.items():
                guest.resume()
                seconds[key].append(guest.balloon_to(LEFT))
                guest.balloon_to(MEMORY)
                guest.pause()
        yield {key: (median(seconds[key]), peaks[key]) for key in guests}


@FORMATS
def test_f08_speed(row, measured, kind):
    """Zeroing does not make an inflate slower."""
    def ratio(name):
        without, zeroed = (measured[name, zeroing][0] for zeroing in (0, 1))
        return zeroed / without, f'{zeroed / without:.2f}: {without:.3f}, {zeroed:.3f} s'
    row.report(must='time with zeroing <= 1.2 x without', stock=ratio('stock')[1],
               ours=ratio(kind)[1], green=ratio(kind)[0] <= 1.2)


@FORMATS
def test_f08_peak(row, measured, kind):
    """The host needs no memory for pages that are given away."""
    def shown(name):
        return ', '.join(f'{measured[name, zeroing][1] / MIB:.0f}'
                         for zeroing in (0, 1))
    row.report(must='at most 32 MiB more (MiB without, with zeroing)',
               stock=shown('stock'), ours=shown(kind),
               green=max(measured[kind, zeroing][1] for zeroing in (0, 1)) <= PEAK)
