# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own selftest of the balloon, run in a guest whose balloon moves."""

import itertools
import re
import shutil
import stat
import time

import pytest

from harness.common import BUILD, SRC, capture
from harness.initramfs import entry
from harness.vm import GIB, KERNELS, MIB, Guest, Refused

SELFTESTS = SRC / 'linux' / 'tools' / 'testing' / 'selftests'
SOURCE = SELFTESTS / 'balloon' / 'virtio_balloon.c'
TESTS = ('features', 'accounting', 'vm_events', 'debugfs', 'host_requests',
         'tracepoints', 'load', 'rebind')
# What each combination of features may skip: what it doesn't have.
SHAPES = {'legacy': ({}, {'host_requests'}),
          'packed': ({'page_bitmap': True}, {'host_requests'}),
          'requests': ({'host_request': True}, set()),
          'both': ({'page_bitmap': True, 'host_request': True}, set()),
          'oom': ({'page_bitmap': True, 'host_request': True,
                   'deflate_on_oom': True}, set())}
KTAP = re.compile(r'^(ok|not ok) (\d+) balloon\.(\w+)( # SKIP.*)?$', re.M)
# Seconds that the selftest may take.
LIMIT = 300
TARGETS = (896 * MIB, 512 * MIB, 700 * MIB, GIB, 600 * MIB)


@pytest.fixture(name='program', scope='module')
def fixture_program():
    """The selftest as a static program."""
    out = BUILD / 'guest' / 'virtio_balloon_selftest'
    out.parent.mkdir(parents=True, exist_ok=True)
    capture(['gcc', '-O2', '-static', '-Wall', '-Werror', '-o', out, SOURCE])
    return out


@pytest.fixture(name='initrd', scope='module')
def fixture_initrd(program, tmp_path_factory):
    """The guest's initramfs with the selftest in it: one archive after another."""
    initrd = tmp_path_factory.mktemp('selftest') / 'initramfs'
    shutil.copy(KERNELS['ours'] / 'initramfs', initrd)
    with open(initrd, 'ab') as archive:
        archive.write(entry(1, 'bin/virtio_balloon_selftest',
                            stat.S_IFREG | 0o755, program.read_bytes()))
        archive.write(entry(2, 'TRAILER!!!', 0))
    return initrd


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
def fixture_run(request, initrd):
    """(results by test, what may be skipped, output) for a set of features."""
    properties, missing = SHAPES[request.param]
    with Guest(name=f'selftest-{request.param}', memory=GIB,
               args=['-initrd', str(initrd)], **properties) as guest:
        guest.load_balloon()
        job = guest.spawn('virtio_balloon_selftest')
        keep_moving(guest, job, 'host_request' in properties)
        output = job.wait(check=False)
    results = {name: 'skip' if skip else verdict
               for verdict, _, name, skip in KTAP.findall(output)}
    return results, missing, output


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
