# SPDX-License-Identifier: GPL-2.0-or-later
"""Publish complete results: numbers and charts (SVG) in docs/charts, docs/results.md.

A result that is absent, a part, or older than the published one changes nothing.
Background and text are for light pages and for dark ones.
"""

import argparse
import contextlib
import importlib
import io
import json
import shutil
from statistics import median

import matplotlib
from matplotlib import pyplot, ticker

from bench import report
from bench.migration import title as name_case
from harness.common import ROOT, say

matplotlib.use('svg')
OUT = ROOT / 'docs' / 'charts'
TABLES = ROOT / 'docs' / 'results.md'

GREY = '#808890'
STYLE = {
    'savefig.transparent': True, 'axes.facecolor': 'none',
    'figure.constrained_layout.use': True, 'figure.figsize': (9, 3.6),
    # The same numbers make the same file.
    'svg.hashsalt': 'balloon', 'svg.fonttype': 'none',
    'font.family': 'sans-serif', 'font.size': 9, 'axes.titlesize': 10,
    'axes.spines.top': False, 'axes.spines.right': False,
    'axes.grid': True, 'axes.grid.axis': 'y', 'axes.axisbelow': True,
    'grid.color': GREY, 'grid.alpha': 0.3, 'grid.linewidth': 0.6,
    'legend.frameon': False,
    **{f'{what}.color': GREY for what in ('text', 'xtick', 'ytick')},
    'axes.edgecolor': GREY, 'axes.labelcolor': GREY,
}
# Distinct without colour: bars by their order, lines by markers.
COLOURS = {'no help': '#e08214', 'free page hint': '#b5739d', 'ours': '#2b8cbe',
           'ours, reclaimed': '#41ab5d', 'inflate': '#2b8cbe', 'deflate': '#e08214'}
MARKERS = {'inflate': 'o', 'deflate': 's'}


def save(figure, name, head, note):
    """Add the legend above and the source below; write the file."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='upper center', ncol=len(labels))
    figure.get_layout_engine().set(rect=(0, 0, 1, 0.92))
    figure.supxlabel(f"{note}\n{head['accelerator'].upper()}, "
                     f'{report.describe_host(head)}', fontsize=7)
    figure.savefig(OUT / f'{name}.svg', metadata={'Date': None})
    pyplot.close(figure)


def spread(runs, scale=1.0):
    """Return medians, and how far minima and maxima are from them."""
    middle = [median(run) * scale for run in runs]
    return middle, [[m - min(run) * scale for m, run in zip(middle, runs)],
                    [max(run) * scale - m for m, run in zip(middle, runs)]]


def say_rounds(runs):
    """Return the meaning of a chart's marks, by the numbers of their values."""
    counts = sorted({len(run) for run in runs})
    return f"median, minimum, maximum of {' or '.join(map(str, counts))} rounds"


def guest_size(data):
    """Draw inflate and deflate time per GiB over guest size."""
    found, drawn = data['parts']['sizes'][''], []
    figure, panels = pyplot.subplots(1, 2)
    for panel, name in zip(panels, ('stock', 'ours')):
        sizes = [gib for gib in found if name in found[gib]]
        for way in ('inflate', 'deflate'):
            runs = [[value / 0.75 / float(gib) for value in found[gib][name][way]]
                    for gib in sizes]
            panel.errorbar([float(gib) for gib in sizes], *spread(runs, 1e3),
                           label=way, color=COLOURS[way], capsize=3,
                           marker=MARKERS[way])
            drawn += runs
        panel.set(title=f'{name}: ms per GiB', xlabel='guest, GiB')
        panel.set_xscale('log', base=2)
        panel.set_ylim(0)
        panel.xaxis.set_major_formatter(ticker.FormatStrFormatter('%g'))
    save(figure, 'guest-size', data['header'],
         f'three quarters of an idle guest; {say_rounds(drawn)}; scales differ')


def migration(data):
    """Draw bytes and time of live migration."""
    cases, drawn = data['cases'], []
    figure, panels = pyplot.subplots(1, 2, sharey=True, figsize=(9, 5.4))
    for panel, key, scale, title in ((panels[0], 'bytes', 1e-6, 'MB sent'),
                                     (panels[1], 'ms', 1e-3, 'seconds')):
        modes = list(cases[min(cases)])
        for i, mode in enumerate(modes):
            runs = [[run[key] for run in cases[case][mode]] for case in cases]
            drawn += runs
            middle, far = spread(runs, scale)
            panel.barh([at + (i - (len(modes) - 1) / 2) * 0.2
                        for at in range(len(cases))], middle, 0.18, xerr=far,
                       label=mode, color=COLOURS[mode],
                       error_kw={'ecolor': GREY, 'capsize': 2})
        panel.set_title(title)
        panel.grid(axis='x')
        panel.grid(False, axis='y')
    panels[0].set_yticks(range(len(cases)), map(name_case, cases))
    panels[0].invert_yaxis()
    save(figure, 'migration', data['header'],
         f"guests of {data['header']['size_gib']:g} GiB; {say_rounds(drawn)}")


# Result -> its title, the function that draws it
PUBLISHED = {'inflate': ('Inflate and deflate (make)', None),
           'density': ('How compact the messages are (make)', None),
           'encoding': ('Runs and bitmaps (python3 -m bench.encoding)', None),
           'blocks': ('Blocks (make bench)', guest_size),
           'uml': ('Native speed, end to end (make bench-native)', None),
           'migration': ('Live migration (make migration)', migration)}


def read(path):
    """Return the content of a JSON file, or None if there is none."""
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else None


def write_tables():
    """Write docs/results.md anew from the published results."""
    parts = ['# Results\n\nWritten by `make bench` from the results in `docs/charts`. '
             'Do not edit.\n']
    for name, (title, _) in PUBLISHED.items():
        data, text = read(OUT / f'{name}.json'), io.StringIO()
        with contextlib.redirect_stdout(text):
            if data and 'changed' in data['header']:
                importlib.import_module(f'bench.{name}').show(data)
            else:
                say('Not measured on the guest kernel of today.')
        parts.append(f'## {title}\n\n```text\n{text.getvalue().strip()}\n```\n')
    TABLES.write_text('\n'.join(parts), encoding='utf-8')


def main():
    """Publish what there is."""
    argparse.ArgumentParser(description=__doc__.split('\n\n', maxsplit=1)[0]).parse_args()
    for name, (_, draw) in PUBLISHED.items():
        path = report.RESULTS / f'{name}.json'
        data, published = read(path), OUT / path.name
        if reason := report.why_not_published(data, read(published)):
            say(f'{name}: {reason}: docs/charts stays as it is')
            continue
        if draw:
            with pyplot.rc_context(STYLE):
                draw(data)
        shutil.copyfile(path, published)
        say(f"{name}: published in docs/charts, measured {data['header']['date']}")
    write_tables()


if __name__ == '__main__':
    main()
