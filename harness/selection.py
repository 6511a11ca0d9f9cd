# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the tests of a selection: pytest collects them without a build or a run.

As a program: python3 -m harness.selection FILE WORD... writes them to a file.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.common import ROOT, Failure, split_words

PYTHON = '/usr/bin/python3'
# Marks of tests that make test leaves to other targets.
ELSEWHERE = {'long': 'make test-long', 'lint': 'make lint', 'arch': 'make test-arch',
             'field': 'make test-field'}


def words():
    """Return the selection as words for pytest: TESTS, or all tests."""
    return split_words('TESTS', 'tests')


def expression(target):
    """Return the expression of marks that selects a target's tests; None: make test."""
    if target == 'field':
        return 'field and not long'
    return target or f"not ({' or '.join(ELSEWHERE)})"


def belongs(marks, target):
    """Return whether a target runs a test with these marks."""
    if target == 'field' and 'long' in marks:
        return False
    return target in marks if target else not set(marks) & set(ELSEWHERE)


class Collector:
    """A plugin for pytest that keeps the collected tests."""

    def __init__(self):
        self.tests = []

    def pytest_collection_finish(self, session):
        """Keep the names, marks and groups of all tests."""
        for item in session.items:
            group = item.get_closest_marker('xdist_group')
            self.tests.append({
                'name': item.nodeid, 'group': group.args[0] if group else '',
                'marks': sorted({mark.name for mark in item.iter_markers()}),
                'root': 'huge_pages' in item.fixturenames})


def collected():
    """Return all tests of the selection, whatever their target is."""
    with tempfile.NamedTemporaryFile('r', suffix='.json') as out:
        done = subprocess.run(
            [PYTHON, '-B', '-m', 'harness.selection', out.name, *words()], cwd=ROOT,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        text = out.read()
    if not text:
        raise Failure(f'pytest cannot collect {" ".join(words())}:\n'
                      f'{done.stdout[-3000:]}{done.stderr[-3000:]}')
    return json.loads(text)


def selected(target):
    """Return a target's tests of the selection; raise Failure if it has none."""
    found = collected()
    if mine := [test for test in found if belongs(test['marks'], target)]:
        return mine
    theirs = {line for test in found for mark, line in ELSEWHERE.items()
              if mark in test['marks']} or {'make test'} if found else ()
    raise Failure(f'TESTS="{os.environ.get("TESTS", "tests")}" selects no test of this '
                  'target' + (f'; its tests belong to {", ".join(sorted(theirs))}'
                              if theirs else ''))


def main(path, *given):
    """Collect, and write what there is unless pytest failed."""
    import pytest
    collector = Collector()
    status = pytest.main(['--collect-only', '-q', '-m', '', *given],
                         plugins=[collector])
    if status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        Path(path).write_text(json.dumps(collector.tests), encoding='utf-8')
    return status


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
