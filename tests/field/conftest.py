# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of make test-field: each test measures one row and reports it.

A test is named for its row, test_f04_..., and reports once for each kind:

    def test_f04_hops(row):
        row.report(must='hop 3 <= 1.2 x hop 1', stock='0.9', ours='38', green=False)

known_red.txt lists the rows that are red today. A row fails its test when its colour
is not the listed one: a red row that turns green leaves the list.
"""

import json
import re
from pathlib import Path

import pytest

KNOWN_RED = Path(__file__).with_name('known_red.txt')


def known_red():
    """The names of the rows that are red today: the first word of each line."""
    lines = KNOWN_RED.read_text(encoding='utf-8').splitlines()
    return {line.split()[0] for line in lines if line.strip() and line[0] != '#'}


class Row:
    """One line of the table."""

    def __init__(self, name, properties):
        self.name = name
        self.properties = properties
        self.reported = False

    def report(self, must, stock, ours, green):
        """Record a line; fail if its colour is not the known one.

        must: what has to hold; stock, ours: what was measured, as text
        """
        self.reported = True
        self.properties.append(('row', json.dumps({
            'row': self.name, 'stock': stock, 'ours': ours, 'must': must,
            'green': bool(green)})))
        print(f'{self.name}: stock {stock}; ours {ours}; must hold: {must}')
        red = self.name in known_red()
        if green and red:
            pytest.fail(f'{self.name} is green: remove it from known_red.txt')
        if not green and not red:
            pytest.fail(f'{self.name} is red: stock {stock}; ours {ours}; '
                        f'must hold: {must}')


@pytest.fixture(name='row')
def fixture_row(request):
    """The row that a test measures, named for it: F4-memfd."""
    number = re.match(r'test_f(\d+)', request.node.originalname)[1]
    kind = request.node.name[len(request.node.originalname):].strip('[]')
    rest = request.node.originalname.split('_', 2)[2]
    row = Row('-'.join(filter(None, (f'F{int(number)}', rest, kind))),
              request.node.user_properties)
    yield row
    result = getattr(request.node, 'report_call', None)
    if result and result.passed:
        assert row.reported, f'{row.name} was not measured'


def pytest_collection_modifyitems(items):
    """All tests of this folder belong to make test-field."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.field)
