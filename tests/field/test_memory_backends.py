# SPDX-License-Identifier: GPL-2.0-or-later
"""F1, F2: guests on huge pages, of which the host may have too few later."""

from contextlib import nullcontext

import pytest

from harness.vm import MIB
from harness.vm.memory import BACKENDS
from tests.support import hugepages
from tests.support.pairs import OURS, PAIRS, STOCK, fate
from tests.support.trial import balloon_settles, fill, is_dead, outcome, trial

# One after another, as they share the host's huge pages.
pytestmark = pytest.mark.xdist_group('huge pages')

MEMORY = 512 * MIB
SMALL = 256 * MIB
BALLOON = (MEMORY - SMALL) // hugepages.HUGE
HUGE_BACKENDS = ('hugetlb', 'hugetlb-private', 'hugetlbfs', 'hugetlbfs-private')
PROPERTIES = {'': '', '-reserve': ',reserve=on', '-prealloc': ',reserve=on,prealloc=on'}
KINDS = {f'{backend}{name}': f'{backend}{properties}'
         for backend in HUGE_BACKENDS for name, properties in PROPERTIES.items()}


# -- F1 ---------------------------------------------------------------------

class Loss:
    """What became of a guest whose huge pages another process took.

    freed  huge pages that inflating made free
    given  those of them that are reserved for nobody
    taken  those that another process took
    held   how the guest fared meanwhile
    after  how it fared once they were back
    """
    freed = given = taken = 0
    held = after = ''

    def __str__(self):
        """One cell of the table."""
        return f'{self.freed} freed, {self.given} given, {self.taken} taken: ' \
            f'{self.held}, then {self.after}'


def lose_pages(request, pair, backend, missing):
    """Inflate; let another process take huge pages; deflate and fill."""
    # A guest that clears pages on free writes to every page out of the balloon:
    # so it notices that one page is missing.
    loss = Loss()
    # Huge pages for one guest, and no more.
    with hugepages.pool(MEMORY // hugepages.HUGE), \
            trial(request, pair, memory=MEMORY, backend=backend,
                  append='init_on_free=1') as guest:
        fill(guest)
        # The few pages that the guest never touches.
        free, before = hugepages.free(), hugepages.available()
        guest.balloon_to(SMALL)
        loss.freed = hugepages.free() - free
        loss.given = hugepages.available() - before
        if loss.given:
            loss.taken = before + (loss.given if missing == 'all' else 1)
        with hugepages.taken(loss.taken):
            loss.held = outcome(guest, lambda: balloon_settles(guest, MEMORY),
                                lambda: fill(guest))
        loss.after = loss.held if 'QEMU is gone' in loss.held else outcome(
            guest, lambda: guest.balloon_to(MEMORY), lambda: fill(guest))
    return loss


@pytest.fixture(name='losses', scope='module')
def fixture_losses():
    """lose_pages(), once for each guest: two rows look at one."""
    known = {}

    def lose(request, pair, kind, missing):
        key = pair, kind, missing
        if key not in known:
            known[key] = lose_pages(request, PAIRS[pair], KINDS[kind], missing)
        return known[key]
    return lose


@pytest.mark.parametrize('kind, missing', [
    *((kind, 'all') for kind in KINDS), *((kind, 'one') for kind in HUGE_BACKENDS)])
def test_f01_pages_taken(row, request, losses, kind, missing):
    """A guest whose freed huge pages another process has lives, and goes on."""
    stock = losses(request, 'stock', kind, 'all')
    ours = losses(request, 'ours', kind, missing)
    row.report(must='alive, then alive', stock=str(stock), ours=str(ours),
               green=ours.held == ours.after == 'alive')


@pytest.mark.parametrize('kind', KINDS)
def test_f01_given_back(row, losses, request, kind):
    """Inflating frees huge pages, as no stock pair does."""
    # Of a private mapping with reserve=on they stay reserved for the guest.
    stock = losses(request, 'stock', kind, 'all').freed
    ours = losses(request, 'ours', kind, 'all').freed
    row.report(must=f'>= {BALLOON * 95 // 100} huge pages', stock=str(stock),
               ours=str(ours), green=ours >= BALLOON * 95 // 100)


# -- F2 ---------------------------------------------------------------------

# Enough for what the guest uses, with its balloon, and not for what it can use.
SHORT = MEMORY // hugepages.HUGE * 3 // 4
# Slow enough for the guest to answer what it does not use, before that is sent.
BANDWIDTH = 100_000_000
DESTINATIONS = ('hugetlb-balloon', 'hugetlb-unused', 'hugetlb-private-balloon',
                'hugetlb-private-unused', 'hugetlbfs-balloon',
                'hugetlbfs-private-balloon', 'hugetlb,reserve=on-balloon')


def arrive(source, target):
    """Migrate to a guest on huge pages; say where the guest is, and how."""
    try:
        target.launch()
    except Exception as error:  # pylint: disable=broad-except
        # What QEMU's own package says of a QEMU that ends at once is its own.
        assert 'annot allocate memory' in target.output(), error
        return source, 'there refused at start, here'
    source.start_migration(target, bandwidth=BANDWIDTH)
    if source.end_migration()['status'] != 'completed':
        assert is_dead(target)
        return source, f'there {fate(target)}, here'
    target.arrived(source)
    source.kill()
    return target, 'there'


def migrate_to_short_pool(request, pair, kind):
    """Migrate where half of the huge pages are; deflate there, and use them all."""
    backend, reason = kind.rsplit('-', 1)
    with hugepages.pool(SHORT), \
            trial(request, pair, memory=MEMORY, backend='memfd') as source:
        fill(source)
        if reason == 'balloon':
            source.balloon_to(SMALL)
        target = source.twin(backend=backend)
        try:
            guest, way = arrive(source, target)
            end = outcome(guest, lambda: balloon_settles(guest, MEMORY),
                          lambda: fill(guest))
        finally:
            target.kill()
    return way, end


@pytest.mark.parametrize('kind', DESTINATIONS)
def test_f02_destination_short(row, request, kind):
    """A guest that finds too few huge pages stays, or lives with what there is."""
    # The stock pair sends all: the destination dies while the source has the guest.
    stock = migrate_to_short_pool(request, STOCK, kind)
    ours = migrate_to_short_pool(request, OURS, kind)
    row.report(must='alive, here or there', stock=' '.join(stock),
               ours=' '.join(ours), green=ours[1] == 'alive')


def hop_to(guest, backend, **limits):
    """Migrate to another backend; the twin, at which the guest runs."""
    target = guest.twin(backend=backend)
    try:
        target.launch()
        guest.migrate(target, **limits)
    except BaseException:
        target.kill()
        raise
    return target


def hop(guest, _):
    """Migrate to memory of 4 KiB pages."""
    hop_to(guest, 'memfd').kill()


def hop_with_postcopy(guest, _):
    """The same as if postcopy were to follow, which wants huge pages there."""
    hop_to(guest, guest.shape.backend, capabilities=['postcopy-ram']).kill()


def save(guest, path):
    """Stop the guest, and write its state to a file, as virsh save does."""
    guest.pause()
    guest.save(f'{path}/state')


def save_in_background(guest, path):
    """Write a snapshot while the guest runs."""
    guest.save(f'{path}/state', ['background-snapshot'])


def save_internal(guest, path):
    """Take an internal snapshot, into a disk of its own."""
    guest.add_snapshot_disk(f'{path}/disk')
    guest.save_snapshot()


def dump(guest, path):
    """Have QEMU dump the guest's memory, into a file: /dev/null reads nothing."""
    guest.qmp('dump-guest-memory', paging=False, protocol=f'file:{path}/dump')


READERS = {'hop1': hop, 'hop2': hop, 'postcopy-ram': hop_with_postcopy, 'save': save,
           'savevm': save_internal, 'dump': dump, 'background': save_in_background}
# Huge pages that the guest itself may come to use meanwhile.
OWN = 16


def pages_read(request, pair, reader, path, backend='hugetlb'):
    """Huge pages that a QEMU takes while something reads a guest's memory."""
    def count(guest):
        return (guest.resident('Shared_Hugetlb')
                + guest.resident('Private_Hugetlb')) // hugepages.HUGE
    first = 'memfd' if reader == 'hop2' else backend
    guests = 2 if reader == 'postcopy-ram' else 1
    with hugepages.pool(guests * MEMORY // hugepages.HUGE), \
            trial(request, pair, memory=MEMORY, backend=first) as guest:
        fill(guest)
        guest.balloon_to(SMALL)
        there = hop_to(guest, backend) if reader == 'hop2' else guest
        try:
            before = count(there)
            READERS[reader](there, path)
            return count(there) - before
        finally:
            there.kill()


@pytest.mark.parametrize('reader', READERS)
def test_f02_reading_takes(row, request, tmp_path, reader):
    """Nobody takes huge pages by reading ballooned memory."""
    # On the stock pair the balloon has freed none.
    stock, ours = (pages_read(request, pair, reader, tmp_path)
                   for pair in (STOCK, OURS))
    row.report(must=f'<= {OWN} huge pages', stock=str(stock), ours=str(ours),
               green=ours <= OWN)


# -- All backends -----------------------------------------------------------

@pytest.mark.parametrize('backend', BACKENDS)
def test_backends_boot(request, backend):
    """A guest boots on each backend, and the balloon goes there and back."""
    huge = backend in HUGE_BACKENDS
    with hugepages.pool(256) if huge else nullcontext(), \
            trial(request, OURS, memory=512 * MIB, backend=backend) as guest:
        guest.balloon_to(256 * MIB)
        guest.balloon_to(512 * MIB)
        guest.run('memfill 200')
        guest.check()
