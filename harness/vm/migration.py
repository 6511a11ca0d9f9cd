# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrate a guest from one QEMU to another."""

import time

from harness.limits import COMMAND
from harness.vm.agent import GuestError

# The bandwidth of a migration in bytes per second: 10 Gbit/s.
BANDWIDTH = 1_250_000_000


class Migration:
    """The part of Guest that takes it to another QEMU."""

    def start_migration(self, target, downtime=300, bandwidth=BANDWIDTH):
        """Begin to migrate to a guest that twin() made and that was launched.

        downtime: limit in ms; bandwidth: limit in bytes per second

        Until it is over the agent may answer, but must not be sent anything:
        it would be lost where the source has been stopped meanwhile.
        """
        # pylint: disable=protected-access
        uri = f'unix:{target._socket_dir.name}/migration'
        for guest in (target, self):
            guest.qmp('migrate-set-capabilities', capabilities=[
                {'capability': 'events', 'state': True}])
            guest.qmp('migrate-set-parameters', **{
                'max-bandwidth': bandwidth, 'downtime-limit': downtime})
        target.qmp('migrate-incoming', uri=uri)
        self.qmp('migrate', uri=uri)

    def migration(self):
        """What QEMU says of the migration (query-migrate)."""
        return self.qmp('query-migrate')

    def end_migration(self, timeout=COMMAND):
        """Wait until a migration is over, one way or the other."""
        end = time.monotonic() + timeout
        while True:
            event = self.event('MIGRATION', max(0.1, end - time.monotonic()))
            if event['data']['status'] in ('completed', 'failed', 'cancelled'):
                return self.migration()

    def cancel_migration(self, timeout=COMMAND):
        """Cancel, if it is not too late; say whether it was in time."""
        self.qmp('migrate_cancel')
        return self.end_migration(timeout)['status'] == 'cancelled'

    def arrived(self, source, timeout=COMMAND):
        """Wait until the guest runs here; take its agent over from the source."""
        self.event('MIGRATION', timeout, status='completed')
        self.event('RESUME', timeout)
        if source.agent:
            source.agent.move(self._port)
            self.agent, source.agent, self._port = source.agent, None, None

    def migrate(self, target, timeout=COMMAND, **limits):
        """Migrate, and go on there; return what QEMU says of it."""
        self.start_migration(target, **limits)
        result = self.end_migration(timeout)
        if result['status'] != 'completed':
            raise GuestError(f'{self.name}: migration {result["status"]}: '
                             f'{result.get("error-desc")}')
        target.arrived(self)
        return result
