# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that are put in on purpose are found by the tests that are to find them.

Those of migration are in test_migration_long.py: it may take several of them.
"""

import subprocess

import pytest

from harness import kunit
from harness.build import build_qemu
from harness.common import BUILD, LOGS
from harness.limits import COMMAND
from harness.vm import QEMUS, SPLATS
from tests.support import mutant, qemu_tests

# The faults share trees and build folders.
pytestmark = [pytest.mark.long, pytest.mark.alone]

QEMU = mutant.FOLDER / 'qemu'
PATCHES = [patch for patch in mutant.MUTANTS
           if mutant.header(patch, 'Caught-by') != 'migration']


def by_kunit(name, suite, **where):
    """What KUnit has against a kernel; nothing if it finds no fault."""
    log = LOGS / f'mutant-{name}.log'
    assert kunit.kunit_py('build', 'uml-debug', log, **where) == 0, log
    # A kernel that hangs has been caught, too.
    status = kunit.kunit_py('run', 'uml-debug', log, f'--timeout={COMMAND}', suite,
                            **where)
    splats = [line for line in kunit.kernel_log('uml-debug', where.get('out', BUILD))
              if SPLATS.search(line)]
    return splats or status


def by_unit(patch):
    """The same of QEMU's unit test."""
    target = f'tests/unit/{qemu_tests.NAME}'
    build_qemu(patch.stem, mutant.source(patch), QEMU, 'mutant', target)
    return complaint(qemu_tests.check, [QEMU / target, '--tap', '-k'])


def by_qtest(patch, tmp_path):
    """The same of the qtests."""
    target = 'tests/qtest/qos-test'
    build_qemu(patch.stem, mutant.source(patch), QEMU, 'mutant', target)
    wrapper = qemu_tests.with_firmware(QEMU / 'qemu-system-x86_64', tmp_path)
    return complaint(qemu_tests.qtest, QEMU / target, wrapper)


def complaint(check, *arguments):
    """How a check fails, or None."""
    try:
        check(*arguments)
    except (AssertionError, subprocess.TimeoutExpired) as failure:
        return failure
    return None


@pytest.mark.parametrize('patch', PATCHES, ids=lambda patch: patch.stem)
def test_caught(patch, request):
    """A test fails because of it."""
    how, *what = mutant.header(patch, 'Caught-by').split()
    if how == 'kunit':
        found = by_kunit(patch.stem, *what, source=mutant.source(patch),
                         out=mutant.FOLDER)
    elif how == 'unit':
        found = by_unit(patch)
    else:
        request.getfixturevalue('huge_pages')
        found = by_qtest(patch, request.getfixturevalue('tmp_path'))
    assert found, f'{patch.name} was not caught'
    print(str(found)[:200])


@pytest.mark.parametrize('suite', sorted({
    mutant.header(patch, 'Caught-by').split()[1] for patch in PATCHES
    if mutant.header(patch, 'Queue') == 'linux'}))
def test_nothing_found_without_fault(suite):
    """The same way of looking finds nothing in the series as it is."""
    assert not by_kunit(f'none-{suite}', suite)


@pytest.mark.usefixtures('huge_pages')
def test_nothing_found_in_qemu_without_fault(tmp_path):
    """Nor do the tests of QEMU."""
    unit = qemu_tests.build(f'tests/unit/{qemu_tests.NAME}')
    assert complaint(qemu_tests.check, [unit, '--tap', '-k']) is None
    wrapper = qemu_tests.with_firmware(QEMUS['ours'], tmp_path)
    assert complaint(qemu_tests.qtest,
                     qemu_tests.build('tests/qtest/qos-test'), wrapper) is None
