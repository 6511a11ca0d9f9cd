# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration: no help, FREE_PAGE_HINT, ours, ours after a reclaim of all.

Two QEMUs on this machine, a unix socket between them, 10 Gbit/s and a downtime of 300 ms
as limits. "No help" and FREE_PAGE_HINT are measured on the unpatched pair. For each case a
guest of each kind is booted and brought into its state once. Then they take turns: in
each round each of them migrates once, the destination is thrown away, and the source waits,
stopped, for its next turn. A first round is not counted. Before each migration the host's
memory is compacted: huge pages at the destination make more of a difference than the
modes. QEMU reports time, bytes and downtime. "Skipped" counts pages that QEMU sends
neither as a page nor as a mark for a page of zeroes; a page that is sent twice hides one
that is skipped.

The guest's cost is measured in separate migrations, in which a program takes and frees
64 MiB over and over (guest/stall.c): in the state "freed", because there most memory is
free. These guests continue at the destination. The host needs memory for about
five guests at a time.
"""

import contextlib
import re
import time
from operator import itemgetter
from pathlib import Path
from statistics import median

from bench import report
from harness import workloads
from harness.common import say
from harness.vm import BANDWIDTH, GIB, MIB, PAGE, Guest

DOWNTIME = 300
HINT = {'qemu': 'stock', 'kernel': 'stock', 'free_page_hint': 'on',
        'iothread': 'hints', 'args': ['-object', 'iothread,id=hints']}
OURS = {'qemu': 'ours', 'kernel': 'ours', 'page_bitmap': True, 'host_request': True}
# How the guests of a case are made, one state for each case.
NONE_, HINT_, OURS_, RECLAIMED = ('no help', 'free page hint', 'ours',
                                  'ours, reclaimed')
MODES = {NONE_: {'qemu': 'stock', 'kernel': 'stock'}, HINT_: HINT, OURS_: OURS,
         RECLAIMED: OURS}
CASES = {str(number): state for number, state in workloads.STATES.items()}


def title(case):
    """Return the number and the name of a case."""
    return f"{case}. {CASES[case].__name__.replace('_', ' ')}"


def describe(case):
    """Return the number, the name and the state of a case."""
    return f'{title(case)}: {CASES[case].__doc__.splitlines()[0]}'


@contextlib.contextmanager
def booted(case, size):
    """Yield {mode: guest} in the state of a case, stopped."""
    # A guest that has migrated replaces the one that it came from.
    guests = {}
    with contextlib.ExitStack() as stack:
        with contextlib.ExitStack() as states:
            # The other guests can have the memory that reclaiming gives back.
            for mode in reversed(MODES):
                made = dict(MODES[mode])
                made['args'] = made.get('args', []) + \
                    workloads.disk_args(CASES[case], size)
                name = re.sub('[^a-z]+', '-', mode)
                guest = guests[mode] = Guest(
                    memory=size, name=f'migration-{case}-{name}', **made)
                stack.callback(guest.kill)
                guest.launch()
                guest.load_balloon()
                states.enter_context(CASES[case](guest))
                if mode == RECLAIMED:
                    guest.request('reclaim')
                guest.pause()
            yield guests
            for guest in guests.values():
                guest.resume()
        for guest in guests.values():
            guest.check()


def result(guest, info):
    """Return the results of query-migrate and of our device's counters."""
    ram = info['ram']
    skipped = ram['total'] // PAGE - ram['normal'] - ram['duplicate']
    return {'ms': info['total-time'], 'downtime': info['downtime'],
            'bytes': ram['transferred'], 'pages': ram['normal'],
            'zero-pages': ram['duplicate'], 'skipped': max(0, skipped),
            'syncs': ram['dirty-sync-count'],
            'device': guest.get('migration-stats')
                      if guest.shape.qemu == 'ours' else {}}


def one_migration(guest):
    """Migrate a guest, throw the destination away; return time, bytes and counters."""
    target = guest.twin()
    # Every destination has the same chance of huge pages, if we may.
    with contextlib.suppress(PermissionError, FileNotFoundError):
        Path('/proc/sys/vm/compact_memory').write_text('1', encoding='ascii')
    guest.resume()
    try:
        target.launch()
        guest.start_migration(target, downtime=DOWNTIME)
        info = guest.complete_migration()
        target.event('RESUME')
        target.check()
        return result(guest, info)
    finally:
        target.kill()


def measure_case(case, size, rounds):
    """Return {mode: [results of one_migration()]} of alternating rounds."""
    found = {mode: [] for mode in MODES}
    with booted(case, size) as guests:
        for number in range(rounds + 1):
            for mode in MODES:
                run = one_migration(guests[mode])
                if number:
                    found[mode].append(run)
    return found


def one_paid(guest, target, reclaim):
    """Return the results of stall during a migration to a target."""
    guest.resume()
    with workloads.freed(guest):
        pass
    if reclaim:
        guest.request('reclaim')
    stall = guest.start('stall 64')
    target.launch()
    stall.signal(10)
    guest.wait_for(lambda: 'begun' in guest.said('stall'), 'stall has begun')
    guest.migrate(target, downtime=DOWNTIME)
    stall.end()
    target.check()
    said = re.findall(r'(\w+)=(\d+)', target.said('stall'))
    target.pause()
    return {key: int(value) for key, value in said}


def measure_paid(size, rounds):
    """Return {mode: [results of stall]} of guests that migrate again and again, in turn."""
    found = {mode: [] for mode in MODES}
    with contextlib.ExitStack() as stack, booted('1', size) as guests:
        for number in range(rounds + 1):
            for mode in MODES:
                old, target = guests[mode], guests[mode].twin()
                stack.callback(target.kill)
                said = one_paid(old, target, mode == RECLAIMED)
                old.kill()
                guests[mode] = target
                if number:
                    found[mode].append(said)
    return found


def measure(args):
    """Return all numbers, as they go into the JSON file."""
    size, started = int(args.size * GIB) // (8 * MIB) * 8 * MIB, time.monotonic()
    data = {'header': report.environment() | {
        'size_gib': args.size, 'bandwidth': BANDWIDTH, 'downtime_limit_ms': DOWNTIME},
        'cases': {}, 'paid': {}}
    for case in args.cases:
        say(f'{describe(case)} ({int(time.monotonic() - started)} s)')
        data['cases'][case] = measure_case(case, size, args.rounds)
    if not args.no_stall:
        say(f'cost for the guest ({int(time.monotonic() - started)} s)')
        data['paid'] = measure_paid(size, args.rounds)
    data['header']['seconds'] = int(time.monotonic() - started)
    data['reached'] = [{'what': what, 'value': value, 'reached': good}
                       for what, value, good in gate(data)]
    return data


# -- What must be reached ---------------------------------------------------

def gate(data):
    """(what, value, reached?) of each line of what must be reached."""
    def value(case, mode, key):
        return median(run[key] for run in data['cases'][case][mode])

    for key, least in (('bytes', 20), ('ms', 13)):
        if '2' in data['cases']:
            ratio = value('2', NONE_, key) / value('2', OURS_, key)
            yield (f'case 2: at least {least} times fewer {key} than no help',
                   f'{ratio:.1f}', ratio >= least)
    for case, most in (*dict.fromkeys('1245', 1.05).items(), ('3', 0.4)):
        if case in data['cases']:
            ratio = value(case, OURS_, 'bytes') / value(case, HINT_, 'bytes')
            yield (f'case {case}: at most {most} of the bytes of {HINT_}',
                   f'{ratio:.2f}', ratio <= most)
    for mode in (OURS_, RECLAIMED):
        for case in data['cases']:
            ratio = value(case, mode, 'ms') / value(case, NONE_, 'ms')
            yield (f'case {case}: {mode}: at most 1.1 of the time of no help',
                   f'{ratio:.2f}', ratio <= 1.1)
        if data['paid']:
            taken = max(map(memory_taken, data['paid'][mode]))
            # More than the kernel itself may want for a moment: 16 MiB.
            yield (f'{mode}: no memory taken from the guest (MiB)',
                   f'{taken / MIB:.0f}', taken < 16 * MIB)


def memory_taken(run):
    """Return by how many bytes MemFree fell."""
    return (run['free_before'] - run['free']) * 1024


# -- Output -----------------------------------------------------------------

def rows(data):
    """Return the table's lines, as lists of cells."""
    def line(what, runs, value, scale):
        return report.row(what, {mode: list(map(value, runs[mode])) for mode in MODES},
                          MODES, scale)
    yield ['', 'n', *MODES]
    for what, key, scale in (('MB sent', 'bytes', 1e-6), ('ms', 'ms', 1),
                             ('downtime, ms', 'downtime', 1),
                             ('1000 pages skipped', 'skipped', 1e-3)):
        for case, runs in data['cases'].items():
            yield line(f'{what}: {title(case)}', runs, itemgetter(key), scale)
    if not data['paid']:
        return
    for what, key, scale in (('longest stall of a migration, ms', 'longest', 1e-3),
                             ('all its stalls, ms', 'total', 1e-3),
                             ('least MemFree, MiB', 'free', 1 / 1024),
                             ('least MemAvailable, MiB', 'available', 1 / 1024)):
        yield line(what, data['paid'], itemgetter(key), scale)
    yield line('memory taken, MiB', data['paid'], memory_taken, 1 / MIB)


def show(data):
    """Print header, table and verdicts."""
    head = data['header']
    say(f"\nGuests of {head['size_gib']:g} GiB migrated on one machine, limits "
        f"10 Gbit/s and {head['downtime_limit_ms']} ms of downtime, "
        f'{report.describe_accelerator(head)}')
    for case in data['cases']:
        say(describe(case))
    say(f"{report.describe_host(head)}; it took {head['seconds']} s")
    say(f"{report.explain_rounds('the guests')}; {NONE_} and {HINT_}: the unpatched "
        'pair\n')
    report.table(list(rows(data)))
    say('')
    for line in data['reached']:
        verdict = 'reached' if line['reached'] else 'MISSED '
        say(f"{verdict}  {line['what']}: {line['value']}")


def options(parser):
    """Add size and cases to the command line."""
    parser.add_argument('--size', type=report.positive(float), default=4, metavar='GIB',
                        help='memory of the guests (4)')
    parser.add_argument('--cases', type=report.some_of(CASES, ''), default=[*CASES],
                        help=f'digits of the cases to measure ({"".join(CASES)})')
    parser.add_argument('--no-stall', action='store_true',
                        help='leave out the cost for the guest')


if __name__ == '__main__':
    report.run(__doc__, 'migration', 3, options, measure, show)
