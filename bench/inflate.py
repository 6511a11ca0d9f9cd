# SPDX-License-Identifier: GPL-2.0-or-later
"""Inflate and deflate: the stock pair, ours without and with PAGE_BITMAP.

Guests, one at a time awake, take turns: a round inflates each of them from --size to --to
and deflates it back. Their memory was never written. Other guests have --touched GiB (under
TCG filling takes long) and are inflated by the same share, after a program in them has
filled their memory and exited; ours without the bit is measured in these only. Guest
kernels have their defaults; stock, and ours with the bit, are also measured with
init_on_alloc=0, without zeroing.

The time is from the QMP command to QEMU's "actual" reaching the target. "Peak" is the
largest growth of QEMU's resident memory while it inflates; "gained" by how much it is less
afterwards. Kicks and discards are counted in separate rounds, with QEMU's trace events.
Bytes on the queue, and our discards, come from our QEMU's counters; stock's bytes are
computed: driver and device exchange four bytes per page.
"""

import contextlib
import re
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median

from bench import report
from harness.common import Failure, say
from harness.vm import GIB, MIB, PAGE, Guest
from harness.workloads import touch_all

TRACE = ('virtio_queue_notify', 'ram_block_discard_range')
# name in the table -> which halves, which properties
PAIRS = {
    'stock': {'qemu': 'stock', 'kernel': 'stock'},
    'ours, bit off': {'qemu': 'ours', 'kernel': 'ours'},
    'ours, bit on': {'qemu': 'ours', 'kernel': 'ours', 'page_bitmap': True},
}
WAYS = ('inflate', 'deflate')
# Options of the guest kernels with which all is measured.
ZEROING = ('', 'init_on_alloc=0')


def add_sizes(parser, size):
    """Add --size and --to to the command line; return the type of a size."""
    gib = report.positive(float)
    parser.add_argument('--size', type=gib, default=size, metavar='GIB',
                        help=f'memory of the guests ({size})')
    parser.add_argument('--to', type=gib, default=1, metavar='GIB',
                        help='memory that shrinking leaves them (1)')
    return gib


def options(parser):
    """Add the sizes to the command line."""
    gib = add_sizes(parser, 8)
    parser.add_argument('--touched', type=gib, default=2, metavar='GIB',
                        help='memory of the guests in which a program fills it (2)')


def whole(gib):
    """Return so many GiB in bytes, in whole MiB."""
    return int(gib * GIB) // MIB * MIB


def shapes(args):
    """Return {state: (bytes of memory, bytes left after inflating)}."""
    if args.to >= args.size:
        raise Failure('--to must be below --size')
    return {'untouched': (whole(args.size), whole(args.to)),
            'touched': (whole(args.touched), whole(args.touched * args.to / args.size))}


def label(state, zeroing):
    """Return the name of a state with an option of the kernel."""
    return f'{state}, {zeroing}' if zeroing else state


# -- Guests -----------------------------------------------------------------

@contextlib.contextmanager
def booted(name, size, **made):
    """Yield a guest with its balloon driver loaded, at rest."""
    # The other CPU of a small host is left to QEMU's main thread.
    with Guest(memory=size, smp=1, name=f"bench-{re.sub('[^a-z]+', '-', name)}",
               **made) as guest:
        guest.load_balloon()
        yield guest


@contextlib.contextmanager
def paused(pairs, size, prepare=None, **made):
    """Yield {pair: guest}, prepared one after the other, and stopped."""
    with contextlib.ExitStack() as stack:
        guests = {}
        for name, halves in pairs.items():
            guest = guests[name] = stack.enter_context(
                booted(name, size, **halves, **made))
            if prepare:
                prepare(guest)
            guest.pause()
        yield guests


def in_turn(guests, rounds):
    """Wake one guest after the other in each round: (counted, pair, guest)."""
    # A first round is not to be counted: the first inflate of a guest takes longer.
    for number in range(rounds + 1):
        for name, guest in guests.items():
            guest.resume()
            yield number > 0, name, guest
            guest.pause()


def fill(guest):
    """Let a program write to nearly all of the guest's free memory."""
    touch_all(guest, guest.memory // 32)


# -- Seconds and memory -----------------------------------------------------

def resident(pid):
    """Return (resident memory, its peak) of a process in bytes."""
    text = Path(f'/proc/{pid}/status').read_text(encoding='utf-8')
    return tuple(int(re.search(rf'^{key}:\s+(\d+)', text, re.M)[1]) * 1024
                 for key in ('VmRSS', 'VmHWM'))


def one_round(guest, small, between=None):
    """Return seconds and bytes of an inflate and a deflate; call between() between."""
    # inflate, deflate: seconds; guest, host: CPU seconds of the guest's CPU and of QEMU's
    # main thread for the inflate; peak, gained: bytes, see above
    def look():
        return {'guest': guest.cpu_seconds(cpu), 'host': guest.cpu_seconds()}
    cpu = guest.qmp('query-cpus-fast')[0]['thread-id']
    # The peak is from here on.
    Path(f'/proc/{guest.pid}/clear_refs').write_text('5', encoding='ascii')
    start, before = resident(guest.pid)[0], look()
    found = {'inflate': guest.balloon_to(small)}
    found |= {key: value - before[key] for key, value in look().items()}
    now, peak = resident(guest.pid)
    found |= {'peak': peak - start, 'gained': start - now}
    if between:
        between()
    return found | {'deflate': guest.balloon_to(guest.memory)}


def timed(guests, small, rounds, before=None, after=None, measure_one=one_round):
    """Return {pair: {what measure_one() measures: its values}} of alternating rounds."""
    # before: called with the guest before each of its rounds; after: called with
    # whether the round is counted, the pair and the guest at its end
    found = {name: defaultdict(list) for name in guests}
    for counted, name, guest in in_turn(guests, rounds):
        if before:
            before(guest)
        for key, value in measure_one(guest, small).items():
            if counted:
                found[name][key].append(value)
        if after:
            after(counted, name, guest)
    return found


# -- Counts -----------------------------------------------------------------

def traced(log, offset):
    """Return (kicks, discards) in a trace log from an offset on; and its new end."""
    # Other virtio devices are quiet at that time, so the queue with most kicks is the
    # balloon's.
    with open(log, encoding='utf-8', errors='replace') as file:
        file.seek(offset)
        found = Counter(re.findall(
            r'ram_block_discard_range|(?<=virtio_queue_notify )vdev \S+', file.read()))
    discards = found.pop('ram_block_discard_range', 0)
    return max(found.values(), default=0), discards, log.stat().st_size


def one_count(guest, small):
    """Return {(way, what): count per GiB} of one round."""
    gib, found = (guest.memory - small) / GIB, {}
    end = guest.trace_log.stat().st_size
    for way, target in (('inflate', small), ('deflate', guest.memory)):
        before = guest.counters() if guest.shape.qemu == 'ours' else {}
        guest.balloon_to(target)
        kicks, discards, end = traced(guest.trace_log, end)
        data = (guest.memory - small) // PAGE * 4
        if before:
            after = guest.counters()
            data = after[f'{way}-bytes'] - before[f'{way}-bytes']
            discards = after['discards'] - before['discards']
        if way == 'inflate' and not (kicks and discards):
            raise Failure(f'{guest.name}: {kicks} kicks and {discards} discards counted: '
                          'QEMU counts them elsewhere')
        found |= {(way, 'kicks'): kicks / gib, (way, 'bytes'): data / gib,
                  (way, 'discards'): discards / gib}
    return found


def count(size, small, rounds):
    """Return {'WAY: WHAT': {pair: counts per GiB}}; the first round counts as well."""
    found = defaultdict(lambda: defaultdict(list))
    with paused(PAIRS, size, trace=TRACE) as guests:
        for _, name, guest in in_turn(guests, rounds - 1):
            for (way, what), value in one_count(guest, small).items():
                found[f'{way}: {what}'][name].append(value)
    for guest in guests.values():
        guest.trace_log.unlink(missing_ok=True)
    return found


# -- The program ------------------------------------------------------------

def measure(args):
    """Return all numbers, as they go into the JSON file."""
    sizes, states = shapes(args), {}
    head = report.environment() | {
        f'{key}_gib': getattr(args, key) for key in ('size', 'to', 'touched')}
    for zeroing in ZEROING:
        for state, (size, small) in sizes.items():
            # Without the bit ours is stock: one state shows it.
            pairs = {name: halves for name, halves in PAIRS.items()
                     if name != 'ours, bit off' or label(state, zeroing) == 'touched'}
            name = label(state, zeroing)
            say(f'measuring: {name}, {size / GIB:g} GiB, {args.rounds} rounds ...')
            with paused(pairs, size, append=zeroing) as guests:
                states[name] = {'gib': (size - small) / GIB, 'pairs': timed(
                    guests, small, args.rounds, fill if state == 'touched' else None)}
    say('counting kicks, bytes and discards ...')
    return {'header': head, 'states': states,
            'per_gib': count(*sizes['touched'], args.rounds)}


def rows(data):
    """Return the table's lines, as lists of cells."""
    yield ['', 'n', *PAIRS]
    for state, found in data['states'].items():
        def columns(key, found=found):
            return {name: values[key] for name, values in found['pairs'].items()}
        for way in WAYS:
            middle = {name: median(values) for name, values in columns(way).items()}
            yield report.row(f'{way}, {state}: s', columns(way), PAIRS, digits=3)
            yield ['  GiB/s', '', *(f"{found['gib'] / middle[name]:.2f}"
                                    if name in middle else '-' for name in PAIRS)]
            yield ['  times faster than stock', '', *(
                f"{middle['stock'] / middle[name]:.2f}"
                if name in middle and name != 'stock' else '-' for name in PAIRS)]
        yield report.row('  host memory at its peak, MiB above its start',
                         columns('peak'), PAIRS, 1 / MIB)
        if state.startswith('touched'):
            yield report.row(f"  the host gains, MiB of {found['gib'] * 1024:.0f}",
                             columns('gained'), PAIRS, 1 / MIB)
    for what, found in data['per_gib'].items():
        values = [value for counts in found.values() for value in counts]
        yield report.row(f'{what} per GiB', found, PAIRS,
                         digits=0 if max(values) >= 10 else 1)


def show(data):
    """Print header and table."""
    head = data['header']
    say(f"\nGuests of {head['size_gib']:g} GiB inflated to {head['to_gib']:g} "
        f'GiB and deflated back, {report.describe_accelerator(head)}')
    say(f"Touched: guests of {head['touched_gib']:g} GiB, inflated by the same "
        'share, after a program has filled their memory and ended')
    say('Guest kernels with their defaults; init_on_alloc=0: they do not zero what '
        'they allocate')
    say(report.describe_host(head))
    say(f"{report.explain_rounds('the guests')}, but where it is counts per GiB\n")
    report.table(list(rows(data)))


if __name__ == '__main__':
    report.run(__doc__, 'inflate', 3, options, measure, show)
