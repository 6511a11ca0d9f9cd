# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes on the inflate queue for each 4 KiB page, by what the guest has done.

Guests of --touched GiB give half of it: some have just booted, most of the free memory
of others lies in pieces of 192 KiB, the memory of others is page cache. Each round is in
a new guest. The legacy format always takes 4 bytes. --size and --to exist because BENCH=
also holds options of bench.inflate.
"""

from bench import report
from bench.inflate import booted, options, whole
from harness.common import say
from harness.vm import PAGE
from harness.workloads import disk_args, idle, page_cache, pieces


def one_inflate(guest):
    """Return what one inflate by half puts on the queue."""
    before = guest.counters()
    guest.balloon_to(guest.memory // 2)
    found = {key: value - before[key] for key, value in guest.counters().items()}
    return {'bytes/page': found['inflate-bytes'] / found['inflate-pages'],
            'records': found['inflate-records'], 'messages': found['inflate-messages'],
            'discards': found['discards']}


def measure(args):
    """Return all numbers, as they go into the JSON file."""
    data = {'header': report.environment() | {'gib': args.touched}, 'states': {}}
    size = whole(args.touched)
    for state in (idle, pieces, page_cache):
        runs = []
        for _ in range(args.rounds):
            with booted(f'density {state.__name__}', size, page_bitmap=True,
                        args=disk_args(state, size)) as guest, state(guest):
                runs.append(one_inflate(guest))
        data['states'][state.__name__.replace('_', ' ')] = {
            key: [run[key] for run in runs] for key in runs[0]}
    return data


def rows(data):
    """Return the table's lines, as lists of cells."""
    columns = ('bytes/page', 'records', 'messages', 'discards')
    yield ['guest', 'n', *columns]
    for state, found in data['states'].items():
        yield [state, report.count_rounds(found),
               *(report.cell(found[key], digits=5 * (key == 'bytes/page'))
                 for key in columns)]
    pages = whole(data['header']['gib']) // 2 // PAGE
    yield ['legacy, computed', '-', '4', f'{pages:,}', f'{pages // 256:,}', f'{pages:,}']


def show(data):
    """Print header and table."""
    gib = data['header']['gib']
    say(f'\nGuests of {gib:g} GiB give {gib / 2:g} GiB each')
    say(report.describe_host(data['header']))
    say('median (minimum to maximum) of n rounds\n')
    report.table(list(rows(data)))


if __name__ == '__main__':
    report.run(__doc__, 'density', 3, options, measure, show)
