# SPDX-License-Identifier: GPL-2.0-or-later
"""F1: two guests whose balloons fight for a pool that has not enough for both."""

import random
from contextlib import ExitStack

import pytest

from harness.vm import MIB
from tests.support import hugepages
from tests.support.accounts import check_totals
from tests.support.pairs import OURS
from tests.support.trial import fill, trial

pytestmark = [pytest.mark.long, pytest.mark.xdist_group('huge pages')]

ROUNDS = 200
MEMORY = 512 * MIB
SIZES = [size * MIB for size in (256, 320, 384, 448, 512)]
# Enough for one guest at its largest and one at its smallest, and some that QEMU's zero
# pages of firmware and the end of a huge page keep.
POOL = (MEMORY + SIZES[0]) // hugepages.HUGE + 8


def rest(guests, targets):
    """Wait until each guest is at its target, or lacks huge pages."""
    def at_rest():
        return all(guest.actual() == target
                   or guest.get('inflate-state') == 'not-backed'
                   for guest, target in zip(guests, targets))
    guests[0].wait_for(at_rest, 'the balloons are at rest')


@pytest.mark.parametrize('backend', ['hugetlb', 'hugetlb-private', 'hugetlbfs'])
def test_fight(request, seed, backend):
    """In 200 rounds nobody dies, no data is lost, and the sums are right."""
    rng = random.Random(seed)
    short = 0
    with hugepages.pool(POOL), ExitStack() as stack:
        guests = [stack.enter_context(trial(request, OURS, memory=MEMORY,
                                            backend=backend)) for _ in range(2)]
        # The first shrinks before the second has touched its memory.
        for guest in guests:
            guest.balloon_to(SIZES[0])
        jobs = [guest.start('pattern 64') for guest in guests]
        for _ in range(ROUNDS):
            targets = [rng.choice(SIZES) for _ in guests]
            for guest, target in zip(guests, targets):
                guest.set_target(target)
            rest(guests, targets)
            short += any(guest.actual() != target
                         for guest, target in zip(guests, targets))
            for guest in guests:
                guest.check()
        for job in jobs:
            job.end()
        for guest in guests:
            assert 'pages checked' in guest.said('pattern')
        for one, other in (guests, guests[::-1]):
            one.balloon_to(SIZES[0])
            other.balloon_to(MEMORY)
            assert check_totals(one) == MEMORY - SIZES[0]
            assert check_totals(other) == 0
            fill(other)
    print(f'{short} of {ROUNDS} rounds lacked huge pages')
    assert short
