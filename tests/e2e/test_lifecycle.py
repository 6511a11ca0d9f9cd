# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to a balloon: compaction, reload, OOM, sleep, unplug."""

import os
import time
from pathlib import Path

from harness.vm import GIB, MIB, PAGE, Guest
from tests.support.accounts import (FORMATS, check_totals, fragmented,
                                   in_balloon, sizes)


@FORMATS
def test_compaction_migrates_balloon_pages(page_bitmap):
    """Compaction moves pages of the balloon; the accounts stay exact."""
    with Guest(memory=GIB, page_bitmap=page_bitmap) as guest:
        guest.load_balloon()
        total = guest.meminfo()['MemTotal']
        with fragmented(guest):
            guest.balloon_to(500 * MIB)
        before = guest.vmstat()
        guest.run('echo 1 > /proc/sys/vm/compact_memory')
        guest.run('echo 60 > /proc/sys/vm/nr_hugepages')
        after = guest.vmstat()
        assert after['balloon_migrate'] > before['balloon_migrate'] + 100
        assert guest.meminfo()['HugePages_Total'] > 0
        guest.run('echo 0 > /proc/sys/vm/nr_hugepages')
        check_totals(guest, total)
        # What moved is in the balloon as well: its memory is not the guest's.
        with guest.background('pattern 200 > /tmp/out', timeout=120,
                              ready='grep -q filled /tmp/out'):
            guest.balloon_to(700 * MIB)
            guest.run('echo 1 > /proc/sys/vm/compact_memory')
            guest.balloon_to(450 * MIB)
        guest.balloon_to(GIB)
        check_totals(guest, total)


@FORMATS
def test_module_reload_with_full_balloon(page_bitmap):
    """Unloading gives everything back; loading inflates to the target again."""
    with Guest(memory=GIB, page_bitmap=page_bitmap) as guest:
        guest.load_balloon()
        total = guest.meminfo()['MemTotal']
        for _ in range(3):
            guest.balloon_to(300 * MIB)
            check_totals(guest, total)
            guest.unload_balloon()
            assert guest.meminfo()['MemTotal'] == total
            assert guest.actual() == GIB
            guest.load_balloon()
            guest.wait_for(lambda: guest.actual() == 300 * MIB,
                           'balloon inflated again')
            check_totals(guest, total)
            guest.balloon_to(GIB)
            check_totals(guest, total)


@FORMATS
def test_unload_while_inflating(page_bitmap):
    """The driver can go at any moment of an inflate."""
    with Guest(memory=2 * GIB, page_bitmap=page_bitmap) as guest:
        total = guest.meminfo()['MemTotal']
        guest.set_target(300 * MIB)
        for _ in range(5):
            guest.load_balloon()
            guest.unload_balloon()
            assert guest.meminfo()['MemTotal'] == total
            assert guest.vmstat()['nr_balloon_pages'] == 0
        # Packed page sets may have been faster.
        assert page_bitmap or guest.counters()['inflate-pages'] \
            < 5 * (2 * GIB - 300 * MIB) // PAGE


@FORMATS
def test_deflate_on_oom(page_bitmap):
    """A program that needs memory gets the balloon's, and nobody is killed."""
    with Guest(memory=GIB, page_bitmap=page_bitmap,
               deflate_on_oom=True) as guest:
        guest.load_balloon()
        guest.balloon_to(200 * MIB)
        with guest.background('memfill -k 400 > /tmp/out', timeout=120,
                              ready='grep -q filled /tmp/out') as job:
            assert job.running
            assert guest.vmstat()['oom_kill'] == 0
            assert guest.actual() > 400 * MIB
            counters = guest.driver_counters()
            assert counters['event_oom'] > 0
            assert counters['event_oom_pages'] > 200 * MIB // PAGE
        if page_bitmap:
            assert guest.counters()['rejected-messages'] == 0


@FORMATS
def test_oom_during_inflate(page_bitmap):
    """Inflate and a hungry program at once: one wins, nothing hangs."""
    with Guest(memory=GIB, page_bitmap=page_bitmap,
               deflate_on_oom=True) as guest:
        guest.load_balloon()
        for _ in range(4):
            job = guest.spawn('memfill 600')
            guest.set_target(150 * MIB)
            job.wait(120, check=False)
            guest.balloon_to(GIB)
        assert guest.vmstat()['nr_balloon_pages'] == 0
        assert in_balloon(guest.counters()) == 0


def cpu_seconds(guest):
    """What QEMU, and so its guest, has used."""
    fields = Path(f'/proc/{guest.pid}/stat').read_text(encoding='ascii')
    return sum(map(int, fields.rsplit(')')[1].split()[11:13])) \
        / os.sysconf('SC_CLK_TCK')


@FORMATS
def test_out_of_puff(page_bitmap):
    """A target out of reach does not spin, and the next one is taken at once.

    The kernel keeps some MiB that nothing movable gets: else any allocation of
    its own may call the OOM killer, with the stock driver too.
    """
    with Guest(memory=512 * MIB, page_bitmap=page_bitmap,
               append='loglevel=7 movablecore=400M') as guest:
        guest.load_balloon()
        guest.run('echo 16 16 16 16 > /proc/sys/vm/lowmem_reserve_ratio')
        with guest.background('memfill -k 300 > /tmp/out', timeout=60,
                              ready='grep -q filled /tmp/out'):
            guest.set_target(16 * MIB)
            # No commands now: they would need memory.
            guest.wait_for(lambda: any('Out of puff' in line
                                       for line in guest.log_lines()),
                           'out of puff')
            used, stuck = cpu_seconds(guest), guest.actual()
            assert stuck > 300 * MIB
            # Nothing is waited for: this is how long it is watched.
            time.sleep(7)
            assert cpu_seconds(guest) - used < 3
            # The next try by itself would be 4 s from now.
            assert guest.balloon_to(500 * MIB) < 3
        guest.balloon_to(400 * MIB)
        assert guest.driver_counters()['event_out_of_puff'] > 0


@FORMATS
def test_suspend_to_ram(page_bitmap):
    """S3 empties the balloon, waking up fills it to the target again."""
    with Guest(memory=GIB, page_bitmap=page_bitmap, serial=True) as guest:
        guest.load_balloon()
        total = guest.meminfo()['MemTotal']
        guest.balloon_to(400 * MIB)
        for _ in range(2):
            job = guest.spawn('echo mem > /sys/power/state')
            guest.event('SUSPEND')
            assert in_balloon(guest.counters()) == 0
            guest.qmp('system_wakeup')
            job.wait(60)
            guest.wait_for(lambda: guest.actual() == 400 * MIB,
                           'balloon inflated again after resume')
            check_totals(guest, total)
        guest.balloon_to(GIB)
        check_totals(guest, total)


@FORMATS
def test_hot_unplug_and_plug(page_bitmap):
    """A device that goes with a full balloon leaves the memory behind."""
    with Guest(memory=GIB, page_bitmap=page_bitmap, machine='pc') as guest:
        guest.load_balloon()
        total = guest.meminfo()['MemTotal']
        for _ in range(2):
            guest.balloon_to(400 * MIB)
            guest.qmp('device_del', id='balloon0')
            guest.event('DEVICE_DELETED', device='balloon0')
            guest.wait_for(lambda: guest.meminfo()['MemTotal'] == total,
                           'memory given back')
            assert guest.vmstat()['nr_balloon_pages'] == 0
            guest.qmp('device_add', driver='virtio-balloon-pci', id='balloon0',
                      **{'page-bitmap': page_bitmap})
            guest.wait_for(guest.driver_bound, 'driver bound to new device')
            guest.balloon_to(500 * MIB)
            check_totals(guest, total)
            guest.balloon_to(GIB)


@FORMATS
def test_targets_change_midway(page_bitmap):
    """New targets in the middle of an inflate or deflate: the last one counts."""
    with Guest(memory=2 * GIB, page_bitmap=page_bitmap) as guest:
        guest.load_balloon()
        total = guest.meminfo()['MemTotal']
        for _ in range(10):
            for target in (256, 2048, 600, 1900, 300, 1500):
                guest.set_target(target * MIB)
            guest.balloon_to(700 * MIB)
            # It may have passed there on its way to the target before.
            guest.wait_for(lambda: set(sizes(guest, total)) ==
                           {guest.memory - 700 * MIB},
                           'balloon at rest, with exact accounts')
        guest.balloon_to(2 * GIB)
        assert check_totals(guest, total) == 0
