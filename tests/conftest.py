# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared by all tests: guests that end with a test, order, failures shown at once."""

import os
import re
import time

import pytest

from harness.vm import Guest

pytest.register_assert_rewrite('tests.support')
# pylint: disable=wrong-import-position
from tests.support import hugepages

TERMINAL = []


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Find the terminal; a worker of pytest-xdist has none."""
    TERMINAL[:] = filter(None, [config.pluginmanager.get_plugin('terminalreporter')])


def pytest_runtest_logreport(report):
    """Print why a test failed at once: a run that is ended has no summary."""
    for terminal in TERMINAL if report.failed else ():
        terminal.write_line('\n' + '\n'.join(report.longreprtext.splitlines()[-60:]))


# Before pytest-xdist reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Let tests that take the host's huge pages be a group, and groups run first."""
    for item in items:
        if 'huge_pages' in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group('huge pages'))
    # A group is run by one worker: begun last, it would be waited for.
    items.sort(key=lambda item: not item.get_closest_marker('xdist_group'))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Let fixtures know how the test went."""
    report = (yield).get_result()
    setattr(item, f'report_{report.when}', report)


class Guests:
    """The guests of a test, whose logs are named for it."""

    def __init__(self, name):
        self.name = name
        self.all = []

    def __call__(self, load=True, **options):
        """Boot a guest, as Guest() makes it; load: also load the balloon driver."""
        guest = Guest(name=f'{self.name}-{len(self.all)}', **options)
        self.all.append(guest)
        guest.launch()
        if load:
            guest.load_balloon()
        return guest

    def twin(self, guest, **changes):
        """Launch a destination for a guest; takes the arguments of Guest.twin()."""
        target = guest.twin(**changes)
        self.all.append(target)
        return target.launch()

    def end(self, guest, check=True):
        """End a guest before the test ends, and check its kernel log."""
        try:
            if check:
                guest.check()
        finally:
            self.all.remove(guest)
            guest.kill()


@pytest.fixture
def boot(request):
    """A function that boots a guest; see Guests. All guests end with the test."""
    # When the test has passed, the kernel log of every guest is checked.
    guests = Guests(re.sub(r'\W+', '-', request.node.name).strip('-'))
    yield guests
    try:
        report = getattr(request.node, 'report_call', None)
        for guest in guests.all if report and report.passed else ():
            guest.check()
    finally:
        for guest in guests.all:
            guest.kill()


@pytest.fixture
def seed():
    """The seed of a random test, SEED if that is set; printed if the test fails."""
    value = int(os.environ.get('SEED') or time.time())
    print(f'SEED={value}')
    return value


@pytest.fixture
def huge_pages():
    """768 huge pages of 2 MiB are free on the host."""
    with hugepages.pool(768):
        yield
