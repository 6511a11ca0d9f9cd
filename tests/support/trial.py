# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that a test may lose: they end with it, and their death is a result."""

import itertools
import re
import time
from contextlib import contextmanager

from harness.limits import COMMAND
from harness.vm import MIB, Guest, GuestError, GuestTimeout
from tests.support.pairs import fate

# Seconds in which a balloon has not moved before it counts as held back.
STILL = 5
NUMBERS = itertools.count(1)


@contextmanager
def trial(request, pair, **options):
    """A guest of a pair with its balloon driver, which nobody checks at the end."""
    name = re.sub(r'\W+', '-', f'{request.node.name}-{pair["qemu"]}-{next(NUMBERS)}')
    guest = Guest(name=name, **(pair | options))
    try:
        guest.launch()
        guest.load_balloon()
        yield guest
    finally:
        guest.kill()


def is_dead(guest):
    """Return whether QEMU has ended; its sockets close a moment before it does."""
    end = time.monotonic() + COMMAND
    while guest.running() and time.monotonic() < end:
        time.sleep(0.02)
    return not guest.running()


def outcome(guest, *steps):
    """Take steps with a guest; return "alive", its end, or the step that failed."""
    try:
        for step in steps:
            step()
    except GuestTimeout as error:
        return f'hangs: {str(error).splitlines()[0]}'
    except Exception as error:  # pylint: disable=broad-except
        # The error for a QEMU that is gone depends on the command.
        known = isinstance(error, GuestError) and 'guest is gone' not in str(error)
        if known and guest.running():
            return f'fails: {str(error).splitlines()[0]}'
        if not is_dead(guest):
            raise
    return fate(guest)


def is_stopped(guest):
    """Return whether QEMU has stopped the guest."""
    return guest.qmp('query-status')['status'] != 'running'


def fill(guest):
    """Have the guest write to all of its memory, to the last free page."""
    # The guest's OOM killer ends the program, or QEMU stops the guest before.
    guest.run('echo 1024 > /proc/sys/vm/min_free_kbytes')
    job = guest.spawn(f'memfill {guest.memory // MIB}')
    guest.wait_for(lambda: not job.running or is_stopped(guest), 'memory is filled')
    if not job.running and job.status == 255 and is_dead(guest):
        guest.check()


def held_at_most(guest, most, seconds):
    """Wait until the host holds little enough, or for too long; return its bytes."""
    end = time.monotonic() + seconds
    while (held := guest.held()) > most and time.monotonic() < end:
        time.sleep(0.1)
    return held


def balloon_settles(guest, size):
    """Ask for a target; wait until it is reached, or the balloon stands still."""
    guest.set_target(size)
    seen = [None, time.monotonic()]

    def settled():
        now = guest.actual()
        if now != seen[0]:
            seen[:] = now, time.monotonic()
        return now == size or time.monotonic() - seen[1] > STILL
    guest.wait_for(settled, 'the balloon moves no more')
    return guest.actual()
