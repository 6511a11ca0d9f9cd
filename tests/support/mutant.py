# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that are put into the series on purpose: tests/support/mutants/*.patch.

Each begins with lines "Key: value": Queue says to which tree it applies, Caught-by
what has to find it: "kunit SUITE", "unit", "qtest" (of QEMU) or "migration".
"""

import re

from harness import tree
from harness.common import BUILD, ROOT

FOLDER = BUILD / 'mutants'
MUTANTS = sorted((ROOT / 'tests' / 'support' / 'mutants').glob('*.patch'))


def header(patch, key):
    """The value of a line above the diff."""
    head = patch.read_text(encoding='utf-8').split('\n\n')[0]
    return re.search(rf'(?m)^{key}: (.*)$', head)[1]


def source(patch):
    """A worktree of the tree with the fault, and nothing else, in it.

    One for each queue serves all its faults, so that little is built again.
    """
    queue = header(patch, 'Queue')
    folder, head = FOLDER / 'src' / queue, tree.rev(tree.tree(queue), 'HEAD')
    if not folder.exists():
        tree.git(tree.tree(queue), 'worktree', 'prune')
        tree.git(tree.tree(queue), 'worktree', 'add', '-q', '--detach', folder,
                 head)
    tree.git(folder, 'checkout', '-q', '-f', '--detach', head)
    tree.git(folder, 'apply', patch)
    return folder
