# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own tests of what the series adds, from QEMU's test tree."""

import re
import subprocess

import pytest

from harness.base import meson_environment
from harness.build import compiler_environment
from harness.common import BUILD, SRC, jobs, run_logged

NAME = 'test-virtio-balloon-pages'


@pytest.fixture(name='program', scope='module')
def fixture_program():
    """The decoder's test program, built."""
    assert (SRC / 'qemu/tests/unit' / f'{NAME}.c').exists(), \
        f'the QEMU tree has no tests/unit/{NAME}.c'
    env = compiler_environment(meson_environment())
    run_logged(NAME, ['ninja', f'-j{jobs()}', f'tests/unit/{NAME}'],
               'qemu-unit.log', cwd=BUILD / 'qemu', env=env)
    return BUILD / 'qemu/tests/unit' / NAME


def test_decoder(program):
    """Every case of the decoder's unit test passes; none is skipped."""
    done = subprocess.run([program, '--tap', '-k'], capture_output=True,
                          text=True, timeout=300, check=False)
    cases = re.findall(r'(?m)^(ok|not ok) \d+ (.*)$', done.stdout)
    bad = [name for verdict, name in cases if verdict != 'ok' or '# SKIP' in name]
    assert cases and not bad and done.returncode == 0, \
        f'{bad}\n{done.stdout[-3000:]}{done.stderr[-3000:]}'
