# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own tests, run by kunit.py; one result per suite and machine."""

import pytest

from harness.common import tail
from harness.kunit import TESTED, building, results, runs
from harness.vm import SPLATS


def check_suite(machine, suite, found, may_skip):
    """Every case ran and passed, but for those that may be skipped."""
    _, suites, log, _ = found
    cases = suites.get(suite, [])
    assert cases, f'{suite} did not run; the end of {log}:\n{tail(log, 40)}'
    bad = [f'{case}: {status}' for case, status in cases
           if status != 'PASS' and not (status == 'SKIP' and may_skip)]
    assert not bad, f'{machine}: {bad}; the end of {log}:\n{tail(log, 60)}'


def check_run(machine, found):
    """kunit.py is content, and the kernel said nothing bad meanwhile."""
    status, suites, log, said = found
    assert status == 0 and suites, f'the end of {log}:\n{tail(log, 40)}'
    assert not [line for line in said if SPLATS.search(line)]
    # Here the kernel does not end with the tests.
    assert machine != 'x86_64' or 'kmemleak: done' in said


@pytest.mark.parametrize('machine,suite', runs())
def test_suite(machine, suite):
    """Every case of the suite passes; UML may skip one that x86_64 has to pass."""
    building()[machine].result()
    check_suite(machine, suite, results(machine),
                machine != 'x86_64' and ('x86_64', suite) in runs())


@pytest.mark.parametrize('machine', TESTED)
def test_run(machine):
    """The run of all suites."""
    check_run(machine, results(machine))


def test_where_freed_pages_matter():
    """All features once more: only with this option PAGE_POISON is negotiated."""
    found = results('uml-debug', '--kernel_args=page_poison=1',
                    'virtio_balloon_features')
    check_suite('uml-debug', 'virtio_balloon_features', found, False)
    check_run('uml-debug', found)
    # kunit.py has seen to it that the kernel knows the option.
    assert any('page_poison=1' in line for line in found[-1]
               if line.startswith('Kernel command line:'))
