# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own tests, run by kunit.py, and as modules in a guest."""

import re

import pytest

from harness import kunit
from harness.common import tail
from harness.kunit import LONG, TESTED, results, runs
from harness.limits import SUITES
from harness.vm import SPLATS

# Only kernels for tests have what these need; see make test-long, and UML.
BUILT_IN = re.compile('needs (a built-in test|CONFIG_FAULT_INJECTION|one node)')
KTAP = re.compile(r'^ *(ok|not ok) \d+ (.+?)(?: # (.*))?$', re.M)


def case(machine, *values):
    """Parameters whose tests share one run of a machine, now or in make test-long."""
    group = pytest.mark.xdist_group(f'kunit-{machine}')
    return pytest.param(machine, *values,
                        marks=[group, *[pytest.mark.long] * (machine in LONG)])


def check_suite(machine, suite, found, may_skip):
    """Check that every case ran and passed, or was skipped where it may be."""
    _, suites, log, _ = found
    cases = suites.get(suite, [])
    assert cases, f'{suite} did not run; the end of {log}:\n{tail(log, 40)}'
    bad = [f'{name}: {status}' for name, status in cases
           if status != 'PASS' and not (status == 'SKIP' and may_skip)]
    assert not bad, f'{machine}: {bad}; the end of {log}:\n{tail(log, 60)}'


def check_run(machine, found):
    """Check that kunit.py succeeded, and that the kernel logged no splat."""
    status, suites, log, said = found
    assert status == 0 and suites, f'the end of {log}:\n{tail(log, 40)}'
    assert not [line for line in said if SPLATS.search(line)]
    # Here the kernel does not end with the tests.
    assert machine != 'x86_64' or 'kmemleak: done' in said


@pytest.mark.parametrize('machine,suite', [case(*run) for run in runs()])
def test_suite(machine, suite):
    """Every case of the suite passes; UML may skip cases that x86_64 must pass."""
    check_suite(machine, suite, results(machine),
                machine != 'x86_64' and ('x86_64', suite) in runs())


@pytest.mark.parametrize('machine', [case(machine) for machine in TESTED])
def test_run(machine):
    """The run of all suites."""
    check_run(machine, results(machine))


@pytest.mark.xdist_group('kunit-uml-debug')
def test_where_freed_pages_matter():
    """All features once more: only with this option PAGE_POISON is negotiated."""
    found = results('uml-debug', '--kernel_args=page_poison=1',
                    'virtio_balloon_features')
    check_suite('uml-debug', 'virtio_balloon_features', found, False)
    check_run('uml-debug', found)
    # kunit.py has seen to it that the kernel knows the option.
    assert any('page_poison=1' in line for line in found[-1]
               if line.startswith('Kernel command line:'))


def test_modules(boot):
    """The suites that can be modules pass in a guest: two CPUs, two nodes, a hole."""
    guest = boot(**kunit.GUEST)
    for module, suites in kunit.MODULES.items():
        guest.run(f'insmod /lib/modules/{module}.ko', SUITES)
        for suite in suites:
            said = guest.read(f'/sys/kernel/debug/kunit/{suite}/results')
            cases = KTAP.findall(said)
            # A case all of whose parameters are skipped gives no reason itself.
            bad = [name for verdict, name, why in cases
                   if verdict != 'ok' or 'SKIP' in why and why.strip() != 'SKIP'
                   and not BUILT_IN.search(why)]
            assert cases and not bad, f'{suite}: {bad}\n{said[-4000:]}'


def test_modules_have_all_suites():
    """Every suite of the sources runs, except one that cannot be a module."""
    there = {suite for suites in kunit.MODULES.values() for suite in suites}
    assert there | {'balloon'} == {suite for _, suite in runs()}
