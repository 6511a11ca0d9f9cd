# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own tests, run by kunit.py on UML; one result per suite here."""

import functools
import json
import re
import subprocess

import pytest

from harness.build import compiler_environment
from harness.common import BUILD, LOGS, SRC, jobs, tail

KUNITCONFIG = 'drivers/virtio/tests/.kunitconfig'
SUITE = re.compile(r'struct kunit_suite \w+ = \{[^}]*?\.name = "([^"]+)"')


@functools.cache
def results():
    """What kunit.py says: (status, {suite: [(case, verdict)]}, log)."""
    LOGS.mkdir(parents=True, exist_ok=True)
    out, log = BUILD / 'kunit.json', LOGS / 'kunit.log'
    out.unlink(missing_ok=True)
    env = compiler_environment()
    with open(log, 'wb') as file:
        done = subprocess.run(
            ['./tools/testing/kunit/kunit.py', 'run', f'--jobs={jobs()}',
             f'--build_dir={BUILD}/kunit', f'--kunitconfig={KUNITCONFIG}',
             '--make_options=CC=ccache gcc', '--make_options=HOSTCC=ccache gcc',
             '--timeout=600', f'--json={out}'],
            cwd=SRC / 'linux', env=env, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, timeout=1800, check=False)
    suites = {}
    if out.exists():
        collect(json.loads(out.read_text()), suites)
    return done.returncode, suites, log


def collect(group, suites):
    """Flatten kunit.py's tree of groups."""
    cases = [(case['name'], case['status']) for case in group['test_cases']]
    if cases:
        suites.setdefault(group['name'], []).extend(cases)
    for sub in group['sub_groups']:
        collect(sub, suites)


def suites_in_tree():
    """The names of the suites in the sources; one that fails if there is none."""
    sources = sorted((SRC / 'linux').glob('drivers/virtio/tests/*.c'))
    names = [name for path in sources
             for name in SUITE.findall(path.read_text(encoding='utf-8'))]
    return names or ['(no suite in drivers/virtio/tests)']


@pytest.mark.parametrize('suite', suites_in_tree())
def test_suite(suite):
    """Every case of the suite ran and passed."""
    _, suites, log = results()
    cases = suites.get(suite, [])
    assert cases, f'{suite} did not run; the end of {log}:\n{tail(log, 40)}'
    bad = [f'{case}: {status}' for case, status in cases if status != 'PASS']
    assert not bad, f'{bad}; the end of {log}:\n{tail(log, 60)}'


def test_run():
    """kunit.py is content, and the kernel said nothing bad meanwhile."""
    status, suites, log = results()
    assert status == 0 and suites, f'the end of {log}:\n{tail(log, 40)}'
