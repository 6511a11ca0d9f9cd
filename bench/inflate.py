# SPDX-License-Identifier: GPL-2.0-or-later
"""Inflate and deflate: the stock pair, ours without and with PAGE_BITMAP.

Three guests, one at a time awake, take turns in one run: a round inflates each
of them from --size to --to and deflates it back, with the guest's memory
untouched. Three more, of --touched GiB and inflated by the same share, do so
after a program in them has filled their memory and ended: smaller, because
under TCG filling takes longer than all the rest. What is timed lies between the
QMP command and QEMU's "actual" reaching the target.

Kicks and discards are counted in rounds of their own, not timed, with QEMU's
trace events (virtio_queue_notify, ram_block_discard_range), for all three alike.
Bytes on the queue come from our QEMU's counters; stock driver and device
exchange four bytes per page.
"""

import contextlib
import re
from statistics import median

from bench import report
from harness.common import say
from harness.vm import GIB, MIB, PAGE, Guest

TRACE = ('virtio_queue_notify', 'ram_block_discard_range')
# name in the table -> which halves, which properties
PAIRS = {
    'stock': {'qemu': 'stock', 'kernel': 'stock'},
    'ours, bit off': {'qemu': 'ours', 'kernel': 'ours'},
    'ours, bit on': {'qemu': 'ours', 'kernel': 'ours', 'page_bitmap': True},
}
WAYS = ('inflate', 'deflate')


def options(parser):
    """What the command line has besides size and rounds."""
    parser.add_argument('--to', type=float, default=1, metavar='GIB',
                        help='what inflating leaves them (1)')
    parser.add_argument('--touched', type=float, default=2, metavar='GIB',
                        help='memory of the guests that fill it first (2)')


def boot(name, size, **made):
    """A guest with its balloon driver loaded, at rest."""
    label = name.replace(' ', '-').replace(',', '')
    # The other CPU of a small host is left to QEMU's main thread.
    guest = Guest(memory=size, name=f'bench-{label}', smp=1, **made)
    guest.launch()
    guest.load_balloon()
    return guest


def one_round(guest, small, between=None):
    """Seconds to inflate and to deflate; between() is called between the two."""
    # Four times what stock takes here, on top of what any guest may take.
    limit = 120 + 4 * (guest.memory - small) // GIB
    seconds = {'inflate': guest.balloon_to(small, limit)}
    if between:
        between()
    return seconds | {'deflate': guest.balloon_to(guest.memory, limit)}


def fill(guest):
    """Let a program write to nearly all of the guest's free memory."""
    free = guest.meminfo()['MemAvailable']
    guest.run(f'memfill {(free - guest.memory // 32) // MIB}', timeout=120)


def whole(gib):
    """So many GiB in bytes, in whole MiB."""
    return int(gib * GIB) // MIB * MIB


def shapes(args):
    """{state: (bytes of memory, bytes left after inflating)}."""
    return {'untouched': (whole(args.size), whole(args.to)),
            'touched': (whole(args.touched),
                        whole(args.touched * args.to / args.size))}


@contextlib.contextmanager
def paused(pairs, size, prepare=None):
    """{pair: guest}, prepared one after the other, and stopped."""
    with contextlib.ExitStack() as stack:
        guests = {}
        for name, made in pairs.items():
            guest = guests[name] = boot(name, size, **made)
            stack.callback(guest.kill)
            if prepare:
                prepare(guest)
            guest.pause()
        yield guests
        for guest in guests.values():
            guest.check()


def in_turn(guests, rounds):
    """Wake one guest after the other, so many times: (pair, guest)."""
    for _ in range(rounds):
        for name, guest in guests.items():
            guest.resume()
            yield name, guest
            guest.pause()


def timed(guests, small, rounds, before=None):
    """{pair: {way: [seconds]}} of alternating rounds.

    before: called with the guest before each of its rounds
    """
    times = {name: {way: [] for way in WAYS} for name in guests}
    for name, guest in in_turn(guests, rounds):
        if before:
            before(guest)
        for way, seconds in one_round(guest, small).items():
            times[name][way].append(seconds)
    return times


def traced(log, offset):
    """(kicks, discards) in a trace log from an offset on; and its new end.

    Other virtio devices are quiet meanwhile, so the queue that is kicked most
    is the balloon's.
    """
    devices, discards = {}, 0
    with open(log, encoding='utf-8', errors='replace') as file:
        file.seek(offset)
        for line in file:
            if 'ram_block_discard_range' in line:
                discards += 1
            elif match := re.search(r'virtio_queue_notify vdev (\S+)', line):
                devices[match[1]] = devices.get(match[1], 0) + 1
    return max(devices.values(), default=0), discards, log.stat().st_size


def count(name, size, small):
    """{way: {kicks, bytes, discards} per GiB} of one round, not timed."""
    guest = boot(name, size, trace=TRACE, **PAIRS[name])
    counted = {}
    try:
        gib = (size - small) / GIB
        end = guest.trace_log.stat().st_size
        for way, target in (('inflate', small), ('deflate', size)):
            before = guest.counters() if guest.shape.qemu == 'ours' else {}
            guest.balloon_to(target)
            kicks, discards, end = traced(guest.trace_log, end)
            data = (size - small) // PAGE * 4
            if before:
                key = f'{way}-bytes'
                data = guest.counters()[key] - before[key]
            counted[way] = {'kicks': kicks / gib, 'bytes': data / gib,
                            'discards': discards / gib}
        guest.check()
    finally:
        guest.kill()
        guest.trace_log.unlink(missing_ok=True)
    return counted


def measure(args):
    """All numbers, as they go into the JSON file."""
    seconds, sizes = {}, shapes(args)
    for state, (size, small) in sizes.items():
        say(f'measuring: {state}, {size / GIB:g} GiB, {args.rounds} rounds ...')
        with paused(PAIRS, size) as guests:
            seconds[state] = timed(guests, small, args.rounds,
                                   fill if state == 'touched' else None)
    say('counting kicks, bytes and discards ...')
    counts = {name: count(name, *sizes['touched']) for name in PAIRS}
    return {'header': header(args), 'seconds': seconds, 'per_gib': counts,
            'gib_moved': {state: (size - small) / GIB
                          for state, (size, small) in sizes.items()}}


def header(args):
    """What the numbers were measured on."""
    return report.environment() | {
        'size_gib': args.size, 'to_gib': args.to,
        'touched_gib': args.touched, 'rounds': args.rounds}


def number(value):
    """A count per GiB."""
    return f'{value:,.0f}' if value >= 10 else f'{value:.2g}'


def rows(data):
    """The table's lines, as lists of cells."""
    names = list(data['per_gib'])
    yield ['', *names]
    for state, pairs in data['seconds'].items():
        gib = data['gib_moved'][state]
        for way in WAYS:
            stock = median(pairs[names[0]][way])
            yield [f'{way}, {state}: s', *(report.cell(pairs[n][way], digits=3)
                                          for n in names)]
            yield ['GiB/s', *(f'{gib / median(pairs[n][way]):.2f}'
                              for n in names)]
            yield ['times faster than stock',
                   *(f'{stock / median(pairs[n][way]):.2f}' for n in names)]
    for way in WAYS:
        for what in ('kicks', 'bytes', 'discards'):
            yield [f'{way}: {what} per GiB',
                   *(number(data['per_gib'][n][way][what]) for n in names)]


def show(data):
    """Print header and table."""
    head = data['header']
    say(f"\nGuests of {head['size_gib']:g} GiB inflated to {head['to_gib']:g} "
        f'GiB and deflated back, {report.under(head)}')
    say(f"Touched: guests of {head['touched_gib']:g} GiB, inflated by the same "
        'share, after a program has filled their memory and ended')
    say(report.where(head))
    say(f"median (min-max) of {head['rounds']} alternating rounds; kicks, "
        'bytes and discards counted in a round of their own\n')
    report.table(list(rows(data)))


if __name__ == '__main__':
    report.run(__doc__, 'bench-inflate.json', 5, options, measure, show)
