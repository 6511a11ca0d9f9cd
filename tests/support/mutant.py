# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants, bugs to inject into the patched trees: tests/support/mutants/*.patch.

"Tree" names the tree of a mutant, "Caught-by" the test that finds it: "kunit SUITE" (or
"SUITE.CASE") and options of the kernel, "unit", "qtest" (of QEMU; "qtest pages/size": a
single one), "migration" or "postcopy". A description of the bug follows, with the sentence
of docs/protocol.md that it breaks, if there is one.
"""

import re

from harness import tree
from harness.build import build_qemu
from harness.common import BUILD, ROOT

FOLDER = BUILD / 'mutants'
QEMU = FOLDER / 'qemu'
MUTANTS = sorted((ROOT / 'tests' / 'support' / 'mutants').glob('*.patch'))


def header(patch, key):
    """Return the value of a line above the diff."""
    head = patch.read_text(encoding='utf-8').split('\n\n')[0]
    return re.search(rf'(?m)^{key}: (.*)$', head)[1]


def source(patch):
    """Return a worktree of the tree with the fault, and no other change, in it."""
    # One worktree for each tree serves all its faults: little is built again.
    project = header(patch, 'Tree')
    folder = FOLDER / 'src' / project
    tree.worktree(project, folder, 'HEAD')
    tree.git(folder, 'apply', patch)
    return folder


def build(patch, target):
    """Build QEMU with the fault, and one of its programs; return the program's path."""
    build_qemu(f'QEMU with {patch.name}', source(patch), QEMU, 'mutant', target)
    return QEMU / target
