# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that goes and comes, as guest, QEMU and host count it."""

import pytest

from harness.vm import GIB, MIB, PAGE
from tests.support.accounts import (FORMATS, LEGACY_LATER, check_inhibited,
                                    check_totals, exact_at, inflate_fragmented,
                                    touch_all)
from tests.support.hugepages import free


@FORMATS
def test_targets(boot, page_bitmap):
    """Inflate and deflate to several targets: exact in the guest and in QEMU."""
    guest = boot(memory=GIB, page_bitmap=page_bitmap)
    assert guest.negotiated(9) == page_bitmap
    for target in (512, 768, 256, 1024, 300, 301, 1023, 200, 1024):
        exact_at(guest, target * MIB)
    # Not a multiple of any block, down to the page.
    exact_at(guest, GIB - 77 * PAGE)
    exact_at(guest, GIB)


@LEGACY_LATER
@pytest.mark.parametrize('backend', ['anon', 'memfd'])
def test_resident_memory(boot, page_bitmap, backend):
    """The host gets back the memory that the guest gave, within 5 %."""
    guest = boot(memory=2 * GIB, backend=backend, page_bitmap=page_bitmap)
    touch_all(guest)
    before = guest.resident()
    guest.balloon_to(GIB)
    assert before - guest.resident() == pytest.approx(GIB, rel=0.05)
    # It comes back when the guest uses it again, apart from a rest that stays free.
    guest.balloon_to(2 * GIB)
    touch_all(guest)
    assert guest.resident() == pytest.approx(before, rel=0.1)


@pytest.mark.usefixtures('huge_pages')
def test_hugetlb(boot):
    """Huge host pages come back when all of one is in the balloon."""
    # Also a huge page of which one message names a part and a later one the rest.
    guest = boot(memory=GIB, backend='hugetlb', page_bitmap=True)
    touch_all(guest)
    before = free()
    guest.balloon_to(512 * MIB)
    assert free() - before == pytest.approx(256, rel=0.05)
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
def test_pattern(boot, page_bitmap):
    """A program's memory never changes while the balloon moves 20 times."""
    guest = boot(memory=GIB, page_bitmap=page_bitmap)
    with guest.background('pattern 256'):
        for _ in range(20):
            guest.balloon_to(420 * MIB)
            guest.balloon_to(900 * MIB)
    assert 'pages checked' in guest.said('pattern')


@LEGACY_LATER
@pytest.mark.parametrize('append', ['init_on_alloc=0', 'init_on_free=1',
                                    'page_poison=1'])
def test_initialised_memory(boot, append, page_bitmap):
    """The same where pages are not written to when they are taken, or when freed."""
    # With page_poison=1 the guest checks, when it takes a page, that the pattern
    # written when it was freed is still there.
    guest = boot(memory=GIB, page_bitmap=page_bitmap, append=append)
    with guest.background('pattern 256'):
        for _ in range(5):
            guest.balloon_to(420 * MIB)
            guest.balloon_to(900 * MIB)
        assert check_totals(guest) == GIB - 900 * MIB
    assert 'pages checked' in guest.said('pattern')


@LEGACY_LATER
def test_content_after_deflate(boot, page_bitmap):
    """Memory that was in the balloon keeps data that is written to it afterwards."""
    guest = boot(memory=GIB, page_bitmap=page_bitmap)
    for _ in range(3):
        guest.balloon_to(256 * MIB)
        guest.balloon_to(GIB)
        with guest.background('pattern 700'):
            guest.balloon_to(900 * MIB)


@FORMATS
def test_fragmented(boot, page_bitmap):
    """A guest without large blocks gives its memory page by page."""
    guest = boot(memory=GIB, page_bitmap=page_bitmap)
    counters = inflate_fragmented(guest, 500 * MIB)
    if page_bitmap:
        # Fewer bytes than the legacy format would have needed.
        assert counters['inflate-bytes'] < 4 * counters['inflate-pages']


def test_background_snapshot_inhibits_discard(boot):
    """A status that is neither success nor a complaint."""
    # A page that the guest zeroes is first written to the snapshot, at 1 MB/s.
    check_inhibited(boot(memory=GIB, page_bitmap=True, append='init_on_alloc=0'))
