# SPDX-License-Identifier: GPL-2.0-or-later
"""Native speed, end to end, without KVM: guests of user-mode Linux (UML).

The guests' driver runs on this machine's own CPU, and tells native/device.c, a balloon
device behind vhost-user, which punches holes into the file that is the guest's memory.
Guests of four kinds take turns; each round inflates each of them to a quarter of its
memory and deflates it back.

stock           the unpatched kernel
stock, joined   the same; the device discards the frames of a buffer in ascending order,
                adjacent ones joined
ours, bit off   our kernel, in the legacy format
ours, bit on    our kernel, in packed page sets

idle        the guest has just booted.
touched     before each inflate, the guest allocates a file of tmpfs of nearly all its
            memory, which it zeroes, and removes it. After each round of ours with the
            bit on, the device times one discard of as much memory that was written to.
fragmented  one page of every 64 KiB is in use: no block above order 3 is free, which is
            checked before each round. Compaction on its own initiative is off. The host
            has no memory behind free pages, as in "idle".

The time is from the device's notification of the new target to the write of "actual"
that reaches it. Of it, "guest" is CPU time of UML's process (all its CPUs), "device" CPU
time of the device outside of discards, "discards" the time within fallocate(), and
"wake-ups" the rest: what passes while neither side runs, or the host switches between
them. Guest kernels have distributions' defaults for zeroing (init_on_alloc=1). User-mode
Linux with SMP has mfence where x86 has no instruction (smp_store_release()), so kernels
without SMP are measured, too.
"""

import re
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from bench import report
from bench.inflate import WAYS, label, whole
from bench.states import LARGE, share_above_order_3
from bench.targets import HEADINGS
from harness.common import Failure, say
from harness.vm.host import GIB, MIB
from harness.vm.uml import UmlGuest

STOCK, JOINED, OFF, ON = 'stock', 'stock, joined', 'ours, bit off', 'ours, bit on'
# name in the table -> which kernel, options of the device
KINDS = {STOCK: ('stock', ()), JOINED: ('stock', ('-j',)),
         OFF: ('ours', ()), ON: ('ours', ('-b', '-r'))}
# Quantity: the goal of ours with the bit on, in ms per GiB
GOALS = {('idle', 'inflate'): 3.9, ('idle', 'deflate'): 3.4}
# The goal for "touched": the time of one discard, so many times
TOUCHED_GOAL = 1.2
PARTS = ('guest', 'wake-ups', 'device', 'discards')
# Where the files of the guests' states are
FILL = '/tmp/fill'


# -- States of guests -------------------------------------------------------

def mount(guest):
    """Give the guest a tmpfs that can hold all of its memory."""
    guest.run(f'mkdir {FILL} && mount -t tmpfs -o size=100% fill {FILL}')


def touch(guest):
    """Let the guest zero nearly all of its free memory, and free it."""
    mib = (guest.meminfo()['MemAvailable'] - guest.memory // 32) // MIB
    guest.run(f'fallocate -l {mib}M {FILL}/file && rm {FILL}/file')


def fragment(guest):
    """Leave no free block above order 3."""
    mount(guest)
    guest.run('cd /proc/sys/vm && echo 0 > compaction_proactiveness && '
              'echo 4096 > min_free_kbytes')
    mib = guest.meminfo()['MemFree'] // MIB - 16
    guest.run(f'pieces {FILL}/pieces {mib}')
    # The host cannot have memory for all guests.
    guest.balloon_to(guest.memory // 4)
    guest.balloon_to(guest.memory)


def check_fragmented(guest):
    """Raise Failure if larger blocks are free."""
    share = share_above_order_3(guest)
    if share > LARGE:
        raise Failure(f'{guest.name} is not fragmented: {share:.1%} of its free memory '
                      'lies in blocks above order 3')


# name -> preparation of a new guest, and of each of its rounds
STATES = {'idle': (None, None), 'touched': (mount, touch),
          'fragmented': (fragment, check_fragmented)}


# -- Measuring --------------------------------------------------------------

def options(parser):
    """Add sizes and states to the command line."""
    gib = report.positive(float)
    parser.add_argument('--sizes', metavar='GIB,...',
                        type=lambda text: [gib(word) for word in text.split(',')],
                        default=[1, 2, 4, 8, 16], help='memory of the guests')
    parser.add_argument('--size', type=gib, default=4, metavar='GIB',
                        help='memory of fragmented guests, and of those whose times are '
                             'split (4)')
    parser.add_argument('--touched-to', type=gib, default=4, metavar='GIB',
                        help='the largest guest whose memory is touched (4)')
    parser.add_argument('--touched-rounds', type=report.positive(int), default=9,
                        help='rounds of touched guests (9)')
    parser.add_argument('--stock-to', type=gib, default=4, metavar='GIB',
                        help='the largest guest in the legacy format (4)')
    parser.add_argument('--states', type=report.some_of(STATES), default=list(STATES),
                        help=','.join(STATES))


@contextmanager
def booted(case, kinds):
    """Yield {kind: guest}, prepared."""
    with ExitStack() as stack:
        guests = {}
        for kind in kinds:
            kernel, words = KINDS[kind]
            name = re.sub('[^a-z]+', '-', f'uml {kind}')
            guest = guests[kind] = stack.enter_context(UmlGuest(
                name, kernel, whole(case['gib']), words, case['append'], case['cpus']))
            if bool(guest.about()['page_bitmap']) != (kind == ON):
                raise Failure(f'{kind}: wrong features were negotiated')
            if prepare := STATES[case['state']][0]:
                prepare(guest)
        yield guests


def one_round(guest, small):
    """Return the counts of the device for an inflate and a deflate."""
    found = {}
    for way, size in zip(WAYS, (small, guest.memory)):
        counted = guest.balloon_to(size)
        counted['device'] -= counted['discard']
        counted['wake-ups'] = counted['ns'] - sum(
            counted[part] for part in ('guest', 'device', 'discard'))
        for key, value in counted.items():
            if key != 'verdict':
                found[f'{way}: {key}'] = value
    return found


def of_ours(guest, state, values):
    """Add the quantities of ours with the bit on, after its round."""
    if state == 'touched':
        freed = values['inflate: before'] - values['inflate: after']
        one = guest.device.ask(f'discard {freed}') if freed > 0 else {}
        if one.get('verdict') != 'done':
            raise Failure(f'{guest.name}: one discard of {freed} bytes: {one}')
        values['one'] = one['ns']
    scan = guest.device.ask('unused')
    if scan['verdict'] != 'done':
        raise Failure(f'{guest.name}: unused pages: {scan}')
    values |= {f'scan: {key}': scan[key] for key in ('ns', 'guest', 'bytes', 'ranges')}


def measure_case(args, case):
    """Return {kind: {what: [values]}} of alternating rounds."""
    state = case['state']
    kinds = [kind for kind in KINDS if kind == ON or case['gib'] <= args.stock_to]
    found = {kind: defaultdict(list) for kind in kinds}
    rounds = args.touched_rounds if state == 'touched' else args.rounds
    with booted(case, kinds) as guests:
        for number in range(rounds + 1):
            for kind, guest in guests.items():
                if before := STATES[state][1]:
                    before(guest)
                values = one_round(guest, guest.memory // 4)
                if kind == ON:
                    of_ours(guest, state, values)
                # The first inflate of a guest takes longer.
                for key, value in values.items() if number else ():
                    found[kind][key].append(value)
    return found


def room(state, gib):
    """Return whether there is memory for guests in a state."""
    # One guest at a time has touched its memory; the others keep a quarter.
    need = gib * GIB * {'idle': 0.25, 'touched': 2, 'fragmented': 2.5}[state]
    text = Path('/proc/meminfo').read_text(encoding='ascii')
    return need < int(re.search(r'MemAvailable:\s+(\d+)', text)[1]) * 1024


def cases(args):
    """Yield the quantities that are measured."""
    for state in args.states:
        sizes = [args.size] if state == 'fragmented' else args.sizes
        shapes = [(gib, '', 2) for gib in sizes
                  if state != 'touched' or gib <= args.touched_to]
        if state == 'idle':
            shapes.append((args.size, 'init_on_alloc=0', 2))
        shapes.append((args.size, '', 1))
        for gib, append, cpus in shapes:
            yield {'state': state, 'gib': gib, 'append': append, 'cpus': cpus}


def measure(args):
    """Return all numbers, as they go into the JSON file."""
    started, found, left_out = time.monotonic(), [], []
    head = report.environment(emulated=False) | {'size_gib': args.size}
    for case in cases(args):
        if not room(case['state'], case['gib']):
            left_out.append(name_case(case))
            continue
        say(f'{name_case(case)} ({time.monotonic() - started:.0f} s)')
        found.append(case | {'kinds': measure_case(args, case)})
    return {'header': head | {'left_out': left_out,
                              'seconds': int(time.monotonic() - started)},
            'cases': found}


# -- The table --------------------------------------------------------------

def judged(value, goal, unit):
    """Return the last three cells of a line: the goal, and whether it is reached."""
    far = value / goal - 1
    return ['', f'<= {goal:g} {unit}',
            'reached' if far <= 0 else f'MISSED by {far:.0%}']


def name_case(case):
    """Return what a case is called."""
    return f"{label(case['state'], case['append'])}, {case['gib']:g} GiB" \
           f"{', no SMP' * (case['cpus'] == 1)}"


def lines_of_way(case, way, split):
    """Yield lines of one way: all of the time, and its parts if split."""
    moved = case['gib'] * 3 / 4
    kinds = case['kinds']

    def line(what, key, scale, digits=2, end=('', '', '', '')):
        columns = {kind: found[f'{way}: {key}'] for kind, found in kinds.items()}
        return [*report.row(what, columns, KINDS, scale, digits), *end]

    def middle(kind):
        return median(kinds[kind][f'{way}: ns'])
    end = ['', '', '', '']
    if STOCK in kinds:
        end[0] = f'{middle(STOCK) / middle(ON):.0f} times faster'
    goal = GOALS.get((case['state'], way))
    if goal:
        end[1:] = judged(middle(ON) / 1e6 / moved, goal, 'ms')
    yield line(f'{way}, {name_case(case)}: ms per GiB', 'ns', 1e-6 / moved, end=end)
    if split:
        for part in PARTS:
            yield line(f'  {part}', part.replace('discards', 'discard'), 1e-6 / moved)
        for key in ('messages', 'configs', 'discards'):
            yield line(f"  {key.replace('configs', 'writes of fields')} per GiB", key,
                       1 / moved, 0)
    if case['state'] == 'touched' and way == 'inflate':
        yield from lines_of_touched(case, moved)


def lines_of_touched(case, moved):
    """Yield lines of the host's gain, and of one discard."""
    kinds = case['kinds']
    gained = {kind: [before - after for before, after in zip(
        found['inflate: before'], found['inflate: after'])]
              for kind, found in kinds.items()}
    yield [*report.row(f'  the host gains, MiB of {moved * 1024:.0f}', gained, KINDS,
                       1 / MIB), '', '', '', '']
    whole_time, parts = (
        [value / one for value, one in zip(kinds[ON][f'inflate: {key}'], kinds[ON]['one'])]
        for key in ('ns', 'discard'))
    one = {ON: [value / gain * GIB for value, gain in zip(kinds[ON]['one'], gained[ON])]}
    yield [*report.row('  one discard: ms per GiB', one, KINDS, 1e-6, 2), '', '', '', '']
    yield [*report.row('  inflate / one discard', {ON: whole_time}, KINDS, 1, 2), '',
           *judged(median(whole_time), TOUCHED_GOAL, 'times')]
    yield [*report.row('  discards / one discard', {ON: parts}, KINDS, 1, 2),
           '', '', '', '']


def lines_of_scan(case):
    """Yield lines of the request for unused pages, per GiB of the guest."""
    for title, key, scale, digits in (('ms', 'ns', 1e-6, 2), ('KiB of answers', 'bytes',
                                                             1 / 1024, 1)):
        columns = {ON: case['kinds'][ON][f'scan: {key}']}
        yield [*report.row(f'unused pages, {name_case(case)}: {title} per GiB', columns,
                           KINDS, scale / case['gib'], digits), '', '', '', '']


def rows(data):
    """Return the table's lines, as lists of cells."""
    yield [HEADINGS[0], HEADINGS[1], *KINDS, '', '', *HEADINGS[-2:]]
    for case in data['cases']:
        split = case['gib'] == data['header']['size_gib']
        for way in WAYS:
            yield from lines_of_way(case, way, split)
        if split:
            yield from lines_of_scan(case)


def show(data):
    """Print header and table."""
    head = data['header']
    say('\nGuests of user-mode Linux, inflated to a quarter of their memory and deflated '
        'back; two CPUs, or one and a kernel without SMP')
    say("stock: the unpatched kernel, each page discarded by itself; joined: pages of a "
        'buffer that touch discarded together')
    say(f"{report.describe_host(head)}; it took {head['seconds']} s")
    if head['left_out']:
        say(f"For want of memory, not measured: {'; '.join(head['left_out'])}")
    say(f"{report.explain_rounds('the guests')}\n")
    report.table(list(rows(data)))


if __name__ == '__main__':
    report.run(__doc__, 'uml', 5, options, measure, show)
