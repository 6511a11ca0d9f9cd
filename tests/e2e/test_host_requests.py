# SPDX-License-Identifier: GPL-2.0-or-later
"""Host requests and the guest's answers: QMP balloon-request."""

import subprocess
from contextlib import suppress

import pytest

from harness.disk import disk_image, disks, drive, writable_disk
from harness.vm import GIB, MIB, Refused
from harness.workloads import pieces
from tests.support.accounts import FORMATS, exact_at
from tests.support.protocol import BITS, OVERSHOOT, SYNC, accepted, cancel


@pytest.fixture
def cached(boot):
    """A guest with 896 MiB of files in its page cache."""
    guest = boot(memory=1280 * MIB, host_request=True, append=SYNC,
                 args=disks(disk_image(128 * MIB)))
    mount_files(guest)
    return guest


def mount_files(guest):
    """Mount the disks, and fill the page cache."""
    guest.run('for i in a b c d e f g; do mkdir /tmp/$i && '
              'mount -t ext4 -o ro /dev/vd$i /tmp/$i; done')
    read_files(guest)


def read_files(guest):
    """Fill the page cache."""
    guest.run('cat /tmp/?/file > /dev/null')
    assert guest.meminfo()['Cached'] > 850 * MIB


@pytest.fixture(name='boot_dirty')
def fixture_boot_dirty(boot, tmp_path):
    """A function that boots a guest with dirty page cache, and the image for that."""
    def make(mib, throttle=None, args=()):
        image = tmp_path / 'disk.ext4'
        guest = boot(memory=GIB, host_request=True, append=SYNC, args=[
            *args, *writable_disk(image, 512 * MIB, throttle)])
        # Only a sync writes it back.
        guest.run('mkdir /tmp/disk && mount -t ext4 /dev/vda /tmp/disk && '
                  'cd /proc/sys/vm && echo 90 > dirty_ratio && '
                  'echo 90 > dirty_background_ratio && '
                  'echo 0 > dirty_writeback_centisecs')
        guest.run(f'dd if=/dev/urandom of=/tmp/disk/new bs=1M count={mib}')
        assert guest.meminfo()['Dirty'] > mib * MIB * 0.9
        return guest, image
    return make


def written_back(guest):
    """Return whether hardly any page cache is dirty."""
    left = guest.meminfo()
    return left['Dirty'] + left['Writeback'] < MIB


def wait_for_free(guest, before, gained):
    """Wait until so much more memory is free."""
    # Freed pages may rest on lists of a CPU, which do not count as free, for a time.
    guest.wait_for(lambda: abs(guest.meminfo()['MemFree'] - before['MemFree'] - gained)
                   < 48 * MIB, 'free memory')


def unharmed(guest):
    """Nobody was killed and nothing swapped."""
    counted = guest.vmstat()
    assert counted['oom_kill'] == 0
    assert counted.get('pswpout', 0) == 0


def test_reclaim_so_much(cached):
    """Page cache becomes free memory: as much as was asked for, or a bit more."""
    assert cached.negotiated(BITS['host_request'])
    for size in (MIB, 16 * MIB, 100 * MIB, 300 * MIB):
        before = cached.meminfo()
        data = cached.request('reclaim', size=size)
        after = cached.meminfo()
        assert data['status'] == 'done' and data['type'] == 'reclaim'
        assert size <= data['bytes'] <= size + OVERSHOOT
        lost = before['Cached'] - after['Cached']
        assert lost == pytest.approx(data['bytes'], abs=16 * MIB)
        wait_for_free(cached, before, data['bytes'])
    unharmed(cached)


def test_reclaim_all(cached):
    """All page cache that can go goes; more than there is, is partial."""
    for arguments, status in (({}, 'done'), ({'size': 4 * GIB}, 'partial')):
        read_files(cached)
        before = cached.meminfo()
        data = cached.request('reclaim', **arguments)
        after = cached.meminfo()
        assert data['status'] == status
        assert data['bytes'] > 850 * MIB
        assert after['Cached'] < 64 * MIB
        wait_for_free(cached, before, data['bytes'])
    # Little page cache is left; and the files can be read again.
    assert cached.request('reclaim')['bytes'] < 32 * MIB
    read_files(cached)
    unharmed(cached)


def test_reclaim_swaps_nothing(boot, tmp_path):
    """[DRV-43]: where there is swap, programs and memory file systems stay in memory."""
    with open(tmp_path / 'swap', 'wb') as file:
        file.truncate(GIB)
    guest = boot(memory=1536 * MIB, host_request=True, args=[
        *disks(disk_image(128 * MIB)),
        *drive('swap', tmp_path / 'swap', options='read-only=off')])
    guest.run('mkswap /dev/vdh && swapon /dev/vdh')
    guest.run('dd if=/dev/urandom of=/tmp/file bs=1M count=100')
    with guest.background('pattern 100'):
        mount_files(guest)
        for arguments in ({}, {'size': 4 * GIB}):
            guest.request('reclaim', **arguments)
        left = guest.meminfo()
        assert left['SwapFree'] == left['SwapTotal'] > 0
        assert left['AnonPages'] > 100 * MIB and left['Shmem'] > 100 * MIB
    unharmed(guest)


@pytest.mark.long
def test_reclaim_from_busy_guest(cached):
    """Programs keep their memory while cache is taken away and read again."""
    with cached.background('pattern 150'):
        reader = cached.spawn('for n in 1 2 3; do cat /tmp/?/file; done > /dev/null')
        while reader.running:
            assert cached.request('reclaim', size=100 * MIB)['status'] in \
                ('done', 'partial')
        reader.wait()
    unharmed(cached)


def test_reclaim_then_inflate(cached):
    """The host gets the memory of the page cache: ask, then inflate."""
    before = cached.resident()
    cached.request('reclaim')
    cached.balloon_to(350 * MIB)
    assert before - cached.resident() > 800 * MIB
    unharmed(cached)


def md5_after_crash(image, path):
    """Return the MD5 sum of a file on a disk in use, as a crash now would leave it."""
    copy = image.with_suffix('.copy')
    subprocess.run(['cp', '--sparse=always', image, copy], check=True)
    # The journal counts; status 1: it was not empty.
    replay = subprocess.run(['/sbin/e2fsck', '-y', '-E', 'journal_only', copy],
                            capture_output=True, text=True, check=False)
    assert replay.returncode in (0, 1), replay.stdout + replay.stderr
    return subprocess.run(
        f'/sbin/debugfs -R "cat {path}" {copy} 2>/dev/null | md5sum', shell=True,
        capture_output=True, text=True, check=True).stdout.split()[0]


def test_sync(boot_dirty):
    """Written data is on the disk, and no longer dirty."""
    guest, image = boot_dirty(60)
    data = guest.request('sync')
    assert (data['status'], data['bytes']) == ('done', 0)
    assert written_back(guest)
    summed = guest.run('md5sum < /tmp/disk/new').split()[0]
    assert md5_after_crash(image, '/new') == summed


def test_unused_pages(boot):
    """The guest names its free pages."""
    guest = boot(memory=GIB, host_request=True)
    data = guest.request('unused-pages')
    free = guest.meminfo()['MemFree']
    assert data['status'] == 'done'
    assert data['bytes'] == pytest.approx(free, rel=0.05)
    assert data['largest'] >= 4 * MIB
    assert 0 < data['ranges'] < 10000
    with pieces(guest, 800):
        data = guest.request('unused-pages')
        free = guest.meminfo()['MemFree']
        assert data['bytes'] == pytest.approx(free, rel=0.05)
        assert data['ranges'] > 2000
    # It all comes back, and the guest never missed it.
    assert guest.request('unused-pages')['bytes'] > 0.9 * free


def test_cancel(cached):
    """A request that is cancelled ends soon, and the next one works."""
    seen = set()
    for _ in range(20):
        for kind in ('unused-pages', 'reclaim'):
            seen.add(cancel(cached, kind))
        assert cached.request('unused-pages')['status'] == 'done'
        if 'cancelled' in seen:
            break
    assert 'cancelled' in seen and seen <= {'cancelled', 'done'}
    with pytest.raises(Refused):
        cached.qmp('balloon-cancel', id=1)


def test_busy_and_timeout(boot_dirty):
    """While a slow sync runs, another request is rejected; the sync may time out."""
    guest, _ = boot_dirty(40, throttle=4 * MIB)
    number = guest.start_request('sync', timeout=2)
    with pytest.raises(Refused, match=f'{number} is still running'):
        guest.start_request('reclaim')
    data = guest.request_ends(number)
    assert (data['id'], data['status']) == (number, 'timed-out')
    # The sync cannot be interrupted. The guest still answers all other requests.
    later = guest.wait_for(lambda: accepted(guest, 'unused-pages'), 'cancelled',
                           interval=0.1)
    assert guest.request_ends(later)['status'] == 'done'
    assert guest.request('sync')['status'] == 'busy'
    guest.wait_for(lambda: guest.request('sync')['status'] == 'done',
                   'the first sync has ended', interval=0.1)
    # One event for each request.
    assert not guest.events('BALLOON_REQUEST_COMPLETED')
    assert written_back(guest)


@FORMATS
def test_while_balloon_moves(boot, page_bitmap):
    """Requests and targets at the same time: both are done, exactly."""
    guest = boot(memory=2 * GIB, host_request=True, page_bitmap=page_bitmap,
                 append=SYNC)
    for _ in range(8):
        for target, kind in ((300, 'unused-pages'), (1800, 'reclaim'),
                             (600, 'sync'), (1500, 'unused-pages')):
            guest.set_target(target * MIB)
            assert guest.request(kind)['status'] == 'done'
    exact_at(guest, 700 * MIB)
    unused = guest.request('unused-pages')['bytes']
    assert unused == pytest.approx(guest.meminfo()['MemFree'], rel=0.05)
    exact_at(guest, 2 * GIB)


def test_unload_during_request(cached):
    """The driver goes at any moment; what ran is reported, the next one works."""
    seen = set()
    for _ in range(20):
        for kind in ('unused-pages', 'reclaim', 'sync'):
            number = cached.start_request(kind)
            cached.unbind_balloon()
            seen.add(cached.request_ends(number)['status'])
            # The module stays until its reclaim or sync has ended.
            cached.wait_for(lambda: not cached.run('rmmod virtio_balloon 2>&1',
                                                   check=False), 'driver unloaded')
            with pytest.raises(Refused, match='no balloon driver'):
                cached.start_request(kind)
            cached.load_balloon()
            assert cached.request('unused-pages')['status'] == 'done'
            read_files(cached)
        if 'aborted' in seen:
            break
    assert 'aborted' in seen and seen <= {'done', 'aborted'}


def test_suspend_during_request(boot):
    """S3 ends a request, or comes after it; waking up brings the queue back."""
    guest = boot(memory=GIB, host_request=True, page_bitmap=True, serial=True,
                 append=SYNC)
    accepted = 0
    for kind in ('unused-pages', 'reclaim', 'sync'):
        job = guest.spawn('echo mem > /sys/power/state')
        number = None
        # Refused where the host is so busy that the guest sleeps by now.
        with suppress(Refused):
            number = guest.start_request(kind)
            accepted += 1
        guest.event('SUSPEND')
        guest.qmp('system_wakeup')
        job.wait()
        if number is not None:
            assert guest.request_ends(number)['status'] in ('done', 'aborted')
        assert guest.request('unused-pages')['status'] == 'done'
    assert accepted


def test_reset_during_request(boot_dirty):
    """A guest that reboots ends a request without an answer."""
    guest, _ = boot_dirty(40, throttle=4 * MIB, args=['-action', 'reboot=reset'])
    number = guest.start_request('sync')
    guest.qmp('system_reset')
    assert guest.request_ends(number)['status'] == 'aborted'


def test_unplug_during_sync(boot_dirty):
    """A sync whose disk does not write holds up neither unplugging nor another device."""
    guest, _ = boot_dirty(40, throttle=1)
    number = guest.start_request('sync')
    guest.wait_for(lambda: guest.meminfo()['Writeback'], 'the sync writes')
    guest.qmp('device_del', id='balloon0')
    guest.event('DEVICE_DELETED', device='balloon0')
    assert guest.request_ends(number)['status'] == 'aborted'
    guest.qmp('device_add', driver='virtio-balloon-pci', id='balloon0',
              **{'host-request': True})
    guest.wait_for(guest.driver_bound, 'driver bound to new device')
    assert guest.request('unused-pages')['status'] == 'done'
    assert not written_back(guest)
    guest.qmp('qom-set', path='/objects/slow', property='limits',
              value={'bps-write': 100 * MIB})


def test_unplug_during_request(boot):
    """The device goes with its request; a new one takes requests."""
    guest = boot(memory=GIB, host_request=True)
    for _ in range(3):
        number = guest.start_request('unused-pages')
        guest.qmp('device_del', id='balloon0')
        guest.event('DEVICE_DELETED', device='balloon0')
        assert guest.request_ends(number)['status'] in ('done', 'aborted')
        with pytest.raises(Refused):
            guest.start_request('sync')
        guest.qmp('device_add', driver='virtio-balloon-pci', id='balloon0',
                  **{'host-request': True})
        guest.wait_for(guest.driver_bound, 'driver bound to new device')
        assert guest.request('unused-pages')['status'] == 'done'


@pytest.mark.parametrize('append', ['init_on_free=1', 'page_poison=1'])
def test_content_of_free_pages_counts(boot, append):
    """A guest that relies on the content of free pages names none."""
    guest = boot(memory=512 * MIB, host_request=True, append=f'{append} {SYNC}')
    with pytest.raises(Refused, match="does not accept .*'unused-pages'"):
        guest.request('unused-pages')
    assert guest.request('reclaim')['status'] == 'done'
    assert guest.request('sync')['status'] == 'done'


def test_consent(boot):
    """A guest accepts unused pages and reclaim; its module parameters change that."""
    # Read from a property, and from the requests that the guest refuses.
    for append, refused in (('', 'sync'), ('virtio_balloon.accept_reclaim=0', 'reclaim'),
                            ('virtio_balloon.accept_unused_pages=0', 'unused-pages')):
        guest = boot(memory=512 * MIB, host_request=True, append=append)
        kinds = [kind for kind in ('unused-pages', 'reclaim')
                 if kind != refused]
        assert guest.get('requests-accepted').split(',') == kinds
        with pytest.raises(Refused, match=f"does not accept .*'{refused}'"):
            guest.start_request(refused)
        for kind in kinds:
            assert guest.request(kind)['status'] == 'done'


@pytest.mark.parametrize('options, words', [
    ({'balloon': False}, 'No balloon device'), ({}, 'host-request=on'),
    ({'host_request': True, 'kernel': 'stock'}, 'no balloon driver')],
    ids=['no device', 'property off', 'old driver'])
def test_refused(boot, options, words):
    """Errors name the missing device, property or driver."""
    guest = boot(memory=512 * MIB, **options)
    for kind in ('reclaim', 'sync', 'unused-pages'):
        with pytest.raises(Refused, match=words):
            guest.start_request(kind)
    with pytest.raises(Refused):
        guest.qmp('balloon-cancel', id=1)


def test_refused_meanwhile(boot):
    """The error distinguishes a guest that is stopped from one without a driver."""
    guest = boot(load=False, memory=512 * MIB, host_request=True, append=SYNC)
    with pytest.raises(Refused, match='no balloon driver'):
        guest.start_request('sync')
    guest.load_balloon()
    guest.pause()
    with pytest.raises(Refused, match='stopped'):
        guest.start_request('sync')
    guest.resume()
    for arguments in ({'type': 'sync', 'size': MIB}, {'type': 'reclaim', 'size': 0}):
        with pytest.raises(Refused, match='size'):
            guest.qmp('balloon-request', **arguments)
    assert guest.request('sync')['status'] == 'done'
