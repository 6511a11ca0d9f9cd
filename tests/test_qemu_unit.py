# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own tests of what the series adds, from QEMU's test tree."""

import os
import re
import subprocess

from harness.base import meson_environment
from harness.build import compiler_environment
from harness.common import BUILD, SRC, jobs, run_logged
from harness.vm import FIRMWARE, QEMUS

NAME = 'test-virtio-balloon-pages'


def build(target):
    """Build one test program of QEMU; return its path."""
    env = compiler_environment(meson_environment())
    run_logged(target, ['ninja', f'-j{jobs()}', target], 'qemu-unit.log',
               cwd=BUILD / 'qemu', env=env)
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


def test_device_through_qtest(tmp_path, huge_pages):
    """The qtests of the device: real queues, good and bad messages, migration."""
    assert huge_pages.exists()
    # qtests don't say where firmware is.
    wrapper = tmp_path / 'qemu-system-x86_64'
    folders = ' '.join(f'-L {path}' for path in FIRMWARE)
    wrapper.write_text(f'#!/bin/sh\nexec {QEMUS["ours"]} "$@" {folders}\n')
    wrapper.chmod(0o755)
    env = {**os.environ, 'QTEST_QEMU_BINARY': str(wrapper)}
    program = build('tests/qtest/qos-test')
    listed = subprocess.run([program, '-l'], capture_output=True, text=True,
                            timeout=60, check=True, env=env).stdout.split()
    paths = [path for path in listed
             if re.search('/virtio-balloon.*/(pages|req|live|malformed)/', path)]
    assert len(paths) >= 52, listed
    options = [word for path in paths for word in ('-p', path)]
    assert check([program, '--tap', '-k', *options], env) == len(paths)
