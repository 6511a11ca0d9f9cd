# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own selftest of the balloon, run in a guest whose balloon moves."""

import itertools
import re
import shutil
import stat
import subprocess
import time

import pytest

from harness.build import compiler_environment, kernel_variant
from harness.common import BUILD, SRC, run_logged
from harness.initramfs import entry
from harness.vm import FIRMWARE, GIB, KERNELS, MIB, QEMUS, Guest, Refused, accelerator

INSTALLED = BUILD / 'guest' / 'kselftest'
TESTS = ('features', 'accounting', 'vm_events', 'debugfs', 'host_requests',
         'tracepoints', 'load', 'rebind')
# What each combination of features may skip: what it doesn't have.
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
KTAP = re.compile(r'^(ok|not ok) (\d+) balloon\.(\w+)( # SKIP.*)?$', re.M)
# Seconds that the selftest may take.
LIMIT = 300
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


@pytest.fixture(name='guest_with', scope='module')
def fixture_guest_with(program, tmp_path_factory):
    """A function that makes guests with the selftest: one archive after another."""
    def make(name, kernel='ours', **options):
        initrd = tmp_path_factory.mktemp('selftest') / 'initramfs'
        shutil.copy(KERNELS[kernel] / 'initramfs', initrd)
        with open(initrd, 'ab') as archive:
            archive.write(entry(1, 'bin/virtio_balloon_selftest',
                                stat.S_IFREG | 0o755, program.read_bytes()))
            archive.write(entry(2, 'TRAILER!!!', 0))
        return Guest(name=f'selftest-{name}', kernel=kernel, memory=GIB,
                     args=['-initrd', str(initrd)], **options)
    return make


def keep_moving(guest, job, requests):
    """Let the balloon's size change, and ask for things, until a job has ended."""
    kinds = itertools.cycle(('unused-pages', 'reclaim', 'sync'))
    end = time.monotonic() + LIMIT
    for target in itertools.cycle(TARGETS):
        if not job.running:
            return
        assert time.monotonic() < end, f'the selftest takes longer than {LIMIT} s'
        guest.set_target(target)
        # Not too often: each is an interrupt for the guest.
        time.sleep(0.5)
        if requests:
            try:
                guest.start_request(next(kinds))
            except Refused:
                # One runs still, or the driver is being bound again.
                pass


@pytest.fixture(name='run', scope='module', params=SHAPES)
def fixture_run(request, guest_with):
    """(results by test, what may be skipped, output) for a set of features."""
    properties, missing = SHAPES[request.param]
    name = request.param.replace(' ', '-')
    with guest_with(name, **properties) as guest:
        guest.load_balloon()
        job = guest.spawn('virtio_balloon_selftest')
        keep_moving(guest, job, properties.get('host_request'))
        output = job.wait(check=False)
        if 'not ok' in output:
            output += guest.console_tail()
    return results_of(output), missing, output


def results_of(output):
    """The verdicts of a run, by test."""
    return {name: 'skip' if skip else verdict
            for verdict, _, name, skip in KTAP.findall(output)}


def test_installed(program):
    """make kselftest-install brings the program, and knows that it is to be run."""
    assert program.exists()
    assert (INSTALLED / 'kselftest-list.txt').read_text().split() == \
        ['balloon:virtio_balloon']


def test_complete(run):
    """The selftest has the tests that are asked for below, and ran them all."""
    results, _, output = run
    assert tuple(results) == TESTS, output


@pytest.mark.parametrize('name', TESTS)
def test_selftest(run, name):
    """Each line of the selftest; what was negotiated must not be skipped."""
    results, missing, output = run
    wanted = ('ok', 'skip') if name in missing else ('ok',)
    assert results.get(name) in wanted, output


def test_no_driver(guest_with):
    """A guest without a balloon skips all."""
    with guest_with('none') as guest:
        output = guest.spawn('virtio_balloon_selftest').wait(check=False)
    assert results_of(output) == dict.fromkeys(TESTS, 'skip'), output


@pytest.mark.long
def test_vmtest():
    """The script beside the selftest boots its guests, and all of them pass."""
    kernel = kernel_variant('built-in', 'CONFIG_VIRTIO_BALLOON=y\n')
    qemu = ' '.join([str(QEMUS['ours']), '-accel', accelerator(),
                     *(f'-L {path}' for path in FIRMWARE)])
    done = subprocess.run(
        [SRC / 'linux/tools/testing/selftests/balloon/vmtest.sh', '-q', qemu,
         '-k', kernel / 'bzImage'], capture_output=True, text=True, timeout=1500,
        check=False)
    verdicts = re.findall(r'^(ok|not ok) \d+ (\S+)$', done.stdout, re.M)
    assert verdicts == [('ok', name) for name in (
        'legacy', 'page-bitmap', 'host-request', 'page-bitmap+host-request',
        'page-bitmap+host-request+deflate-on-oom')], done.stdout + done.stderr
    assert done.returncode == 0
