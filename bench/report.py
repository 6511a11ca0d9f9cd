# SPDX-License-Identifier: GPL-2.0-or-later
"""Common parts of the benchmarks: options, rounds, tables, results.

A program writes build/results/NAME.json if it ran with its default options, and
NAME-part.json if not: bench.charts never publishes a part.
"""

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
from harness.common import BUILD, Failure, say, split_words
from harness.vm import accelerator, qemu_version

RESULTS = BUILD / 'results'


def environment(emulated=True):
    """Return the machine and versions that the numbers come from."""
    # emulated: in guests of QEMU
    machine = re.findall(r'(?m)^model name\s*:\s*(.*)$',
                         Path('/proc/cpuinfo').read_text(encoding='utf-8'))
    versions = {project: ' '.join(tree.base_version(tree.tree(project)))
                for project in tree.PROJECTS}
    emulator = {'accelerator': accelerator(), 'qemu_ours': qemu_version('ours')} \
        if emulated else {}
    return {'date': datetime.datetime.now(datetime.timezone.utc)
            .strftime('%Y-%m-%d %H:%M UTC'),
            'cpus': len(os.sched_getaffinity(0)),
            'machine': [*machine, platform.machine()][0], 'kernel': versions['linux'],
            'qemu': versions['qemu'], 'host': platform.release(), **emulator}


def describe_accelerator(head):
    """Return the accelerator in words, with what follows from it."""
    return {'tcg': 'under TCG (no KVM: compare columns, not with hardware)',
            'kvm': 'under KVM'}.get(head['accelerator'], '')


def describe_host(head):
    """Return one line about date, versions and machine."""
    return (f"{head['date']}, {head['kernel']}, {head['qemu']}, "
            f"{head['machine']}, {head['cpus']} CPUs")


def cell(values, scale=1.0, digits=0):
    """Return the median and the range of values; '-' if there is none."""
    # Without a range if it does not show.
    if not values:
        return '-'
    # Adding 0 makes 0 of -0.
    middle, least, most = (f'{round(value * scale, digits) + 0:,.{digits}f}' for value
                           in (median(values), min(values), max(values)))
    return middle if least == most else f'{middle} ({least} to {most})'


def count_rounds(columns):
    """Return how many values a row has in each of its cells."""
    # columns: {column: values}; a column without values does not count
    counts = {name: len(values) for name, values in columns.items() if values}
    if len(set(counts.values())) > 1:
        return ', '.join(f'{name} {count}' for name, count in counts.items())
    return str(max(counts.values(), default='-'))


def row(what, columns, names, scale=1.0, digits=0):
    """Return a line of a table: what, number of rounds, a cell for each name."""
    return [what, count_rounds(columns),
            *(cell(columns.get(name), scale, digits) for name in names)]


def explain_rounds(who):
    """Return the caption of a table whose lines row() makes."""
    return (f'median (minimum to maximum) of n rounds; in each round {who} take turns; '
            'a first round is not counted')


def table(lines):
    """Print lines of cells in columns, the first to the left."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        say('  '.join(text.ljust(width) if i == 0 else text.rjust(width)
                      for i, (text, width) in enumerate(zip(line, widths))).rstrip())


def positive(kind):
    """Return a type for argparse: a number of that kind above zero."""
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < float('inf'):
            raise argparse.ArgumentTypeError(
                f'"{text}" is no {"whole " * (kind is int)}number above 0')
        return value
    return parse


def some_of(known, separator=','):
    """Return a type for argparse: a list of known words."""
    def parse(text):
        words = text.split(separator) if separator else list(text)
        if unknown := [word for word in words if word not in known]:
            raise argparse.ArgumentTypeError(
                f'there is no "{unknown[0]}", but {", ".join(known)}')
        return words
    return parse


def parse_options(doc, rounds, options, words):
    """Return the options, and those with other values than their defaults, as text."""
    # options() adds a program's own options to the common ones
    parser = argparse.ArgumentParser(description=doc.split('\n\n', maxsplit=1)[0])
    parser.add_argument('--rounds', type=positive(int), default=rounds,
                        help=f'how often each thing is measured ({rounds})')
    options(parser)
    args = parser.parse_args(words)
    return args, [f'--{name.replace("_", "-")} {value}'
                  for name, value in vars(args).items()
                  if value != parser.get_default(name)]


def given_words():
    """Return the words of BENCH= and of the command line."""
    return split_words('BENCH') + sys.argv[1:]


def keep(name, data, changed):
    """Write a result to build/results; print its path, and whether it is complete."""
    data['header']['changed'] = changed
    path = RESULTS / f'{name}{"-part" if changed else ""}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + '\n', encoding='utf-8')
    what = f'not complete ({", ".join(changed)}): docs/charts stays as it is' \
        if changed else 'complete: the next "make bench" publishes it in docs/charts'
    say(f'\nin full: {path}; {what}')


def why_not_published(new, old):
    """Return why a result is not published in place of an old one, or ''."""
    # Either is None if there is none.
    if not new:
        return 'not measured here'
    if 'changed' not in new['header'] or new['header']['changed']:
        return 'not complete'
    if old and old['header']['date'] > new['header']['date']:
        return f"older than what is published ({old['header']['date']})"
    return ''


def run(doc, name, rounds, options, measure, show):
    """Measure, print, and keep the result."""
    # A run that is ended must not leave its guests behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    try:
        args, changed = parse_options(doc, rounds, options, given_words())
        data = measure(args)
        show(data)
        keep(name, data, changed)
    except Failure as failure:
        sys.exit(f'error: {failure}')
    except KeyboardInterrupt:
        sys.exit('interrupted')
