# SPDX-License-Identifier: GPL-2.0-or-later
"""Our driver, and the stock one, with the second implementation of the device.

Guests of user-mode Linux and native/device.c, as make bench-native has them.
"""

import socket
import struct

import pytest

from bench.uml import FILL, mount, touch
from harness import native
from harness.limits import COMMAND
from harness.vm import MIB, PAGE
from harness.vm.uml import Device, UmlGuest

# Kernels are built, one after another.
pytestmark = [pytest.mark.long, pytest.mark.alone]
MEMORY = 512 * MIB


@pytest.fixture(name='built', scope='module')
def fixture_built():
    """Kernels and device."""
    native.build()


@pytest.mark.parametrize('cpus', [2, 1])
@pytest.mark.parametrize('kernel, words', [
    ('stock', ()), ('stock', ('-b', '-r')), ('ours', ()), ('ours', ('-j',)),
    ('ours', ('-b',)), ('ours', ('-r',)), ('ours', ('-b', '-r'))])
def test_device(request, built, kernel, words, cpus):
    """The host gets the touched memory, the guest keeps its file, requests are answered."""
    # pylint: disable=unused-argument
    with UmlGuest(request.node.name.replace('/', '-'), kernel, MEMORY, words,
                  cpus=cpus) as guest:
        found = guest.about()
        assert [found['page_bitmap'], found['host_request']] == [
            kernel == 'ours' and word in words for word in ('-b', '-r')]
        mount(guest)
        guest.run(f'dd if=/dev/urandom of={FILL}/kept bs=1M count=64')
        kept = guest.run(f'md5sum {FILL}/kept')
        for _ in range(3):
            touch(guest)
            counted = guest.balloon_to(MEMORY // 4)
            assert counted['discarded'] == MEMORY * 3 // 4
            assert counted['before'] - counted['after'] > MEMORY // 2
            guest.balloon_to(MEMORY // 2)
            guest.balloon_to(MEMORY)
            assert guest.run(f'md5sum {FILL}/kept') == kept
        if found['host_request']:
            unused = guest.device.ask('unused')
            free = guest.meminfo()['MemFree'] // PAGE
            assert unused['verdict'] == 'done'
            # Programs come and go; some free pages are on lists of a CPU.
            assert 0.95 * free < unused['frames'] < 1.05 * free
        assert not guest.about()['dead']


def test_config_that_is_too_long(built, tmp_path):
    """A driver that asks for 2 GiB of configuration space gets none, and harms nothing."""
    # pylint: disable=unused-argument
    device = Device(tmp_path / 'socket', (), tmp_path / 'log')
    try:
        with socket.socket(socket.AF_UNIX) as driver:
            driver.settimeout(COMMAND)
            driver.connect(str(tmp_path / 'socket'))
            # VHOST_USER_GET_CONFIG of version 1: offset, size, flags
            driver.sendall(struct.pack('=6I', 24, 1, 12, 0, 1 << 31, 0))
            assert struct.unpack('=3I', driver.recv(12, socket.MSG_WAITALL))[2] == 0
            assert not device.ask('about')['dead']
    finally:
        device.kill()
