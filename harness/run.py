# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done with what has been built: boot by hand, measure, test."""

import os
import re
import shlex
import subprocess
import sys
import tempfile

from harness import build, packages, tree
from harness.common import BUILD, QUEUES, ROOT, SRC, say

PYTHON = '/usr/bin/python3'


def interactive():
    """make run: boot our pair with the serial console on this terminal."""
    from harness.vm import GIB, QEMUS, Guest
    build.kernel()
    build.qemu()
    with tempfile.TemporaryDirectory(prefix='balloon-') as folder:
        guest = Guest(memory=2 * GIB, page_bitmap=True, host_request=True)
        line = [str(QEMUS['ours']), *guest.command_line(interactive=True),
                '-display', 'none', '-serial', 'mon:stdio',
                '-qmp', f'unix:{folder}/qmp,server=on,wait=off']
        say(f'QMP socket: {folder}/qmp  (try: {SRC}/qemu/scripts/qmp/qmp-shell '
            f'{folder}/qmp, then: balloon value=1073741824)')
        say('The shell is in the guest; "exit" or Ctrl-A X ends it.')
        return subprocess.call(line)


def benchmarks(*names):
    """Everything, then programs of bench/, until one fails."""
    build.everything()
    for name in names:
        if status := subprocess.call(
                [PYTHON, '-B', '-m', f'bench.{name}'], cwd=ROOT):
            return status
    return 0


def measure():
    """make: everything, then the tables."""
    return benchmarks('inflate', 'density')


def summary(junit):
    """(passed, failed) of a pytest run; what was skipped counts as failed."""
    text = junit.read_text(encoding='utf-8') if junit.exists() else ''
    counts = {key: int(value) for key, value in re.findall(
        r'\b(errors|failures|skipped|tests)="(\d+)"',
        text.split('<testcase')[0])}
    failed = sum(counts.get(key, 0) for key in ('errors', 'failures', 'skipped'))
    return counts.get('tests', 0) - failed, failed


def migration():
    """make migration: everything, then the table of live migration."""
    return benchmarks('migration')


def bench():
    """make bench: everything, then the table of blocks, and the charts."""
    return benchmarks('blocks', 'charts')


def long_tests():
    """make test-long: everything, then the tests that take long."""
    return tests('long')


def field_tests():
    """make test-field: everything, then what operators report, as a table."""
    return tests('field')


def check():
    """make check: what needs no build."""
    return tests('check', lambda: packages.install(packages.CHECKING))


def sources():
    """What make lint needs: trees, compilers, checkers."""
    packages.install(packages.LINTING)
    for queue in QUEUES:
        tree.ensure(queue, strict=False)


def lint():
    """make lint: the trees, then what compilers and checkers say of the patches."""
    return tests('lint', sources)


def arch_tests():
    """make test-arch: our pair for other architectures, then their tests."""
    return tests('arch', build.arches)


def tests(marked='not (long or lint or arch or field)', prepare=build.everything):
    """make test: everything, then all tests; the last line is the count."""
    junit = BUILD / 'tests.xml'
    junit.unlink(missing_ok=True)
    ready = True
    try:
        prepare()
    except Exception as error:  # pylint: disable=broad-except
        ready = False
        print(f'error: {error}', file=sys.stderr, flush=True)
    status = 1
    if ready:
        status = subprocess.call(
            [PYTHON, '-m', 'pytest', '-p', 'no:cacheprovider', '-ra', '-v',
             f'--junitxml={junit}', '-m', marked,
             *shlex.split(os.environ.get('TESTS', 'tests'))],
            cwd=ROOT, stdin=subprocess.DEVNULL)
    passed, failed = summary(junit)
    if (status or not passed) and not failed:
        failed = 1
    say(f'{passed} passed, {failed} failed')
    return 1 if failed else 0
