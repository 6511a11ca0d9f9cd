# SPDX-License-Identifier: GPL-2.0-or-later
"""Old and new guest on old and new device, with each feature on and off."""

import itertools

import pytest

from harness.vm import BANDWIDTH, MIB, PAGE, Refused
from tests.support.accounts import exact_at
from tests.support.protocol import BITS, STATS

OURS = ('page_bitmap', 'host_request')
# Options of kernels that rely on the content of free pages. Debian's cannot poison them;
# zeroed pages make no difference to the driver.
POISON = {'ours': 'page_poison=1', 'stock': 'init_on_free=1'}
ON_STOCK = tuple(flag for flag in BITS if flag not in OURS)

# Bytes that a program has written before a migration, and freed.
WRITTEN = 250 * MIB

# Rows of Plackett and Burman's design: each two of up to eleven factors meet in
# each of their four combinations, three times.
ROW = (1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0)
DESIGN = [ROW[-shift:] + ROW[:-shift] for shift in range(len(ROW))] + [(0,) * 11]


def combination(qemu, kernel, machine, poisoned, *flags):
    """Return one case: QEMU, kernel, machine, poisoning, and the offered features."""
    names = BITS if qemu == 'ours' else ON_STOCK
    offered = frozenset(name for name, on in zip(names, flags) if on)
    return (qemu, ('ours', 'stock')[kernel], ('pc', 'microvm')[machine],
            bool(poisoned), offered)


# In the last two, which have host requests, the driver declines a bit: reporting in one,
# page_poison in the other, whose kernel does not poison.
PAIRWISE = [combination('ours', *row) for row in DESIGN] + [
    # The rest of stock's is in ALL.
    *(combination('stock', *row) for row in DESIGN[::3]),
    combination('ours', 0, 0, 1, 0, 1, 0, 1, 1, 1),
    combination('ours', 0, 0, 0, 0, 1, 1, 1, 1, 1)]
# Guests poison pages or not; but where page_poison is not offered, all do.
ALL = [combination(qemu, kernel, machine, poisoned, *flags)
       for qemu, names in (('ours', list(BITS)), ('stock', list(ON_STOCK)))
       for poison in (names.index('page_poison'),)
       for kernel, machine, *flags in itertools.product((0, 1),
                                                        repeat=2 + len(names))
       for poisoned in ((0, 1) if flags[poison] else (1,))]


def label(values):
    """Return a readable name of a combination."""
    qemu, kernel, machine, poisoned, offered = values
    return '-'.join([f'qemu_{qemu}', f'kernel_{kernel}', machine,
                     *['poisoned'] * poisoned, *sorted(offered)])


def expected(values):
    """Return the features that both sides take."""
    _, kernel, _, poisoned, offered = values
    taken = set(offered)
    if kernel == 'stock':
        taken -= set(OURS)
    # Without poisoning the driver has no use for the bit; with poisoning and without the
    # bit, it must not let the device take poisoned pages.
    if not poisoned:
        taken -= {'page_poison'}
    elif 'page_poison' not in offered:
        taken -= {'free_page_reporting'}
    return taken


def check_statistics(guest):
    """The guest's figures arrive."""
    guest.qmp('qom-set', path='/machine/peripheral/balloon0',
              property='guest-stats-polling-interval', value=1)
    stats = guest.wait_for(
        lambda: (s := guest.get('guest-stats'))['last-update'] and s,
        'statistics from the guest')
    assert stats['stats']['stat-total-memory'] == guest.total


def check_reporting(guest):
    """Memory of a program that has exited goes back to the host by itself."""
    with guest.background('memfill -k 150'):
        filled = guest.resident()
    guest.wait_for(lambda: guest.resident() < filled - 100 * MIB,
                   'free pages that are reported')


def check_migration(guest, skipped):
    """Free pages are left out of a migration, which nobody receives."""
    # It starts slowly, as a busy guest needs time to name them. Only pages with content
    # count: a kernel that zeroes pages on allocation writes to the pages that it takes
    # for free page hints, so QEMU still sends these, as zeroes.
    guest.run(f'memfill {WRITTEN // MIB}')
    guest.set_up_migration(bandwidth=MIB)
    guest.qmp('migrate', uri='exec:cat > /dev/null')
    if skipped:
        guest.wait_for(
            lambda: 0 < guest.migration().get('ram', {}).get('remaining', 0)
            < guest.memory / 2, 'free pages left out')
    guest.set_migration_parameters(max_bandwidth=BANDWIDTH)
    ram = guest.complete_migration()['ram']
    few = (ram['normal'] + ram['duplicate']) * PAGE < guest.memory / 2
    if skipped:
        assert few or ram['normal'] * PAGE < WRITTEN * 3 / 4, ram
    else:
        assert not few, ram


def check(boot, values):
    """Both sides negotiate the features that they share, and these work."""
    qemu, kernel, machine, poisoned, offered = values
    taken = expected(values)
    properties = {name: name in offered
                  for name in (BITS if qemu == 'ours' else ON_STOCK)}
    args = []
    if properties['free_page_hint']:
        properties['iothread'] = 'hints'
        args = ['-object', 'iothread,id=hints']
    guest = boot(qemu=qemu, kernel=kernel, machine=machine, memory=512 * MIB, args=args,
                 append=POISON[kernel] if poisoned else '', **properties)
    assert {name for name, bit in BITS.items() if guest.negotiated(bit)} == taken
    assert guest.negotiated(STATS)
    for target in (256, 400, 200, 512):
        exact_at(guest, target * MIB)
        if 'host_request' in taken and poisoned:
            with pytest.raises(Refused, match='does not accept'):
                guest.request('unused-pages')
        elif 'host_request' in taken:
            assert guest.request('unused-pages')['status'] == 'done'
    if qemu == 'ours':
        # 256 frame numbers to a message, or hundreds of MiB.
        counters = guest.counters()
        mib = counters['inflate-pages'] // 256
        assert (counters['inflate-messages'] < mib / 8) == ('page_bitmap' in taken)
    check_statistics(guest)
    # QEMU does not discard what must not come back as zeroes.
    if 'free_page_reporting' in taken and 'page_poison' not in taken:
        check_reporting(guest)
    # A guest that is not asked may give hints.
    check_migration(guest, 'host_request' in taken and not poisoned
                    or 'free_page_hint' in taken)


@pytest.mark.parametrize('values', PAIRWISE, ids=label)
def test_pairwise(boot, values):
    """Each two settings, together."""
    check(boot, values)


@pytest.mark.long
@pytest.mark.parametrize('values', ALL, ids=label)
def test_all(boot, values):
    """All that QEMU can offer."""
    check(boot, values)
