# SPDX-License-Identifier: GPL-2.0-or-later
"""F3: a host that is busy or stopped, so that the device answers late."""

import time

import pytest

from harness.limits import COMMAND
from harness.vm import GIB, MIB
from tests.support.pairs import OURS, STOCK
from tests.support.slow_device import SlowDevice

# Both formats of our driver: the legacy one is what it speaks on other hosts.
FORMATS = {'stock': STOCK, 'ours, packed': OURS,
           'ours, legacy': {**STOCK, 'kernel': 'ours'}}
LARGE, SMALL = 900 * MIB, 600 * MIB
# Seconds within which a balloon goes on and arrives when the device answers again:
# it is there in 3 when quiet.
AGAIN = 60
MUST = f'goes on by itself to its target, and back, within {AGAIN} s'
# More than it takes for a task to be called hung: stock waits without an end.
TEN_MINUTES = 600


def start(boot, folder, size):
    """Boot a guest of each kind with a balloon; return {kind: (guest, device)}."""
    guests = {}
    for kind, pair in FORMATS.items():
        own = folder / kind.replace(', ', '-')
        own.mkdir()
        device = SlowDevice(own)
        guest = boot(memory=GIB, serial=True, wrapper=device.wrapper, **pair)
        guest.expect_splat(r'blocked for more than')
        guest.balloon_to(size)
        guests[kind] = guest, device
    return guests


def pass_time(guests, seconds):
    """Let so many seconds go by in all guests."""
    jobs = [guest.spawn(f'sleep {seconds}') for guest, _ in guests.values()]
    for job in jobs:
        job.wait(seconds + COMMAND)


def arrive(guest, size, end):
    """Whether the balloon gets to a size before a moment."""
    while guest.actual() != size and time.monotonic() < end:
        time.sleep(0.1)
    return guest.actual() == size


def outcome(guest, target, back):
    """How a balloon goes on when the device answers again: (whether, in words)."""
    end = time.monotonic() + AGAIN
    if arrive(guest, target, end):
        guest.set_target(back)
        if arrive(guest, back, end):
            return True, 'goes on'
    dead = any('stuck until' in line for line in guest.log_lines())
    return False, 'dead' if dead else f'stays at {guest.actual() // MIB} MiB'


def report(row, guests, target, back):
    """Let all devices answer again; report what becomes of the balloons."""
    for guest, device in guests.values():
        assert device.held(), f'{guest.name}: the device was never slow'
        device.let_go()
    found = {kind: outcome(guest, target, back) for kind, (guest, _) in guests.items()}
    ours = '; '.join(f"{kind.removeprefix('ours, ')}: {text}"
                     for kind, (_, text) in found.items() if kind != 'stock')
    row.report(must=MUST, stock=found['stock'][1], ours=ours,
               green=all(well for well, _ in found.values()))


@pytest.mark.parametrize('before, target', [(LARGE, SMALL), (SMALL, LARGE)],
                         ids=['inflate', 'deflate'])
@pytest.mark.parametrize('seconds', [
    70, pytest.param(
        TEN_MINUTES, marks=[pytest.mark.long, pytest.mark.alone])], ids=['70s', '10min'])
def test_f03_silent(row, boot, tmp_path, seconds, before, target):
    """The device does not answer for a time in which a message is under way."""
    guests = start(boot, tmp_path, before)
    for guest, device in guests.values():
        device.hold()
        guest.set_target(target)
    pass_time(guests, seconds)
    for guest, _ in guests.values():
        # A driver that takes it for dead may count what it has not been told.
        assert guest.actual() != target, f'{guest.name}: the device answered'
    report(row, guests, target, before)


def test_f03_every_other(row, boot, tmp_path):
    """The device takes 90 s to answer every other message."""
    guests = start(boot, tmp_path, LARGE)
    for guest, device in guests.values():
        device.hold(every=2, seconds=90)
        guest.set_target(SMALL)
    pass_time(guests, 200)
    report(row, guests, SMALL, LARGE)
