# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes on the inflate queue for each 4 KiB page, by what the guest has done.

Three guests of --touched GiB give half of it: one that has just booted, one most of
whose free memory lies in pieces of 192 KiB, and one whose memory is page cache. The
legacy format always takes 4 bytes. These numbers do not depend on the accelerator, nor
on --size and --to, which are here because BENCH= is for bench.inflate, too.
"""

import contextlib

from bench import report
from bench.inflate import booted, options, whole
from harness.common import say
from harness.vm import MIB, PAGE

KEYS = ('pages', 'bytes', 'records', 'messages')


def idle(_guest):
    """Do nothing."""
    return contextlib.nullcontext()


def fragmented(guest):
    """Leave free memory in pieces of 192 KiB."""
    return guest.background(
        f'exec fragment {guest.memory * 5 // 6 // MIB} > /tmp/fragment',
        ready='grep -q fragmented /tmp/fragment')


@contextlib.contextmanager
def page_cache(guest):
    """Read a disk that is larger than memory."""
    # Its pages are dropped when nobody has it open.
    holder = guest.spawn('exec sleep 86400 < /dev/vda')
    guest.run('dd if=/dev/vda of=/dev/null bs=1M')
    assert guest.meminfo()['Cached'] + guest.meminfo()['Buffers'] > guest.memory // 2
    yield
    holder.signal(15)
    holder.wait(check=False)


def one_inflate(guest):
    """Return what one inflate by half puts on the queue."""
    before = guest.counters()
    guest.balloon_to(guest.memory // 2)
    after = guest.counters()
    found = {key: after[f'inflate-{key}'] - before[f'inflate-{key}'] for key in KEYS}
    return {'bytes/page': found['bytes'] / found['pages'],
            'records': found['records'], 'messages': found['messages'],
            'discards': after['discards'] - before['discards']}


def measure(args):
    """Return all numbers, as they go into the JSON file."""
    data = {'header': report.environment() | {'gib': args.touched}, 'states': {}}
    size = whole(args.touched)
    disk = ['-blockdev', f'null-co,node-name=disk,size={2 * size},read-zeroes=on',
            '-device', 'virtio-blk-pci,drive=disk']
    for state in (idle, fragmented, page_cache):
        runs = []
        with booted(f'density {state.__name__}', size, page_bitmap=True,
                    args=disk) as guest:
            for _ in range(args.rounds):
                with state(guest):
                    runs.append(one_inflate(guest))
                guest.balloon_to(size)
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
