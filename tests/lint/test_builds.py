# SPDX-License-Identifier: GPL-2.0-or-later
"""Every patch builds alone, with W=1 and without a warning that the base does not have.

After each patch, the changed files are built: Linux for each architecture and setting of
the driver, QEMU for x86-64 and s390x. A series that does not need all series before it is
also built without the others. At the end of a Linux series, its suites of KUnit pass.
"""

import functools
import shutil

import pytest

from harness import kunit, lint, tree
from harness.common import LOGS
from harness.limits import SUITES

pytestmark = pytest.mark.lint


def patches(project):
    """Return what to build: after which commits of a tree, named by series and patch."""
    return [pytest.param(number, id=f'{path.parent.name}/{path.name[:4]}')
            for number, path in enumerate(tree.patch_files(project), 1)]


def warnings(number, name):
    """Build a commit; count its warnings."""
    lint.checkout(tree.commits('linux')[number])
    return lint.findings(lint.compile_touched(name, f'patch {number:04}'))


@functools.cache
def known(name):
    """Return all warnings of the base: it is built from scratch."""
    shutil.rmtree(lint.FOLDER / name, ignore_errors=True)
    return warnings(0, name)


@pytest.mark.parametrize('name', lint.MACHINES)
@pytest.mark.parametrize('number', patches('linux'))
def test_patch(number, name):
    """The patch compiles and adds no warning."""
    before = known(name)
    assert not warnings(number, name) - before


@pytest.mark.parametrize('number', patches('qemu'))
def test_qemu_patch(number):
    """The patch compiles, without a warning."""
    lint.checkout(tree.commits('qemu')[number], 'qemu')
    lint.compile_qemu(f'QEMU patch {number:04}')


def check_out_alone(project, series):
    """Check out a series on the series that it stands on, and no more."""
    lint.checkout('base', project)
    folder = lint.SOURCE.with_name(project)
    assert tree.apply(project, folder, False,
                      [*tree.below(project, series), series]) == ''


@pytest.mark.parametrize('series', tree.alone('linux'))
def test_series_alone(series):
    """A series builds without those before it that it does not need."""
    before = known('x86_64')
    check_out_alone('linux', series)
    text = lint.compile_touched('x86_64', f'{series} alone')
    assert not lint.findings(text) - before


def series_with_suites():
    """Return the series from the first one on that has suites of KUnit."""
    names = tree.series_names('linux')
    has = [any('/.kunitconfig' in path.read_text(encoding='utf-8')
               for path in tree.patch_files('linux', series)) for series in names]
    return names[has.index(True):]


@pytest.mark.parametrize('series', series_with_suites())
def test_series_kunit(series):
    """All suites pass on UML at the end of a series, as .kunitconfig configures it there."""
    lint.checkout(tree.counted('linux')[series])
    log = LOGS / f'each-kunit-{series}.log'
    assert not kunit.kunit_py('run', 'uml-debug', log, kunit.ZEROING,
                              f'--timeout={SUITES}', source=lint.SOURCE,
                              out=lint.FOLDER), f'see {log}'


@pytest.mark.parametrize('series', tree.alone('qemu'))
def test_qemu_series_alone(series):
    """The same of QEMU."""
    check_out_alone('qemu', series)
    lint.compile_qemu(f'QEMU {series} alone')


def test_modules():
    """Driver and tests can be modules: the kernel exports all that they use."""
    lint.checkout('HEAD')
    lint.configure('x86_64-m')
    lint.run_checker('modules, x86_64-m',
                     [*lint.make('x86_64-m'), 'vmlinux', 'modules'], 'each-modules.log')
    names = {path.stem for path in (lint.FOLDER / 'x86_64-m').rglob('*.ko')}
    assert names >= {'virtio_balloon', 'virtio_balloon_device_test', 'unused_pages_kunit',
                     'virtio_balloon_kunit', 'virtio_balloon_request_kunit'}


@pytest.mark.parametrize('name', lint.MACHINES)
def test_options(name):
    """A configuration has the options that it is named for."""
    lint.checkout('HEAD')
    assert not lint.configure(name)
