# SPDX-License-Identifier: GPL-2.0-or-later
"""The balloon in blocks: stock against ours, and whether the targets are reached.

"Stock" is the unpatched pair, "ours" the patched one with both features on. Each
row of the table has a median and the spread of alternating rounds. The parts:

native      the guest's part alone, measured by KUnit tests on User Mode Linux:
            nanoseconds per page and block. "Page by page" is what the stock driver
            does, through the same functions of mm/balloon.c.
idle        inflate --size to --to and deflate, in guests that have just booted;
            then ours is asked for its unused pages.
fragmented  the same with three quarters of memory, after a program in the guest
            has filled memory and kept one page of every 64 KiB: no block above
            order 3 is free, which /proc/buddyinfo must show before each round.
            One round that is not counted comes first, so that the host's memory
            is untouched. Compaction on its own initiative is off.
touched     a program fills the memory of a guest of --touched GiB and ends; then
            the guest is inflated. What is measured is the CPU time of QEMU's
            main thread, which runs the device, against that of one
            madvise(MADV_DONTNEED) of as much touched memory as QEMU has lost,
            as much of it in huge pages (MADV_HUGEPAGE, as for QEMU's memory).
sizes       guests of --sizes inflated to a quarter and deflated. Memory is not
            reserved, so they may be larger than the host. The smallest changes its
            size by 4 MiB, too: what any change costs. "Driver memory" is
            MemTotal - MemFree - pages on lists of CPUs: how much it grows when
            the module is loaded, and when the balloon is inflated (MemTotal is
            without what is in the balloon). 2 MiB of it is what the kernel takes
            at a time for the code of modules.
huge        huge pages that back QEMU (AnonHugePages) when a program in the guest
            has filled its memory, when half is in the balloon, after deflating,
            and filled again. And how many 2 MiB pages the guest gets (nr_hugepages)
            of nearly as many as it has free memory for: before, with half in
            the balloon, and after.

CPU time of a guest, its time for a scan too, is that of QEMU's thread for its only
CPU; "answered in" is the time from the QMP command to the event. Bytes are those of
the guest's answers (property host-request-stats).
"""

import mmap
import re
import time
from statistics import median

from bench import inflate, report
from bench.inflate import WAYS, whole
from bench.report import cell
from harness import kunit
from harness.common import Failure, say
from harness.vm import GIB, MIB, PAGE, resident

STOCK, OURS = 'stock', 'ours'
PAIRS = {STOCK: inflate.PAIRS['stock'],
         OURS: inflate.PAIRS['ours, bit on'] | {'host_request': True}}
# How much of free memory may lie in blocks above order 3 in "fragmented".
LARGE = 0.05
HUGE = 2 * MIB
# KiB by which what a guest uses may differ from one size to the next though the
# driver takes the same: must and goal.
NOISE = (512, 256)


# -- Idle and fragmented ----------------------------------------------------

def scan(guest):
    """Ask for unused pages once."""
    cpu = guest.qmp('query-cpus-fast')[0]['thread-id']
    stats, busy = guest.get('host-request-stats'), guest.cpu_seconds(cpu)
    started = time.time()
    number = guest.start_request('unused-pages')
    event = guest.event('BALLOON_REQUEST_COMPLETED', id=number)
    busy = guest.cpu_seconds(cpu) - busy
    if event['data']['status'] != 'done':
        raise Failure(f"{guest.name}: unused-pages: {event['data']['status']}")
    ended = event['timestamp']['seconds'] + \
        event['timestamp']['microseconds'] / 1e6
    now = guest.get('host-request-stats')
    return {'guest': busy, 'answered': ended - started,
            'named': event['data']['bytes'],
            'ranges': event['data']['ranges'],
            'bytes': now['answer-bytes'] - stats['answer-bytes'],
            'answers': now['answers'] - stats['answers']}


def work(guest, small):
    """What an inflate costs: CPU seconds of the guest and of QEMU's main thread."""
    def look():
        return {'guest': guest.cpu_seconds(cpu), 'host': guest.cpu_seconds(),
                'discards': guest.counters()['discards']}
    cpu = guest.qmp('query-cpus-fast')[0]['thread-id']
    before = look()
    guest.balloon_to(small)
    after = look()
    guest.balloon_to(guest.memory)
    return {key: after[key] - before[key] for key in after}


def rounds_of(guests, small, rounds, before=None):
    """What is kept of guests that take turns, and of ours that is asked."""
    found = {'gib': (guests[OURS].memory - small) / GIB,
             'of_gib': guests[OURS].memory / GIB,
             'seconds': inflate.timed(guests, small, rounds, before)}
    guests[OURS].resume()
    return found | {'work': [work(guests[OURS], small) for _ in range(rounds)],
                    'scan': [scan(guests[OURS]) for _ in range(rounds)]}


def idle(args):
    """Guests that have just booted."""
    with inflate.paused(PAIRS, whole(args.size)) as guests:
        return rounds_of(guests, whole(args.to), args.rounds)


def free_blocks(guest):
    """Free bytes by order of the block that they lie in."""
    free = {}
    for line in guest.read('/proc/buddyinfo').splitlines():
        for order, count in enumerate(line.split()[4:]):
            free[order] = free.get(order, 0) + (int(count) * PAGE << order)
    return free


def fragment(guest):
    """Leave no free block above order 3, and nothing of it to the host."""
    # Else kcompactd undoes it meanwhile; and all memory is wanted.
    guest.run('cd /proc/sys/vm && echo 0 > compaction_proactiveness && '
              'echo 4096 > min_free_kbytes')
    # Page tables are a 512th.
    mib = guest.meminfo()['MemAvailable'] * 510 // 512 // MIB - 16
    guest.start(f'exec fragment -k 4 -f 60 {mib} > /tmp/fragment',
                ready='grep -q fragmented /tmp/fragment', timeout=600)
    inflate.one_round(guest, guest.memory // 4)


def fragmented(args):
    """Guests without a free block above order 3."""
    large = {name: [] for name in PAIRS}

    def check(guest):
        free = free_blocks(guest)
        share = sum(free[order] for order in free if order > 3) \
            / sum(free.values())
        if share > LARGE:
            raise Failure(f'{guest.name} is not fragmented: {share:.1%} of its '
                          f'free memory lies in blocks above order 3: {free}')
        large[guest.shape.kernel].append(share)
    with inflate.paused(PAIRS, whole(args.size), fragment) as guests:
        return rounds_of(guests, whole(args.size) // 4, args.rounds, check) \
            | {'above_order_3': large}


# -- Touched ----------------------------------------------------------------

def madvise(size, small):
    """(CPU seconds, share of huge pages) of one MADV_DONTNEED.

    small: bytes of it that are to be in small pages
    """
    size, small = size // PAGE * PAGE, max(0, small) // HUGE * HUGE
    with mmap.mmap(-1, size,
                   flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
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
    """CPU seconds of QEMU's main thread; bytes, and in huge pages, that it lost."""
    def look():
        return guest.resident(), guest.resident('AnonHugePages')
    before, started = look(), guest.cpu_seconds()
    guest.set_target(small)
    # Looks are rare: they take CPU time, too.
    guest.wait_for(lambda: guest.actual() == small, 'inflated', 300, 0.02)
    return guest.cpu_seconds() - started, *map(int.__sub__, before, look())


def touched(args):
    """Memory that a program has written to."""
    size = whole(args.touched)
    small = whole(args.touched * args.to / args.size)
    found = {'host': {name: [] for name in PAIRS}, 'nothing': [],
             'madvise': [], 'bytes': [], 'huge': {'qemu': [], 'madvise': []}}
    with inflate.paused(PAIRS, size) as guests:
        for name, guest in inflate.in_turn(guests, args.rounds):
            inflate.fill(guest)
            seconds, gone, in_huge = host_inflate(guest, small)
            found['host'][name].append(seconds)
            guest.balloon_to(size)
            if name != OURS:
                continue
            found['nothing'].append(host_inflate(guest, size)[0])
            found['bytes'].append(gone)
            found['huge']['qemu'].append(in_huge / gone)
            for where, value in zip((found['madvise'], found['huge']['madvise']),
                                    madvise(gone, gone - in_huge)):
                where.append(value)
    return found


# -- Sizes ------------------------------------------------------------------

def listed(guest):
    """Bytes of free pages on lists of CPUs: MemFree is without them."""
    counts = re.findall(r'^\s+count:\s+(\d+)', guest.read('/proc/zoneinfo'), re.M)
    return sum(map(int, counts)) * PAGE


def used(guest):
    """Bytes of memory that somebody has, without what is in the balloon."""
    def look():
        info = guest.meminfo()
        return info['MemTotal'] - info['MemFree'] - listed(guest)
    return min(look() for _ in range(5))


def one_size(name, size, rounds):
    """Seconds and driver memory of a guest."""
    guest = inflate.boot(name, size, **PAIRS[name])
    try:
        # What is allocated once, whatever the driver: by the first time.
        inflate.one_round(guest, size * 3 // 4)
        guest.unload_balloon()
        without = used(guest)
        guest.load_balloon()
        found = {way: [] for way in WAYS} | {'loaded': used(guest) - without,
                                             'inflated': []}
        for _ in range(rounds):
            seconds = inflate.one_round(
                guest, size // 4,
                lambda: found['inflated'].append(used(guest) - without))
            for way in WAYS:
                found[way].append(seconds[way])
        found['block'] = [inflate.one_round(guest, size - 4 * MIB)
                          for _ in range(11)]
        guest.check()
    finally:
        guest.kill()
    return found


def sizes(args):
    """Guests of all sizes."""
    found = {}
    for gib in args.sizes:
        say(f'    {gib:g} GiB')
        found[f'{gib:g}'] = {
            # Stock's seconds are many.
            name: one_size(name, whole(gib), 1 if name == STOCK and gib > 8
                           else min(args.rounds, 3))
            for name in PAIRS if name == OURS or gib <= args.stock_to}
    return found


# -- Huge pages -------------------------------------------------------------

def guest_huge_pages(guest):
    """(had, asked for): pages of 2 MiB, nearly as many as memory is free."""
    # What is left is for the shell.
    spare = guest.memory // 32
    free = guest.meminfo()['MemAvailable'] + listed(guest)
    asked = (free - spare) // HUGE
    return int(guest.run(f'cd /proc/sys/vm && echo {asked} > nr_hugepages; '
                         'cat nr_hugepages && echo 0 > nr_hugepages',
                         timeout=300)), asked


def one_huge(name, size):
    """Huge pages that back a guest, and those that it can have."""
    guest, found = inflate.boot(name, size, **PAIRS[name]), {}

    def look(state):
        found[state] = {'huge': guest.resident('AnonHugePages'),
                        'resident': guest.resident()}
    try:
        found['before'] = guest_huge_pages(guest)
        inflate.fill(guest)
        look('filled')
        guest.balloon_to(size // 2)
        look('inflated')
        found['during'] = guest_huge_pages(guest)
        guest.balloon_to(size)
        look('deflated')
        inflate.fill(guest)
        look('filled again')
        found['after'] = guest_huge_pages(guest)
        guest.check()
    finally:
        guest.kill()
    return found


def huge(args):
    """Huge pages for QEMU and for the guest."""
    return {name: one_huge(name, whole(args.touched)) for name in PAIRS}


# -- Natively, on UML -------------------------------------------------------

# Lines that the KUnit tests print: what is measured -> pattern
NATIVE = {
    'pages': r'page by page: \d+ pages, inflate (\S+) ns per page, deflate (\S+)',
    'blocks': r'order (\d+): \d+ pages, inflate (\S+) ns per page, deflate (\S+)',
    'encode': r'runs of (\d+) pages, (\d+) apart: encode (\S+) ns per run, '
              r'(\d+) bytes',
    'scan': r'(\d+) page frames: (\d+) looked at, in (\d+) calls, (\d+) ns',
    'zone lock': r'(\d+) holds: at most (\d+) pages looked at, longest (\d+) ns, '
                 r'best of ten (\d+) ns',
    'page lock': r'a page out of (\d+): (\d+) ns, 1024 blocks out: (\d+) ns, '
                 r'in: (\d+) ns',
}


def native(_args):
    """The guest's part without an emulator: KUnit tests on UML that measure."""
    status, suites, log, said = kunit.results('uml')
    if status or not suites:
        raise Failure(f'KUnit on UML failed: see {log}')
    text = '\n'.join(said)
    return {key: [[float(number) for number in numbers]
                  for numbers in re.findall(pattern, text)]
            for key, pattern in NATIVE.items()}


PARTS = {part.__name__: part
         for part in (native, idle, fragmented, touched, sizes, huge)}


def measure(args):
    """All numbers, as they go into the JSON file."""
    started = time.monotonic()
    data = {'header': report.environment() | {
        key: getattr(args, key) for key in
        ('size', 'to', 'touched', 'stock_to', 'rounds')}}
    for name in args.parts:
        say(f'{name}: {PARTS[name].__doc__} ({time.monotonic() - started:.0f} s)')
        data[name] = PARTS[name](args)
    data['header']['seconds'] = int(time.monotonic() - started)
    data['rows'] = list(rows(data))
    return data


# -- The table --------------------------------------------------------------

def judge(value, must, goal, least=False):
    """What is said of a value that must be at most, or at least, so much."""
    def far(limit):
        return limit - value if least else value - limit
    text = 'goal reached' if far(goal) <= 0 else 'reached' if far(must) <= 0 \
        else f'MISSED by {far(must) / must:.0%}'
    return {'value': value, 'must': must, 'goal': goal,
            'limit': f"{'>=' if least else '<='} {must:g}, {goal:g}",
            'reached': far(must) <= 0, 'verdict': text}


def row(what, cells, shown='', judged=None):
    """A line of the table."""
    return {'what': what, 'stock': cells.get(STOCK, '-'),
            'ours': cells.get(OURS, '-'), 'shown': shown, 'limit': '',
            'verdict': ''} | (judged or {})


def rows_of_state(state, found, targets):
    """Inflate and deflate in a state, and the scan."""
    for way in WAYS:
        seconds = {name: found['seconds'][name][way] for name in PAIRS}
        times = median(seconds[STOCK]) / median(seconds[OURS])
        yield row(f"{way} {found['gib']:g} of {found['of_gib']:g} GiB, {state}: s",
                  {name: cell(seconds[name], digits=3) for name in PAIRS},
                  f'{times:.1f} times faster',
                  judge(times, *targets[way], least=True)
                  if way in targets else None)
    for title, key, digits in (('CPU s of the guest', 'guest', 3),
                               ("CPU s of QEMU's main thread", 'host', 3),
                               ('discards', 'discards', 0)):
        yield row(f"inflate {found['gib']:g} of {found['of_gib']:g} GiB, {state}: "
                  f'{title}',
                  {OURS: cell([run[key] for run in found['work']], digits=digits)})
    for title, key, scale, digits in (('guest time, ms', 'guest', 1e3, 1),
                                      ('answered in, ms', 'answered', 1e3, 1),
                                      ('KiB of answers', 'bytes', 1 / 1024, 1),
                                      ('ranges', 'ranges', 1, 0)):
        values = [run[key] for run in found['scan']]
        yield row(f"scan of {found['of_gib']:g} GiB, {state}: {title}",
                  {OURS: cell(values, scale, digits)}, '',
                  judge(median(values) * scale, *targets[key])
                  if key in targets else None)


def rows_of_touched(found):
    """The host's part."""
    limit, ours = median(found['madvise']), median(found['host'][OURS])
    gib = median(found['bytes']) / GIB
    yield row(f'inflate {gib:.2f} GiB touched: host CPU ms',
              {name: cell(found['host'][name], 1e3, 1) for name in PAIRS},
              f'{ours / limit:.2f} madvise', judge(ours / limit, 1.5, 1.2))
    yield row('the same with nothing to inflate: host CPU ms',
              {OURS: cell(found['nothing'], 1e3, 1)})
    yield row('one madvise of as much: CPU ms',
              {OURS: cell(found['madvise'], 1e3, 1)})
    yield row('of it in huge pages, %: QEMU / madvise',
              {OURS: ' / '.join(f'{median(found["huge"][key]):.0%}'
                                for key in ('qemu', 'madvise'))})


def rows_of_sizes(found):
    """Time per GiB and driver memory."""
    usual = max((gib for gib in found if float(gib) <= 8), key=float,
                default=[*found][0])
    for way in WAYS:
        def per_gib(gib, name, way=way):
            return [value / 0.75 / float(gib) for value in found[gib][name][way]]
        for gib, pairs in found.items():
            ratio = median(per_gib(gib, OURS)) / median(per_gib(usual, OURS))
            yield row(f'guest of {gib} GiB, {way}: ms per GiB',
                      {name: cell(per_gib(gib, name), 1e3, 1) for name in pairs},
                      f'{ratio:.2f} of {usual} GiB',
                      judge(ratio, 1.25, 1.1) if gib != usual else None)

    least = [*found][0]
    for way in WAYS:
        yield row(f'guest of {least} GiB, {way} by 4 MiB: ms', {
            name: cell([run[way] for run in found[least][name]['block']], 1e3, 1)
            for name in found[least]})

    def driver(gib, name, state):
        value = found[gib][name][state]
        return value if state == 'loaded' else median(value)
    for state in ('loaded', 'inflated'):
        taken = {name: [driver(gib, name, state) for gib in found
                        if name in found[gib]] for name in PAIRS}
        grows = (taken[OURS][-1] - taken[OURS][0]) / 1024
        yield row(f'driver memory, {state}, all sizes: KiB',
                  {name: cell(taken[name], 1 / 1024) for name in PAIRS
                   if taken[name]},
                  f'{grows:+.0f}, {[*found][0]} to {[*found][-1]} GiB',
                  judge(grows, *NOISE))


def rows_of_huge(found):
    """Huge pages outside and inside."""
    for state in ('filled', 'inflated', 'deflated', 'filled again'):
        yield row(f'huge / all pages of QEMU, {state}: MiB', {
            name: ' / '.join(f'{found[name][state][key] / MIB:.0f}'
                             for key in ('huge', 'resident'))
            for name in PAIRS})
    for state in ('before', 'during', 'after'):
        yield row(f'2 MiB pages that the guest gets, {state}',
                  {name: '{} of {}'.format(*found[name][state])
                   for name in PAIRS})


def rows_of_native(found):
    """Nanoseconds on UML; stock's way is one page at a time."""
    for i, way in enumerate(WAYS):
        stock = min(line[i] for line in found['pages'])
        yield row(f'UML, {way} page by page: ns per page', {STOCK: f'{stock:.1f}'})
        for order, *ns in found['blocks']:
            if order in (0, 3, 9, 10):
                yield row(f'UML, {way} in blocks of order {order:.0f}: '
                          'ns per page, per block',
                          {OURS: f'{ns[i]:.1f}, {ns[i] * 2 ** order:.0f}'},
                          f'{stock / ns[i]:.1f} times faster')
    for pages, step, ns, size in found['encode']:
        yield row(f'UML, encode runs of {pages:.0f} pages, {step:.0f} apart: '
                  'ns per run', {OURS: f'{ns:.1f}'}, f'{size / 1024:.2f} bytes each')
    for frames, looks, calls, ns in found['scan']:
        yield row(f'UML, scan {frames * PAGE / GIB:g} GiB, fragmented: us',
                  {OURS: f'{ns / 1e3:.0f}'},
                  f'{ns / looks:.1f} ns per free block, {calls:.0f} calls')
    for _, pages, _, ns in found['zone lock']:
        yield row('zone->lock: struct pages per hold, ns on UML',
                  {OURS: f'{pages:.0f}, {ns:.0f}'})
    for pages, *ns in found['page lock']:
        yield row(f"balloon's page lock: one page out of {pages:.0f}, 1024 "
                  'blocks out, in: ns on UML',
                  {OURS: ', '.join(f'{value:.0f}' for value in ns)})


def rows(data):
    """The table's lines."""
    if 'native' in data:
        yield from rows_of_native(data['native'])
    if 'idle' in data:
        yield from rows_of_state('idle', data['idle'], {
            'inflate': (50, 100), 'deflate': (25, 50), 'guest': (10, 5),
            'bytes': (64, 32)})
    if 'fragmented' in data:
        yield row('free memory above order 3, %', {
            name: cell(shares, 100, 1)
            for name, shares in data['fragmented']['above_order_3'].items()})
        yield from rows_of_state('fragmented', data['fragmented'], {
            'inflate': (5, 10), 'guest': (300, 150), 'bytes': (2048, 1024)})
    for part, its_rows in (('touched', rows_of_touched),
                           ('sizes', rows_of_sizes), ('huge', rows_of_huge)):
        if part in data:
            yield from its_rows(data[part])


def show(data):
    """Print header and table."""
    head = data['header']
    say(f'\nThe balloon in blocks, {report.under(head)}')
    say(f"{report.where(head)}; it took {head['seconds']} s")
    say(f"median (min-max) of {head['rounds']} alternating rounds; limits: what "
        'must be reached, and the goal\n')
    keys = ('what', 'stock', 'ours', 'shown', 'limit', 'verdict')
    report.table([['', 'stock', 'ours', '', 'limits', ''],
                  *([line[key] for key in keys] for line in data['rows'])])


def options(parser):
    """What the command line has besides size and rounds."""
    def numbers(text):
        return [float(number) for number in text.split(',')]

    def names(text):
        parts = text.split(',')
        if not set(parts) <= set(PARTS):
            raise ValueError
        return parts
    parser.add_argument('--to', type=float, default=1, metavar='GIB',
                        help='what inflating leaves the idle ones (1)')
    parser.add_argument('--touched', type=float, default=2, metavar='GIB',
                        help='memory of the guests that fill it (2)')
    parser.add_argument('--sizes', type=numbers, metavar='GIB,...',
                        default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument('--stock-to', type=float, default=32, metavar='GIB',
                        help='the largest of them for the stock pair (32)')
    parser.add_argument('--parts', type=names, default=list(PARTS),
                        help=','.join(PARTS))


if __name__ == '__main__':
    report.run(__doc__, 'bench.json', 5, options, measure, show)
