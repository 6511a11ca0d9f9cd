# SPDX-License-Identifier: GPL-2.0-or-later
"""The setup of both ends of a migration, without a QEMU."""

import os

import pytest

from harness.vm.agent import GuestError
from harness.vm.migration import BANDWIDTH, Migration, held_memory

pytestmark = pytest.mark.check


class Recorder(Migration):
    """A guest that takes note of QMP commands, and whose migration has states."""

    name, _vm = 'recorder', None

    def __init__(self, *states):
        self.sent, self.states = {}, list(states)

    def qmp(self, command, **arguments):
        """Take note of a command."""
        self.sent[command] = arguments
        if command == 'query-migrate':
            return {'status': 'failed', 'error-desc': 'no room'}
        return [{'capability': name} for name in ('events', 'xbzrle', 'multifd')]

    def events(self, name):
        """Nothing has come from an earlier migration."""

    def event(self, _name, _timeout):
        """Return the next state."""
        return {'data': {'status': self.states.pop(0)}}


def test_capabilities_and_parameters():
    """Capabilities of earlier migrations are off; keywords become QEMU's parameters."""
    guest = Recorder()
    guest.set_up_migration(['multifd', 'unheard-of'], downtime=30, multifd_channels=4)
    sent = guest.sent['migrate-set-capabilities']['capabilities']
    assert {entry['capability']: entry['state'] for entry in sent} == {
        'events': True, 'multifd': True, 'unheard-of': True, 'xbzrle': False}
    assert guest.sent['migrate-set-parameters'] == {
        'max-bandwidth': BANDWIDTH, 'downtime-limit': 30, 'multifd-channels': 4}


def test_end_is_told():
    """Waiting for a state that does not come ends with QEMU's reason."""
    guest = Recorder('setup', 'active', 'failed', 'active', 'failed')
    assert guest.migration_becomes('postcopy-active') == 'failed'
    with pytest.raises(GuestError, match='failed: no room'):
        guest.complete_migration()


def test_memory_in_a_file_is_held():
    """Blocks of a memory file count without being mapped."""
    size = 64 << 20
    with os.fdopen(os.memfd_create('memory'), 'wb') as memory:
        memory.truncate(size)
        before = held_memory(os.getpid(), size)
        os.posix_fallocate(memory.fileno(), 0, size)
        assert held_memory(os.getpid(), size) >= size > 0
        assert held_memory(os.getpid(), size + 1) <= before + size // 2
