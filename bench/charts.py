# SPDX-License-Identifier: GPL-2.0-or-later
"""Charts of what has been measured: SVG in docs/charts, the numbers beside them.

They are made from the JSON files that the benchmarks leave in build/. Where one
is absent, its chart stays as it is. The background is transparent and the text
mid-grey, for light pages and for dark ones.
"""

import argparse
import json
import shutil
from pathlib import Path
from statistics import median

import matplotlib
matplotlib.use('svg')
from matplotlib import pyplot, ticker

from bench import report
from harness.common import BUILD, ROOT, say

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
# Told apart without colour, too: by their order, and lines by markers.
COLOURS = {'stock': '#e08214', 'no help': '#e08214', 'free page hint': '#b5739d',
           'ours, bit off': '#b5739d', 'ours, bit on': '#2b8cbe',
           'ours': '#2b8cbe', 'ours, reclaimed': '#41ab5d'}
MARKERS = {'stock': 's', 'ours': 'o'}


def save(figure, name, head, note, out):
    """Legend above, source below; write the file."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='upper center', ncol=len(labels))
    figure.get_layout_engine().set(rect=(0, 0, 1, 0.92))
    figure.supxlabel(f"{note}\n{head['accelerator'].upper()}, "
                     f'{report.where(head)}', fontsize=7)
    path = out / f'{name}.svg'
    figure.savefig(path, metadata={'Date': None})
    pyplot.close(figure)
    say(f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}: "
        f"measured {head['date']}")


def plain(axis):
    """Numbers of a logarithmic axis as they are spoken."""
    axis.set_major_formatter(ticker.FuncFormatter(
        lambda value, _: f'{value:,.0f}' if value >= 1 else f'{value:g}'))
    axis.set_minor_formatter(ticker.NullFormatter())


def guest_size(data, out):
    """Inflate and deflate time over guest size."""
    found = data['sizes']
    figure, panels = pyplot.subplots(1, 2, sharey=True)
    for panel, way in zip(panels, ('inflate', 'deflate')):
        for name in ('stock', 'ours'):
            sizes = [gib for gib in found if name in found[gib]]
            runs = [found[gib][name][way] for gib in sizes]
            middle = [median(run) for run in runs]
            spread = [[m - min(run) for m, run in zip(middle, runs)],
                      [max(run) - m for m, run in zip(middle, runs)]]
            panel.errorbar([float(gib) for gib in sizes], middle, spread,
                           label=name, color=COLOURS[name], capsize=3,
                           marker=MARKERS[name])
        panel.set(title=way, xlabel='guest, GiB')
        panel.set_xscale('log', base=2)
        panel.set_yscale('log')
        plain(panel.xaxis)
        plain(panel.yaxis)
    panels[0].set_ylabel('seconds')
    save(figure, 'guest-size', data['header'],
         'three quarters of an idle guest; logarithmic; median, minimum, maximum', out)


def bars(panel, groups, values, label):
    """Bars of each name side by side in each group; values: {name: [...]}."""
    width = 0.8 / len(values)
    for i, (name, heights) in enumerate(values.items()):
        drawn = panel.bar([at + (i - (len(values) - 1) / 2) * width
                           for at in range(len(groups))], heights, width * 0.92,
                          label=name, color=COLOURS[name])
        panel.bar_label(drawn, [label(height) for height in heights],
                        fontsize=6, padding=1, color=GREY, rotation=90)
    panel.set_xticks(range(len(groups)), groups)
    panel.tick_params(axis='x', length=0)


def per_gib(data, out):
    """Bytes, kicks and discards per GiB."""
    counted = data['per_gib']
    ways = ('inflate', 'deflate')
    figure, panels = pyplot.subplots(1, 3)
    for panel, what in zip(panels, ('bytes', 'kicks', 'discards')):
        bars(panel, ways, {name: [counted[name][way][what] for way in ways]
                           for name in counted}, '{:,.0f}'.format)
        panel.set_title(f'{what} per GiB')
        panel.set_yscale('log')
        # Room for what is written above the bars.
        panel.set_ylim(1, panel.get_ylim()[1] * 30)
        plain(panel.yaxis)
    save(figure, 'per-gib', data['header'],
         'guests that have just booted; logarithmic; no bar: none', out)


def migration(data, out):
    """Time and bytes of live migration."""
    cases = data['cases']
    modes = list(cases[min(cases)])
    names = ('idle', 'freed', 'fragmented', 'page cache', 'ballooned', 'dirtying')
    figure, panels = pyplot.subplots(2, 1, sharex=True, figsize=(9, 5.4))
    for panel, key, scale, title in ((panels[0], 'ms', 1e-3, 'seconds'),
                                     (panels[1], 'bytes', 1e-6, 'MB sent')):
        bars(panel, [names[int(case) - 1] for case in cases],
             {mode: [median(run[key] for run in cases[case][mode]) * scale
                     for case in cases] for mode in modes},
             '{:.1f}'.format if key == 'ms' else '{:,.0f}'.format)
        panel.set_ylabel(title)
        panel.margins(y=0.2)
    save(figure, 'migration', data['header'],
         f"guests of {data['header']['size_gib']:g} GiB; medians", out)


def holds(data, out):
    """The longest times with interrupts off."""
    found = data['native']
    looks, zone_ns = found['zone lock'][0][1], found['zone lock'][0][3]
    pages, *lock_ns = found['page lock'][0]
    figure, panel = pyplot.subplots(figsize=(9, 2.6))
    what = (f'zone->lock: scan looks at {looks:.0f} struct pages',
            f"balloon's page lock: one page leaves a block of {pages:.0f}",
            "balloon's page lock: 1024 blocks come out",
            "balloon's page lock: 1024 blocks go in")
    drawn = panel.barh(what, [ns / 1e3 for ns in (zone_ns, *lock_ns)], 0.6,
                       label='ours', color=COLOURS['ours'])
    panel.bar_label(drawn, fmt='%.1f', fontsize=7, padding=2, color=GREY)
    panel.invert_yaxis()
    panel.grid(axis='x')
    panel.grid(False, axis='y')
    panel.set_xlabel('microseconds')
    save(figure, 'interrupts-off', data['header'] | {'accelerator': 'uml'},
         'longest holds on User Mode Linux (native), best of many passes; '
         'none depends on the size of the guest', out)


# JSON file in build/ -> what is drawn of it, and the parts that this needs
CHARTS = {'bench.json': {'sizes': guest_size, 'native': holds},
          'bench-inflate.json': {'per_gib': per_gib},
          'bench-migration.json': {'cases': migration}}


def main():
    """Draw what there is."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n', maxsplit=1)[0])
    parser.add_argument('--json', type=Path, default=BUILD, metavar='FOLDER',
                        help='where the JSON files are (build)')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'charts')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, charts in CHARTS.items():
        path = args.json / name
        data = json.loads(path.read_text(encoding='utf-8')) \
            if path.exists() else {}
        if not data:
            say(f'{path} is absent: its charts stay as they are')
            continue
        for part, draw in charts.items():
            if part not in data:
                say(f'{path} has no "{part}": the chart {draw.__name__} stays '
                    'as it is')
                continue
            with pyplot.rc_context(STYLE):
                draw(data, args.out)
        shutil.copyfile(path, args.out / name)


if __name__ == '__main__':
    main()
