# SPDX-License-Identifier: GPL-2.0-or-later
"""The balloon keeps blocks (packed format): whole, in parts, moved, and taken apart."""

import operator
import random
import re
import statistics

import pytest

from harness.vm import GIB, MIB, PAGE
from harness.workloads import pieces
from tests.support.accounts import (FORMATS, LEGACY_LATER, check_totals, exact_at,
                                    in_balloon)


def large_blocks(guest):
    """Free blocks of 4 MiB, in all zones."""
    return sum(map(int, re.findall(r'(\d+) *$', guest.read('/proc/buddyinfo'), re.M)))


def test_blocks_come_back_whole(boot):
    """Large free blocks come back as such, and messages name them in few words."""
    guest = boot(memory=2 * GIB, page_bitmap=True)
    guest.run('echo 3 > /proc/sys/vm/drop_caches')
    before, counters = large_blocks(guest), guest.counters()
    for _ in range(5):
        exact_at(guest, 512 * MIB)
        assert large_blocks(guest) < before - 300
        exact_at(guest, 2 * GIB)
    # Pieces that are free go first, and do not all come back to where they were.
    assert large_blocks(guest) >= 0.98 * before
    after = guest.counters()
    for way in ('inflate', 'deflate'):
        pages = after[f'{way}-pages'] - counters[f'{way}-pages']
        sent = after[f'{way}-bytes'] - counters[f'{way}-bytes']
        assert pages == 5 * 1536 * MIB // PAGE
        assert sent < pages / 100


@pytest.mark.long
@FORMATS
def test_sizes_around_block_borders(boot, page_bitmap):
    """Deflating and inflating by any size near that of a block is exact."""
    guest = boot(memory=512 * MIB, page_bitmap=page_bitmap)
    base = 300 * MIB
    guest.balloon_to(base)
    steps = {*range(1, 10)} | {(1 << order) + more for order in range(4, 12)
                               for more in (-1, 0, 1)}
    for pages in sorted(steps):
        exact_at(guest, base + pages * PAGE)
        exact_at(guest, base)
    # Down in odd steps, so that pieces of blocks are broken up further.
    for left in range(200 * 256, 0, -1777):
        exact_at(guest, 512 * MIB - left * PAGE)
    exact_at(guest, 512 * MIB)


def random_targets(guest, count, seed):
    """Go to targets at random, in pages; all accounts exact after each."""
    rnd = random.Random(seed)
    low, high = 150 * MIB // PAGE, guest.memory // PAGE
    target = high
    for _ in range(count):
        if rnd.random() < 0.3:
            target = rnd.randint(low, high)
        else:
            near = 1 << rnd.randint(0, 12)
            target = min(max(target + rnd.randint(-near, near), low), high)
        exact_at(guest, target * PAGE)


@FORMATS
def test_random_targets(boot, page_bitmap, seed):
    """Targets at random, with exact accounts after each."""
    guest = boot(memory=512 * MIB, page_bitmap=page_bitmap)
    random_targets(guest, 60 if page_bitmap else 15, seed)
    guest.balloon_to(512 * MIB)


@pytest.mark.long
def test_random_targets_long(boot, seed):
    """Ten thousand targets."""
    random_targets(boot(memory=512 * MIB, page_bitmap=True), 10000, seed)


@pytest.mark.long
@FORMATS
def test_filled_compacted_emptied(boot, page_bitmap):
    """Compaction takes blocks apart; the other pages are given back all the same."""
    # Huge pages are asked for while the balloon holds most of memory: that they
    # are got means that pages of the balloon have moved out of their way.
    guest = boot(memory=GIB, page_bitmap=page_bitmap)
    for _ in range(2):
        with pieces(guest, 800):
            guest.balloon_to(560 * MIB)
        before = guest.vmstat()
        free = guest.meminfo()['MemAvailable'] // (2 * MIB)
        guest.run('echo 1 > /proc/sys/vm/compact_memory')
        guest.run('echo 200 > /proc/sys/vm/nr_hugepages')
        got = guest.meminfo()['HugePages_Total']
        assert got > free // 3, f'{got} huge pages, {free} would fit'
        assert guest.vmstat()['balloon_migrate'] > before['balloon_migrate'] + 1000
        guest.run('echo 0 > /proc/sys/vm/nr_hugepages')
        assert check_totals(guest) == GIB - 560 * MIB
        exact_at(guest, 700 * MIB)
        exact_at(guest, GIB)


def boosts(guest):
    """By how many pages the allocator has raised the watermarks of each zone."""
    return list(map(int, re.findall(r'boost +(\d+)', guest.read('/proc/zoneinfo'))))


@LEGACY_LATER
@pytest.mark.parametrize('how,target', [('-l 640', 400), ('-l -k 4 -f 60 500', 300)])
def test_no_watermark_boosted(boot, how, target, page_bitmap):
    """No pageblock is claimed from others: less memory would be left for them."""
    # Where nothing can be reclaimed that means an OOM while there is enough.
    guest = boot(memory=GIB, page_bitmap=page_bitmap)
    # The pieces stay where they are.
    guest.run('echo 0 > /proc/sys/vm/compact_unevictable_allowed')
    with pieces(guest, how):
        before = boosts(guest)
        assert len(before) >= 2
        guest.balloon_to(target * MIB)
        # Making the pieces has raised the values; kswapd may lower them.
        assert all(map(operator.le, boosts(guest), before))
        assert guest.vmstat()['oom_kill'] == 0


@LEGACY_LATER
def test_balloon_moves_under_compaction(boot, page_bitmap):
    """Inflate and deflate while compaction never stops; nothing is lost."""
    guest = boot(memory=GIB, page_bitmap=page_bitmap)
    loop = ('while :; do echo 1 > /proc/sys/vm/compact_memory; '
            'echo 60 > /proc/sys/vm/nr_hugepages; '
            'echo 0 > /proc/sys/vm/nr_hugepages; done')
    with guest.background('pattern 100'):
        job = guest.spawn(f'trap "exit 0" TERM; {loop}')
        for step in range(20 if page_bitmap else 6):
            guest.balloon_to((300 + 7 * step % 50) * MIB)
            guest.balloon_to((600 + 3 * step) * MIB + step * PAGE)
        job.end(check=False)
        guest.run('echo 0 > /proc/sys/vm/nr_hugepages')
        check_totals(guest)
    # Whole pageblocks stay: the other pages move.
    assert guest.vmstat()['balloon_migrate'] > 100
    exact_at(guest, GIB)
    assert in_balloon(guest.counters()) == 0


@pytest.mark.long
@FORMATS
def test_offline_ballooned_memory(boot, page_bitmap):
    """Memory that is all balloon goes offline: its pages move elsewhere."""
    guest = boot(memory=2 * GIB, page_bitmap=page_bitmap, append='movablecore=1G')
    guest.balloon_to(900 * MIB)
    before = guest.vmstat()['balloon_migrate']
    gone = guest.run(
        'cd /sys/devices/system/memory; for block in memory*; do '
        'grep -q Movable $block/valid_zones || continue; '
        'echo offline > $block/state && echo $block; '
        '[ $(grep -l offline memory*/state | wc -l) -ge 2 ] && break; '
        'done', check=False).split()
    assert gone
    assert guest.vmstat()['balloon_migrate'] > before + 10000
    assert guest.actual() == 900 * MIB
    assert guest.vmstat()['nr_balloon_pages'] * PAGE == 1148 * MIB
    for block in gone:
        guest.run(f'echo online_movable > /sys/devices/system/memory/{block}/state')
    assert check_totals(guest) == 1148 * MIB
    exact_at(guest, 2 * GIB)


def huge_pages_got(boot, kernel):
    """2 MiB pages that a fragmented guest gets with half of it in the balloon."""
    guest = boot(memory=GIB, kernel=kernel, page_bitmap=True)
    with pieces(guest, 800):
        guest.balloon_to(560 * MIB)
    guest.run('echo 1 > /proc/sys/vm/compact_memory')
    guest.run('echo 230 > /proc/sys/vm/nr_hugepages')
    got = guest.meminfo()['HugePages_Total']
    boot.end(guest)
    return got


def blocks_offlined(boot, kernel):
    """Memory blocks, all of them in the balloon, of which each is tried once."""
    guest = boot(memory=2 * GIB, kernel=kernel, page_bitmap=True, append='movablecore=1G')
    guest.balloon_to(1100 * MIB)
    got = guest.run(
        'cd /sys/devices/system/memory; n=0; for block in memory*; do '
        'grep -q Movable $block/valid_zones || continue; '
        '[ $n = 6 ] && break; n=$((n+1)); '
        'echo offline > $block/state && echo $block is gone; '
        'done', check=False).count('is gone')
    boot.end(guest)
    return got


def cma_got(boot, kernel):
    """Return how many pages of 1 GiB come from 1 GiB of CMA that is in the balloon."""
    # Another page in the way may make the first attempts fail.
    guest = boot(memory=5 * GIB, kernel=kernel, page_bitmap=True, args=['-cpu', 'max'],
                 append='hugetlb_cma=1G')
    guest.balloon_to(1300 * MIB)
    assert guest.meminfo()['CmaTotal'] == GIB
    assert guest.meminfo()['CmaFree'] < 100 * MIB
    control = '/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages'
    got = 0
    for _ in range(3):
        guest.run(f'echo 1 > {control}')
        got = got or int(guest.read(control))
    assert guest.vmstat()['balloon_migrate'] * PAGE > 900 * MIB
    guest.run(f'echo 0 > {control}')
    if kernel == 'ours':
        assert check_totals(guest) == 5 * GIB - 1300 * MIB
        exact_at(guest, 5 * GIB)
    boot.end(guest)
    return got


def test_cma_and_ordinary_memory_shrink_alike(boot):
    """What an inflate leaves free is not mostly CMA, which the kernel cannot use."""
    # All but 16 MiB in one zone, and CMA in it.
    guest = boot(memory=3 * GIB, machine='pc', page_bitmap=True, args=['-cpu', 'max'],
                 append='hugetlb_cma=1G nokaslr')
    before = guest.meminfo()
    assert 900 * MIB < before['CmaFree'] < before['MemFree'] / 2
    guest.balloon_to(3 * GIB - before['MemFree'] + 900 * MIB)
    after = guest.meminfo()
    assert 100 * MIB < after['CmaFree'] < after['MemFree'] / 2 + 50 * MIB


@pytest.mark.long
@pytest.mark.parametrize('count', [huge_pages_got, blocks_offlined, cma_got],
                         ids=lambda count: count.__name__)
def test_no_worse_than_stock(boot, count):
    """Users of memory in the balloon get as much as with today's driver."""
    # Chance plays a part in what compaction finds, hence medians of three.
    got = [(count(boot, 'stock'), count(boot, 'ours')) for _ in range(3)]
    print('(stock, ours):', *got)
    stock, ours = map(statistics.median, zip(*got))
    assert ours > 0
    assert ours >= stock * 0.95


def test_oom_takes_parts_of_blocks(boot):
    """On OOM the balloon gives 1 MiB at a time, from blocks of 4 MiB."""
    guest = boot(memory=GIB, page_bitmap=True, deflate_on_oom=True)
    guest.balloon_to(200 * MIB)
    with guest.background('memfill -k 400'):
        assert guest.vmstat()['oom_kill'] == 0
        # A command may be what needs the next MiB.
        left = check_totals(guest)
        assert 0 < left < 700 * MIB
        assert left % MIB == 0


def test_unload_with_blocks_in_parts(boot):
    """Unloading gives everything back, whole blocks and pages that moved."""
    guest = boot(memory=GIB, page_bitmap=True)
    with pieces(guest, 800):
        guest.balloon_to(500 * MIB)
    guest.balloon_to(300 * MIB)
    guest.run('echo 1 > /proc/sys/vm/compact_memory')
    guest.unload_balloon()
    assert guest.meminfo()['MemTotal'] == guest.total
    assert guest.vmstat()['nr_balloon_pages'] == 0
    # All of it can be used: huge pages for most of memory.
    guest.run('echo 380 > /proc/sys/vm/nr_hugepages')
    assert guest.meminfo()['HugePages_Total'] > 300
