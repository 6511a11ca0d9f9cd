# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks' output has in common: where they ran, a table, JSON."""

import argparse
import datetime
import json
import os
import platform
import re
import signal
import sys
from pathlib import Path
from statistics import median

from harness import tree
from harness.common import BUILD, Failure, say
from harness.vm import accelerator, qemu_version


def cpu_model():
    """The host CPU's name."""
    text = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    match = re.search(r'^model name\s*:\s*(.*)$', text, re.M)
    return match[1] if match else platform.machine()


def environment():
    """What the numbers are measured on."""
    versions = {queue: ' '.join(tree.base_version(tree.tree(queue)))
                for queue in tree.QUEUES}
    return {'date': datetime.datetime.now(datetime.timezone.utc)
            .strftime('%Y-%m-%d %H:%M UTC'), 'accelerator': accelerator(),
            'cpus': len(os.sched_getaffinity(0)), 'machine': cpu_model(),
            'kernel': versions['linux'], 'qemu': versions['qemu'],
            'qemu_ours': qemu_version('ours'), 'host': platform.release()}


def under(head):
    """The accelerator, with what follows from it."""
    return {'tcg': 'under TCG (no KVM on this machine: compare columns, not '
            'with hardware)', 'kvm': 'under KVM'}.get(head['accelerator'], '')


def where(head):
    """One line about date, versions and machine."""
    return (f"{head['date']}, {head['kernel']}, {head['qemu']}, "
            f"{head['machine']}, {head['cpus']} CPUs")


def cell(values, scale=1.0, digits=0):
    """Median and spread."""
    return ' '.join((f'{median(values) * scale:,.{digits}f}',
                     f'({min(values) * scale:,.{digits}f}-'
                     f'{max(values) * scale:,.{digits}f})'))


def table(lines):
    """Print lines of cells in columns, the first to the left."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        say('  '.join(text.ljust(width) if i == 0 else text.rjust(width)
                      for i, (text, width) in enumerate(zip(line, widths))))


def command_line(doc, result, rounds, options):
    """The command line, after what BENCH= holds; options() adds a program's own."""
    parser = argparse.ArgumentParser(description=doc.split('\n\n', maxsplit=1)[0])
    parser.add_argument('--size', type=float, default=8, metavar='GIB',
                        help='memory of the guests (8)')
    parser.add_argument('--rounds', type=int, default=rounds,
                        help=f'({rounds})')
    parser.add_argument('--json', default=str(BUILD / result))
    options(parser)
    return parser.parse_args(os.environ.get('BENCH', '').split() + sys.argv[1:])


def run(doc, result, rounds, options, measure, show):
    """Measure, print, write to build/RESULT or where the command line says."""
    # A run that is terminated must not leave its guests behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        args = command_line(doc, result, rounds, options)
        data = measure(args)
        show(data)
        path = Path(args.json)
        path.write_text(json.dumps(data, indent=1) + '\n', encoding='utf-8')
        say(f'\nin full: {path}')
    except Failure as failure:
        sys.exit(f'error: {failure}')
