# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that migrates on and on, with programs in it that notice lost pages."""

import re
import time

from harness.disk import disk_image, disks, writable_disk
from harness.limits import CONVERGE
from harness.vm import MIB, Guest, GuestError, GuestTimeout, Refused

OURS = {'page_bitmap': True, 'host_request': True}
# Signals to churn.
CHECK, END = 10, 15


class Lost(Exception):
    """The destination does not have what the source had.

    proven: a page was wrong, or the kernel complained; else the guest does not
    answer, which may have other reasons.
    """

    @property
    def proven(self):
        """Whether it is clear what was lost."""
        return bool(re.search('pages wrong|kernel log', str(self)))


class Journey:
    """Take a guest from QEMU to QEMU while churn runs in it.

    case      1 to 6: what else is in the guest (see CASES)
    seed      of churn
    folder    for a disk
    throttle  bytes that are written to it in a second at most
    options   of Guest

        with Journey(2, seed, tmp_path) as journey:
            for _ in range(5):
                journey.go()

    Each step checks all pages of churn at the destination and the kernel log.
    Leaving checks once more.
    """

    def __init__(self, case, seed, folder, churn=512, rate=100,
                 throttle=None, **options):
        self.case, self._checks = case, 0
        # Of the file that is in the page cache in case 4.
        self.sum = None
        # Requests that ended at the source of the last migration.
        self.ended = []
        args = writable_disk(folder / 'own.ext4', 256 * MIB, throttle)
        if case == 4:
            args += disks(disk_image(128 * MIB))
        self.guest = Guest(**({'memory': 1536 * MIB, 'args': args,
                               'name': '-'.join(folder.parts[-2:])}
                              | OURS | options))
        # A disk is slow: only one case has its files there.
        self._command = f'exec churn -s {seed} -r {rate} ' \
            f'{"-d /tmp/own" if case == 4 else ""} {churn} > /tmp/churn 2>&1'
        self._churn = None

    def __enter__(self):
        try:
            self.guest.launch()
            self.guest.load_balloon()
            self.guest.run('mkdir /tmp/own && mount -t ext4 /dev/vda /tmp/own')
            CASES[self.case](self)
            self._churn = self.guest.spawn(self._command)
            self.guest.wait_for(lambda: 'ready' in self.guest.said('/tmp/churn')
                                or not self._churn.running, 'churn is ready')
        except BaseException:
            self.guest.kill()
            raise
        return self

    def __exit__(self, kind, value, traceback):
        try:
            if kind is None:
                self.finish()
        finally:
            self.guest.kill()

    def background(self, command, ready):
        """Leave a program running in the guest until the journey ends."""
        job = self.guest.spawn(f'exec {command} > /tmp/load')
        self.guest.wait_for(lambda: not job.running or
                            ready in self.guest.said('/tmp/load'), ready)

    def go(self, meanwhile=None, **limits):
        """One migration; return what QEMU says of it.

        meanwhile(source, target) is called once it has begun. One that does not
        get within its downtime for long is allowed 2 s.
        """
        if self.case == 2:
            self.guest.run('memfill 800')
        source, target = self.guest, self.guest.twin()
        try:
            target.launch()
            source.start_migration(target, **limits)
            if meanwhile:
                meanwhile(source, target)
            try:
                result = source.end_migration(CONVERGE)
            except GuestTimeout:
                print(f'{source.name}: not within {limits} in {CONVERGE} s')
                source.qmp('migrate-set-parameters', **{'downtime-limit': 2000})
                result = source.end_migration()
            if result['status'] != 'completed':
                raise GuestError(f"{source.name}: {result['status']}: "
                                 f"{result.get('error-desc')}")
            source.check()
            target.arrived(source)
        except BaseException:
            target.kill()
            raise
        self.guest = target
        self.ended = source.events('BALLOON_REQUEST_COMPLETED')
        source.kill()
        self.check()
        return result

    def cancel(self, after, **limits):
        """Begin a migration and cancel it after some seconds.

        If it has been completed by then, go on at the destination.
        """
        source, target = self.guest, self.guest.twin()
        try:
            # When it is cancelled in the last moment, all may have arrived.
            target.launch(paused=True)
            source.start_migration(target, **limits)
            # The moment is what is tried, nothing is waited for.
            time.sleep(after)
            cancelled = source.cancel_migration()
            if not cancelled:
                target.resume()
                target.arrived(source)
                self.guest, target = target, source
        finally:
            target.kill()
        self.check()
        return cancelled

    def check(self):
        """Have churn check all its pages; raise Lost if one is not right."""
        try:
            if self._churn.running:
                self._checks += 1
                self._churn.signal(CHECK)
                mark = f'check {self._checks}:'
                self.guest.wait_for(
                    lambda: self.guest.said('/tmp/churn').count(mark) == 2
                    or not self._churn.running, mark)
            self._right()
        except (GuestError, GuestTimeout) as error:
            raise Lost(str(error)) from error

    def _right(self):
        """Raise Lost if churn or the kernel has complained."""
        said = self.guest.said('/tmp/churn')
        if not self._churn.running and self._churn.status:
            raise Lost(f'{self.guest.name}: churn ended with status '
                       f'{self._churn.status}: {said[-3000:]}')
        if self.case == 4:
            folder, skip = 'bcdefgh'[self._checks % 7], self._checks * 8 % 120
            if md5sum(self.guest, folder, skip) != self.sum:
                raise Lost(f'{self.guest.name}: page cache, file {folder}')
        self.guest.check()

    def finish(self):
        """End churn, which checks everything once more."""
        try:
            self._churn.signal(END)
            self._churn.wait(check=False)
            self._right()
            pages = re.findall(r'check \d+: (\d+) pages right',
                               self.guest.said('/tmp/churn'))
        except (GuestError, GuestTimeout) as error:
            raise Lost(str(error)) from error
        assert len(pages) == 2 * (self._checks + 1) and all(map(int, pages))


def nothing(_journey):
    """Only churn."""


def freed(journey):
    """Memory is written to and freed before each migration (see go())."""
    journey.guest.run('memfill 800')


def fragmented(journey):
    """Free memory lies in pieces of 192 KiB."""
    journey.background('fragment 800', 'fragmented')


def page_cache(journey):
    """Files fill the page cache."""
    journey.guest.run('for i in b c d e f g h; do mkdir /tmp/$i && '
                      'mount -t ext4 -o ro /dev/vd$i /tmp/$i && '
                      'dd if=/tmp/$i/file of=/dev/null bs=1M || exit 1; done')
    journey.sum = md5sum(journey.guest, 'b', 0)


def md5sum(guest, folder, skip):
    """The sum of 8 MiB of a file in the page cache: each MiB of it is the same."""
    return guest.run(f'dd if=/tmp/{folder}/file bs=1M skip={skip} count=8 '
                     '2>/dev/null | md5sum')


def ballooned(journey):
    """The balloon holds half of memory."""
    journey.guest.balloon_to(journey.guest.memory // 2)


def dirtying(journey):
    """A program writes 200 MB/s."""
    journey.background('dirty 128 200', 'filled')


CASES = {1: nothing, 2: freed, 3: fragmented, 4: page_cache, 5: ballooned,
         6: dirtying}


def ask(guest, kinds, rng):
    """Make requests; that another one runs is a good answer."""
    for kind in kinds:
        try:
            arguments = {'size': rng.randrange(1, 64) * MIB} \
                if kind == 'reclaim' and rng.random() < 0.5 else {}
            guest.start_request(kind, **arguments)
        except Refused as error:
            if 'running' not in str(error) and 'stopped' not in str(error):
                raise
