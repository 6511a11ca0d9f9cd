# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines of bench.blocks: stock, ours, and what must be reached."""

from bench import inflate
from bench.report import cell, count_rounds

STOCK, OURS = 'stock', 'ours'
PAIRS = {STOCK: inflate.PAIRS['stock'],
         OURS: inflate.PAIRS['ours, bit on'] | {'host_request': True}}
HEADINGS = ('', 'n', STOCK, OURS, '', 'must be', 'goal', '')


def judge(value, must, goal, least=False):
    """Return limit, goal and verdict of a value, as text."""
    def far(limit):
        return limit - value if least else value - limit
    text = 'goal reached' if far(goal) <= 0 else 'reached' if far(must) <= 0 \
        else f'MISSED by {far(must) / must:.0%}'
    sign = '>=' if least else '<='
    return [f'{sign} {must:g}', f'{sign} {goal:g}', text]


def row(what, columns, scale=1.0, digits=0, shown='', judged=('', '', '')):
    """Return a line of the table."""
    # columns: {pair: values}; shown: a remark; judged: the result of judge()
    return [what, count_rounds(columns), *(cell(columns.get(name), scale, digits)
                                           for name in PAIRS), shown, *judged]
