# SPDX-License-Identifier: GPL-2.0-or-later
"""F4: a guest with an inflated balloon that migrates again, loads, or is restored.

Judged by what QEMU looks at and sends, and by what both hosts hold: the time follows
from these, and a busy host cannot fail the test. What counts as one time is compared
with the first hop, when the device has seen the balloon being inflated.
"""

import pytest

from harness.vm import MIB, PAGE, Guest
from harness.vm.migration import Trip
from tests.support.accounts import touch_all
from tests.support.pairs import PAIRS
from tests.support.trial import held_at_most

# (memory, what the balloon leaves) of a guest. Two guests of the second kind have room
# in the pool of the fixture huge_pages, whatever each of them holds.
SIZES, HUGE_SIZES = (2048 * MIB, 600 * MIB), (768 * MIB, 300 * MIB)
# What may differ without a reason that counts: 16 MiB.
SLACK = 16 * MIB
# Within how many seconds the host has its memory back once a snapshot has been loaded.
GIVEN_BACK = 10


def inflate(guest, left):
    """Have the balloon take away memory that has been written to."""
    guest.balloon_to(guest.memory)
    touch_all(guest)
    guest.balloon_to(left)


def start(pair, backend, sizes):
    """A Trip of a guest with a backend for its memory."""
    return Trip(Guest(memory=sizes[0], backend=backend, **PAIRS[pair]))


def show(hops):
    """What is told of some hops, each after the first beside it."""
    def line(values, scale=1):
        return '/'.join(f'{value / scale:.0f}' for value in values)
    return (f"{line([hop.info['total-time'] for hop in hops])} ms, "
            f'{line([hop.pages for hop in hops], 1000)} thousand pages looked at, '
            f"{line([hop.info['ram']['transferred'] for hop in hops], MIB)} MiB sent, "
            f'{line([hop.source for hop in hops], MIB)} MiB at the source, '
            f'{line([hop.target for hop in hops], MIB)} at the target')


def as_good(first, later):
    """Whether some hops are as good as another."""
    def sizes(hop):
        return (hop.pages * PAGE, hop.info['ram']['transferred'],
                hop.source, hop.target)
    return all(there <= 1.2 * here + SLACK for hop in later
               for here, there in zip(sizes(first), sizes(hop)))


def ballooned_hops(pair, backend, sizes):
    """Three hops of a guest whose balloon is inflated before the first."""
    with start(pair, backend, sizes) as trip:
        trip.guest.load_balloon()
        inflate(trip.guest, sizes[1])
        return [trip.go() for _ in range(3)]


def check_hops(row, backend, sizes):
    """Measure and report three hops with both pairs."""
    hops = {pair: ballooned_hops(pair, backend, sizes) for pair in PAIRS}
    row.report(must='hops 2 and 3 <= 1.2 x hop 1: pages, bytes, memory of both hosts',
               stock=show(hops['stock']), ours=show(hops['ours']),
               green=as_good(hops['ours'][0], hops['ours'][1:]))


@pytest.mark.parametrize('backend', ['anon', 'memfd', 'memfd-private', 'tmpfs'])
def test_f04_hops(row, backend):
    """Hop after hop."""
    check_hops(row, backend, SIZES)


@pytest.mark.usefixtures('huge_pages')
def test_f04_hops_hugetlb(row):
    """Hop after hop in huge pages, of which there are enough."""
    check_hops(row, 'hugetlb', HUGE_SIZES)


def over_running_guest(pair, backend, folder):
    """Load a snapshot of an inflated guest over one that has used all its memory."""
    # Return (bytes held when it was saved, and after loading; hop before, hop after)
    memory, left = SIZES
    with start(pair, backend, SIZES) as trip:
        trip.guest.load_balloon()
        inflate(trip.guest, left)
        first, guest = trip.go(), trip.guest
        inflate(guest, left)
        guest.add_snapshot_disk(folder / f'{pair}.qcow2')
        before = guest.held()
        guest.save_snapshot()
        guest.balloon_to(memory)
        touch_all(guest)
        guest.load_snapshot()
        assert guest.actual() == left
        after = held_at_most(guest, before * 1.2 + SLACK, GIVEN_BACK)
        return before, after, first, trip.go()


@pytest.mark.parametrize('backend', ['anon', 'memfd'])
def test_f04_snapshot(row, backend, tmp_path):
    """The host has memory back, and the next hop is as good as one before."""
    text = {}
    for pair in PAIRS:
        before, after, *hops = over_running_guest(pair, backend, tmp_path)
        text[pair] = (f'{before // MIB} MiB held when saved, {after // MIB} after '
                      f'loading; hops before/after: {show(hops)}')
    row.report(must=f'host has memory back within {GIVEN_BACK} s, and the next hop '
                    '<= 1.2 x one before', **text,
               green=after <= before * 1.2 + SLACK and as_good(hops[0], hops[1:]))


def restored(pair, backend, folder):
    """Save an inflated guest to a file and restore it, between two hops."""
    # Return (bytes held when it was saved, and once restored; hop before, hop after).
    # It is stopped when it is saved, so it keeps unused memory that a hop leaves out.
    left = SIZES[1]
    with start(pair, backend, SIZES) as trip:
        trip.guest.load_balloon()
        inflate(trip.guest, left)
        first = trip.go()
        inflate(trip.guest, left)
        before = trip.guest.held()
        trip.save_and_restore(folder / 'saved')
        after = trip.guest.held()
        assert trip.guest.actual() == left
        return before, after, first, trip.go()


@pytest.mark.parametrize('backend', ['anon', 'memfd'])
def test_f04_restore(row, backend, tmp_path):
    """A guest that was restored from a file is as good as one that was not."""
    text = {}
    for pair in PAIRS:
        before, after, *hops = restored(pair, backend, tmp_path)
        text[pair] = (f'{before // MIB} MiB held when saved, {after // MIB} once '
                      f'restored; hops before/after: {show(hops)}')
    row.report(must='held <= 1.2 x when it was saved; next hop <= 1.2 x hop 1', **text,
               green=after <= before * 1.2 + SLACK and as_good(hops[0], hops[1:]))
