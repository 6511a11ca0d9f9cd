# SPDX-License-Identifier: GPL-2.0-or-later
"""F6 and its kind: guests with a balloon that sleep, start again, or start anew."""

import pytest

from harness.disk import drive
from harness.limits import COMMAND
from harness.vm import GIB, MIB, PAGE, GuestError
from tests.support.accounts import sizes
from tests.support.other_kernel import kernel_disks, load_kernel
from tests.support.pairs import PAIRS

TARGET = 300 * MIB
SWAP = 1536 * MIB
MUST = 'balloon as before, accounts exact, memory holds its content'


def fare(journey, *args):
    """How a guest fares on a journey: (well or not, in words)."""
    try:
        journey(*args)
    except (AssertionError, GuestError) as error:
        return False, str(error).strip().splitlines()[0][-150:]
    return True, 'well'


def report(row, found, must=MUST):
    """Report how the guests of both pairs fared."""
    row.report(must=must, stock=found['stock'][1], ours=found['ours'][1],
               green=found['ours'][0])


def inflated(guest):
    """Wait until the balloon is at its target by itself."""
    guest.wait_for(lambda: guest.actual() == TARGET, 'balloon inflated again')


def check_totals(guest):
    """QEMU and the guest agree on the balloon's size."""
    # The device's counters are for all its life: pages ballooned by a kernel
    # that was started again have never been given back.
    guest.wait_for(lambda: len(set(sizes(guest)[:3])) == 1, 'accounts that agree')
    if guest.shape.qemu == 'ours':
        assert guest.counters()['rejected-messages'] == 0


def check_memory(guest):
    """All agree on the balloon, and memory that comes and goes keeps its content."""
    check_totals(guest)
    with guest.background('pattern 100'):
        guest.balloon_to(guest.memory)
        guest.balloon_to(TARGET)
    check_totals(guest)
    guest.balloon_to(guest.memory)
    check_totals(guest)


# -- A new kernel in the same QEMU ------------------------------------------

def start_again(boot, pair, how):
    """Fill a guest's balloon, start its kernel again, and look."""
    guest = boot(memory=GIB, reboot=True, args=kernel_disks(pair['kernel']), **pair)
    guest.run('memfill 700')
    if how == 'kexec -e':
        load_kernel(guest)
    guest.balloon_to(TARGET)
    guest.spawn(how)
    guest.agent.wait_restarted()
    # Where a kernel is put at random may cost it some pages.
    assert abs(guest.meminfo()['MemTotal'] - guest.total) < MIB, \
        'the new kernel has less'
    guest.load_balloon()
    inflated(guest)
    check_memory(guest)


@pytest.mark.parametrize('how', ['reboot -f', 'kexec -e'], ids=['reboot', 'kexec'])
def test_f06_start_again(row, boot, how):
    """A guest with a full balloon starts its kernel again, without a word."""
    report(row, {kind: fare(start_again, boot, pair, how)
                 for kind, pair in PAIRS.items()})


def boot_small(boot, pair, memory, options):
    """Start a guest whose target, set before it boots, leaves it 300 MiB."""
    guest = boot(memory=memory, reboot=True, load=False, append='field.early',
                 **{**pair, **options})
    guest.wait_for(guest.driver_bound, 'driver bound to device')
    guest.set_target(TARGET)
    guest.spawn('reboot -f')
    guest.agent.wait_restarted()
    inflated(guest)
    assert guest.vmstat()['oom_kill'] == 0, 'programs were killed'
    assert guest.vmstat()['nr_balloon_pages'] * PAGE == memory - TARGET


@pytest.mark.parametrize('memory', [512 * MIB, GIB, 2 * GIB], ids=['512m', '1g', '2g'])
def test_f06_early_driver(row, boot, memory):
    """The driver is loaded first of all, and the target is far away already."""
    report(row, {kind: fare(boot_small, boot, pair, memory, {})
                 for kind, pair in PAIRS.items()},
           must='userland is reached, nobody is killed, the target, too')


# -- Sleep ------------------------------------------------------------------

def sleep_and_wake(guest, state):
    """Let the guest sleep, and wake it up."""
    # No event tells that a guest is in s2idle. The serial port wakes it, so it is
    # rung until the guest has been there.
    guest.run('echo enabled > /sys/class/tty/ttyS1/power/wakeup')
    job = guest.spawn(f'echo {state} > /sys/power/state')
    if state == 'mem':
        guest.event('SUSPEND')
        guest.qmp('system_wakeup')
    guest.wait_for(lambda: not job.running or not guest.spawn('true'),
                   'a guest that has slept', interval=1)
    job.wait()


def go_to_sleep(boot, pair, state):
    """A guest with a full balloon sleeps twice."""
    guest = boot(memory=GIB, serial=True, **pair)
    guest.balloon_to(TARGET)
    with guest.background('pattern 50'):
        for _ in range(2):
            sleep_and_wake(guest, state)
            inflated(guest)
    check_memory(guest)


@pytest.mark.parametrize('state', ['freeze', 'mem'], ids=['s2idle', 's3'])
def test_f06_sleep(row, boot, state):
    """A guest with a full balloon sleeps, and is woken up."""
    report(row, {kind: fare(go_to_sleep, boot, pair, state)
                 for kind, pair in PAIRS.items()})


# -- Hibernation ------------------------------------------------------------

def swap_disk(path):
    """QEMU's arguments for a disk, /dev/vda, to swap to."""
    with open(path, 'ab') as file:
        file.truncate(SWAP)
    # The QEMU that has been left does not write to it any more.
    return drive('swap', path, options='read-only=off,file.locking=off')


def prepare_swap(guest, mode):
    """Use the disk, and choose what hibernation ends with."""
    guest.run('mkswap /dev/vda && swapon /dev/vda')
    guest.run(f'echo {mode} > /sys/power/disk')


def hibernate_and_return(boot, pair, path):
    """The guest writes its image, reads it again, and goes on in the same QEMU."""
    guest = boot(memory=GIB, serial=True, args=swap_disk(path), **pair)
    prepare_swap(guest, 'test_resume')
    guest.balloon_to(TARGET)
    with guest.background('pattern 50'):
        guest.run('echo disk > /sys/power/state')
        inflated(guest)
    guest.run('swapoff /dev/vda')
    check_memory(guest)


def hibernate_and_resume(boot, pair, path):
    """The guest powers itself off, and goes on in another QEMU."""
    options = {'memory': GIB, 'serial': True, **pair, 'args': (
        *swap_disk(path), '-action', 'shutdown=pause')}
    guest = boot(**options)
    prepare_swap(guest, 'shutdown')
    guest.balloon_to(TARGET)
    pattern = guest.start('pattern 50')
    job = guest.spawn('echo disk > /sys/power/state')
    guest.wait_for(lambda: not job.running or
                   guest.qmp('query-status')['status'] == 'shutdown',
                   'a guest that has powered itself off')
    assert job.running, f'it did not hibernate: {job.output}'
    again = boot(load=False, **options)
    again.agent.adopt(guest.agent)
    again.total = guest.total
    again.spawn('cat /sys/class/block/vda/dev > /sys/power/resume')
    job.wait(COMMAND)
    assert again.actual() == GIB
    again.set_target(TARGET)
    inflated(again)
    pattern.end()
    again.run('swapoff /dev/vda')
    check_memory(again)


@pytest.mark.parametrize('journey', [hibernate_and_return, hibernate_and_resume],
                         ids=['return', 'resume'])
def test_f06_hibernate(row, boot, tmp_path, journey):
    """A guest with a full balloon hibernates, and goes on."""
    report(row, {kind: fare(journey, boot, pair, tmp_path / kind)
                 for kind, pair in PAIRS.items()})
