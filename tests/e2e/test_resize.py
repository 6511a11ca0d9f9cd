# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that goes and comes: what guest, QEMU and host say of it."""

import pytest

from harness.vm import GIB, MIB, PAGE, Guest
from tests.support.accounts import (FORMATS, LEGACY_LATER, check_inhibited,
                                    check_totals, inflate_fragmented, touch_all)

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


@FORMATS
def test_fragmented(page_bitmap):
    """A guest without large blocks gives what it has, page by page."""
    counters = inflate_fragmented(500 * MIB, page_bitmap=page_bitmap)
    if page_bitmap:
        # Fewer bytes than the legacy format would have needed.
        assert counters['inflate-bytes'] < 4 * counters['inflate-pages']


def test_background_snapshot_inhibits_discard():
    """A status that is neither success nor a complaint."""
    check_inhibited()
