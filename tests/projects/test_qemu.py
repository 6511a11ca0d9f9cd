# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests that the patches add to QEMU's test tree."""

import os
import signal
import subprocess

import pytest

from harness import fuzz
from harness.common import BUILD, LOGS, ROOT, SRC, tail
from harness.limits import SESSION
from harness.run import PYTHON, summary
from harness.vm import QEMUS
from tests.support.qemu_tests import NAME, build, check, qtest


def test_decoder():
    """The decoder's unit test."""
    assert (SRC / 'qemu/tests/unit' / f'{NAME}.c').exists(), \
        f'the QEMU tree has no tests/unit/{NAME}.c'
    check([build(f'tests/unit/{NAME}'), '--tap', '-k'])


@pytest.mark.usefixtures('huge_pages')
def test_device_through_qtest(tmp_path):
    """The qtests of the device: real queues, good and bad messages, migration."""
    qtest(build('tests/qtest/qos-test'), QEMUS['ours'], tmp_path)


@pytest.mark.long
@pytest.mark.usefixtures('huge_pages')
def test_under_sanitizers(tmp_path):
    """The tests pass in a build with ASan and UBSan, without a finding."""
    fuzz.build()
    env = fuzz.sanitizer_environment()
    check([fuzz.OUT / 'tests/unit' / NAME, '--tap', '-k'], env)
    qtest(fuzz.OUT / 'tests/qtest/qos-test', fuzz.OUT / 'qemu-system-x86_64', tmp_path,
          env=env)


@pytest.mark.long
@pytest.mark.alone
def test_end_to_end_under_sanitizers():
    """Guests and migrations on such a QEMU: it ends with the first finding."""
    fuzz.build()
    log, junit = LOGS / 'sanitized.log', BUILD / 'sanitized.xml'
    env = {**fuzz.sanitizer_environment(),
           'BALLOON_TEST_QEMU': str(fuzz.OUT / 'qemu-system-x86_64')}
    junit.unlink(missing_ok=True)
    with open(log, 'w', encoding='utf-8') as output:
        run = subprocess.Popen(
            [PYTHON, '-m', 'pytest', '-v',
             f'--junitxml={junit}',
             # Without tests of stock, or comparisons with it.
             '-k', 'not qemu_stock and not no_worse_than_stock',
             'tests/e2e', 'tests/projects/test_selftest.py'],
            cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True)
        try:
            run.wait(SESSION)
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
    passed, failed = summary(junit)
    assert passed and not failed and run.returncode == 0, tail(log, 40)
