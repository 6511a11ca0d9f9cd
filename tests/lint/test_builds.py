# SPDX-License-Identifier: GPL-2.0-or-later
"""Every patch builds alone, with W=1 and without a warning that the base does not have.

Built is what the series touches, after each patch: Linux for each architecture and as the
driver may be set, QEMU for x86-64 and s390x.
"""

import functools
import shutil

import pytest

from harness import lint, tree

pytestmark = pytest.mark.lint


def numbers(series):
    """Return the numbers of a series' patches; the trees are not needed."""
    return range(1, len(tree.patch_files(series)) + 1)


def warnings(number, name):
    """Build a commit; count its warnings."""
    lint.checkout(lint.commits()[number])
    return lint.findings(lint.compile_touched(name, f'patch {number:04}'))


@functools.cache
def known(name):
    """What the base warns of, all of it: with nothing that is built already."""
    shutil.rmtree(lint.FOLDER / name, ignore_errors=True)
    return warnings(0, name)


@pytest.mark.parametrize('name', lint.MACHINES)
@pytest.mark.parametrize('number', numbers('linux'), ids=lambda number: f'{number:04}')
def test_patch(number, name):
    """The patch compiles and adds no warning."""
    before = known(name)
    assert not warnings(number, name) - before


@pytest.mark.parametrize('number', numbers('qemu'), ids=lambda number: f'{number:04}')
def test_qemu_patch(number):
    """The patch compiles, without a warning."""
    lint.checkout(lint.commits('qemu')[number], 'qemu')
    lint.compile_qemu(f'QEMU patch {number:04}')


def test_modules():
    """Driver and tests can be modules: what they use of the kernel is exported."""
    lint.checkout(lint.commits()[-1])
    lint.configure('x86_64-m')
    lint.run_checker('modules, x86_64-m',
                     [*lint.make('x86_64-m'), 'vmlinux', 'modules'], 'each-modules.log')
    names = {path.stem for path in (lint.FOLDER / 'x86_64-m').rglob('*.ko')}
    assert names >= {'virtio_balloon', 'virtio_balloon_device_test', 'unused_pages_kunit',
                     'virtio_balloon_kunit', 'virtio_balloon_request_kunit'}


@pytest.mark.parametrize('name', lint.MACHINES)
def test_options(name):
    """What was built is what it is called."""
    lint.checkout(lint.commits()[-1])
    assert not lint.configure(name)
