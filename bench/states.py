# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that have just booted, are fragmented, or have used their memory.

idle        inflate --size to --to and deflate; then ours is asked for its unused pages.
fragmented  the same with three quarters of memory, after a program in the guest has kept
            one page of every 64 KiB: no block above order 3 is free, which is checked
            before each round. Compaction on its own initiative is off.
touched     a program fills the memory of a guest of --touched GiB and exits; then it is
            inflated. The benchmark compares the CPU time of QEMU's main thread, which
            runs the device, with the time of one madvise(MADV_DONTNEED) of as much
            written memory as QEMU has lost, as much of it in huge pages.

CPU time of a guest, also for a scan, is the time of QEMU's thread for its only CPU;
"answered in" is from the QMP command to the event. Bytes: of the guest's answers
(property host-request-stats).
"""

import mmap
import time
from collections import defaultdict
from statistics import median

from bench import inflate
from bench.inflate import WAYS, label, whole
from bench.targets import OURS, PAIRS, STOCK, judge, row
from harness.common import Failure
from harness.vm import GIB, MIB, PAGE, resident

# How much of free memory may lie in blocks above order 3 in "fragmented".
LARGE = 0.05
HUGE = 2 * MIB


def scan(guest):
    """Ask for unused pages once; return times and bytes."""
    cpu = guest.qmp('query-cpus-fast')[0]['thread-id']
    stats, busy = guest.get('host-request-stats'), guest.cpu_seconds(cpu)
    started = time.time()
    number = guest.start_request('unused-pages')
    event = guest.event('BALLOON_REQUEST_COMPLETED', id=number)
    busy = guest.cpu_seconds(cpu) - busy
    if event['data']['status'] != 'done':
        raise Failure(f"{guest.name}: unused-pages: {event['data']['status']}")
    ended = event['timestamp']['seconds'] + event['timestamp']['microseconds'] / 1e6
    answered = guest.get('host-request-stats')['answer-bytes'] - stats['answer-bytes']
    return {'guest': busy, 'answered': ended - started, 'bytes': answered,
            'ranges': event['data']['ranges']}


def take_turns(guests, small, rounds, before=None):
    """Return the results of guests that take turns, and of requests to ours."""
    scans, discards = defaultdict(list), []

    def begin(guest):
        if before:
            before(guest)
        if guest is guests[OURS]:
            discards.append(-guest.counters()['discards'])

    def end(counted, _, guest):
        if guest is not guests[OURS]:
            return
        discards[-1] += guest.counters()['discards']
        for key, value in scan(guest).items():
            if counted:
                scans[key].append(value)
    pairs = inflate.timed(guests, small, rounds, begin, end)
    return {'gib': (guests[OURS].memory - small) / GIB,
            'of_gib': guests[OURS].memory / GIB, 'pairs': pairs,
            'discards': discards[1:], 'scan': scans}


def measure_idle(args, append):
    """Guests that have just booted."""
    with inflate.paused(PAIRS, whole(args.size), append=append) as guests:
        return take_turns(guests, whole(args.to), args.rounds)


# -- Fragmented -------------------------------------------------------------

def share_above_order_3(guest):
    """Return how much of free memory lies in larger blocks."""
    free = defaultdict(int)
    for line in guest.read('/proc/buddyinfo').splitlines():
        for order, count in enumerate(line.split()[4:]):
            free[order] += int(count) << order
    return sum(free[order] for order in free if order > 3) / sum(free.values())


def fragment(guest):
    """Leave no free block above order 3."""
    # Otherwise kcompactd undoes it; and the balloon wants all memory.
    guest.run('cd /proc/sys/vm && echo 0 > compaction_proactiveness && '
              'echo 4096 > min_free_kbytes')
    # Page tables are a 512th.
    mib = guest.meminfo()['MemAvailable'] * 510 // 512 // MIB - 16
    guest.start(f'fragment -k 4 -f 60 {mib}')


def measure_fragmented(args, append):
    """Guests without a free block above order 3."""
    large = {name: [] for name in PAIRS}

    def check(guest):
        share = share_above_order_3(guest)
        if share > LARGE:
            raise Failure(f'{guest.name} is not fragmented: {share:.1%} of its '
                          'free memory lies in blocks above order 3')
        large[guest.shape.kernel].append(share)
    size = whole(args.size)
    with inflate.paused(PAIRS, size, fragment, append=append) as guests:
        found = take_turns(guests, size // 4, args.rounds, check)
    return found | {'above_order_3': {name: shares[1:]
                                      for name, shares in large.items()}}


# -- Touched ----------------------------------------------------------------

def madvise(size, small):
    """Return (CPU seconds, share of huge pages) of one MADV_DONTNEED."""
    # small: bytes of it that are to be in small pages
    size, small = size // PAGE * PAGE, max(0, small) // HUGE * HUGE
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        if small:
            memory.madvise(mmap.MADV_NOHUGEPAGE, 0, small)
        before = resident('self', 'AnonHugePages')
        memory[::PAGE] = bytes(size // PAGE)
        huge = resident('self', 'AnonHugePages') - before
        started = time.thread_time()
        memory.madvise(mmap.MADV_DONTNEED)
        return time.thread_time() - started, huge / size


def host_inflate(guest, small):
    """Return CPU seconds of QEMU's main thread; bytes, and in huge pages, it lost."""
    def look():
        return guest.resident(), guest.resident('AnonHugePages')
    before, started = look(), guest.cpu_seconds()
    guest.set_target(small)
    # Polls are rare: they take CPU time as well.
    guest.wait_for(lambda: guest.actual() == small, 'inflated', interval=0.02)
    return guest.cpu_seconds() - started, *map(int.__sub__, before, look())


def measure_touched(args, append):
    """Memory that a program has written to."""
    size, small = inflate.shapes(args)['touched']
    found = defaultdict(list, host={name: [] for name in PAIRS})
    with inflate.paused(PAIRS, size, append=append) as guests:
        for counted, name, guest in inflate.in_turn(guests, args.rounds):
            inflate.fill(guest)
            seconds, gone, in_huge = host_inflate(guest, small)
            guest.balloon_to(size)
            if counted:
                found['host'][name].append(seconds)
            if name != OURS or not counted:
                continue
            found['nothing'].append(host_inflate(guest, size)[0])
            seconds, share = madvise(gone, gone - in_huge)
            for key, value in (('bytes', gone), ('huge', in_huge / gone),
                               ('madvise', seconds), ('madvise_huge', share)):
                found[key].append(value)
    return found


# -- The table --------------------------------------------------------------

def rows_of(state, found, append, targets):
    """Return lines about inflate and deflate in a state, and the scan."""
    def columns(key):
        return {name: found['pairs'][name][key] for name in PAIRS}

    def judged(key, value, **how):
        return judge(value, *targets[key], **how) if key in targets else ('', '', '')
    state = label(state, append)
    for way in WAYS:
        seconds = columns(way)
        times = median(seconds[STOCK]) / median(seconds[OURS])
        yield row(f"{way} {found['gib']:g} of {found['of_gib']:g} GiB, {state}: s",
                  seconds, 1, 3, f'{times:.1f} times faster',
                  judged(way, times, least=True))
    yield row('  inflate: CPU s of the guest', columns('guest'), 1, 3)
    yield row("  inflate: CPU s of QEMU's main thread", columns('host'), 1, 3)
    yield row('  inflate: host memory at its peak, MiB above its start',
              columns('peak'), 1 / MIB)
    yield row('  inflate and deflate: discards', {OURS: found['discards']})
    for title, key, scale, digits in (('guest time, ms', 'guest', 1e3, 1),
                                      ('answered in, ms', 'answered', 1e3, 1),
                                      ('KiB of answers', 'bytes', 1 / 1024, 1),
                                      ('ranges', 'ranges', 1, 0)):
        values = found['scan'][key]
        yield row(f"scan of {found['of_gib']:g} GiB, {state}: {title}",
                  {OURS: values}, scale, digits, '',
                  judged(f'scan {key}', median(values) * scale))


def rows_of_idle(found, append):
    """Return the lines about guests that have just booted."""
    yield from rows_of('idle', found, append, {
        'inflate': (50, 100), 'deflate': (25, 50), 'scan guest': (10, 5),
        'scan bytes': (64, 32)})


def rows_of_fragmented(found, append):
    """Return the lines about guests without large free blocks."""
    yield row(f'free memory above order 3, {label("fragmented", append)}: %',
              found['above_order_3'], 100, 1)
    yield from rows_of('fragmented', found, append, {
        'inflate': (5, 10), 'scan guest': (300, 150), 'scan bytes': (2048, 1024)})


def rows_of_touched(found, append):
    """Return the lines about the host's part."""
    limit, ours = median(found['madvise']), median(found['host'][OURS])
    gib = median(found['bytes']) / GIB
    yield row(f'inflate {gib:.2f} GiB, {label("touched", append)}: host CPU ms',
              found['host'], 1e3, 1, f'{ours / limit:.2f} madvise',
              judge(ours / limit, 1.5, 1.2))
    yield row('  with nothing to inflate: host CPU ms', {OURS: found['nothing']}, 1e3, 1)
    yield row('  one madvise of as much: CPU ms', {OURS: found['madvise']}, 1e3, 1)
    yield row("  QEMU's part of it in huge pages: %", {OURS: found['huge']}, 100)
    yield row("  madvise's part in huge pages: %", {OURS: found['madvise_huge']}, 100)
