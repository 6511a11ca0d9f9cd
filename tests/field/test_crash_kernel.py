# SPDX-License-Identifier: GPL-2.0-or-later
"""F6: crash kernels and dumps of a guest with a balloon."""

import os
import re

import pytest

from harness.vm import GIB, MIB, PAGE
from tests.support.other_kernel import kernel_disks, load_kernel
from tests.support.pairs import OURS, PAIRS, STOCK

# What the driver speaks: with a QEMU that knows packed page sets, and with others.
KINDS = {'stock': STOCK, 'ours, packed': OURS,
         'ours, legacy': {**STOCK, 'kernel': 'ours'}}
# What a crash kernel must have left at least: what it has without a balloon is 190.
ENOUGH = 128 * MIB
# What the balloon of a guest that is dumped leaves it.
LEFT = 300 * MIB


def ended(guest):
    """Whether the guest has powered itself off, or rebooted."""
    return guest.qmp('query-status')['status'] in ('shutdown', 'guest-panicked')


def said_by_still(guest):
    """What guest/still.c has said on the console, as numbers; None: nothing yet."""
    lines = [line for line in guest.log_lines() if 'still: total' in line]
    if not lines:
        return None
    return {name: int(value) for name, value in
            re.findall(r'(\w+) (-?\d+)', lines[-1].split('still: ')[1])}


def crash(boot, pair):
    """Crash a guest with half its memory in the balloon."""
    # Return whether its crash kernel keeps its memory, and that in words.
    guest = boot(memory=2 * GIB, append='crashkernel=256M', args=(
        *kernel_disks(pair['kernel']), '-action', 'shutdown=pause'), **pair)
    # A crash is what is asked for, and a crash kernel that runs out of memory is red.
    guest.expect_splat('.')
    guest.balloon_to(GIB)
    load_kernel(guest, 'field.run=still nr_cpus=1 reset_devices', crash=True)
    guest.spawn('echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger')
    guest.wait_for(lambda: ended(guest) or said_by_still(guest),
                   'a crash kernel that has come to rest')
    found = said_by_still(guest)
    killed = [line for line in guest.log_lines()
              if 'Out of memory' in line or 'deadlocked on memory' in line]
    if not found:
        return False, 'ended without memory' if killed else 'ended'
    text = f"{found['balloon'] * PAGE // MIB} MiB in the balloon, " \
           f"{found['available'] // 1024} MiB available"
    if killed:
        text += f', {len(killed)} killed'
    keeps = found['balloon'] == 0 and found['available'] * 1024 >= ENOUGH
    return keeps and not killed, text


def test_f06_crash_kernel(row, boot):
    """A crash kernel of 256 MiB keeps them, whatever the balloon's target is."""
    found = {kind: crash(boot, pair) for kind, pair in KINDS.items()}
    ours = '; '.join(f"{kind.removeprefix('ours, ')}: {text}"
                     for kind, (_, text) in found.items() if kind != 'stock')
    row.report(must=f'no page in its balloon, {ENOUGH // MIB} MiB available',
               stock=found['stock'][1], ours=ours,
               green=all(keeps for kind, (keeps, _) in found.items()
                         if kind != 'stock'))


def dump(boot, pair, backend, path):
    """Dump a ballooned guest; (bytes of memory that this took, size of the dump)."""
    guest = boot(memory=GIB, backend=backend, **pair)
    guest.run('memfill 700')
    guest.balloon_to(LEFT)
    before = guest.resident()
    guest.qmp('dump-guest-memory', paging=False, protocol=f'file:{path}')
    after = guest.resident()
    size = os.stat(path).st_blocks * 512
    path.unlink()
    return after - before, size


@pytest.mark.parametrize('backend', ['anon', 'memfd', 'tmpfs-private'])
def test_f06_dump(row, boot, tmp_path, backend):
    """A dump by QEMU takes no host memory for what is in the balloon."""
    found = {kind: dump(boot, pair, backend, tmp_path / 'dump')
             for kind, pair in PAIRS.items()}
    text = {kind: f'{taken // MIB} MiB taken, {size // MIB} written'
            for kind, (taken, size) in found.items()}
    row.report(must=f'none for the balloon: {LEFT // MIB} MiB of memory at most',
               stock=text['stock'], ours=text['ours'], green=found['ours'][0] <= LEFT)


def offline_pages(guest):
    """How many pages /proc/kpageflags says are offline, which makedumpfile omits."""
    return int(guest.run('offline').split()[0])


def test_f06_offline_pages(row, boot):
    """Pages in the balloon are marked as what makedumpfile leaves out."""
    text, right = {}, {}
    for kind, pair in PAIRS.items():
        guest = boot(memory=GIB, **pair)
        before = offline_pages(guest)
        guest.balloon_to(LEFT)
        marked = (offline_pages(guest) - before) * PAGE
        text[kind] = f'{marked // MIB} of {(GIB - LEFT) // MIB} MiB'
        right[kind] = marked == GIB - LEFT
    row.report(must='all of the balloon is offline for dumps', stock=text['stock'],
               ours=text['ours'], green=right['ours'])
