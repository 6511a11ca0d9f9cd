# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's part alone, without an emulator: KUnit tests that measure, on UML.

"Page by page" is the way of the stock driver, through the same functions of mm/balloon.c.
All tests run --rounds times. A test prints the median of repeated measurements,
and the longest time for which it holds a lock.
"""

import re
from statistics import median

from bench.inflate import WAYS
from bench.targets import OURS, STOCK, row
from harness import kunit
from harness.common import Failure
from harness.vm import GIB, PAGE

# Lines that the tests print: quantity -> pattern. The numbers that name a line
# come first.
LINES = {
    'pages': r'pages of order 0, (in|out): (\S+) ns per page',
    'blocks': r'blocks of order (\d+, (?:in|out)): (\S+) ns per page',
    'encode': r'runs of (\d+ pages, \d+ apart): encode (\S+) ns per run, (\d+) bytes',
    'scan': r'(\d+) page frames: (\d+) looked at, in (\d+) calls, (\d+) ns',
    'zone lock': r'(\d+) holds: at most (\d+) pages looked at, longest (\d+) ns',
    'page lock': r'(a page out of a block|1024 blocks (?:in|out)): '
                 r'at most (\d+) ns, median (\d+) ns',
}
ORDERS = ('0', '3', '9', '10')


def parse(text):
    """Return {quantity: {name of the line: [[number, ...], ...]}}."""
    found = {}
    for what, pattern in LINES.items():
        lines = found[what] = {}
        for name, *numbers in re.findall(pattern, text):
            lines.setdefault(name, []).append([float(number) for number in numbers])
        if not lines:
            raise Failure(f'the KUnit tests do not print "{what}": {pattern}')
    return found


def measure(args, _append):
    """Return the numbers that the tests print in each round."""
    runs = []
    for _ in range(args.rounds):
        kunit.results.cache_clear()
        status, suites, log, lines = kunit.results('uml')
        if status or not suites:
            raise Failure(f'KUnit on UML failed: see {log}')
        runs.append(parse('\n'.join(lines)))
    return runs


def gather(runs, what, name, i):
    """Return a number of all lines of a name, of all runs."""
    return [line[i] for run in runs for line in run[what].get(name, [])]


def rows(runs, _append):
    """Return lines of nanoseconds; stock's way is one page at a time."""
    first = runs[0]
    for way, name in zip(WAYS, ('in', 'out')):
        stock = gather(runs, 'pages', name, 0)
        yield row(f'UML, {way} page by page: ns per page', {STOCK: stock}, digits=1)
        for order in ORDERS:
            ours = gather(runs, 'blocks', f'{order}, {name}', 0)
            yield row(f'UML, {way} in blocks of order {order}: ns per page',
                      {OURS: ours}, 1, 1,
                      f'{median(stock) / median(ours):.1f} times faster')
    for name, lines in first['encode'].items():
        yield row(f'UML, encode runs of {name}: ns per run',
                  {OURS: gather(runs, 'encode', name, 0)}, 1, 1,
                  f'{lines[0][1] / 1024:.2f} bytes each')
    for name in first['scan']:
        yield row(f'UML, scan of {float(name) * PAGE / GIB:g} GiB, fragmented: us',
                  {OURS: gather(runs, 'scan', name, 2)}, 1e-3)
        yield row('  free blocks looked at', {OURS: gather(runs, 'scan', name, 0)})
    for i, what in enumerate(('most struct pages in a hold', 'longest hold, ns')):
        yield row(f'UML, zone->lock: {what}', {OURS: [
            line[i] for run in runs for lines in run['zone lock'].values()
            for line in lines]})
    for name in first['page lock']:
        for i, what in enumerate(('longest', 'median')):
            yield row(f"UML, balloon's page lock: {name}, {what}: ns",
                      {OURS: gather(runs, 'page lock', name, i)})
