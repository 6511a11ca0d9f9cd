# SPDX-License-Identifier: GPL-2.0-or-later
"""F4: with each capability that operators use, all of a guest arrives.

These were found in order. A program with a pattern in its memory notices what does
not arrive; the balloon is inflated before and deflated after, onto new memory.
"""

import pytest

from harness.vm import MIB, Guest
from harness.vm.migration import Trip
from tests.support.accounts import touch_all
from tests.support.pairs import PAIRS


def live(**options):
    """A function that takes a trip further by a live migration."""
    def go(trip, _folder):
        return trip.go(**options).info
    return go


def file(**options):
    """A function that takes a trip further by way of a file, saved while it runs."""
    def go(trip, folder):
        return trip.save_and_restore(folder / 'saved', stop=False, **options)
    return go


WAYS = {
    'multifd': live(capabilities=['multifd'], multifd_channels=4),
    # What the program writes passes within the downtime, compressed or not.
    'xbzrle': live(capabilities=['xbzrle'], bandwidth=64 * MIB, downtime=3000),
    # The program writes more than this passes: its CPUs are slowed down.
    'auto-converge': live(capabilities=['auto-converge'], bandwidth=32 * MIB,
                          downtime=100),
    'tls': live(tls=True, downtime=3000),
    'tls-multifd': live(tls=True, capabilities=['multifd'], downtime=3000),
    'file': file(),
    'exec': file(uri='exec:cat > {}', restore_uri='exec:cat {}'),
    'mapped-ram': file(capabilities=['mapped-ram']),
    'mapped-ram-multifd': file(capabilities=['mapped-ram', 'multifd'],
                               multifd_channels=4),
}


def intact(guest, pattern):
    """End a program that looks after its memory: it has lost none of it."""
    pattern.end(check=False)
    assert pattern.status == 0, guest.said('pattern')


def arrive(pair, way, folder):
    """Take a guest two hops further; return QEMU's figures of the first."""
    with Trip(Guest(memory=512 * MIB, **PAIRS[pair])) as trip:
        trip.guest.load_balloon()
        touch_all(trip.guest)
        pattern = trip.guest.start('pattern 80')
        trip.guest.balloon_to(260 * MIB)
        first = way(trip, folder)
        intact(trip.guest, pattern)
        # Pages that were ballooned at the first hop hold a pattern at the second.
        trip.guest.balloon_to(trip.guest.memory)
        pattern = trip.guest.start('pattern 250')
        way(trip, folder)
        intact(trip.guest, pattern)
        return first


@pytest.mark.parametrize('way', WAYS)
def test_f04_content(row, way, tmp_path):
    """Each page of a guest with an inflated balloon is right after two hops."""
    sent = {pair: arrive(pair, WAYS[way], tmp_path)['ram']['transferred']
            for pair in PAIRS}
    row.report(must='all pages right, no more sent than by stock',
               stock=f"{sent['stock'] // MIB} MiB sent",
               ours=f"{sent['ours'] // MIB} MiB sent",
               green=sent['ours'] <= sent['stock'] * 1.2 + 16 * MIB)
