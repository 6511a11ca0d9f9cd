# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of bench.encoding: the shortest records, and the pages of a trace."""

from array import array

import pytest

from bench.encoding import FORMS, encode, free_pages, read_trace, rows, split, weigh

pytestmark = pytest.mark.check

# The example of docs/protocol.md, and 48 pages of every 64.
EXAMPLE = [(0x1000, 1), (0x1002, 2), (0x103f, 1)]
PIECES = [(64 * number, 48) for number in range(64)]


@pytest.mark.parametrize('nr, pieces', [
    (255, [255]), (256, [256]), (300, [300]), (301, [300, 1]), (511, [510, 1]),
    (513, [512, 1]), (1 << 18, [1 << 18]), (65535, [65280, 255])])
def test_split(nr, pieces):
    """Check that a run is as few records as 8 bits of length each allow."""
    assert [count for _, count in split(7, nr, 255)] == pieces
    assert [first for first, _ in split(7, nr, 255)] == \
        [7 + sum(pieces[:i]) for i in range(len(pieces))]


@pytest.mark.parametrize('runs, sizes', [
    (EXAMPLE, [24, 16, 16, 16]), ([(0, 5)], [8, 16, 8, 8]), ([], [0] * 4),
    (PIECES, [512, 40, 512, 40]), ([(0, 127)], [8, 24, 8, 8]),
    ([(0, 1), (10_000, 1)], [16, 32, 16, 16])])
def test_shortest_records(runs, sizes):
    """Check sizes that were computed by hand, in the order of FORMS."""
    assert [encode(runs, *form) for form in FORMS.values()] == sizes


def test_headers():
    """Check that runs that do not fit into a message have a header more."""
    one = {'runs only': 8 + 24, 'both': 8 + 16}
    assert one.items() <= weigh([EXAMPLE], 8).items()
    assert weigh([[(1000 * i, 1) for i in range(511)]], 8)['runs only'] == 8 + 4088
    assert weigh([[(1000 * i, 1) for i in range(512)]], 8)['runs only'] == 16 + 4096


def test_trace():
    """Check that pages stay in their message, in order, and joined."""
    assert read_trace('''
virtio_balloon_request_answer id: 1 type: 1 status: 0 bytes: 40 value: 0x0
virtio_balloon_request_pages id: 1 first: 0x10 nr: 0x2
virtio_balloon_request_pages id: 1 first: 0x20 nr: 0x1
virtio_balloon_request_answer id: 1 type: 2 status: 0 bytes: 24 value: 0x80000
virtio_balloon_discard block: ram offset: 0x3000 length: 0x1000
virtio_balloon_discard block: ram offset: 0x1000 length: 0x2000
virtio_balloon_pages_message type: 1 bytes: 16 records: 1 ranges: 2 memory: 0x3000 status: 0
'''.splitlines()) == ([[(1, 3)]], [[(0x10, 2), (0x20, 1)]])


def test_free_pages_and_table():
    """Check that flags of pages become runs, and these lines of a table."""
    flags = array('Q', [1 << 10, 0, 1 << 10 | 1, 1 << 10, 1 << 9]).tobytes()
    assert free_pages(flags) == [(0, 1), (2, 2)]
    sizes = {name: [24 - 4 * number] for number, name in enumerate(FORMS)}
    found = {'pages': [3], 'runs': [2], 'driver': [], **sizes}
    head, line, per_page = rows({'states': {'x': {'answer': found}}})
    assert line == ['x: answer', '1', '3', '2', '24', '20', '16', '12', '-', '33.3', '50.0']
    assert len(head) == len(line) == len(per_page) and per_page[4] == '8.00000'
