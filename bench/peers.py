# SPDX-License-Identifier: GPL-2.0-or-later
"""Four ways to take memory back from a guest, side by side.

stock       the balloon of the unpatched pair
bits off    the balloon of the patched pair, without our properties
ours        the same with both properties on
virtio-mem  the unpatched pair; all but --to of the guest's memory is a virtio-mem device,
            in the guest's movable zone
reporting   the unpatched pair with free page reporting; nobody asks for anything

A round shrinks each guest from --size to --to and grows it back, one guest after the
other. Guests are in these states:

idle     they have just booted
touched  before each round a program fills their memory and ends. Each guest migrates after
         it has shrunk; the destination is thrown away
pieces   in each round a program fills six tenths of memory, frees three of every four 64 KiB,
         and keeps the rest to the end of the round
program  a program takes and frees 64 MiB over and over while the guest shrinks and grows

"To target" is the time until the device reports that the guest has shrunk; free page
reporting has none. "Host has it" is the time until QEMU's resident memory has fallen by 95 %
of its whole fall, if that is more than 64 MiB. A guest has ended when nothing has changed
for a second (free page reporting, which pauses for two: for six). "Short" is by how
much the target was missed when nothing had moved for STUCK seconds. CPU seconds end with
the last change. Guests have one CPU.
"""

import contextlib
import re
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from bench import inflate, migration, report
from harness import workloads
from harness.common import Failure, say
from harness.limits import COMMAND
from harness.vm import MIB, Guest

SYSTEMS = ('stock', 'bits off', 'ours', 'virtio-mem', 'reporting')
STATES = ('idle', 'touched', 'pieces', 'program')
DEVICE = '/machine/peripheral/vmem0'
# Seconds without a change after which a guest has ended, or is stuck; and how long a guest
# with free page reporting is watched, and others at most, while a program runs.
STILL, REPORTED, STUCK, WATCHED, LONGEST = 1, 6, 15, 10, 60
# What counts as a change, or as a gain, in bytes.
CHANGE, GAIN = 4 * MIB, 64 * MIB


def guests_of(size, small):
    """Return {system: what its guest is made of}."""
    stock, ours = ({'qemu': pair, 'kernel': pair, 'memory': size, 'smp': 1}
                   for pair in ('stock', 'ours'))
    return dict(zip(SYSTEMS, (
        stock, ours, ours | {'page_bitmap': True, 'host_request': True},
        stock | {'memory': small, 'virtio_mem': size - small, 'balloon': False,
                 'append': 'memhp_default_state=online_movable'},
        stock | {'free_page_reporting': True})))


# -- One guest ----------------------------------------------------------------

def is_reporting(guest):
    """Return whether nobody asks this guest for anything."""
    return 'free_page_reporting' in (guest.shape.balloon or {})


def ask(guest, size):
    """Ask a guest for a size, in the way of its system."""
    if guest.shape.virtio_mem:
        guest.qmp('qom-set', path=DEVICE, property='requested-size',
                  value=size - guest.memory)
    elif not is_reporting(guest):
        guest.set_target(size)


def left(guest):
    """Return the memory that is left to a guest, as its device has it."""
    if guest.shape.virtio_mem:
        return guest.memory + guest.get('size', DEVICE)
    return guest.actual()


def cpu_times(guest, thread):
    """Return CPU seconds of the guest's CPU, and of the rest of QEMU."""
    all_of_it = sum(guest.cpu_seconds(task.name) for task in
                    Path(f'/proc/{guest.pid}/task').iterdir())
    own = guest.cpu_seconds(thread)
    return own, all_of_it - own


def thin(samples):
    """Return samples as (s, MiB) without samples that hardly differ from the last."""
    kept = [samples[0]]
    for sample in samples[1:]:
        if abs(sample[1] - kept[-1][1]) >= 4 * CHANGE:
            kept.append(sample)
    return [(round(seconds, 3), value // MIB) for seconds, value in [*kept, samples[-1]]]


def resize(guest, size, still=STILL, limit=COMMAND):
    """Ask for a size, and watch until nothing changes; return times and amounts."""
    # still: seconds without a change at the target after which the guest has ended
    # limit: seconds after which it has, whatever changes
    thread = guest.qmp('query-cpus-fast')[0]['thread-id']
    before, samples, reached, moved = cpu_times(guest, thread), [], None, 0.0
    spent, started = before, time.monotonic()
    last = (inflate.resident(guest.pid)[0], left(guest))
    ask(guest, size)
    still = REPORTED if is_reporting(guest) else still
    while True:
        now = time.monotonic() - started
        state = (inflate.resident(guest.pid)[0], left(guest))
        samples.append((now, state[0]))
        arrived = state[1] == size and reached is None and not is_reporting(guest)
        reached = now if arrived else reached
        if arrived or max(map(abs, map(int.__sub__, state, last))) >= CHANGE:
            moved, last, spent = now, state, cpu_times(guest, thread)
        done = reached is not None or is_reporting(guest)
        if now - moved >= (still if done else STUCK) or now > limit:
            break
        # Each poll takes time from QEMU's main loop, as in Guest.balloon_to().
        time.sleep(max(0.002, min(now / 100, 0.1)))
    short = 0 if is_reporting(guest) else abs(last[1] - size)
    return described(samples, reached, short) | {
        'guest cpu': spent[0] - before[0], 'host cpu': spent[1] - before[1]}


def described(samples, reached, short):
    """Describe a change of size: times in s, amounts in bytes."""
    start, end = samples[0][1], samples[-1][1]
    found = {'gained': start - end, 'samples': thin(samples)}
    if reached is not None:
        found |= {'target': reached, 'short': 0}
    elif short:
        found['short'] = short
    if start - end > GAIN:
        found['host'] = next(seconds for seconds, value in samples
                             if value <= end + (start - end) / 20)
    return found


def watched_by_program(guest, sizes):
    """Resize while a program takes and frees memory; return its stalls in us."""
    stall = guest.start('stall 64')
    stall.signal(10)
    guest.wait_for(lambda: 'begun' in guest.said('stall'), 'stall has begun')
    for size in sizes:
        # The memory that the program takes changes all the time.
        resize(guest, size, 0, WATCHED if is_reporting(guest) else LONGEST)
    stall.end()
    said = {key: int(value) for key, value in
            re.findall(r'(\w+)=(\d+)', guest.said('stall'))}
    return {'longest': said['longest'], 'usual': said['usual']}


def one_turn(guest, state, size, small):
    """Return the measurements of a guest in one round."""
    if state == 'program':
        return watched_by_program(guest, (small, size))
    if state == 'pieces':
        with guest.background(f'fragment {size * 6 // 10 // MIB}'):
            return shrink_and_grow(guest, state, size, small)
    return shrink_and_grow(guest, state, size, small)


def shrink_and_grow(guest, state, size, small):
    """Return the measurements of one change of size there and back."""
    found = {}
    if state == 'touched':
        workloads.touch_all(guest, size // 32)
        found['huge'] = guest.resident('AnonHugePages')
    found |= resize(guest, small)
    if state == 'touched':
        moved = migration.one_migration(guest)
        found |= {key: moved[key] for key in ('bytes', 'ms', 'downtime')}
        guest.resume()
    if not is_reporting(guest):
        back = resize(guest, size)
        found |= {f'grow {key}': back[key] for key in ('target', 'guest cpu', 'host cpu')
                  if key in back}
    return found


# -- All of them --------------------------------------------------------------

@contextlib.contextmanager
def booted(state, size, small):
    """Yield {system: guest} in a state, stopped."""
    with contextlib.ExitStack() as stack:
        guests = {}
        for name, made in guests_of(size, small).items():
            guest = guests[name] = stack.enter_context(
                Guest(name=f"peers-{state}-{name.replace(' ', '-')}", **made))
            if guest.shape.balloon is not None:
                guest.load_balloon()
            guest.wait_for(lambda guest=guest: left(guest) == size, 'all memory plugged')
            guest.pause()
        yield guests


def measure_state(state, size, small, rounds):
    """Return {system: {what: values}} of guests that take turns."""
    found = {name: defaultdict(list) for name in SYSTEMS}
    with booted(state, size, small) as guests:
        for counted, name, guest in inflate.in_turn(guests, rounds):
            for key, value in one_turn(guest, state, size, small).items():
                if counted:
                    found[name][key].append(value)
                elif key == 'huge':
                    found[name]['huge before'].append(value)
    return found


def measure(args):
    """Return all numbers, as they go into the JSON file."""
    size, small, started = *map(inflate.whole, (args.size, args.to)), time.monotonic()
    if small >= size:
        raise Failure('--to must be below --size')
    data = {'header': report.environment() | {'size_gib': args.size, 'to_gib': args.to},
            'states': {}}
    for state in args.states:
        say(f'{state} ({time.monotonic() - started:.0f} s)')
        data['states'][state] = measure_state(state, size, small, args.rounds)
    data['header']['seconds'] = int(time.monotonic() - started)
    return data


# -- The table ----------------------------------------------------------------

# (what, key, scale, digits, whether more is better): in the states that have the key
LINES = (('to target, s', 'target', 1, 2, False),
         ('short of the target, MiB', 'short', 1 / MIB, 0, False),
         ('host has it, s', 'host', 1, 2, False),
         ('the host gains, MiB', 'gained', 1 / MIB, 0, True),
         ('CPU s of the host', 'host cpu', 1, 2, False),
         ('CPU s of the guest', 'guest cpu', 1, 2, False),
         ('grow back, s', 'grow target', 1, 2, False),
         ('grow back: CPU s of the host', 'grow host cpu', 1, 2, False),
         ('grow back: CPU s of the guest', 'grow guest cpu', 1, 2, False),
         ('then migrate: MB sent', 'bytes', 1e-6, 0, False),
         ('then migrate: ms', 'ms', 1, 0, False),
         ('then migrate: downtime, ms', 'downtime', 1, 0, False),
         ('QEMU in huge pages when first filled, MiB', 'huge before', 1 / MIB, 0, True),
         ('QEMU in huge pages when filled again, MiB', 'huge', 1 / MIB, 0, True),
         ('longest stall, ms beyond a usual round', 'longest', 1e-3, 1, False),
         ('usual round of the program, ms', 'usual', 1e-3, 1, False))


def best(columns, more):
    """Return the systems with the best median, or one within the best one's range."""
    middle = {name: median(values) for name, values in columns.items() if values}
    if len(set(middle.values())) < 2:
        return ''
    first = (max if more else min)(middle, key=middle.get)
    low, high = min(columns[first]), max(columns[first])
    return ', '.join(name for name, value in middle.items()
                     if name == first or low <= value <= high)


def rows(data):
    """Return the table's lines, as lists of cells."""
    yield ['', 'n', *SYSTEMS, 'best']
    for state, found in data['states'].items():
        # Free page reporting that gave nothing is not best by having done nothing.
        idle = median(found['reporting'].get('gained') or [0]) < GAIN
        for what, key, scale, digits, more in LINES:
            columns = {name: values.get(key, []) for name, values in found.items()}
            if any(columns.values()):
                yield [*report.row(f'{state}: {what}', columns, SYSTEMS, scale, digits),
                       best(columns | ({'reporting': []} if idle else {}), more)]


def show(data):
    """Print header and table."""
    head = data['header']
    say(f"\nGuests of {head['size_gib']:g} GiB shrink to {head['to_gib']:g} GiB and grow "
        f'back, {report.describe_accelerator(head)}')
    say(f"{report.describe_host(head)}; it took {head['seconds']} s")
    say(f"{report.explain_rounds('the guests')}. Best: the best median, and medians "
        'within its range\n')
    report.table(list(rows(data)))


def options(parser):
    """Add sizes and states to the command line."""
    inflate.add_sizes(parser, 4)
    parser.add_argument('--states', type=report.some_of(STATES), default=list(STATES),
                        help=','.join(STATES))


if __name__ == '__main__':
    report.run(__doc__, 'peers', 3, options, measure, show)
