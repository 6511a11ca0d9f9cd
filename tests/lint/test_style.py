# SPDX-License-Identifier: GPL-2.0-or-later
"""The projects' own scripts on the patches."""

import re
from concurrent import futures

import pytest

from harness import lint, tree
from harness.common import PROJECTS, jobs

pytestmark = pytest.mark.lint

# QEMU asks whether a script imported a header from a Linux release; ours comes
# from the other project.
IMPORTED = 'imported from Linux, are you using'
# The table of conformance vectors is also for drivers under other licences.
LICENCE = "Saw acceptable license 'GPL-2.0-or-later OR BSD-3-Clause"
# The trees of build/src have no history. The cover letters say where the ids were found,
# and which one was not.
UNKNOWN = "WARNING: Unknown commit id '"
NO_ID = "WARNING: The commit message has 'stable@'"
# MAINTAINERS names files by patterns.
PATTERNS = 'does MAINTAINERS need updating?'
# mm's names of page flags.
# The table of conformance/ is made of macros, and no file of Linux alone.
ALLOWED = (IMPORTED, LICENCE, UNKNOWN, NO_ID, PATTERNS,
           'Avoid CamelCase: <__ClearPageOffline>', 'Avoid CamelCase: <__SetPageOffline>',
           'drivers/virtio/tests/virtio_balloon_vectors.h:')
# The series that moves code, whose style is not its subject.
MOVES = '03-files'
PATCHES = [(project, path) for project in PROJECTS
           for path in tree.patch_files(project)]


@pytest.fixture(name='verdicts', scope='module')
def fixture_verdicts():
    """Futures for all patches: it takes seconds for each."""
    with futures.ThreadPoolExecutor(jobs()) as pool:
        yield {patch: pool.submit(lint.checkpatch, project, patch)
               for project, patch in PATCHES}


def moved(patch, line):
    """Return whether a remark is about a line of the base that a Linux patch moves."""
    found = re.match(r'([^:]+):(\d+): ', line)
    if not found or patch.parent.name != MOVES:
        return False
    commit = tree.commits('linux')[tree.patch_files('linux').index(patch) + 1]
    text = tree.git(tree.tree('linux'), 'show', f'{commit}:{found[1]}').splitlines()
    base = tree.git(tree.tree('linux'), 'show',
                    'base:drivers/virtio/virtio_balloon.c')
    return text[int(found[2]) - 1].strip() in map(str.strip, base.splitlines())


@pytest.mark.parametrize('patch', [path for _, path in PATCHES],
                         ids=[f'{q}/{p.parent.name}/{p.name[:4]}' for q, p in PATCHES])
def test_checkpatch(patch, verdicts):
    """checkpatch has no remarks."""
    status, lines = verdicts[patch].result()
    allowed = [line for line in lines
               if any(text in line for text in ALLOWED) or moved(patch, line)]
    said = [line for line in lines
            if line not in allowed and not line.startswith('total:')]
    assert not said, '\n'.join(said)
    assert status == 0 or allowed
