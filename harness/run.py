# SPDX-License-Identifier: GPL-2.0-or-later
"""Use the built pair: boot it by hand, measure, test."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from bench import report
from harness import build, common, kunit, native, resume, selection, tree
from harness.common import BUILD, PROJECTS, ROOT, SRC, jobs, say, warn
from harness.debian import packages
from harness.selection import PYTHON


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


def benchmarks(*names, prepare=build.everything):
    """Build their needs, then run programs of bench/, until one fails."""
    for name in names:
        # Wrong options are reported before the builds.
        if status := subprocess.call([PYTHON, '-B', '-m', f'bench.{name}', '--help'],
                                     cwd=ROOT, stdout=subprocess.DEVNULL):
            return status
    prepare()
    for name in names:
        if status := subprocess.call(
                [PYTHON, '-B', '-m', f'bench.{name}'], cwd=ROOT):
            return status
    return 0


def measure():
    """make: everything, then the tables."""
    return benchmarks('inflate', 'density')


def migration():
    """make migration: everything, then the table of live migration."""
    return benchmarks('migration')


def peers():
    """make bench-peers: everything, then ours beside what others use."""
    return benchmarks('peers')


def bench():
    """make bench: everything, then the table of blocks, and the charts."""
    return benchmarks('blocks', 'charts')


def bench_native():
    """make bench-native: what runs without an emulator, then its table."""
    return benchmarks('uml', 'charts', prepare=native.build)


def long_tests():
    """make test-long: everything, then the tests that take long."""
    return tests('long')


def field_tests():
    """make test-field: everything, then what operators report, as a table."""
    return tests('field')


def check():
    """make check: what needs no build."""
    return tests('check', lambda: None)


def sources():
    """Prepare make lint: trees, compilers, checkers."""
    packages.install(packages.LINTING)
    for project in PROJECTS:
        tree.ensure(project, strict=False)


def lint():
    """make lint: the trees, then compilers and checkers on the patches."""
    return tests('lint', sources)


def arch_tests():
    """make test-arch: our pair for other architectures, then their tests."""
    return tests('arch', build.arches)


# The tests run in two parts: first tests that may run side by side, then tests that need
# the host for themselves, or change it.
PARTS = {'not alone': BUILD / 'tests.xml', 'alone': BUILD / 'tests-alone.xml'}
# Targets whose tests all run one after another: they share a tree.
ONE_BY_ONE = ('lint', 'arch')
# Memory for the guests of one test, in KiB, at most: a migration has two of 1.5 GiB.
NEIGHBOUR = 4 << 20


def counts(junit):
    """Return (passed, failed) of a run of pytest; skipped tests have failed."""
    if not junit.exists():
        return 0, 0
    try:
        suites = ElementTree.parse(junit).getroot().iter('testsuite')
    except ElementTree.ParseError:
        return 0, 1
    found = [[int(suite.get(key, 0)) for key in
              ('tests', 'errors', 'failures', 'skipped')] for suite in suites]
    failed = sum(sum(suite[1:]) for suite in found)
    return sum(suite[0] for suite in found) - failed, failed


def summary(*junits):
    """Return (passed, failed) of some runs of pytest together."""
    return tuple(map(sum, zip(*map(counts, junits))))


def slowest(junits, count=10):
    """Return the tests that took longest: (seconds, name)."""
    cases = [case for junit in junits if sum(counts(junit))
             for case in ElementTree.parse(junit).getroot().iter('testcase')]
    times = [(float(case.get('time', 0)),
              f"{case.get('classname', '').replace('.', '/')}.py {case.get('name')}")
             for case in cases]
    return sorted(times, reverse=True)[:count]


def print_times(parts):
    """Print where the time went: builds, parts of the run, then the slowest tests."""
    say('\nWhere the time went, in seconds:')
    for title, seconds in [*common.SPENT, *parts]:
        if seconds >= 1:
            say(f'{seconds:7.0f}  {title}')
    for seconds, name in slowest(PARTS.values()):
        say(f'{seconds:7.1f}  {name}')


def neighbours():
    """Return how many tests may run at a time: as many as CPUs and memory allow."""
    text = Path('/proc/meminfo').read_text(encoding='ascii')
    available = int(re.search(r'MemAvailable:\s+(\d+)', text)[1])
    return max(1, min(jobs(), available // NEIGHBOUR))


def print_rows():
    """Print the rows that the tests of make test-field reported; write field.json."""
    found = [json.loads(item.get('value')) for junit in PARTS.values() if junit.exists()
             for item in ElementTree.parse(junit).getroot().iter('property')
             if item.get('name') == 'row']
    found.sort(key=lambda row: int(re.search(r'\d+', row['row'])[0]))
    say('')
    report.table([['row', 'stock', 'ours', 'must hold', ''], *(
        [row['row'], row['stock'], row['ours'], row['must'],
         'green' if row['green'] else 'RED'] for row in found)])
    green = sum(row['green'] for row in found)
    say(f'{green} green, {len(found) - green} red')
    (BUILD / 'field.json').write_text(json.dumps(found, indent=1) + '\n')


def run_part(part, junit, target, workers):
    """Run one part of the tests; return pytest's status."""
    parallel = ['-n', str(workers), '--dist', 'loadgroup'] if workers > 1 else []
    resumed = ['-p', 'harness.resume'] if target == 'long' else []
    status = subprocess.call(
        [PYTHON, '-B', '-m', 'pytest', '-p', 'no:cacheprovider', '-ra', '-v',
         *resumed, *parallel, f'--junitxml={junit}',
         '-m', f'({selection.expression(target)}) and ({part})', *selection.words()],
        cwd=ROOT, stdin=subprocess.DEVNULL)
    # A resumed part may have no tests left.
    return 0 if status == 5 else status


def run_parts(chosen, target):
    """Run the tests; return whether one has failed, and how long each part took."""
    status, times = 0, []
    parts = {'alone or not alone': PARTS['alone']} if target in ONE_BY_ONE else PARTS
    alone = {'alone' in test['marks'] for test in chosen}
    for part, junit in parts.items():
        if len(parts) > 1 and (part == 'alone') not in alone:
            continue
        workers = 1 if part == 'alone' or target in ONE_BY_ONE else neighbours()
        started = time.monotonic()
        status = run_part(part, junit, target, workers) or status
        times.append((f'tests, {workers} at a time', time.monotonic() - started))
    return status, times


def prepare_tests(chosen, prepare):
    """Build for the chosen tests; warn if they need root."""
    root = sum(test['root'] for test in chosen)
    if root and os.geteuid():
        warn(f'not root: {root} tests that reserve huge pages of the host will fail')
    if all('check' in test['marks'] for test in chosen):
        return
    prepare()
    for machine in kunit.TESTED:
        if any(test['group'] == f'kunit-{machine}' for test in chosen):
            kunit.build(machine)


def tests(target=None, prepare=build.everything):
    """make test: everything, then all tests; the last line is the count."""
    for junit in PARTS.values():
        junit.unlink(missing_ok=True)
    packages.install(packages.CHECKING)
    chosen = selection.selected(target)
    earlier, status, times = set(), 1, []
    try:
        prepare_tests(chosen, prepare)
        if target == 'long':
            earlier = resume.begin(os.environ.get('FORCE') == '1')
            earlier &= {test['name'] for test in chosen}
            say(f'{len(earlier)} tests passed before; FORCE=1 runs them again')
        status, times = run_parts(chosen, target)
    except Exception as error:  # pylint: disable=broad-except
        print(f'error: {error}', file=sys.stderr, flush=True)
    if target == 'field':
        print_rows()
    print_times(times)
    passed, failed = summary(*PARTS.values())
    passed += len(earlier)
    if (status or not passed) and not failed:
        failed = 1
    say(f'{passed} passed, {failed} failed')
    return 1 if failed else 0
