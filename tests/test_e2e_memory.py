# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that goes and comes: what guest, QEMU and host say of it."""

import re

import pytest

from harness.vm import GIB, MIB, PAGE, Guest, GuestTimeout

FORMATS = pytest.mark.parametrize('page_bitmap', [True, False],
                                  ids=['packed', 'legacy'])
# For what takes the legacy format a minute.
LEGACY_LATER = pytest.mark.parametrize(
    'page_bitmap', [True, pytest.param(False, marks=pytest.mark.long)],
    ids=['packed', 'legacy'])


def in_balloon(counters):
    """4 KiB pages that the device has been told of and not been given back."""
    return counters['inflate-pages'] - counters['deflate-pages']


def sizes(guest, without):
    """The balloon's size as QEMU, guest and device see it, in bytes.

    without: the guest's MemTotal with an empty balloon
    """
    balloon = guest.vmstat()['nr_balloon_pages'] * guest.arch.page
    gone = without - guest.meminfo()['MemTotal']
    # What may come back on OOM stays in MemTotal.
    if guest.get('deflate-on-oom'):
        gone += balloon
    seen = [guest.memory - guest.actual(), balloon, gone]
    if guest.qemu_name == 'ours':
        seen.append(in_balloon(guest.counters()) * PAGE)
    return seen


def check_totals(guest, without):
    """All agree on the size of a balloon at rest; return it.

    Compaction may be at work on its own: while a page moves, the device knows
    of the old one and the new one. So look until they agree.
    """
    seen = []

    def agree():
        seen[:] = sizes(guest, without)
        return len(set(seen)) == 1
    try:
        guest.wait_for(agree, 'accounts that agree', 10)
    except GuestTimeout as error:
        raise AssertionError(f'{seen}: {error}') from None
    zones = re.findall(r'^ +managed +(\d+)', guest.read('/proc/zoneinfo'), re.M)
    assert sum(map(int, zones)) * guest.arch.page == \
        guest.meminfo()['MemTotal']
    if guest.qemu_name == 'ours':
        assert guest.counters()['rejected-messages'] == 0
    return seen[0]


def touch_all(guest, spare=96 * MIB):
    """Have a program write to nearly all free memory, and end."""
    free = guest.meminfo()['MemFree']
    guest.run(f'memfill {(free - spare) // MIB}', timeout=120)


def fragmented(guest, how='800'):
    """A context in which free memory of a guest of 1 GiB lies in pieces."""
    return guest.background(f'fragment {how} > /tmp/out', timeout=120,
                            ready='grep -q fragmented /tmp/out')


@FORMATS
def test_targets(page_bitmap):
    """Inflate and deflate to several targets: exact in the guest and in QEMU."""
    with Guest(memory=GIB, page_bitmap=page_bitmap) as guest:
        guest.load_balloon()
        assert guest.negotiated(9) == page_bitmap
        total = guest.meminfo()['MemTotal']
        for target in (512, 768, 256, 1024, 300, 301, 1023, 200, 1024):
            guest.balloon_to(target * MIB)
            assert check_totals(guest, total) == GIB - target * MIB
        # Not a multiple of any block, down to the page.
        guest.balloon_to(GIB - 77 * PAGE)
        check_totals(guest, total)
        guest.balloon_to(GIB)
        assert check_totals(guest, total) == 0


@FORMATS
@pytest.mark.parametrize('backend', ['anon', 'memfd'])
def test_resident_memory(page_bitmap, backend):
    """The host gets back what the guest gave, within 5 %."""
    with Guest(memory=2 * GIB, backend=backend,
               page_bitmap=page_bitmap) as guest:
        guest.load_balloon()
        touch_all(guest)
        before = guest.resident()
        guest.balloon_to(GIB)
        taken = before - guest.resident()
        assert taken == pytest.approx(GIB, rel=0.05)
        # It comes back when the guest uses it again (a bit less: the program
        # leaves the guest some air, each time elsewhere).
        guest.balloon_to(2 * GIB)
        touch_all(guest)
        assert guest.resident() == pytest.approx(before, rel=0.1)


def test_hugetlb(huge_pages):
    """Huge host pages come back when all of one is in the balloon.

    Also those of which one message names a part and a later one the rest.
    """
    def free():
        return int(huge_pages.read_text(encoding='ascii'))

    with Guest(memory=GIB, backend='hugetlb', page_bitmap=True) as guest:
        guest.load_balloon()
        touch_all(guest)
        before = free()
        guest.balloon_to(512 * MIB)
        taken = free() - before
        assert taken == pytest.approx(256, rel=0.05)
        # 1 MiB at a time: no message can hold a whole huge page.
        for target in range(511, 383, -1):
            guest.balloon_to(target * MIB)
        assert free() - before == pytest.approx(320, rel=0.07)
        guest.balloon_to(GIB)
        touch_all(guest)
        assert free() == pytest.approx(before, abs=32)
        guest.balloon_to(512 * MIB)
        assert free() - before == pytest.approx(256, rel=0.1)


@LEGACY_LATER
def test_pattern(page_bitmap):
    """What a program owns never changes while the balloon moves 50 times."""
    with Guest(memory=GIB, page_bitmap=page_bitmap) as guest:
        guest.load_balloon()
        with guest.background('pattern 256 > /tmp/out',
                              ready='grep -q filled /tmp/out', timeout=240):
            for _ in range(50):
                guest.balloon_to(420 * MIB)
                guest.balloon_to(900 * MIB)
        assert 'pages checked' in guest.read('/tmp/out')


@LEGACY_LATER
@pytest.mark.parametrize('append', ['init_on_alloc=1', 'init_on_free=1',
                                    'page_poison=1'])
def test_initialised_memory(append, page_bitmap):
    """The same where pages are written to when they are taken or freed.

    With page_poison=1 the guest checks, when it takes a page, that what it wrote
    when it freed it is still there.
    """
    with Guest(memory=GIB, page_bitmap=page_bitmap, append=append) as guest:
        guest.load_balloon()
        total = guest.meminfo()['MemTotal']
        with guest.background('pattern 256 > /tmp/out',
                              ready='grep -q filled /tmp/out', timeout=240):
            for _ in range(5):
                guest.balloon_to(420 * MIB)
                guest.balloon_to(900 * MIB)
            assert check_totals(guest, total) == GIB - 900 * MIB
        assert 'pages checked' in guest.read('/tmp/out')


@FORMATS
def test_content_after_deflate(page_bitmap):
    """Memory that was in the balloon holds what is written to it afterwards."""
    with Guest(memory=GIB, page_bitmap=page_bitmap) as guest:
        guest.load_balloon()
        for _ in range(3):
            guest.balloon_to(256 * MIB)
            guest.balloon_to(GIB)
            with guest.background('pattern 700 > /tmp/out', timeout=240,
                                  ready='grep -q filled /tmp/out'):
                guest.balloon_to(900 * MIB)


def inflate_fragmented(target, how='800', **options):
    """Inflate and deflate a guest without large blocks; return the counters between."""
    with Guest(memory=GIB, **options) as guest:
        guest.load_balloon()
        total = guest.meminfo()['MemTotal']
        # The pieces stay where they are.
        guest.run('echo 0 > /proc/sys/vm/compact_unevictable_allowed')
        with fragmented(guest, f'-l {how}'):
            guest.balloon_to(target)
            check_totals(guest, total)
            counters = guest.counters()
        guest.balloon_to(GIB)
        assert check_totals(guest, total) == 0
        return counters


@FORMATS
def test_fragmented(page_bitmap):
    """A guest without large blocks gives what it has, page by page."""
    counters = inflate_fragmented(500 * MIB, page_bitmap=page_bitmap)
    if page_bitmap:
        # Fewer bytes than the legacy format would have needed.
        assert counters['inflate-bytes'] < 4 * counters['inflate-pages']


# Takes a megabyte of a stream a second: a background snapshot heeds no max-bandwidth.
SLOW_READER = ('exec:while [ $(dd bs=64k count=1 | wc -c) -gt 0 ]; do sleep 0.05; done '
               '2> /dev/null')


def check_inhibited(spare=96 * MIB, **options):
    """While a background snapshot runs, pages are counted but not freed."""
    with Guest(memory=GIB, page_bitmap=True, **options) as guest:
        guest.load_balloon()
        touch_all(guest, spare)
        guest.qmp('migrate-set-capabilities', capabilities=[
            {'capability': 'background-snapshot', 'state': True}])
        guest.qmp('migrate', uri=SLOW_READER)
        guest.wait_for(
            lambda: guest.qmp('query-migrate').get('status') == 'active',
            'background snapshot under way')
        before = guest.counters()
        guest.balloon_to(512 * MIB)
        after = guest.counters()
        assert guest.qmp('query-migrate')['status'] == 'active'
        assert after['discards'] == before['discards']
        assert in_balloon(after) * PAGE == 512 * MIB
        assert after['rejected-messages'] == 0
        guest.qmp('migrate_cancel')
        guest.wait_for(
            lambda: guest.qmp('query-migrate')['status'] == 'cancelled',
            'background snapshot cancelled')
        # No retry, no complaint; and it works again.
        guest.balloon_to(GIB)
        guest.balloon_to(512 * MIB)
        assert guest.counters()['discards'] > after['discards']
        assert not [l for l in guest.log_lines() if 'answered with status' in l]


def test_background_snapshot_inhibits_discard():
    """A status that is neither success nor a complaint."""
    check_inhibited()
