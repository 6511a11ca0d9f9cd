# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own tests of what the series adds, from QEMU's test tree."""

import os
import re
import signal
import subprocess

import pytest

from harness import fuzz
from harness.build import build_qemu
from harness.common import BUILD, LOGS, ROOT, SRC, tail
from harness.run import PYTHON, summary
from harness.vm import FIRMWARE, QEMUS

NAME = 'test-virtio-balloon-pages'


def build(target):
    """Build one test program of QEMU; return its path."""
    build_qemu(target, SRC / 'qemu', BUILD / 'qemu', 'qemu-unit', target)
    return BUILD / 'qemu' / target


def check(command, env=None):
    """Run a GLib test program: every case passes, none is skipped."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=580,
                          check=False, env=env)
    cases = re.findall(r'(?m)^(ok|not ok) \d+ (.*)$', done.stdout)
    bad = [name for verdict, name in cases if verdict != 'ok' or '# SKIP' in name]
    assert cases and not bad and done.returncode == 0, \
        f'{bad}\n{done.stdout[-3000:]}{done.stderr[-3000:]}'
    return len(cases)


def test_decoder():
    """The decoder's unit test."""
    assert (SRC / 'qemu/tests/unit' / f'{NAME}.c').exists(), \
        f'the QEMU tree has no tests/unit/{NAME}.c'
    check([build(f'tests/unit/{NAME}'), '--tap', '-k'])


def qtest(program, qemu, env=None):
    """Run all qtests of the device with a QEMU."""
    env = {**(env or os.environ), 'QTEST_QEMU_BINARY': str(qemu)}
    listed = subprocess.run([program, '-l'], capture_output=True, text=True,
                            timeout=60, check=True, env=env).stdout.split()
    paths = [path for path in listed
             if re.search('/virtio-balloon.*/(pages|req|live|malformed)/', path)]
    assert len(paths) >= 52, listed
    options = [word for path in paths for word in ('-p', path)]
    assert check([program, '--tap', '-k', *options], env) == len(paths)


def with_firmware(qemu, folder):
    """A program that is a QEMU which finds its firmware: qtests don't say where."""
    wrapper = folder / 'qemu-system-x86_64'
    options = ' '.join(f'-L {path}' for path in FIRMWARE)
    wrapper.write_text(f'#!/bin/sh\nexec {qemu} "$@" {options}\n')
    wrapper.chmod(0o755)
    return wrapper


def test_device_through_qtest(tmp_path, huge_pages):
    """The qtests of the device: real queues, good and bad messages, migration."""
    assert huge_pages.exists()
    qtest(build('tests/qtest/qos-test'), with_firmware(QEMUS['ours'], tmp_path))


@pytest.mark.long
def test_under_sanitizers(huge_pages):
    """The same in a build with ASan and UBSan, which have nothing to say."""
    assert huge_pages.exists()
    fuzz.build()
    env = fuzz.sanitizer_environment()
    check([fuzz.OUT / 'tests/unit' / NAME, '--tap', '-k'], env)
    qtest(fuzz.OUT / 'tests/qtest/qos-test', fuzz.OUT / 'qemu-system-x86_64', env)


@pytest.mark.long
def test_end_to_end_under_sanitizers():
    """Guests and migrations on such a QEMU: it ends with the first finding."""
    fuzz.build()
    log, junit = LOGS / 'sanitized.log', BUILD / 'sanitized.xml'
    env = {**fuzz.sanitizer_environment(),
           'BALLOON_TEST_QEMU': str(fuzz.OUT / 'qemu-system-x86_64')}
    junit.unlink(missing_ok=True)
    with open(log, 'w', encoding='utf-8') as output:
        run = subprocess.Popen(
            [PYTHON, '-m', 'pytest', '-p', 'no:cacheprovider', '-v',
             f'--junitxml={junit}', '-m', 'not (long or lint or arch)',
             # What compares with stock, or is of stock alone.
             '-k', 'not qemu_stock and not no_worse_than_stock',
             *sorted(ROOT.glob('tests/test_e2e_*.py')), 'tests/test_boot.py',
             'tests/test_selftest.py', 'tests/test_migration.py'],
            cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True)
        try:
            run.wait(5400)
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
    passed, failed = summary(junit)
    assert passed and not failed and run.returncode == 0, tail(log, 40)
