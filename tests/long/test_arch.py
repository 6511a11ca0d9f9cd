# SPDX-License-Identifier: GPL-2.0-or-later
"""The core in guests of other architectures: run by `make test-arch`.

A page of arm64-64k is 16 frames of the protocol. s390x is big-endian, what goes over the
queues is not. i386 has highmem, which the kernel must map to read or write it.
"""

import pytest

from harness.arch import ARCHES, OTHERS
from harness.disk import disk_image, disks
from harness.vm import GIB, MIB, PAGE
from harness.workloads import pieces
from tests.support.journey import CASES, Journey
from tests.support.protocol import BITS, OVERSHOOT, SYNC, cancel
from tests.support.accounts import (FORMATS, check_inhibited, check_totals, exact_at,
                                    in_balloon, inflate_fragmented, touch_all)

pytestmark = [pytest.mark.arch, pytest.mark.parametrize(
    'arch', [arch.name for arch in OTHERS])]


def highmem(guest):
    """Return how much of the guest's memory is highmem and not in the balloon."""
    return guest.meminfo().get('HighTotal', 0)


@FORMATS
def test_targets(boot, arch, page_bitmap):
    """Guest, QEMU and device agree on every target, to the page."""
    guest = boot(load=False, arch=arch, memory=GIB, page_bitmap=page_bitmap)
    page = guest.arch.page
    assert f'KernelPageSize: {page >> 10:8} kB' in guest.read('/proc/self/smaps')
    guest.load_balloon()
    assert guest.negotiated(BITS['page_bitmap']) == page_bitmap
    high = highmem(guest)
    assert (high > 0) == (arch == 'i386')
    guest.balloon_to(512 * MIB)
    # It is taken first.
    assert highmem(guest) <= high / 2
    # A message for each MiB, or more to one.
    assert (guest.counters()['inflate-messages'] < 64) == page_bitmap
    for target in (512, 768, 450, 451, 1023, 1024):
        exact_at(guest, target * MIB)
    # The balloon takes whole pages of the guest.
    taken = -(-77 * PAGE // page) * page
    guest.set_target(GIB - 77 * PAGE)
    guest.wait_for(lambda: guest.actual() == GIB - taken, 'rounded')
    assert check_totals(guest) == taken
    guest.unload_balloon()
    assert guest.meminfo()['MemTotal'] == guest.total
    assert highmem(guest) == high
    assert in_balloon(guest.counters()) == 0


@FORMATS
def test_content(boot, arch, page_bitmap):
    """The host gets the memory that the guest gave, and no memory of a program."""
    guest = boot(arch=arch, memory=GIB, page_bitmap=page_bitmap)
    touch_all(guest)
    before = guest.resident()
    guest.balloon_to(512 * MIB)
    assert before - guest.resident() == pytest.approx(512 * MIB, rel=0.05)
    guest.balloon_to(GIB)
    with guest.background('pattern 256'):
        for _ in range(5):
            guest.balloon_to(640 * MIB)
            guest.balloon_to(900 * MIB)
    assert 'pages checked' in guest.said('pattern')
    # Memory that was in the balloon keeps data that is written to it.
    with guest.background('pattern 500'):
        guest.balloon_to(960 * MIB)


@FORMATS
def test_fragmented(boot, arch, page_bitmap):
    """The balloon takes memory in pieces, which bitmaps name, and no page in between."""
    # Five pages of six, so that no word of a bitmap reads the same backwards.
    kib = ARCHES[arch].page >> 10
    guest = boot(arch=arch, memory=GIB, page_bitmap=page_bitmap)
    counters = inflate_fragmented(guest, 450 * MIB, f'-k {kib} -f {5 * kib} 640')
    if page_bitmap:
        # Runs would take 8 bytes for each contiguous piece.
        assert counters['inflate-bytes'] < 8 * counters['discards']


def test_inhibited(boot, arch):
    """The driver understands a status other than 0."""
    check_inhibited(boot(arch=arch, memory=GIB, page_bitmap=True), spare=700 * MIB)


def test_requests(boot, arch):
    """The guest names its free pages; it understands all requests."""
    guest = boot(arch=arch, memory=GIB, host_request=True, append=SYNC,
                 args=disks(disk_image(128 * MIB)))
    assert guest.negotiated(BITS['host_request'])
    data = guest.request('unused-pages')
    assert data['status'] == 'done'
    assert data['bytes'] == pytest.approx(guest.meminfo()['MemFree'], rel=0.05)
    assert data['largest'] >= 4 * MIB
    with pieces(guest, 640):
        data = guest.request('unused-pages')
        assert data['bytes'] == pytest.approx(guest.meminfo()['MemFree'], rel=0.05)
        assert data['ranges'] > 1500
        assert any(cancel(guest, 'unused-pages') == 'cancelled' for _ in range(50))
    guest.run('mkdir /tmp/disk && mount -t ext4 -o ro /dev/vda /tmp/disk '
              '&& cat /tmp/disk/file > /dev/null')
    data = guest.request('reclaim', size=64 * MIB)
    assert data['status'] == 'done'
    assert 64 * MIB <= data['bytes'] <= 64 * MIB + OVERSHOOT
    assert guest.request('sync')['status'] == 'done'


@pytest.mark.parametrize('case', (2, 5), ids=lambda n: CASES[n].__name__)
def test_migration(arch, case, tmp_path):
    """Freed and ballooned memory is not sent; every page that is used, is."""
    # churn writes little: pages written during the migration are sent again. A program has
    # freed 800 of 1536 MiB.
    with Journey(case, 1, tmp_path, churn=256, rate=1, arch=arch) as journey:
        assert journey.go()['ram']['transferred'] < 900 * MIB
        assert journey.guest.request('unused-pages')['status'] == 'done'
        for target in (900 * MIB, journey.guest.memory):
            journey.guest.balloon_to(target)
            journey.check()
