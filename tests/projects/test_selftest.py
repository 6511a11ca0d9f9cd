# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own selftest of the balloon, run in a guest whose balloon moves."""

import itertools
import re
import shutil
import stat
import subprocess
import time
from contextlib import suppress

import pytest

from harness.build import compiler_environment, kernel_variant
from harness.common import BUILD, SRC, run_logged
from harness.initramfs import entry
from harness.limits import PROGRAM
from harness.vm import GIB, KERNELS, MIB, QEMUS, Refused, accelerator
from harness.vm.host import write_qemu_wrapper

# All tests share the folder of the installed selftest.
pytestmark = pytest.mark.xdist_group('selftest')

INSTALLED = BUILD / 'guest' / 'kselftest'
TESTS = ('features', 'accounting', 'vm_events', 'debugfs', 'host_requests',
         'tracepoints', 'load', 'rebind')
# Tests that a combination of features may skip, as it lacks their feature.
SHAPES = {'legacy': ({}, {'host_requests'}),
          'packed': ({'page_bitmap': True}, {'host_requests'}),
          'requests': ({'host_request': True}, set()),
          'both': ({'page_bitmap': True, 'host_request': True}, set()),
          'oom': ({'page_bitmap': True, 'host_request': True,
                   'deflate_on_oom': True}, set()),
          # Another driver, which has neither counters nor events.
          'stock kernel': ({'kernel': 'stock'},
                           {'debugfs', 'host_requests', 'tracepoints'}),
          'stock QEMU': ({'qemu': 'stock'}, {'host_requests'})}
# "both" covers them.
LATER = ('packed', 'requests', 'oom')
KTAP = re.compile(r'^(ok|not ok) (\d+) balloon\.(\w+)( # SKIP.*)?$', re.M)
TARGETS = (896 * MIB, 512 * MIB, 700 * MIB, GIB, 600 * MIB)


@pytest.fixture(name='program', scope='module')
def fixture_program():
    """The selftest as it is installed; static, since the guest has no libraries."""
    shutil.rmtree(INSTALLED, ignore_errors=True)
    run_logged('kselftest-install',
               ['make', '-C', SRC / 'linux', f'O={BUILD / "kernel"}',
                'kselftest-install', 'TARGETS=balloon',
                f'INSTALL_PATH={INSTALLED}', 'USERCFLAGS=-Werror',
                'USERLDFLAGS=-static'],
               'kselftest-install.log', env=compiler_environment())
    return INSTALLED / 'balloon' / 'virtio_balloon'


@pytest.fixture(name='guest_with')
def fixture_guest_with(program, boot, tmp_path):
    """A function that boots a guest with the selftest: one archive after another."""
    def make(kernel='ours', **options):
        initrd = tmp_path / 'initramfs'
        shutil.copy(KERNELS[kernel] / 'initramfs', initrd)
        with open(initrd, 'ab') as archive:
            archive.write(entry(1, 'bin/virtio_balloon_selftest',
                                stat.S_IFREG | 0o755, program.read_bytes()))
            archive.write(entry(2, 'TRAILER!!!', 0))
        return boot(kernel=kernel, memory=GIB, args=['-initrd', str(initrd)], **options)
    return make


def keep_moving(guest, job, requests):
    """Let the balloon's size change, and ask for things, until a job has ended."""
    kinds = itertools.cycle(('unused-pages', 'reclaim', 'sync'))
    end = time.monotonic() + PROGRAM
    for target in itertools.cycle(TARGETS):
        if not job.running:
            return
        assert time.monotonic() < end, f'the selftest takes longer than {PROGRAM} s'
        guest.set_target(target)
        # Not too often: each is an interrupt for the guest.
        time.sleep(0.5)
        if requests:
            # Where one runs still, or the driver is being bound again.
            with suppress(Refused):
                guest.start_request(next(kinds))


def results_of(output):
    """Return the verdicts of a run, by test."""
    return {name: 'skip' if skip else verdict
            for verdict, _, name, skip in KTAP.findall(output)}


def test_installed(program):
    """make kselftest-install brings the program, and knows that it is to be run."""
    assert program.exists()
    assert (INSTALLED / 'kselftest-list.txt').read_text().split() == \
        ['balloon:virtio_balloon']


@pytest.mark.parametrize('shape', [
    pytest.param(shape, marks=[pytest.mark.long] if shape in LATER else [])
    for shape in SHAPES])
def test_selftest(guest_with, shape):
    """All tests of the selftest run; tests of negotiated features must not skip."""
    properties, missing = SHAPES[shape]
    guest = guest_with(**properties)
    job = guest.spawn('virtio_balloon_selftest')
    keep_moving(guest, job, properties.get('host_request'))
    output = job.wait(check=False)
    results = results_of(output)
    assert tuple(results) == TESTS, output
    bad = [name for name, verdict in results.items()
           if verdict != 'ok' and not (verdict == 'skip' and name in missing)]
    assert not bad, output + guest.console_tail()


def test_no_driver(guest_with):
    """A guest without a balloon skips all."""
    guest = guest_with(load=False)
    output = guest.spawn('virtio_balloon_selftest').wait(check=False)
    assert results_of(output) == dict.fromkeys(TESTS, 'skip'), output


@pytest.mark.long
def test_vmtest(tmp_path):
    """The script beside the selftest boots its guests, and all of them pass."""
    kernel = kernel_variant('built-in', 'CONFIG_VIRTIO_BALLOON=y\n')
    qemu = write_qemu_wrapper(tmp_path / 'qemu', QEMUS['ours'], '-accel', accelerator())
    done = subprocess.run(
        [SRC / 'linux/tools/testing/selftests/balloon/vmtest.sh', '-q', qemu,
         '-k', kernel / 'bzImage'], capture_output=True, text=True,
        timeout=PROGRAM, check=False)
    verdicts = re.findall(r'^(ok|not ok) \d+ (\S+)$', done.stdout, re.M)
    assert verdicts == [('ok', name) for name in (
        'legacy', 'page-bitmap', 'host-request', 'page-bitmap+host-request',
        'page-bitmap+host-request+deflate-on-oom')], done.stdout + done.stderr
    assert done.returncode == 0
