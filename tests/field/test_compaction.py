# SPDX-License-Identifier: GPL-2.0-or-later
"""F13: others want memory that is in the balloon: compaction, CMA, offlining.

Compaction gains nothing by moving a whole pageblock of balloon elsewhere. Those who
need their range wait for each page that moves, so it should take few messages.
"""

import re
import time
from collections import Counter

import pytest

from harness.vm import GIB, MIB, PAGE, Guest
from harness.workloads import pieces
from tests.support.accounts import gone
from tests.support.pairs import PAIRS

# They compare times, and share what has been measured.
pytestmark = pytest.mark.alone

SMALL, BALLOON = 512 * MIB, 96 * MIB
MEMORY_BLOCKS = '/sys/devices/system/memory'
GIGANTIC = '/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages'
TRACING = '/sys/kernel/tracing'


def moved(guest):
    """Pages of the balloon that have been moved so far."""
    return guest.vmstat().get('balloon_migrate', 0)


# -- Compaction beside whole blocks -----------------------------------------

def proactive(guest, enough):
    """kcompactd goes through memory on its own initiative."""
    guest.run(f'echo 1 > {TRACING}/events/compaction/mm_compaction_end/enable; '
              'echo 100 > /proc/sys/vm/compaction_proactiveness')
    # The first zone is that for DMA. grep fails as long as it finds nothing.
    guest.wait_for(lambda: enough() or guest.run(
        f'grep kcompactd {TRACING}/trace | grep -v "zone_start=0x1 "', check=False),
        'a zone has been compacted')


def explicit(guest, _enough):
    """Somebody asks for all of memory to be compacted."""
    guest.run('echo 1 > /proc/sys/vm/compact_memory')


def pages_moved(name, trigger):
    """How many pages of a balloon compaction moves, and how many are in pieces."""
    with Guest(memory=SMALL, name=f'compaction-{trigger.__name__}-{name}',
               **PAIRS[name]) as guest:
        guest.load_balloon()
        guest.run('echo 0 > /proc/sys/vm/compaction_proactiveness')
        guest.balloon_to(SMALL - BALLOON)
        with pieces(guest):
            before, scanned = moved(guest), guest.vmstat()['compact_migrate_scanned']
            pages, whole = map(int, guest.run('offline').split())
            trigger(guest, lambda: moved(guest) - before > BALLOON // PAGE // 50)
            # Else there was nothing to see.
            assert guest.vmstat()['compact_migrate_scanned'] > scanned
            return moved(guest) - before, pages - whole


@pytest.mark.parametrize('trigger', [proactive, explicit],
                         ids=lambda trigger: trigger.__name__)
def test_f13_compaction(row, trigger):
    """Whole pageblocks of the balloon stay where they are; pieces may move."""
    found = {name: pages_moved(name, trigger) for name in PAIRS}
    pages = BALLOON // PAGE
    count, pieces_of_it = found['ours']
    row.report(must='no more than the pieces and 1 % of the balloon move',
               **{name: f'{count} of {pages}, {loose} in pieces'
                  for name, (count, loose) in found.items()},
               green=count <= pieces_of_it + pages // 100)


# -- Ranges that others need ------------------------------------------------

def messages(guest, offset):
    """Kicks of the balloon's queues in the trace log, from an offset on."""
    # The device that is kicked most is the balloon, if it is kicked at all.
    with open(guest.trace_log, encoding='utf-8', errors='replace') as file:
        file.seek(offset)
        kicks = Counter(re.findall(r'virtio_queue_notify vdev (\S+)', file.read()))
    return max(kicks.values(), default=0)


def take(guest, size, command, without=0):
    """Let somebody take a range; return pages, messages and seconds a page."""
    # without: the seconds that this takes when no page of the balloon is in it
    before, offset = gone(guest), guest.trace_log.stat().st_size
    started = time.monotonic()
    guest.run(command)
    seconds = max(time.monotonic() - started - without, 0)
    pages = gone(guest) - before
    assert pages > BALLOON // PAGE * 3 // 4, f'{pages} pages moved'
    # Pages that were given back are inflated elsewhere: these messages count, too.
    guest.balloon_to(size)
    return {'pages': pages, 'messages': messages(guest, offset) / pages,
            'seconds': seconds / pages}


def offline(name):
    """A block of 128 MiB, all of it balloon, goes offline and comes back."""
    with Guest(memory=GIB, append='movablecore=384M', trace=('virtio_queue_notify',),
               name=f'offline-{name}', **PAIRS[name]) as guest:
        guest.load_balloon()
        guest.balloon_to(GIB - 512 * MIB)
        result = take(guest, GIB - 512 * MIB,
                      f'cd {MEMORY_BLOCKS}; for block in memory*; do '
                      'grep -q Movable $block/valid_zones || continue; '
                      'echo offline > $block/state && '
                      'exec echo online_movable > /tmp/$block; done; exit 1')
        guest.run(f'cd /tmp; for block in memory*; do '
                  f'cat $block > {MEMORY_BLOCKS}/$block/state || exit 1; done')
        return result


def cma(name):
    """A page of 1 GiB is allocated of CMA, part of which is in the balloon."""
    with Guest(memory=3 * GIB, append='hugetlb_cma=1G nokaslr', args=['-cpu', 'max'],
               trace=('virtio_queue_notify',), name=f'cma-{name}',
               **PAIRS[name]) as guest:
        guest.load_balloon()
        # Another page in the way may make the first attempts fail.
        command = f'until [ $(cat {GIGANTIC}) = 1 ]; do echo 1 > {GIGANTIC}; done'
        # Most of the time goes into zeroing the page. The first time does not count:
        # the host has to find memory for it.
        for _ in range(2):
            started = time.monotonic()
            guest.run(command)
            without = time.monotonic() - started
            guest.run(f'echo 0 > {GIGANTIC}')
        size = 2 * GIB + 256 * MIB
        while guest.meminfo()['CmaFree'] > GIB - BALLOON:
            size -= 64 * MIB
            guest.balloon_to(size)
        return take(guest, size, command, without)


@pytest.fixture(name='taken', scope='module')
def fixture_taken():
    """A function of a way to take a range: {pair: what take() says}, tried once."""
    found = {}

    def look(way):
        if way not in found:
            found[way] = {name: way(name) for name in PAIRS}
        return found[way]
    return look


WAYS = pytest.mark.parametrize('way', [offline, cma], ids=lambda way: way.__name__)


@WAYS
def test_f13_messages(row, taken, way):
    """Who needs a range gets it in batches."""
    found = taken(way)
    row.report(must='messages for each page that moves <= 0.02',
               **{name: f"{data['messages']:.3f}" for name, data in found.items()},
               green=found['ours']['messages'] <= 0.02)


@WAYS
def test_f13_time(row, taken, way):
    """Who needs a range does not wait as long as with stock."""
    found = taken(way)
    row.report(must='a fifth of the time of stock',
               **{name: f"{data['seconds'] * 1e6:.0f} us a page"
                  for name, data in found.items()},
               green=found['ours']['seconds'] <= found['stock']['seconds'] / 5)
