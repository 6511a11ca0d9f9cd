# SPDX-License-Identifier: GPL-2.0-or-later
"""The balloon in blocks: stock against ours, and whether the targets are reached.

"Stock" is the unpatched pair, "ours" the patched one with both features on. Guest kernels
have their defaults; all that time depends on is measured once more with init_on_alloc=0.
"""

import time

from bench import inflate, native, report, sizes, states
from bench.targets import HEADINGS
from harness.common import say

# name -> what measures it, what makes lines of it, options of the guest kernels
PARTS = {
    'native': (native.measure, native.rows, ('',)),
    'idle': (states.measure_idle, states.rows_of_idle, inflate.ZEROING),
    'fragmented': (states.measure_fragmented, states.rows_of_fragmented,
                   inflate.ZEROING),
    'touched': (states.measure_touched, states.rows_of_touched, inflate.ZEROING),
    'sizes': (sizes.measure_sizes, sizes.rows_of_sizes, inflate.ZEROING),
    'huge': (sizes.measure_huge, sizes.rows_of_huge, ('',)),
}


def options(parser):
    """Add sizes and parts to the command line."""
    inflate.options(parser)
    gib = report.positive(float)
    parser.add_argument('--sizes', metavar='GIB,...',
                        type=lambda text: [gib(word) for word in text.split(',')],
                        default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument('--stock-to', type=gib, default=32, metavar='GIB',
                        help='the largest of them for the stock pair (32)')
    parser.add_argument('--parts', type=report.some_of(PARTS), default=list(PARTS),
                        help=','.join(PARTS))


def measure(args):
    """Return all numbers, as they go into the JSON file."""
    started = time.monotonic()
    data = {'header': report.environment(), 'parts': {}}
    inflate.shapes(args)
    for name in args.parts:
        measure_part, _, appends = PARTS[name]
        data['parts'][name] = {}
        for append in appends:
            say(f'{inflate.label(name, append)} ({time.monotonic() - started:.0f} s)')
            data['parts'][name][append] = measure_part(args, append)
    data['header']['seconds'] = int(time.monotonic() - started)
    data['rows'] = [line for name, found in data['parts'].items() for append in found
                    for line in PARTS[name][1](found[append], append)]
    return data


def show(data):
    """Print header and table."""
    head = data['header']
    say(f'\nThe balloon in blocks, {report.describe_accelerator(head)}')
    say('Guest kernels with their defaults; init_on_alloc=0: they do not zero what '
        'they allocate')
    say(f"{report.describe_host(head)}; it took {head['seconds']} s")
    say(f"{report.explain_rounds('stock and ours')}")
    say('On UML, and in the new guests for huge pages, all rounds are counted\n')
    report.table([list(HEADINGS), *data['rows']])


if __name__ == '__main__':
    report.run(__doc__, 'blocks', 5, options, measure, show)
