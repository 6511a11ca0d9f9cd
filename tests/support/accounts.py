# SPDX-License-Identifier: GPL-2.0-or-later
"""The size of a balloon as guest, QEMU and host see it; guests in a known state."""

import re

import pytest

from harness.vm import GIB, MIB, PAGE, GuestTimeout
from harness.workloads import pieces, touch_all

FORMATS = pytest.mark.parametrize('page_bitmap', [True, False],
                                  ids=['packed', 'legacy'])
# For what takes the legacy format a minute.
LEGACY_LATER = pytest.mark.parametrize(
    'page_bitmap', [True, pytest.param(False, marks=pytest.mark.long)],
    ids=['packed', 'legacy'])


def in_balloon(counters):
    """Return how many 4 KiB pages the device has been sent and not given back."""
    return counters['inflate-pages'] - counters['deflate-pages']


def sizes(guest):
    """Return the balloon's size as QEMU, guest and device see it, in bytes."""
    balloon = guest.vmstat()['nr_balloon_pages'] * guest.arch.page
    gone = guest.total - guest.meminfo()['MemTotal']
    # Memory that may come back on OOM stays in MemTotal.
    if guest.get('deflate-on-oom'):
        gone += balloon
    seen = [guest.memory - guest.actual(), balloon, gone]
    if guest.shape.qemu == 'ours':
        seen.append(in_balloon(guest.counters()) * PAGE)
    return seen


def check_totals(guest):
    """Check that all agree on the size of a balloon at rest; return it."""
    # Compaction may be running: while a page moves, the device knows of the old page and
    # of the new one. So poll until both counts agree.
    seen = []

    def agree():
        seen[:] = sizes(guest)
        return len(set(seen)) == 1
    try:
        guest.wait_for(agree, 'accounts that agree')
    except GuestTimeout as error:
        raise AssertionError(f'{seen}: {error}') from None
    zones = re.findall(r'^ +managed +(\d+)', guest.read('/proc/zoneinfo'), re.M)
    assert sum(map(int, zones)) * guest.arch.page == guest.meminfo()['MemTotal']
    if guest.shape.qemu == 'ours':
        assert guest.counters()['rejected-messages'] == 0
    return seen[0]


def exact_at(guest, target):
    """Go to a target, where all agree on the size of the balloon."""
    guest.balloon_to(target)
    assert check_totals(guest) == guest.memory - target


# Takes a megabyte of a stream a second: a background snapshot heeds no max-bandwidth.
SLOW_READER = ('exec:while [ $(dd bs=64k count=1 | wc -c) -gt 0 ]; do sleep 0.05; done '
               '2> /dev/null')


def check_inhibited(guest, spare=96 * MIB):
    """While a background snapshot runs, pages are counted but not freed."""
    touch_all(guest, spare)
    guest.set_up_migration(['background-snapshot'])
    guest.qmp('migrate', uri=SLOW_READER)
    assert guest.migration_becomes('active') == 'active'
    before = guest.counters()
    guest.balloon_to(512 * MIB)
    after = guest.counters()
    assert guest.migration()['status'] == 'active'
    assert after['discards'] == before['discards']
    assert in_balloon(after) * PAGE == 512 * MIB
    assert after['rejected-messages'] == 0
    assert guest.cancel_migration()
    # No retry, no complaint; and it works again.
    guest.balloon_to(GIB)
    guest.balloon_to(512 * MIB)
    assert guest.counters()['discards'] > after['discards']
    assert not [l for l in guest.log_lines() if 'answered with status' in l]


def inflate_fragmented(guest, target, how='800'):
    """Inflate and deflate a guest without large blocks; return the counters between."""
    # The pieces stay where they are.
    guest.run('echo 0 > /proc/sys/vm/compact_unevictable_allowed')
    with pieces(guest, f'-l {how}'):
        exact_at(guest, target)
        counters = guest.counters()
    exact_at(guest, GIB)
    return counters


def gone(guest):
    """Count the pages of the balloon that have moved, or were given back."""
    counted = guest.vmstat()
    return sum(counted.get(name, 0) for name in ('balloon_migrate', 'balloon_deflate'))
