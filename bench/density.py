# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes on the inflate queue for each 4 KiB page, by what the guest has done.

Three guests of 2 GiB give 1 GiB each: one that has just booted, one most of whose
free memory lies in pieces of 192 KiB, and one whose memory is page cache. The
legacy format always takes 4 bytes. These numbers do not depend on the
accelerator.
"""

import contextlib
import json

from harness.common import BUILD
from harness.vm import GIB, MIB, Guest

DISK = ['-blockdev', 'null-co,node-name=disk,size=4294967296,read-zeroes=on',
        '-device', 'virtio-blk-pci,drive=disk']


@contextlib.contextmanager
def idle(_guest):
    """Nothing but the boot."""
    yield


def fragmented(guest):
    """Free memory in pieces of 192 KiB."""
    return guest.background('fragment 1700 > /tmp/out', timeout=120,
                            ready='grep -q fragmented /tmp/out')


@contextlib.contextmanager
def page_cache(guest):
    """A disk has been read that is larger than memory."""
    # Its pages are dropped when nobody has it open.
    guest.spawn('exec sleep 600 < /dev/vda')
    guest.run('dd if=/dev/vda of=/dev/null bs=1M', timeout=120)
    assert guest.meminfo()['Cached'] + guest.meminfo()['Buffers'] > GIB
    yield


def measure(state):
    """What one inflate by 1 GiB puts on the queue."""
    with Guest(memory=2 * GIB, page_bitmap=True, args=DISK,
               name=f'density-{state.__name__}') as guest:
        guest.load_balloon()
        with state(guest):
            guest.balloon_to(GIB)
            counters = guest.counters()
    return {key: counters[f'inflate-{key}']
            for key in ('pages', 'bytes', 'records', 'messages')} | {
                'discards': counters['discards']}


def main():
    """Measure, print, keep as JSON."""
    result = {}
    print(f"{'guest':<12} {'bytes/page':>10} {'records':>9} {'messages':>9} "
          f"{'discards':>9}")
    for state in (idle, fragmented, page_cache):
        name = state.__name__.replace('_', ' ')
        row = result[name] = measure(state)
        print(f"{name:<12} {row['bytes'] / row['pages']:>10.5f} "
              f"{row['records']:>9} {row['messages']:>9} "
              f"{row['discards']:>9}", flush=True)
    (BUILD / 'bench-density.json').write_text(json.dumps(result, indent=2))
    print(f"legacy       {4:>10.5f} {GIB // 4096:>9} {GIB // MIB:>9} "
          f"{GIB // 4096:>9}")


if __name__ == '__main__':
    main()
