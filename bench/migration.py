# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration: no help, FREE_PAGE_HINT, ours, ours after a reclaim of all.

Two QEMUs on this machine, a unix socket between them, 10 Gbit/s and a downtime
of 300 ms as limits. No help and FREE_PAGE_HINT are those of the unpatched pair.
For each case a guest of each kind is booted and brought into its state once;
then it migrates --rounds times: what has come to the destination is thrown
away, and the source goes on where it was stopped. Before each migration the
host's memory is compacted: whether a destination gets huge pages makes more of a
difference than what is measured. Time, bytes and downtime are
QEMU's (query-migrate). Skipped is what was not sent, neither as a page nor as a
mark for a page of zeroes: the pages of the guest without those that were. A
page that is sent twice hides one that is skipped.

What the guest pays is measured in migrations of its own, in which a program
takes and frees 64 MiB over and over (guest/stall.c): in the state of case 2,
because there most memory is free. These guests do go on at the destination.
"""

import contextlib
import re
import time
from pathlib import Path
from statistics import median

from bench import report
from bench.report import cell
from harness.common import Failure, say
from harness.disk import disk_image, disks
from harness.vm import BANDWIDTH, GIB, MIB, PAGE, Guest

DOWNTIME = 300
HINT = {'qemu': 'stock', 'kernel': 'stock', 'free_page_hint': 'on',
        'iothread': 'hints', 'args': ['-object', 'iothread,id=hints']}
OURS = {'qemu': 'ours', 'kernel': 'ours', 'page_bitmap': True,
        'host_request': True}
# The guests of a case, and what they are measured as: the last one twice.
NONE_, HINT_, OURS_, RECLAIMED = ('no help', 'free page hint', 'ours',
                                  'ours, reclaimed')
GUESTS = {NONE_: {'qemu': 'stock', 'kernel': 'stock'}, HINT_: HINT, OURS_: OURS}
MODES = (NONE_, HINT_, OURS_, RECLAIMED)


# -- Cases ------------------------------------------------------------------

def idle(_guest):
    """Nothing but the boot."""
    return contextlib.nullcontext()


def freed(guest):
    """A program has written to 7/8 of memory, and ended."""
    guest.run(f'memfill {guest.memory * 7 // 8 // MIB}', timeout=300)
    return contextlib.nullcontext()


def fragmented(guest):
    """Filled with small pages; then three of every four 64 KiB were freed."""
    return guest.background(
        f'exec fragment {guest.memory * 7 // 8 // MIB} > /tmp/fragment',
        ready='grep -q fragmented /tmp/fragment', timeout=400)


def page_cache(guest):
    """All files have been read that fill memory."""
    guest.run('for i in a b c d e f g; do mkdir /tmp/$i && '
              'mount -t ext4 -o ro /dev/vd$i /tmp/$i && '
              'dd if=/tmp/$i/file of=/dev/null bs=1M || exit 1; done',
              timeout=300)
    cached = guest.meminfo()['Cached']
    assert cached > guest.memory * 3 // 4, f'{cached // MIB} MiB cached'
    return contextlib.nullcontext()


def ballooned(guest):
    """The balloon holds three quarters of memory."""
    guest.balloon_to(guest.memory // 4, timeout=300)
    return contextlib.nullcontext()


def dirtying(guest):
    """A program writes 200 MB/s to an eighth of memory."""
    return guest.background(
        f'exec dirty {guest.memory // 8 // MIB} 200 > /tmp/dirty',
        ready='grep -q filled /tmp/dirty')


CASES = {1: idle, 2: freed, 3: fragmented, 4: page_cache, 5: ballooned,
         6: dirtying}


def boot(case, name, size):
    """A guest with its balloon driver loaded."""
    made = dict(GUESTS[name])
    if CASES[case] is page_cache:
        made['args'] = made.get('args', []) + disks(disk_image(size // 8))
    label = re.sub(r'\W+', '-', name)
    guest = Guest(memory=size, name=f'migration-{case}-{label}', **made)
    guest.launch()
    guest.load_balloon()
    return guest


def result(guest, info):
    """What is kept of query-migrate, and of our device's counters."""
    ram = info['ram']
    skipped = ram['total'] // PAGE - ram['normal'] - ram['duplicate']
    return {'ms': info['total-time'], 'downtime': info['downtime'],
            'bytes': ram['transferred'], 'pages': ram['normal'],
            'zero-pages': ram['duplicate'], 'skipped': max(0, skipped),
            'syncs': ram['dirty-sync-count'],
            'device': guest.get('migration-stats')
                      if guest.shape.qemu == 'ours' else {}}


def compact_host():
    """Give every destination the same chance of huge pages, if we may."""
    with contextlib.suppress(PermissionError, FileNotFoundError):
        Path('/proc/sys/vm/compact_memory').write_text('1', encoding='ascii')


def one_migration(guest):
    """There, and back as if nothing had been."""
    target = guest.twin()
    compact_host()
    try:
        target.launch()
        guest.start_migration(target, downtime=DOWNTIME)
        info = guest.end_migration(300)
        if info['status'] != 'completed':
            raise Failure(f"{guest.name}: migration {info['status']}: "
                          f"{info.get('error-desc')}")
        target.event('RESUME')
        target.check()
        measured = result(guest, info)
    finally:
        target.kill()
    guest.resume()
    return measured


def measure_case(case, size, rounds):
    """{mode: [what one_migration() says]}."""
    found = {}
    for name in GUESTS:
        guest = boot(case, name, size)
        try:
            with CASES[case](guest):
                found[name] = [one_migration(guest) for _ in range(rounds)]
                if name == OURS_:
                    guest.request('reclaim')
                    found[RECLAIMED] = [one_migration(guest)
                                        for _ in range(rounds)]
            guest.check()
        finally:
            guest.kill()
    return found


def numbers(text):
    """'a=1 b=2' as a dict."""
    return {key: int(value) for key, value in re.findall(r'(\w+)=(\d+)', text)}


def one_paid(guest, reclaim):
    """(guest at the destination, what stall says of a migration there)."""
    freed(guest)
    if reclaim:
        guest.request('reclaim')
    stall = guest.spawn('exec stall 64 > /tmp/stall')
    guest.wait_for(lambda: not stall.running or 'ready' in
                   guest.said('/tmp/stall'), 'stall is ready')
    target = guest.twin()
    try:
        target.launch()
        stall.signal(10)
        guest.wait_for(lambda: 'begun' in guest.said('/tmp/stall'),
                       'stall has begun')
        guest.migrate(target, timeout=300, downtime=DOWNTIME)
    except BaseException:
        target.kill()
        raise
    stall.signal(15)
    stall.wait(60)
    return target, numbers(target.read('/tmp/stall'))


def paid(name, size, rounds):
    """{mode: [what stall says]} of a guest that moves on and on."""
    guest, found = boot(2, name, size), {}
    try:
        for mode in MODES if name == OURS_ else (name,):
            if name == OURS_ and mode not in (OURS_, RECLAIMED):
                continue
            found[mode] = []
            for _ in range(rounds):
                old = guest
                guest, said = one_paid(old, mode == RECLAIMED)
                old.kill()
                guest.check()
                found[mode].append(said)
    finally:
        guest.kill()
    return found


def measure(args):
    """All numbers, as they go into the JSON file."""
    size, started = int(args.size * GIB) // (8 * MIB) * 8 * MIB, time.monotonic()
    data = {'header': header(args), 'cases': {}, 'paid': {}}
    for case in args.cases:
        say(f'case {case}: {CASES[case].__doc__} '
            f'({int(time.monotonic() - started)} s)')
        found = data['cases'][case] = measure_case(case, size, args.rounds)
        for mode, runs in found.items():
            say(f"    {mode}: {cell([run['ms'] for run in runs])} ms, "
                f"{cell([run['bytes'] for run in runs], 1e-6)} MB")
    if not args.no_stall:
        say(f'what the guest pays ({int(time.monotonic() - started)} s)')
        for name in GUESTS:
            data['paid'] |= paid(name, size, args.rounds)
    data['header']['seconds'] = int(time.monotonic() - started)
    data['reached'] = [{'what': what, 'value': value, 'reached': good}
                       for what, value, good in gate(data)]
    return data


def header(args):
    """What the numbers were measured on."""
    return report.environment() | {
        'size_gib': args.size, 'rounds': args.rounds,
        'bandwidth': BANDWIDTH, 'downtime_limit_ms': DOWNTIME}


# -- What must be reached ---------------------------------------------------

def gate(data):
    """(what, value, reached?) of each line of what must be reached."""
    def value(case, mode, key):
        return median(run[key] for run in data['cases'][case][mode])

    for key, least in (('bytes', 20), ('ms', 13)):
        if 2 in data['cases']:
            ratio = value(2, NONE_, key) / value(2, OURS_, key)
            yield (f'case 2: at least {least} times fewer {key} than no help',
                   f'{ratio:.1f}', ratio >= least)
    for case, most in ((1, 1.05), (2, 1.05), (4, 1.05), (5, 1.05), (3, 0.4)):
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
    """By how much MemFree fell below what it was before, in bytes."""
    return (run['free_before'] - run['free']) * 1024


# -- Output -----------------------------------------------------------------

def rows(data):
    """The table's lines, as lists of cells."""
    yield ['', *MODES]
    for case, modes in data['cases'].items():
        yield [f'{case}. {CASES[case].__name__}: ms',
               *(cell([run['ms'] for run in modes[mode]]) for mode in MODES)]
        for title, key, scale in (('MB sent', 'bytes', 1e-6),
                                  ('downtime, ms', 'downtime', 1),
                                  ('1000 pages skipped', 'skipped', 1e-3)):
            yield [title, *(cell([run[key] for run in modes[mode]], scale)
                            for mode in MODES)]
    if not data['paid']:
        return
    for title, key, scale in (('longest stall, ms', 'longest', 1e-3),
                              ('all stalls, ms', 'total', 1e-3),
                              ('least MemFree, MiB', 'free', 1 / 1024),
                              ('least MemAvailable, MiB', 'available', 1 / 1024)):
        yield [title, *(cell([run[key] for run in data['paid'][mode]], scale)
                        for mode in MODES)]
    yield ['memory taken, MiB',
           *(cell(list(map(memory_taken, data['paid'][mode])), 1 / MIB)
             for mode in MODES)]


def show(data):
    """Print header, table and what was reached."""
    head = data['header']
    say(f"\nGuests of {head['size_gib']:g} GiB migrated on one machine, limits "
        f"10 Gbit/s and {head['downtime_limit_ms']} ms of downtime, "
        f'{report.under(head)}')
    say(f"{report.where(head)}; it took {head['seconds']} s")
    say(f"median (min-max) of {head['rounds']} rounds; {NONE_} and {HINT_}: the "
        'unpatched pair\n')
    report.table(list(rows(data)))
    say('')
    for line in data['reached']:
        verdict = 'reached' if line['reached'] else 'MISSED '
        say(f"{verdict}  {line['what']}: {line['value']}")


def options(parser):
    """What the command line has besides size and rounds."""
    parser.add_argument('--cases', default='123456',
                        help='digits of the cases to measure (123456)',
                        type=lambda text: [int(digit) for digit in text])
    parser.add_argument('--no-stall', action='store_true',
                        help='leave out what the guest pays')


if __name__ == '__main__':
    report.run(__doc__, 'bench-migration.json', 3, options, measure, show)
