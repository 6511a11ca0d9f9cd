# SPDX-License-Identifier: GPL-2.0-or-later
"""Old and new guest on old and new device, with each feature on and off."""

import itertools

import pytest

from harness.vm import MIB, Guest
from tests.test_e2e_memory import check_totals

STATS, HINT, REPORTING, PAGE_BITMAP = 1, 3, 5, 9

COMBINATIONS = [
    (qemu, kernel, bit, hint, reporting)
    for qemu, kernel, bit, hint, reporting in itertools.product(
        ('ours', 'stock'), ('ours', 'stock'), *[(False, True)] * 3)
    # A stock device has no property to turn on.
    if not (qemu == 'stock' and bit)]


def label(values):
    """ours-stock-bitmap-hint: a readable name of a combination."""
    qemu, kernel, *flags = values
    return '-'.join([f'qemu_{qemu}', f'kernel_{kernel}'] + [
        name for name, on in zip(('bitmap', 'hint', 'reporting'), flags) if on])


@pytest.mark.parametrize('combination', COMBINATIONS, ids=label)
def test_combination(combination):
    """What both sides have is negotiated, and inflate, deflate, stats work."""
    qemu, kernel, bit, hint, reporting = combination
    properties = {'free_page_reporting': reporting}
    args = []
    if bit:
        properties['page_bitmap'] = True
    if hint:
        properties |= {'free_page_hint': 'on', 'iothread': 'hints'}
        args = ['-object', 'iothread,id=hints']
    with Guest(qemu=qemu, kernel=kernel, memory=512 * MIB, args=args,
               **properties) as guest:
        guest.load_balloon()
        total = guest.meminfo()['MemTotal']
        packed = bit and kernel == 'ours'
        assert guest.negotiated(PAGE_BITMAP) == packed
        assert guest.negotiated(HINT) == hint
        assert guest.negotiated(REPORTING) == reporting
        assert guest.negotiated(STATS)
        for target in (256, 400, 200, 512):
            guest.balloon_to(target * MIB)
            check_totals(guest, total)
        if qemu == 'ours':
            # 256 frame numbers to a message, or hundreds of MiB.
            counters = guest.counters()
            mib = counters['inflate-pages'] // 256
            assert (counters['inflate-messages'] < mib / 8) == packed
        guest.qmp('qom-set', path='/machine/peripheral/balloon0',
                  property='guest-stats-polling-interval', value=1)
        stats = guest.wait_for(
            lambda: (s := guest.get('guest-stats'))['last-update'] and s,
            'statistics from the guest')
        assert stats['stats']['stat-total-memory'] == total
