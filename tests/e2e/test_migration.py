# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration with unused pages left out: nothing is lost, much is saved."""

import random
from pathlib import Path

import pytest

from harness.limits import PROGRAM
from harness.vm import GIB, MIB, PAGE, Refused
from tests.support.journey import CASES, OURS, Journey, ask
from tests.support.protocol import SYNC, accepted


@pytest.mark.parametrize('case', CASES, ids=lambda n: CASES[n].__name__)
def test_nothing_lost(case, seed, tmp_path):
    """In each of the benchmark's cases, with small downtime limits."""
    with Journey(case, seed, tmp_path) as journey:
        for downtime in (100, 30):
            assert journey.go(downtime=downtime)['ram']['dirty-sync-count'] >= 2


def test_cancelled_and_restarted(seed, tmp_path):
    """A migration that is cancelled at any moment leaves no trace."""
    rng = random.Random(seed)
    with Journey(2, seed, tmp_path) as journey:
        moments = [rng.uniform(0, 1.5) for _ in range(2)]
        cancelled = [journey.cancel(after, downtime=30) for after in moments]
        journey.go(downtime=30)
        assert journey.cancel(0, downtime=30) or any(cancelled)
        journey.go(downtime=30)


def test_requests_meanwhile(seed, tmp_path):
    """Requests during a migration are answered, or refused in clear words."""
    rng = random.Random(seed)
    with Journey(1, seed, tmp_path) as journey:
        for kind in ('reclaim', 'sync', 'unused-pages'):
            journey.go(lambda source, _target, kind=kind:
                       ask(source, (kind, kind), rng), downtime=100)
            # Whatever has become of them, the next one works.
            number = journey.guest.wait_for(
                lambda kind=kind: accepted(journey.guest, kind), 'no request runs')
            assert journey.guest.request_ends(number)['status'] == 'done'


def test_request_ends_at_source(seed, tmp_path):
    """A sync that runs when the guest moves ends once, where it was made."""
    with Journey(1, seed, tmp_path, throttle=MIB) as journey:
        journey.guest.run('dd if=/dev/zero of=/tmp/own/zero bs=1M count=80')
        number = journey.guest.start_request('sync', timeout=PROGRAM)
        journey.go(downtime=300)
        assert [(event['id'], event['status']) for event in journey.ended] == \
            [(number, 'aborted')]
        # Slow enough not to end at the source; there is no need to wait on.
        journey.guest.qmp('qom-set', path='/objects/slow', property='limits',
                          value={'bps-write': 100 * MIB})
        number = journey.guest.wait_for(lambda: accepted(journey.guest, 'sync'), 'sync')
        assert [event['id'] for event in
                journey.guest.events('BALLOON_REQUEST_COMPLETED')] in ([], [number])


def zero_pages_of_churn(guest, one_of):
    """Overwrite some pages of churn in a guest that is stopped; return how many."""
    for line in Path(f'/proc/{guest.pid}/maps').read_text().splitlines():
        first, last = (int(number, 16) for number in line.split()[0].split('-'))
        if last - first == guest.memory:
            break
    found = []
    with open(f'/proc/{guest.pid}/mem', 'r+b', 0) as memory:
        for at in range(first, last, MIB):
            memory.seek(at)
            words = memoryview(memory.read(MIB)).cast('Q')
            found += [at + i * 8 for i in range(0, MIB // 8, PAGE // 8)
                      if words[i] > 1 << 32 and words[i + 8] == words[i] + 1
                      and words[i + 16] == words[i] + 2]
        for at in found[::one_of]:
            memory.seek(at)
            memory.write(bytes(PAGE))
    return len(found[::one_of])


def test_churn_notices(boot):
    """Pages that turn into zeroes behind the guest's back are found out."""
    guest = boot(load=False, memory=512 * MIB, balloon=False)
    job = guest.start('churn -s 1 200')
    job.signal(10)
    guest.wait_for(lambda: guest.said('churn').count('check 1') == 2, 'check')
    guest.pause()
    assert zero_pages_of_churn(guest, 100) > 50
    guest.resume()
    job.signal(10)
    job.wait(check=False)
    said = guest.said('churn')
    assert job.status == 1, said
    assert 'zeroes' in said and 'pages wrong' in said


def travel(boot, guest, **changes):
    """Migrate a quiet guest; return it at the destination, and QEMU's numbers."""
    target = boot.twin(guest, **changes)
    return target, guest.migrate(target, downtime=300)


def test_unused_pages_are_skipped(boot):
    """Most of the memory that was written and freed is not sent."""
    guest = boot(memory=GIB, **OURS)
    guest.run('memfill 768')
    target, result = travel(boot, guest)
    assert result['ram']['transferred'] < 200 * MIB
    assert target.run('echo there').strip() == 'there'


def test_ballooned_pages_are_skipped(boot):
    """QEMU does not even read memory in the balloon; it comes back whole."""
    guest = boot(memory=GIB, **OURS)
    guest.balloon_to(300 * MIB)
    target, result = travel(boot, guest)
    ram = result['ram']
    assert (ram['normal'] + ram['duplicate']) * PAGE < 500 * MIB
    assert target.actual() == 300 * MIB
    with target.background('pattern 100'):
        target.balloon_to(GIB)
    assert target.meminfo()['MemTotal'] == guest.total


def test_hint_and_host_request(boot):
    """With both features, host requests are used: the guest keeps its memory."""
    guest = boot(memory=GIB, **OURS, free_page_hint='on', iothread='hints',
                 args=['-object', 'iothread,id=hints'])
    guest.run('memfill 768')
    stall = guest.start('stall 64')
    stall.signal(10)
    guest.wait_for(lambda: 'begun' in guest.said('stall'), 'begun')
    target, result = travel(boot, guest)
    stall.end()
    said = dict(word.split('=') for word in target.said('stall').split() if '=' in word)
    assert int(said['free_before']) - int(said['free']) < 200 << 10
    # A busy host has the guest write to the 64 MiB of stall more often.
    assert result['ram']['transferred'] < 400 * MIB


def test_guest_without_driver(boot):
    """A guest without a balloon driver migrates as before."""
    guest = boot(load=False, memory=GIB, **OURS)
    guest.run('memfill 768')
    target, result = travel(boot, guest)
    assert result['ram']['transferred'] > 700 * MIB
    target.load_balloon()
    target.balloon_to(512 * MIB)


@pytest.mark.parametrize('kernel', ['ours', 'stock'])
def test_between_with_and_without(boot, kernel):
    """The destination needs the features that the guest uses, and no others."""
    guest = boot(memory=GIB, kernel=kernel, append=SYNC, **OURS)
    target = boot.twin(guest, balloon={})
    if kernel == 'stock':
        guest.migrate(target)
        target.balloon_to(512 * MIB)
        return
    guest.start_migration(target)
    guest.end_migration()
    guest.wait_for(lambda: not target.running(), 'refused')
    boot.end(target, check=False)
    assert 'destination needs host-request=on' in target.output()
    # Nothing has happened to the source.
    guest.resume()
    target, _ = travel(boot, guest)
    assert target.request('sync')['status'] == 'done'


def test_from_without_to_with(boot):
    """A guest that was started without the features keeps being without."""
    guest = boot(memory=GIB, page_bitmap=False, host_request=False)
    target, _ = travel(boot, guest, balloon=OURS)
    target.balloon_to(512 * MIB)
    with pytest.raises(Refused, match='no balloon driver'):
        target.start_request('sync')


@pytest.mark.parametrize('capabilities', [(), ('mapped-ram',),
                                          ('mapped-ram', 'multifd')],
                         ids=lambda names: '-'.join(names) or 'stream')
def test_saved_when_stopped(capabilities, seed, tmp_path):
    """Pages that the guest writes after it was asked are saved; churn checks them."""
    limits = {'multifd_channels': 2} if 'multifd' in capabilities else {}
    with Journey(2, seed, tmp_path) as journey:
        guest = journey.guest
        assert guest.request('unused-pages', keep=True)['status'] == 'done'
        # It goes into pages that were named.
        guest.run('dd if=/dev/urandom of=/tmp/after bs=1M count=50')
        wanted = guest.run('md5sum /tmp/after')
        journey.save_and_restore(tmp_path / 'saved', capabilities=capabilities,
                                 **limits)
        assert journey.guest.run('md5sum /tmp/after') == wanted


def test_snapshot_is_whole(boot, tmp_path):
    """An internal snapshot includes the balloon's memory, as it may be loaded over it."""
    guest = boot(memory=512 * MIB, **OURS)
    guest.add_snapshot_disk(tmp_path / 'disk.qcow2')
    guest.balloon_to(256 * MIB)
    guest.save_snapshot()
    assert guest.get('migration-stats')['ballooned-skipped'] == 0
    guest.run('true')
