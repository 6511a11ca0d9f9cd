# SPDX-License-Identifier: GPL-2.0-or-later
"""Build and run QEMU's own tests of the device."""

import os
import re
import subprocess

from harness.build import build_qemu
from harness.common import BUILD, SRC
from harness.limits import PROGRAM
from harness.vm.host import write_qemu_wrapper

NAME = 'test-virtio-balloon-pages'


def build(target):
    """Build one test program of QEMU; return its path."""
    build_qemu(target, SRC / 'qemu', BUILD / 'qemu', 'qemu-unit', target)
    return BUILD / 'qemu' / target


def check(command, env=None):
    """Run a GLib test program: every case passes, none is skipped."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM,
                          check=False, env=env)
    cases = re.findall(r'(?m)^(ok|not ok) \d+ (.*)$', done.stdout)
    bad = [name for verdict, name in cases if verdict != 'ok' or '# SKIP' in name]
    assert cases and not bad and done.returncode == 0, \
        f'{bad}\n{done.stdout[-3000:]}{done.stderr[-3000:]}'
    return len(cases)


def qtest(program, qemu, folder, name='', env=None):
    """Run qtests of the device with a QEMU: all, or the tests of a name as pages/size.

    folder: for a program around QEMU.
    """
    wrapper = write_qemu_wrapper(folder / 'qemu-system-x86_64', qemu)
    env = {**(env or os.environ), 'QTEST_QEMU_BINARY': str(wrapper)}
    listed = subprocess.run([program, '-l'], capture_output=True, text=True,
                            timeout=PROGRAM, check=True, env=env).stdout.split()
    paths = [path for path in listed
             if re.search('/virtio-balloon.*/(pages|req|live|malformed)/', path)]
    assert len(paths) >= 52, listed
    if name:
        paths = [path for path in paths if path.endswith(f'/{name}')]
        assert paths, name
    options = [word for path in paths for word in ('-p', path)]
    assert check([program, '--tap', '-k', *options], env) == len(paths)
