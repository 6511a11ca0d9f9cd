# SPDX-License-Identifier: GPL-2.0-or-later
"""The output of benchmarks: it counts rounds, and publishes only complete results."""

import json
from statistics import median
from unittest import mock

import pytest

from bench import blocks, inflate, migration, native, peers, report, targets
from harness.common import Failure

pytestmark = pytest.mark.check


def test_cells():
    """Check that a cell is a median with its range, and one value is without."""
    assert report.cell([3, 1, 2]) == '2 (1 to 3)'
    assert report.cell([0.0021, 0.0019], 1e3, 1) == '2.0 (1.9 to 2.1)'
    assert report.cell([350.4], 1, 1) == '350.4'
    assert report.cell([7, 7, 7]) == '7'
    assert report.cell([-0.2, 0.1, -1]) == '0 (-1 to 0)'
    assert report.cell([]) == report.cell(None) == '-'


def test_rounds_are_counted():
    """Check that a line has the number of its values."""
    assert report.row('x', {'a': [1, 2, 3], 'b': [1, 2, 3]}, 'ab')[1] == '3'
    assert report.row('x', {'a': [1], 'b': [1, 2, 3]}, 'ab')[1] == 'a 1, b 3'
    assert report.row('x', {'b': [1, 2]}, 'ab') == ['x', '2', '-', '2 (1 to 2)']
    assert report.count_rounds({}) == '-'
    assert not any(char.isdigit() for char in report.explain_rounds('guests'))


def test_guests_alternate():
    """Check that each round has a turn of each guest, and the first is not counted."""
    log = mock.Mock()
    guests = {name: getattr(log, name) for name in 'ab'}
    turns = [(counted, name) for counted, name, _ in inflate.in_turn(guests, 2)]
    assert turns == [(False, 'a'), (False, 'b'), *[(True, 'a'), (True, 'b')] * 2]
    assert [made[0] for made in log.mock_calls] == \
        ['a.resume', 'a.pause', 'b.resume', 'b.pause'] * 3


def counting_guest(tmp_path, qemu, traced, discards):
    """Return a guest of 2 GiB with a trace log that grows, and counters."""
    log = tmp_path / 'trace'
    log.write_text('')
    guest = mock.Mock(memory=2 << 30, trace_log=log)
    guest.shape.qemu = qemu
    counters = {f'{way}-bytes': 0 for way in inflate.WAYS} | {'discards': 0}
    guest.counters.side_effect = lambda: dict(counters)

    def balloon_to(_size):
        log.write_text(log.read_text() + 'virtio_queue_notify vdev 1\n' + traced)
        counters['discards'] += discards
        counters['inflate-bytes'] += 64
    guest.balloon_to.side_effect = balloon_to
    return guest


@pytest.mark.parametrize('qemu, traced, counter, want', [
    ('stock', 'ram_block_discard_range x\n' * 3, 0, 3), ('ours', '', 5, 5)])
def test_discards_are_counted(tmp_path, qemu, traced, counter, want):
    """Check that discards come from the trace log, or from our QEMU's counters."""
    guest = counting_guest(tmp_path, qemu, traced, counter)
    assert inflate.one_count(guest, 1 << 30)['inflate', 'discards'] == want
    with pytest.raises(Failure, match='0 discards counted'):
        inflate.one_count(counting_guest(tmp_path, qemu, '', 0), 1 << 30)


def parse(module, words):
    """Return the options of a program for so many words."""
    return report.parse_options(module.__doc__, 3, module.options, words)


@pytest.mark.parametrize('module, words', [
    (inflate, '--size 2'), (inflate, '--rounds 1'), (migration, '--cases 12'),
    (peers, '--states idle'), (migration, '--no-stall'), (blocks, '--parts idle'), (blocks, '--sizes 1,2')])
def test_what_makes_a_part(module, words):
    """Check that a run is complete with default options only."""
    assert parse(module, [])[1] == []
    changed = parse(module, words.split())[1]
    assert len(changed) == 1 and changed[0].startswith(words.split()[0])


def test_defaults_may_be_given():
    """Check that the default, in words, is the default."""
    assert parse(blocks, ['--parts', ','.join(blocks.PARTS), '--size', '8'])[1] == []


@pytest.mark.parametrize('module, words, message', [
    (blocks, '--parts idel', 'there is no "idel", but native, idle'),
    (migration, '--cases 19', 'there is no "9", but 1, 2'),
    (peers, '--states full', 'there is no "full", but idle, touched'),
    (inflate, '--rounds 0', '"0" is no whole number above 0'),
    (inflate, '--rounds 1.5', '"1.5" is no whole number above 0'),
    (inflate, '--size big', '"big" is no number above 0'),
    (blocks, '--sizes 1,nan', '"nan" is no number above 0')])
def test_bad_options(module, words, message, capsys):
    """Check that a wrong option is named."""
    with pytest.raises(SystemExit):
        parse(module, words.split())
    assert message in capsys.readouterr().err


def test_bench_has_quotes(monkeypatch):
    """Check that BENCH= is read as a shell reads it."""
    monkeypatch.setattr('sys.argv', ['x', '--size', '2'])
    monkeypatch.setenv('BENCH', "--parts 'idle,huge' --to \"1\"")
    assert report.given_words() == ['--parts', 'idle,huge', '--to', '1', '--size', '2']
    monkeypatch.setenv('BENCH', "--parts 'idle")
    with pytest.raises(Failure, match='No closing quotation'):
        report.given_words()


def test_a_part_replaces_nothing(tmp_path, monkeypatch, capsys):
    """Check that a part is kept beside a complete result."""
    monkeypatch.setattr(report, 'RESULTS', tmp_path)
    for name, changed, said in (
            ('blocks', [], 'publishes it'),
            ('blocks-part', ['--size 1.0'], 'not complete (--size 1.0)')):
        report.keep('blocks', {'header': {}, 'value': name}, changed)
        assert said in capsys.readouterr().out
    for path in tmp_path.iterdir():
        assert json.loads(path.read_text())['value'] == path.stem
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('new, old, why', [
    ({'changed': []}, None, ''), ({'changed': []}, {}, ''),
    (None, {'changed': []}, 'not measured here'), ({}, None, 'not complete'),
    ({'changed': ['--size 1']}, None, 'not complete'),
    ({'changed': []}, {'date': '2026-11-21 12:00 UTC'},
     'older than what is published (2026-11-21 12:00 UTC)')])
def test_what_is_published(new, old, why):
    """Check that only complete and newer results are."""
    date = {'date': '2026-11-20 12:00 UTC'}
    new, old = (found if found is None else {'header': date | found}
                for found in (new, old))
    assert report.why_not_published(new, old) == why


@pytest.mark.parametrize('value, limits, said', [
    (50, (50, 100, True), 'reached'), (100, (50, 100, True), 'goal reached'),
    (25, (50, 100, True), 'MISSED by 50%'), (1.25, (1.25, 1.1), 'reached'),
    (1.5, (1.25, 1.1), 'MISSED by 20%')])
def test_judge(value, limits, said):
    """Check both directions, and the edges."""
    sign = '>=' if len(limits) > 2 else '<='
    assert targets.judge(value, *limits) == \
        [f'{sign} {limits[0]}', f'{sign} {limits[1]}', said]


def test_who_is_best():
    """Check that a peer is named where it is better, and all where ranges meet."""
    assert peers.best({'ours': [2, 3, 4], 'virtio-mem': [1, 1, 1]}, False) == 'virtio-mem'
    assert peers.best({'ours': [2, 3, 4], 'virtio-mem': [1, 1, 1]}, True) == 'ours'
    assert peers.best({'ours': [1, 2, 4], 'stock': [3, 3, 3]}, False) == 'ours, stock'
    assert peers.best({'ours': [1, 1], 'stock': [1], 'reporting': []}, False) == ''


def test_doing_nothing_is_not_best():
    """Check that free page reporting is best only where it gave memory."""
    def lines(gained):
        found = {name: {'host cpu': [2], 'gained': [9 * peers.GAIN]}
                 for name in peers.SYSTEMS} | {'ours': {'host cpu': [1]}}
        found['reporting'] = {'host cpu': [0], 'gained': [gained]}
        return {row[0]: row[-1] for row in peers.rows({'states': {'idle': found}})}
    assert lines(0)['idle: CPU s of the host'] == 'ours'
    assert lines(9 * peers.GAIN)['idle: CPU s of the host'] == 'reporting'


def test_what_is_kept_of_a_resize():
    """Check when the host has the memory, and what a guest that is stuck lacks."""
    size = 100 * peers.GAIN
    samples = [(0, size), (1, size // 2), (2, size // 25), (3, 0), (4, 0)]
    found = peers.described(samples, 2.5, 0)
    assert (found['host'], found['target'], found['gained']) == (2, 2.5, size)
    assert found['samples'][0] == (0, size >> 20) and found['samples'][-1] == (4, 0)
    stuck = peers.described([(0, size), (1, size - peers.GAIN)], None, 7)
    assert stuck['short'] == 7 and not {'host', 'target'} & stuck.keys()


KUNIT = '''
pages of order 0, in: 45.6 ns per page, median of 11 times 1000 pages
pages of order 0, out: 40.2 ns per page, median of 11 times 1000 pages
blocks of order 0, in: 30.0 ns per page, median of 11 times 1000 pages
blocks of order 0, out: 29.6 ns per page, median of 11 times 1000 pages
blocks of order 3, in: 4.7 ns per page, median of 11 times 1000 pages
blocks of order 3, out: 5.6 ns per page, median of 11 times 1000 pages
blocks of order 9, in: 0.9 ns per page, median of 11 times 1000 pages
blocks of order 9, out: 1.9 ns per page, median of 11 times 1000 pages
blocks of order 10, in: 1.5 ns per page, median of 11 times 1000 pages
blocks of order 10, out: 7.0 ns per page, median of 11 times 1000 pages
runs of 8 pages, 16 apart: encode 6.0 ns per run, 2064 bytes
262144 page frames: 23641 looked at, in 3 calls, 57088 ns
3220 holds: at most 267 pages looked at, longest {longest} ns
a page out of a block: at most 512 ns, median 256 ns, of 51
1024 blocks out: at most 9000 ns, median 7424 ns, of 51
1024 blocks in: at most 4000 ns, median 3328 ns, of 51
'''


def test_native_lines():
    """Check that all passes count, and that a longest hold is the longest."""
    runs = [native.parse(KUNIT.format(longest=longest)) for longest in (2304, 9000)]
    lines = {line[0]: line[1:] for line in native.rows(runs, '')}
    pages = lines['UML, inflate page by page: ns per page']
    assert pages[:2] == ['2', '45.6']
    hold = lines['UML, zone->lock: longest hold, ns']
    assert hold[0] == '2' and hold[2].endswith(' to 9,000)')
    assert all(len(line) == len(targets.HEADINGS) - 1 for line in lines.values())
    with pytest.raises(Failure, match='do not print "zone lock"'):
        native.parse(KUNIT.replace('holds', 'hold'))
