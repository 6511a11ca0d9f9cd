# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of conformance/ is complete, and its program finds mistakes."""

import re
import shutil
import subprocess

import pytest

from harness import tree
from harness.common import ROOT, capture

pytestmark = pytest.mark.check

FOLDER = ROOT / 'conformance'
PAGE = (ROOT / 'docs' / 'protocol.md').read_text(encoding='utf-8')
COMPILERS = [name for name in ('gcc', 'clang') if shutil.which(name)]
FLAGS = ('-std=c11', '-Wall', '-Wextra', '-Werror')


def compiled(folder, compiler):
    """Compile the program; return its path."""
    program = folder / f'check-{compiler}'
    capture([compiler, *FLAGS, '-o', program, FOLDER / 'check.c'])
    return program


@pytest.fixture(name='program', scope='module')
def fixture_program(tmp_path_factory):
    """The program, as the first compiler makes it."""
    assert COMPILERS, 'install gcc or clang'
    return compiled(tmp_path_factory.mktemp('check'), COMPILERS[0])


@pytest.fixture(name='table', scope='module')
def fixture_table(program):
    """The table: [(kind, bytes, verdict, sentences, name)]."""
    rows = [line.split('\t') for line in capture([program, '--list']).splitlines()]
    return [(*line.split()[:2], result.split()[0], rules.split(), name)
            for line, result, _, rules, name in rows]


@pytest.mark.parametrize('compiler', COMPILERS)
def test_table_against_its_decoder(tmp_path, compiler):
    """Table and decoder agree, also when the decoder is a program that reads lines."""
    program = compiled(tmp_path, compiler)
    assert 'not ok' not in capture([program])
    assert 'not ok' not in capture([program, '--', program, '--serve'])


@pytest.mark.parametrize('wrong', [
    '"$0" --serve | sed s/MALFORMED/OK/', '"$0" --serve | sed s/+1$/+2/',
    '"$0" --serve | sed "s/^OK 2$/OK 1/"', '"$0" --serve | sed 1d',
    '"$0" --serve; echo OK', '"$0" --serve; exit 3', 'cat', 'yes', 'kill $$'])
def test_wrong_decoder_is_found(program, wrong):
    """A program that prints a wrong line, too few, or too many, fails."""
    done = subprocess.run([program, '--', 'sh', '-c', wrong, program], check=False,
                          capture_output=True, text=True, errors='replace')
    assert done.returncode == 1
    assert '\nnot ok' in done.stdout


def test_examples(table):
    """Each example of the page is in the table, byte for byte."""
    blocks = re.findall(r'(?m)(?:^    (?:[0-9a-f]{2} ){7}[0-9a-f]{2}\b.*\n)+', PAGE)
    examples = {''.join(re.findall(r'(?m)^ +((?:[0-9a-f]{2} ){7}[0-9a-f]{2})', block)
                        ).replace(' ', '').replace('\n', '') for block in blocks}
    assert len(examples) >= 15
    assert examples == {data for _, data, _, _, name in table
                        if name.startswith('example: ')}


def test_sentences(table):
    """Sentences exist; each that makes a message malformed has vectors on both queues."""
    numbers = set(re.findall(r'(?m)^- \[(D\w+-\d+)\]', PAGE))
    assert {rule for _, _, _, rules, _ in table for rule in rules} <= numbers
    first, last = re.search(r'`MALFORMED` to a message that breaks one of '
                            r'\[DRV-(\d+)\] to\s+\[DRV-(\d+)\]', PAGE).groups()
    for queue in 'INFLATE', 'DEFLATE':
        malformed = {rule for kind, _, verdict, rules, _ in table for rule in rules
                     if (kind, verdict) == (queue, 'MALFORMED')}
        assert malformed >= {f'DRV-{number}'
                             for number in range(int(first), int(last) + 1)}


def test_copy_of_linux():
    """KUnit has the same table."""
    text = (FOLDER / 'vectors.h').read_text(encoding='utf-8')
    copies = [part for path in tree.patch_files('linux')
              for part in path.read_text(encoding='utf-8').split('\ndiff --git ')
              if part.startswith('a/drivers/virtio/tests/virtio_balloon_vectors.h ')]
    assert ['\n'.join(re.findall(r'(?m)^\+(?!\+\+ b/)(.*)$', part)) + '\n'
            for part in copies] == [text]


def test_names(table):
    """A name of a kind is given once."""
    names = [(kind, name) for kind, _, _, _, name in table]
    assert len(names) == len(set(names))


def test_verdicts():
    """Statuses have the values of the page."""
    rows = {(name, value) for rows in re.findall(
        r'name `VIRTIO_BALLOON_(?:PAGES|REQ)_S_…`.*\n\| ---.*\n((?:\|.*\n)+)', PAGE)
            for value, name in re.findall(r'(?m)^\| (\d+) \| `(\w+)`', rows)}
    text = (FOLDER / 'vectors.h').read_text(encoding='utf-8')
    assert set(re.findall(r'(?m)^\tBV_(\w+) = (\d+),$', text)) == rows
