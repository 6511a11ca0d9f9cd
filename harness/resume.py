# SPDX-License-Identifier: GPL-2.0-or-later
"""A plugin for pytest: an interrupted run continues with the remaining tests.

A file keeps the names of passed tests, below a line that names the state of series and
tests. Tests that passed in another state do not count.
"""

import hashlib

from harness import tree
from harness.common import BUILD, PROJECTS, ROOT

FINISHED = BUILD / 'test-long.finished'
# The tests that this run leaves out. The set is fixed: workers collect at any time.
EARLIER = BUILD / 'test-long.earlier'


def state():
    """Return a checksum of the trees, the patches, the tests and the harness."""
    parts = [text for project in PROJECTS
             for text in (tree.rev(tree.tree(project), 'HEAD'),
                          tree.git(tree.tree(project), 'diff', 'HEAD'))]
    for folder in ('base', 'guest', 'harness', 'patches', 'tests'):
        parts += [f'{path.relative_to(ROOT)} '
                  f'{hashlib.sha256(path.read_bytes()).hexdigest()}'
                  for path in sorted((ROOT / folder).rglob('*'))
                  if path.is_file() and '__pycache__' not in path.parts]
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()


def begin(afresh):
    """Read the tests that passed in this state; return them."""
    now = state()
    lines = FINISHED.read_text(encoding='utf-8').splitlines() \
        if FINISHED.exists() and not afresh else []
    if lines[:1] != [now]:
        lines = [now]
    text = '\n'.join(lines) + '\n'
    for path in (FINISHED, EARLIER):
        path.write_text(text, encoding='utf-8')
    return set(lines[1:])


def plain(name):
    """Return the name of a test without the group that pytest-xdist adds."""
    return name.rsplit('@', 1)[0] if name.rfind('@') > name.rfind(']') else name


class Record:
    """Writes down which tests have passed."""

    def __init__(self):
        self.failed = set()

    def pytest_runtest_logreport(self, report):
        """Note a test whose last part is over, if no part of it failed."""
        if not report.passed:
            self.failed.add(report.nodeid)
        if report.when == 'teardown' and report.nodeid not in self.failed:
            with open(FINISHED, 'a', encoding='utf-8') as file:
                file.write(plain(report.nodeid) + '\n')


def pytest_configure(config):
    """Record in one process only: the workers' reports come to it."""
    if not hasattr(config, 'workerinput'):
        config.pluginmanager.register(Record())


def pytest_collection_modifyitems(config, items):
    """Leave out tests that passed before."""
    earlier = set(EARLIER.read_text(encoding='utf-8').splitlines()[1:])
    out = [item for item in items if plain(item.nodeid) in earlier]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if plain(item.nodeid) not in earlier]
