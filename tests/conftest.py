# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests share: the way to the harness, and guests that end with them."""

import os
import re
import time
from pathlib import Path

import pytest

from harness import kunit
from harness.vm import Guest

pytest.register_assert_rewrite('tests.support')


def pytest_collection_finish(session):
    """Let KUnit's kernels be built while guests are tested."""
    if any(item.fspath.basename == 'test_kunit.py' for item in session.items):
        kunit.building()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Let fixtures know how the test went; print at once why it failed.

    A run that is terminated never gets to its summary.
    """
    outcome = yield
    report = outcome.get_result()
    setattr(item, f'report_{report.when}', report)
    if report.failed:
        terminal = item.config.pluginmanager.get_plugin('terminalreporter')
        terminal.write_line('\n' + '\n'.join(
            report.longreprtext.splitlines()[-60:]))


@pytest.fixture
def boot(request):
    """A function that boots a guest: boot(memory=..., page_bitmap=True).

    Takes what Guest takes; load=False leaves the balloon driver unloaded. When
    the test has passed, the kernel log of every guest is checked; they end with
    the test in any case.
    """
    guests = []

    def start(load=True, **options):
        name = re.sub(r'\W+', '-', request.node.name).strip('-')
        guest = Guest(name=f'{name}-{len(guests)}', **options)
        guests.append(guest)
        guest.launch()
        if load:
            guest.load_balloon()
        return guest

    yield start
    try:
        report = getattr(request.node, 'report_call', None)
        if report and report.passed:
            for guest in guests:
                guest.check()
    finally:
        for guest in guests:
            guest.kill()


@pytest.fixture
def seed():
    """Of what is done when, SEED if that is set; printed if the test fails."""
    value = int(os.environ.get('SEED') or time.time())
    print(f'SEED={value}')
    return value


@pytest.fixture
def huge_pages():
    """768 huge pages of 2 MiB on the host, given back afterwards."""
    control = Path('/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages')
    assert control.exists(), 'the host has no huge pages of 2 MiB'
    before = control.read_text(encoding='ascii')
    try:
        # Page cache may be in the way, or move, at the first try.
        for _ in range(5):
            control.write_text(str(int(before) + 768), encoding='ascii')
            if int(control.read_text(encoding='ascii')) == int(before) + 768:
                break
            Path('/proc/sys/vm/drop_caches').write_text('1', encoding='ascii')
            Path('/proc/sys/vm/compact_memory').write_text('1', encoding='ascii')
        else:
            pytest.fail('the host could not reserve 768 huge pages')
        yield control.with_name('free_hugepages')
    finally:
        control.write_text(before, encoding='ascii')
