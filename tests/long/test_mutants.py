# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that are put in are found by the tests that are to find them.

Faults of migration and postcopy are in test_migration_long.py: they need guests.
"""

import subprocess

import pytest

from harness import kunit
from harness.common import BUILD, LOGS
from harness.limits import COMMAND
from harness.vm import QEMUS, SPLATS
from tests.support import mutant, qemu_tests

# The faults share trees and build folders.
pytestmark = [pytest.mark.long, pytest.mark.alone]

UNIT, QTEST = f'tests/unit/{qemu_tests.NAME}', 'tests/qtest/qos-test'
PATCHES = [patch for patch in mutant.MUTANTS
           if mutant.header(patch, 'Caught-by') not in ('migration', 'postcopy')]


def by_kunit(name, suite, *options, **where):
    """Return KUnit's complaint about a kernel with options; none if it finds no fault."""
    # suite: or SUITE.CASE
    log = LOGS / f'mutant-{name}.log'
    assert kunit.kunit_py('build', 'uml-debug', log, **where) == 0, log
    # A kernel that hangs counts as caught.
    status = kunit.kunit_py('run', 'uml-debug', log, f'--timeout={COMMAND}', suite,
                            *(f'--kernel_args={option}' for option in options), **where)
    splats = [line for line in kunit.kernel_log('uml-debug', where.get('out', BUILD))
              if SPLATS.search(line)]
    return splats or status


def complaint(check, *arguments):
    """Return the failure of a check, or None."""
    try:
        check(*arguments)
    except (AssertionError, subprocess.TimeoutExpired) as failure:
        return failure
    return None


@pytest.mark.parametrize('patch', PATCHES, ids=lambda patch: patch.stem)
def test_caught(patch, request, tmp_path):
    """The test that a mutant names fails because of it."""
    how, *what = mutant.header(patch, 'Caught-by').split()
    if how == 'kunit':
        found = by_kunit(patch.stem, *what, source=mutant.source(patch),
                         out=mutant.FOLDER)
    elif how == 'unit':
        found = complaint(qemu_tests.check, [mutant.build(patch, UNIT), '--tap', '-k'])
    else:
        request.getfixturevalue('huge_pages')
        found = complaint(qemu_tests.qtest, mutant.build(patch, QTEST),
                          mutant.QEMU / 'qemu-system-x86_64', tmp_path, *what)
    assert found, f'{patch.name} was not caught'
    print(str(found)[:200])


@pytest.mark.parametrize('suite', sorted({
    mutant.header(patch, 'Caught-by').split()[1].split('.')[0] for patch in PATCHES
    if mutant.header(patch, 'Tree') == 'linux'}))
def test_nothing_found_without_fault(suite):
    """The same check finds nothing in the unchanged tree."""
    assert not by_kunit(f'none-{suite}', suite)


@pytest.mark.usefixtures('huge_pages')
def test_nothing_found_in_qemu_without_fault(tmp_path):
    """The tests of QEMU find nothing in the unchanged tree."""
    assert not complaint(qemu_tests.check, [qemu_tests.build(UNIT), '--tap', '-k'])
    assert not complaint(qemu_tests.qtest, qemu_tests.build(QTEST), QEMUS['ours'],
                         tmp_path)
