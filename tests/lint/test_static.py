# SPDX-License-Identifier: GPL-2.0-or-later
"""Sparse, coccicheck, kernel-doc and Sphinx on the Linux patches.

They find nothing that they do not find in the base. And they find bugs that a test adds.
"""

import re

import pytest

from harness import lint

pytestmark = pytest.mark.lint

DRIVER = 'drivers/virtio/virtio_balloon'
# Where the faults are put in. The base has one file, without a suffix.
CORE, REQUEST = f'{DRIVER}_core.c', f'{DRIVER}_request.c'


def added(check):
    """Return the findings of a checker that the patches add to the base."""
    lint.checkout('base')
    before = check('base')
    lint.checkout('HEAD')
    return check('patches') - before


@pytest.fixture(name='fault')
def fixture_fault():
    """A function that replaces text in the driver, in the worktree."""
    def put(file, old, new):
        lint.checkout('HEAD')
        path = lint.SOURCE / file
        text, count = re.subn(old, new, path.read_text(encoding='utf-8'), count=1)
        assert count, f'{file} has no {old}'
        path.write_text(text, encoding='utf-8')

    yield put
    lint.checkout('HEAD')


def test_sparse():
    """sparse, which checks byte order, adds nothing; no error ends it early."""
    lint.checkout('base')
    before = lint.run_sparse('base')
    lint.checkout('HEAD')
    after = lint.run_sparse('patches')
    assert 'error:' not in before + after
    assert f'CHECK   {DRIVER}.c' in before
    assert all(f'CHECK   {file}' in after for file in (CORE, REQUEST))
    assert not lint.findings(after) - lint.findings(before)


def test_sparse_finds(fault):
    """A value that is not converted to little-endian is reported."""
    fault(REQUEST, r'\.value = cpu_to_le64\(value\)', '.value = value')
    assert any(REQUEST in line and 'different base types' in line
               for line in lint.findings(lint.run_sparse('fault')))


def test_coccicheck():
    """All semantic patches that report, on the files touched."""
    assert not added(lint.coccicheck)


def test_coccicheck_finds(fault):
    """A check that kfree() does itself is reported."""
    fault(CORE, r'(?m)^\tkfree\(vb\);$', '\tif (vb)\n\t\tkfree(vb);')
    assert any(CORE in line for line in lint.coccicheck(
        'fault', f'COCCI={lint.SOURCE}/scripts/coccinelle/free/ifnullfree.cocci'))


def test_kernel_doc():
    """kernel-doc in sources and headers, with what their functions return."""
    assert not added(lint.kernel_doc)


def test_documentation():
    """The folders of documentation that the patches touch, as HTML."""
    assert not added(lint.html)
