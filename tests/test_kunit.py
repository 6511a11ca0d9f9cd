# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own tests, run by kunit.py; one result per suite and machine."""

import pytest

from harness.common import tail
from harness.kunit import TESTED, building, kernel_log, results, runs
from harness.vm import SPLATS


@pytest.mark.parametrize('machine,suite', runs())
def test_suite(machine, suite):
    """Every case of the suite ran and passed.

    UML may skip a case that x86_64 has to pass.
    """
    building()[machine].result()
    _, suites, log = results(machine)
    cases = suites.get(suite, [])
    assert cases, f'{suite} did not run; the end of {log}:\n{tail(log, 40)}'
    bad = [f'{case}: {status}' for case, status in cases
           if status != 'PASS' and not
           (status == 'SKIP' and must_pass_elsewhere(machine, suite))]
    assert not bad, f'{bad}; the end of {log}:\n{tail(log, 60)}'


def must_pass_elsewhere(machine, suite):
    """Whether a suite runs on UML here, and on x86_64 without excuse."""
    return machine != 'x86_64' and ('x86_64', suite) in runs()


@pytest.mark.parametrize('machine', TESTED)
def test_run(machine):
    """kunit.py is content, and the kernel said nothing bad meanwhile."""
    status, suites, log = results(machine)
    assert status == 0 and suites, f'the end of {log}:\n{tail(log, 40)}'
    said = kernel_log(machine)
    assert not [line for line in said if SPLATS.search(line)]
    # Here the kernel does not end with the tests.
    assert machine != 'x86_64' or 'kmemleak: done' in said
