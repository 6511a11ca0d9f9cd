# SPDX-License-Identifier: GPL-2.0-or-later
"""Events in the life of a balloon: compaction, reload, OOM, sleep, unplug."""

import time

import pytest

from harness.vm import GIB, MIB, PAGE, cpu_seconds_of_all
from harness.workloads import pieces
from tests.support.accounts import (FORMATS, LEGACY_LATER, check_totals, exact_at,
                                    in_balloon, sizes)


@pytest.mark.long
@FORMATS
def test_compaction_migrates_balloon_pages(boot, page_bitmap):
    """Compaction moves pages of the balloon; the accounts stay exact."""
    guest = boot(memory=GIB, page_bitmap=page_bitmap)
    with pieces(guest, 800):
        guest.balloon_to(500 * MIB)
    before = guest.vmstat()
    guest.run('echo 1 > /proc/sys/vm/compact_memory')
    guest.run('echo 60 > /proc/sys/vm/nr_hugepages')
    assert guest.vmstat()['balloon_migrate'] > before['balloon_migrate'] + 100
    assert guest.meminfo()['HugePages_Total'] > 0
    guest.run('echo 0 > /proc/sys/vm/nr_hugepages')
    check_totals(guest)
    # A page that moved is in the balloon as well: the guest cannot use it.
    with guest.background('pattern 200'):
        guest.balloon_to(700 * MIB)
        guest.run('echo 1 > /proc/sys/vm/compact_memory')
        guest.balloon_to(450 * MIB)
    exact_at(guest, GIB)


@LEGACY_LATER
def test_module_reload_with_full_balloon(boot, page_bitmap):
    """Unloading gives everything back; loading inflates to the target again."""
    guest = boot(memory=GIB, page_bitmap=page_bitmap)
    for _ in range(3):
        exact_at(guest, 300 * MIB)
        guest.unload_balloon()
        assert guest.meminfo()['MemTotal'] == guest.total
        assert guest.actual() == GIB
        guest.load_balloon()
        guest.wait_for(lambda: guest.actual() == 300 * MIB, 'balloon inflated again')
        check_totals(guest)
        exact_at(guest, GIB)


@FORMATS
def test_unload_while_inflating(boot, page_bitmap):
    """The driver can go at any moment of an inflate."""
    guest = boot(load=False, memory=2 * GIB, page_bitmap=page_bitmap)
    guest.set_target(300 * MIB)
    for _ in range(5):
        guest.load_balloon()
        guest.unload_balloon()
        assert guest.meminfo()['MemTotal'] == guest.total
        assert guest.vmstat()['nr_balloon_pages'] == 0
    # Packed page sets may have been faster.
    assert page_bitmap or guest.counters()['inflate-pages'] \
        < 5 * (2 * GIB - 300 * MIB) // PAGE


@FORMATS
def test_deflate_on_oom(boot, page_bitmap):
    """A program that needs memory gets the balloon's, and nobody is killed."""
    guest = boot(memory=GIB, page_bitmap=page_bitmap, deflate_on_oom=True)
    guest.balloon_to(200 * MIB)
    with guest.background('memfill -k 400') as job:
        assert job.running
        assert guest.vmstat()['oom_kill'] == 0
        assert guest.actual() > 400 * MIB
        counters = guest.driver_counters()
        assert counters['event_oom'] > 0
        assert counters['event_oom_pages'] > 200 * MIB // PAGE
    if page_bitmap:
        assert guest.counters()['rejected-messages'] == 0


@FORMATS
def test_oom_during_inflate(boot, page_bitmap):
    """Inflate and a hungry program at once: one wins, nothing hangs."""
    guest = boot(memory=GIB, page_bitmap=page_bitmap, deflate_on_oom=True)
    for _ in range(4):
        job = guest.spawn('memfill 600')
        guest.set_target(150 * MIB)
        job.wait(check=False)
        guest.balloon_to(GIB)
    assert guest.vmstat()['nr_balloon_pages'] == 0
    assert in_balloon(guest.counters()) == 0


def puffs(guest):
    """Return how often the driver has logged that it gets no more pages."""
    return sum('Out of puff' in line for line in guest.log_lines())


def out_of_puff(guest):
    """Set a target that is out of reach; wait until the driver logs that."""
    seen = puffs(guest)
    guest.set_target(16 * MIB)
    guest.wait_for(lambda: puffs(guest) > seen, 'out of puff')


def seconds_to_move(guest, target):
    """Ask for a target; return how long nothing happens."""
    stuck, started = guest.actual(), time.monotonic()
    guest.set_target(target)
    guest.wait_for(lambda: guest.actual() != stuck, 'a target that is taken', interval=0)
    return time.monotonic() - started


@FORMATS
def test_out_of_puff(boot, page_bitmap):
    """A target out of reach does not spin, and the next one is taken at once."""
    # The kernel keeps some MiB from movable memory: otherwise any allocation of the
    # kernel may call the OOM killer, also with the stock driver.
    guest = boot(memory=512 * MIB, page_bitmap=page_bitmap,
                 append='loglevel=7 movablecore=400M')
    guest.run('echo 16 16 16 16 > /proc/sys/vm/lowmem_reserve_ratio')
    with guest.background('memfill -k 300'):
        # No commands now: they would need memory.
        out_of_puff(guest)
        before = puffs(guest)
        assert guest.actual() > 300 * MIB
        used = cpu_seconds_of_all(guest.pid)
        # Nothing is waited for: this is how long it is watched.
        time.sleep(7)
        used = cpu_seconds_of_all(guest.pid) - used
        assert used < 3
        # It tries again every 5 s.
        assert puffs(guest) - before <= 3
        # A busy machine may also be late, but not each time.
        waited = []
        while len(waited) < 5 and (not waited or waited[-1] > 2):
            out_of_puff(guest)
            waited.append(seconds_to_move(guest, 500 * MIB))
        print(f'{used} s of CPU; a target is taken after {waited} s')
        assert min(waited) < 2
        guest.balloon_to(500 * MIB)
    guest.balloon_to(400 * MIB)
    assert guest.driver_counters()['event_out_of_puff'] > 0


@FORMATS
def test_suspend_to_ram(boot, page_bitmap):
    """S3 empties the balloon, waking up fills it to the target again."""
    guest = boot(memory=GIB, page_bitmap=page_bitmap, serial=True)
    guest.balloon_to(400 * MIB)
    for _ in range(2):
        job = guest.spawn('echo mem > /sys/power/state')
        guest.event('SUSPEND')
        assert in_balloon(guest.counters()) == 0
        guest.qmp('system_wakeup')
        job.wait()
        guest.wait_for(lambda: guest.actual() == 400 * MIB,
                       'balloon inflated again after resume')
        check_totals(guest)
    exact_at(guest, GIB)


@LEGACY_LATER
def test_hot_unplug_and_plug(boot, page_bitmap):
    """A device that goes with a full balloon leaves the memory behind."""
    guest = boot(memory=GIB, page_bitmap=page_bitmap, machine='pc')
    for _ in range(2):
        guest.balloon_to(400 * MIB)
        guest.qmp('device_del', id='balloon0')
        guest.event('DEVICE_DELETED', device='balloon0')
        guest.wait_for(lambda: guest.meminfo()['MemTotal'] == guest.total,
                       'memory given back')
        assert guest.vmstat()['nr_balloon_pages'] == 0
        guest.qmp('device_add', driver='virtio-balloon-pci', id='balloon0',
                  **{'page-bitmap': page_bitmap})
        guest.wait_for(guest.driver_bound, 'driver bound to new device')
        exact_at(guest, 500 * MIB)
        guest.balloon_to(GIB)


@FORMATS
def test_targets_change_midway(boot, page_bitmap):
    """New targets in the middle of an inflate or deflate: the last one counts."""
    guest = boot(memory=2 * GIB, page_bitmap=page_bitmap)
    for _ in range(10):
        for target in (256, 2048, 600, 1900, 300, 1500):
            guest.set_target(target * MIB)
        guest.balloon_to(700 * MIB)
        # It may have passed there on its way to the target before.
        guest.wait_for(lambda: set(sizes(guest)) == {guest.memory - 700 * MIB},
                       'balloon at rest, with exact accounts')
    exact_at(guest, 2 * GIB)
