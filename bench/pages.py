# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of documents that published results write: results.md, figures of README.md."""

import contextlib
import importlib
import io
import json
import re
from collections import defaultdict
from statistics import median

from bench import migration, uml
from bench.report import describe_host
from harness import tree
from harness.common import ROOT, say
from harness.documents import markdown_table, replace_part
from harness.vm import MIB

OUT = ROOT / 'docs' / 'charts'
TABLES = ROOT / 'docs' / 'results.md'
README = ROOT / 'README.md'

# Result -> title, the chart that belongs to it, and what that shows
PUBLISHED = {
    'inflate': ('Inflate and deflate (make)', None, ''),
    'density': ('How compact the messages are (make)', None, ''),
    'encoding': ('Runs and bitmaps (python3 -m bench.encoding)', None, ''),
    'blocks': ('Blocks (make bench)', 'guest-size',
               'Milliseconds per GiB against the size of the guest'),
    'uml': ('Native speed, end to end (make bench-native)', None, ''),
    'migration': ('Live migration (make migration)', 'migration',
                  'Megabytes sent by state of the guest'),
    'peers': ('Beside others (make bench-peers)', 'peers',
              "The host's memory while a guest is shrunk")}
# User Mode Linux with so many GiB and CPUs stands for native speed.
NATIVE = {'gib': 4, 'append': '', 'cpus': 2}
# The columns of the figures: stock, stock with free page hints, ours.
HEADINGS = ('', 'stock', 'free page hints', 'this series')
NOT_MEASURED = 'not measured yet'


def read(path):
    """Return the content of a JSON file, or None if there is none."""
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else None


def published(name):
    """Return a published result, or None if there is none of today's programs."""
    data = read(OUT / f'{name}.json')
    return data if data and 'changed' in data['header'] else None


# -- docs/results.md ----------------------------------------------------------

def section(name):
    """Return the part of docs/results.md about a result."""
    title, chart, shows = PUBLISHED[name]
    data, text = published(name), io.StringIO()
    if not data:
        return f'## {title}\n\nNot measured with the programs and kernels of today.\n'
    with contextlib.redirect_stdout(text):
        importlib.import_module(f'bench.{name}').show(data)
    picture = f'![{shows}](charts/{chart}.svg)\n\n' if chart else ''
    return f'## {title}\n\n{picture}```text\n{text.getvalue().strip()}\n```\n'


def results():
    """Return docs/results.md."""
    return '\n'.join(['# Results\n\nWritten by `make bench` from the results in '
                      '`docs/charts`. Do not edit. [Benchmarking](benchmarking.md) says '
                      'how to read them.\n', *map(section, PUBLISHED)])


# -- The figures of README.md -------------------------------------------------

def figures_of_inflate(data):
    """Yield the lines of the figures about inflating: counts, then time."""
    def line(what, found, form, unit=''):
        stock, ours = (f'{median(found[pair]):,{form}}{unit}'
                       for pair in ('stock', 'ours, bit on'))
        return [what, stock, '-', ours]
    head = data['header']
    yield line('discards for each GiB that the guest gives',
               data['per_gib']['inflate: discards'], '.0f')
    seconds = {pair: found['inflate'] for pair, found in
               data['states']['untouched']['pairs'].items()}
    yield line(f"shrink from {head['size_gib']:g} to {head['to_gib']:g} GiB, under TCG",
               seconds, '.2f', ' s')


def figures_of_uml(data):
    """Yield the line of the figures about inflating at native speed."""
    touched, = (case['kinds'] for case in data['cases'] if case['state'] == 'touched'
                and NATIVE.items() <= case.items())
    gib = NATIVE['gib'] * 3 / 4
    stock, ours = (f"{median(touched[kind]['inflate: ns']) / 1e6 / gib:,.0f} ms"
                   for kind in (uml.STOCK, uml.ON))
    yield ['shrink by a GiB that was in use, in User Mode Linux', stock, '-', ours]


def figures_of_migration(data):
    """Yield the lines of the figures about migrating."""
    columns = (migration.NONE_, migration.HINT_, migration.OURS_)
    size = data['header']['size_gib']
    for case, what in (('2', 'after a program freed most memory'),
                       ('3', 'with free memory in small pieces')):
        yield [f'migrate {size:g} GiB, {what}: data sent', *(
            f"{median(run['bytes'] for run in data['cases'][case][mode]) / 1e6:,.0f} MB"
            for mode in columns)]
    yield ['memory that a migration takes from the guest', *(
        f"{max(0, median(map(migration.memory_taken, data['paid'][mode]))) / MIB:,.0f} "
        'MiB' for mode in columns)]


def figures():
    """Return the figures of README.md: a table, and the machine."""
    inflate, native = published('inflate'), published('uml')
    moved = published('migration')
    first = [*figures_of_inflate(inflate)] if inflate else []
    last = [*figures_of_uml(native)] if native else []
    second = [*figures_of_migration(moved)] if moved else \
        [['live migration', NOT_MEASURED, NOT_MEASURED, NOT_MEASURED]]
    # Counts first: they do not depend on the accelerator.
    table = markdown_table([HEADINGS, *first[:1], *second, *first[1:], *last],
                           (1, 2, 3))
    hosts = defaultdict(list)
    for head in (data['header'] for data in (inflate, moved, native) if data):
        date, host = describe_host(head).split(' ', 1)
        hosts[host.split(', ', 1)[1]].append(date)
    notes = ''.join(f"{', '.join(sorted(set(dates)))}: {host}.\n"
                    for host, dates in hosts.items())
    return f'{table}\nMedians. {notes}'


# -- The figures of cover letters ---------------------------------------------

# The columns of tables of native guests -> kinds of guests in bench/uml.py
NATIVE_COLUMNS = {'stock': uml.STOCK, 'blocks': uml.OFF, 'page sets': uml.ON}
NATIVE_STATES = {'idle': 'just booted', 'touched': 'memory was in use',
                 'fragmented': 'free memory in pieces'}
# What cases of bench/migration.py are about
MOVED = {'1': 'idle', '2': 'memory was freed', '3': 'free memory in pieces',
         '4': 'page cache', '5': 'balloon inflated', '6': 'writes 200 MB/s'}
# A table is found by the line that names its columns.
COVER_TABLE = re.compile(r'(?m)^ {20,}((?:stock|no help)(?:  +\S+(?: \S+)*)+)\n'
                         r'(?: {4,6}\S.*\n)+')


def cover_rows(data, _columns):
    """Yield (quantity, stock's, ours) of emulated guests."""
    def medians(found, form, scale=1):
        return [format(median(found[pair]) * scale, form)
                for pair in ('stock', 'ours, bit on')]

    for state, kernel in (('untouched', 'kernel defaults'),
                          ('untouched, init_on_alloc=0', 'init_on_alloc=0')):
        pairs = data['states'][state]['pairs']
        for way, verb in (('inflate', 'shrink'), ('deflate', 'grow')):
            seconds = {pair: found[way] for pair, found in pairs.items()}
            yield f'{verb}, {kernel}: s', *medians(seconds, '.2f')
    peaks = {pair: found['peak'] for pair, found in
             data['states']['untouched']['pairs'].items()}
    yield 'host memory at its peak, more: MiB', *medians(peaks, '.0f', 1 / MIB)
    for key, what in (('kicks', 'notifications'), ('bytes', 'bytes'),
                      ('discards', 'discards')):
        yield f'{what} per GiB', *medians(data['per_gib'][f'inflate: {key}'], ',.0f')


def native_rows(data, columns):
    """Yield (quantity, a value for each column) of native guests."""
    gib = NATIVE['gib'] * 3 / 4
    for state, what in NATIVE_STATES.items():
        kinds, = (case['kinds'] for case in data['cases'] if case['state'] == state
                  and NATIVE.items() <= case.items())

        def line(label, key):
            middles = [median(kinds[NATIVE_COLUMNS[column]][key]) for column in columns]
            return label, *(f'{middle / 1e6 / gib:,.0f}' for middle in middles)
        for way, verb in (('inflate', 'shrink'), ('deflate', 'grow')):
            yield line(f'{verb}, {what}', f'{way}: ns')
            yield line("  the guest's CPU time", f'{way}: guest')


def moved_rows(data, columns):
    """Yield (quantity, a value for each column) of migrations."""
    for key, unit, scale in (('bytes', 'MB', 1e-6), ('ms', 'ms', 1)):
        for case, what in MOVED.items():
            yield f'{what}: {unit}', *(
                f'{median(run[key] for run in data["cases"][case][column]) * scale:,.0f}'
                for column in columns)


def cover_table(columns):
    """Return the table of cover letters that has these columns."""
    name, rows = {'ours': ('inflate', cover_rows),
                  'free page hint': ('migration', moved_rows)}.get(
                      columns[1], ('uml', native_rows))
    lines = [('', *columns), *rows(published(name), columns)]
    first = max(len(what) for what, *_ in lines)
    widths = [max(12, len(column) + 2) for column in columns]
    return ''.join(f'    {what:{first}}' + ''.join(map(str.rjust, cells, widths)) + '\n'
                   for what, *cells in lines)


def with_tables(text):
    """Return a cover letter with its tables written anew."""
    return COVER_TABLE.sub(lambda found: cover_table(re.split('  +', found[1])), text)


def covers():
    """Yield the cover letters that have tables."""
    for path in sorted(tree.PATCHES.glob(f'*/*/{tree.COVER}')):
        text = path.read_text(encoding='utf-8')
        if COVER_TABLE.search(text):
            yield path, text


def write():
    """Write docs/results.md, and the figures of README.md and cover letters, anew."""
    for path, text in covers():
        path.write_text(with_tables(text), encoding='utf-8')
    TABLES.write_text(results(), encoding='utf-8')
    replace_part(README, 'figures', figures())
    say('docs/results.md, README.md and cover letters agree with docs/charts')


if __name__ == '__main__':
    write()
