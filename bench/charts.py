# SPDX-License-Identifier: GPL-2.0-or-later
"""Publish complete results: numbers and charts (SVG) in docs/charts, docs/results.md.

A result that is absent, a part, or older than the published one is not published. All
charts are drawn anew. A chart has colours for light pages, and others for dark pages where
the reader prefers them.
"""

import argparse
import shutil
from statistics import median

import matplotlib
from matplotlib import pyplot, ticker

from bench import migration, peers, report
from bench.migration import HINT_, NONE_, OURS_, RECLAIMED
from bench.pages import OUT, PUBLISHED, published, read, write
from harness.common import say

matplotlib.use('svg')

# Light -> dark: paper, ink, lines; then marks by the name of their data.
PAPER, INK, LINE = '#ffffff', '#1f2328', '#c8ccd1'
COLOURS = {NONE_: '#57606a', HINT_: '#9a5b00', OURS_: '#0860ca', 'stock': '#57606a',
           'virtio-mem': '#9a5b00', 'reporting': '#6639ba', 'inflate': '#0860ca',
           'deflate': '#9a5b00'}
DARK = {PAPER: '#0d1117', INK: '#e6edf3', LINE: '#3d444d', '#57606a': '#9ba4ae',
        '#9a5b00': '#e3a03a', '#0860ca': '#58a6ff', '#6639ba': '#bc8cff'}
# Readers distinguish them without colour as well.
MARKERS = {'inflate': 'o', 'deflate': 's'}
LINES = {'stock': '-', 'ours': '-', 'virtio-mem': '--', 'reporting': ':'}
STYLE = {
    'figure.facecolor': PAPER, 'axes.facecolor': PAPER, 'savefig.facecolor': PAPER,
    'figure.constrained_layout.use': True, 'figure.figsize': (8, 4),
    # The same numbers make the same file.
    'svg.hashsalt': 'balloon', 'svg.fonttype': 'none',
    'font.family': 'sans-serif', 'font.size': 10, 'axes.titlesize': 10,
    'axes.spines.top': False, 'axes.spines.right': False,
    'axes.grid': True, 'axes.grid.axis': 'y', 'axes.axisbelow': True,
    'grid.color': LINE, 'grid.linewidth': 0.6, 'legend.frameon': False,
    **{f'{what}.color': INK for what in ('text', 'xtick', 'ytick')},
    'axes.edgecolor': LINE, 'axes.labelcolor': INK,
}


def dark_style():
    """Return CSS that changes colours where the reader prefers dark pages."""
    # Colours stand in style attributes, which only !important overrides.
    rules = ''.join(
        f'*[style*="{what}: {light}"]{{{what}:{dark} !important}}'
        for light, dark in DARK.items() for what in ('fill', 'stroke'))
    return f'<style>@media (prefers-color-scheme: dark){{{rules}}}</style>'


def save(figure, name, title, head, note):
    """Add the message above and the source below; write the file."""
    figure.suptitle(title, fontsize=12, fontweight='bold')
    figure.supxlabel(f"{note}\n{head['accelerator'].upper()}, {head['date']}, "
                     f"{head['kernel']}, {head['qemu']}", fontsize=8)
    path = OUT / f'{name}.svg'
    figure.savefig(path, metadata={'Date': None})
    pyplot.close(figure)
    text = path.read_text(encoding='utf-8')
    path.write_text(text.replace('<defs>', f'{dark_style()}\n <defs>', 1),
                    encoding='utf-8')


def spread(runs, scale=1.0):
    """Return medians, and how far minima and maxima are from them."""
    middle = [median(run) * scale for run in runs]
    return middle, [[m - min(run) * scale for m, run in zip(middle, runs)],
                    [max(run) * scale - m for m, run in zip(middle, runs)]]


def say_rounds(runs):
    """Describe the marks of a chart by the numbers of their values."""
    counts = sorted({len(run) for run in runs})
    return f"median, minimum and maximum of {' or '.join(map(str, counts))} rounds"


def ms_per_gib(data, pair, way):
    """Return {GiB: ms for each GiB} of the guests of a pair that were measured."""
    return {float(gib): [value / 0.75 / float(gib) * 1e3 for value in found[pair][way]]
            for gib, found in data['parts']['sizes'][''].items() if pair in found}


def guest_size(data):
    """Draw inflate and deflate time per GiB over guest size."""
    drawn, times = [], []
    figure, panels = pyplot.subplots(1, 2)
    for panel in panels:
        panel.set_xscale('log', base=2)
    for way in MARKERS:
        stock, ours = (ms_per_gib(data, pair, way) for pair in ('stock', 'ours'))
        times.append(min(median(stock[gib]) / median(ours[gib]) for gib in stock))
        for panel, name, found in zip(panels, ('stock', 'ours'), (stock, ours)):
            runs = [*found.values()]
            panel.errorbar([*found], *spread(runs), label=way, color=COLOURS[way],
                           capsize=3, marker=MARKERS[way])
            # A single run has no range: it is hollow.
            single = [(gib, run[0]) for gib, run in found.items() if len(run) == 1]
            panel.plot([gib for gib, _ in single], [value for _, value in single],
                       linestyle='', marker=MARKERS[way], color=COLOURS[way],
                       markerfacecolor=PAPER, zorder=5)
            panel.set_xticks([*found], [f'{gib:g}' for gib in found])
            panel.set(title=f'{name}: ms for each GiB', xlabel='size of the guest, GiB')
            drawn += runs
            panel.xaxis.set_minor_locator(ticker.NullLocator())
    for panel in panels:
        panel.set_ylim(0)
        panel.legend()
    save(figure, 'guest-size',
         f'Stock takes at least {min(times):,.0f} times as long for a GiB, at each size',
         data['header'], f'three quarters of an idle guest; {say_rounds(drawn)}; '
         'hollow: one round; the scales differ')


def case_bytes(data, mode):
    """Return {case: MB of each migration} of a mode."""
    return {case: [run['bytes'] / 1e6 for run in runs[mode]]
            for case, runs in data['cases'].items()}


def migrated(data):
    """Draw the bytes of live migration."""
    names = {NONE_: 'no help (stock)', HINT_: 'free page hints', OURS_: 'ours'}
    figure, axes = pyplot.subplots(figsize=(8, 5))
    drawn, height = [], 0.26
    for number, (mode, label) in enumerate(names.items()):
        runs = [*case_bytes(data, mode).values()]
        middle, far = spread(runs)
        places = [at + (number - 1) * height for at in range(len(runs))]
        axes.barh(places, middle, height * 0.9, xerr=far, label=label,
                  color=COLOURS[mode], error_kw={'ecolor': INK, 'capsize': 2})
        for place, run in zip(places, runs):
            axes.annotate(f'{median(run):,.0f}', (max(run), place), (5, 0),
                          textcoords='offset points', va='center', fontsize=8)
        drawn += runs
    reclaimed = [*case_bytes(data, RECLAIMED).values()]
    axes.plot([median(run) for run in reclaimed],
              [at + height for at in range(len(reclaimed))], linestyle='', marker='D',
              markersize=5, color=INK, label='ours after a reclaim of all page cache')
    axes.set_yticks(range(len(data['cases'])), [
        migration.title(case).split('. ')[1] for case in data['cases']])
    axes.invert_yaxis()
    axes.grid(axis='x')
    axes.grid(False, axis='y')
    axes.set(xlabel='MB sent', xlim=(0, max(map(max, drawn)) * 1.12))
    axes.legend(loc='lower right')
    freed = '2' if '2' in data['cases'] else [*data['cases']][0]
    stock, ours = (median(case_bytes(data, mode)[freed]) for mode in (NONE_, OURS_))
    save(figure, 'migration',
         f'Memory that programs have freed: {ours:,.0f} MB sent instead of {stock:,.0f}',
         data['header'], f"guests of {data['header']['size_gib']:g} GiB; "
         f'{say_rounds(drawn)}')


def host_memory(data):
    """Draw QEMU's resident memory over time while a guest is shrunk."""
    found, head = data['states']['touched'], data['header']
    seconds = {name: f"{median(found[name]['host']):.2g} s" for name in LINES}
    end = max(samples[-1][0] for name in LINES for samples in found[name]['samples'])
    figure, axes = pyplot.subplots()
    for name, line in LINES.items():
        # Each round has its line.
        for number, samples in enumerate(found[name]['samples']):
            samples = [*samples, (end, samples[-1][1])]
            axes.step([at for at, _ in samples], [value / 1024 for _, value in samples],
                      line, where='post', color=COLOURS[name], linewidth=1.6, alpha=0.8,
                      label=None if number else f'{name}: {seconds[name]}')
    axes.set(ylabel="QEMU's resident memory, GiB", xlabel='seconds since the request',
             xlim=(0, end))
    axes.set_ylim(0)
    axes.legend(title='the host has the memory after')
    save(figure, 'peers', 'Time until the host has the memory: '
         f"ours {seconds['ours']}, stock {seconds['stock']}", head,
         f"guests shrink from {head['size_gib']:g} to {head['to_gib']:g} GiB after a "
         'program has filled their memory and ended; a line for each round; reporting: '
         'since that end')


# What draws the chart of a result
CHARTS = {'blocks': guest_size, 'migration': migrated, 'peers': host_memory}


def draw(name, data):
    """Draw the chart of a result."""
    with pyplot.rc_context(STYLE):
        CHARTS[name](data)


def main():
    """Publish what there is."""
    argparse.ArgumentParser(description=__doc__.split('\n\n', maxsplit=1)[0]).parse_args()
    for name in PUBLISHED:
        path = report.RESULTS / f'{name}.json'
        data, target = read(path), OUT / path.name
        if reason := report.why_not_published(data, read(target)):
            say(f'{name}: {reason}: docs/charts stays as it is')
            continue
        shutil.copyfile(path, target)
        say(f"{name}: published in docs/charts, measured {data['header']['date']}")
    for name in CHARTS:
        if data := published(name):
            draw(name, data)
    write()


if __name__ == '__main__':
    main()
