# SPDX-License-Identifier: GPL-2.0-or-later
"""F11: the capability postcopy-ram, set as operators do, whether it is used or not."""

import time
from statistics import median

import pytest

from harness.vm import MIB, Guest, Refused
from harness.vm.migration import Trip
from tests.support.accounts import touch_all
from tests.support.pairs import PAIRS

MEMORY, USED, SENT = 1536 * MIB, 1100 * MIB, 200 * MIB
# Pages that may differ without a reason that counts: 32 MiB.
SLACK = 8192


def free(guest):
    """A program has written to most of memory, and ended."""
    guest.run(f'memfill {USED // MIB}')


def balloon(guest):
    """As much is in the balloon."""
    touch_all(guest)
    guest.balloon_to(MEMORY - USED)


STATES = {'freed': free, 'ballooned': balloon}


def hop(pair, state, capabilities):
    """Migrate a guest in some state, without ever going over to postcopy."""
    with Trip(Guest(memory=MEMORY, **PAIRS[pair])) as trip:
        trip.guest.load_balloon()
        STATES[state](trip.guest)
        return trip.go(capabilities=capabilities)


def say(hop):
    """What is told of a migration."""
    return (f"{hop.info['ram']['transferred'] // MIB} MiB sent, "
            f'{hop.pages // 1000} thousand pages looked at')


@pytest.mark.parametrize('state', STATES)
def test_f11_precopy(row, state):
    """The first pass skips as without the capability."""
    # Ballooned memory is read as zeroes and costs next to nothing to send. So
    # pages that are looked at count, too: reading them takes time, and memory.
    hops = {pair: hop(pair, state, ['postcopy-ram']) for pair in PAIRS}
    without = hop('ours', state, [])
    text = {pair: say(hop) for pair, hop in hops.items()}
    text['ours'] += f'; without the capability {say(without)}'
    ours = hops['ours']
    row.report(must=f'<= {SENT // MIB} MiB sent, no more pages looked at than without',
               **text, green=ours.info['ram']['transferred'] <= SENT
               and ours.pages <= 1.2 * without.pages + SLACK)


# So many pages that the guest has asked for tell that it lacks many.
ASKED = 100


def ask_for_pages(source, target):
    """Go over to postcopy in the first pass; wait until pages were asked for."""
    source.start_postcopy(target)
    source.wait_for(lambda: source.migration()['ram']['postcopy-requests'] >= ASKED,
                    f'{ASKED} page requests')


def use_ballooned(target):
    """Use memory that was in the balloon, and free memory, while postcopy goes on."""
    # At MiB a second the rest takes longer than any limit here: a page that the source
    # does not send when it is asked is missing.
    target.balloon_to(MEMORY)
    target.run('memfill 200')
    assert target.migration()['status'] == 'postcopy-active'


def go_over(source, target):
    """Go over to postcopy, and send the rest."""
    ask_for_pages(source, target)
    use_ballooned(target)
    source.set_migration_parameters(max_postcopy_bandwidth=0)


def stop_and_go_over(source, target):
    """Go over to postcopy with a guest that has been stopped; the target goes on."""
    source.pause()
    go_over(source, target)


def break_and_recover(source, target):
    """Lose the connection in postcopy, and go on over another one."""
    ask_for_pages(source, target)
    source.break_postcopy(target)
    source.recover_postcopy(target)
    use_ballooned(target)
    source.set_migration_parameters(max_postcopy_bandwidth=0)


# (capabilities, what is done meanwhile)
KINDS = {'plain': ([], go_over), 'preempt': (['postcopy-preempt'], go_over),
         'stopped': ([], stop_and_go_over), 'recovery': ([], break_and_recover),
         'preempt-recovery': (['postcopy-preempt'], break_and_recover)}


def arrive(pair, kind, seed):
    """Migrate a guest with an inflated balloon, and with free memory, in postcopy."""
    # churn checks all its pages at the end. Return how many the guest has asked for.
    capabilities, meanwhile = KINDS[kind]
    # A busy host makes the guest wait for its pages, one by one, for longer than its
    # kernel thinks right.
    append = 'rcupdate.rcu_cpu_stall_suppress=1'
    with Trip(Guest(memory=MEMORY, append=append, **PAIRS[pair])) as trip:
        trip.guest.load_balloon()
        trip.guest.balloon_to(MEMORY - 500 * MIB)
        churn = trip.guest.start(f'churn -s {seed} -r 100 400 2>&1')
        trip.guest.run('memfill 300')
        hop = trip.go(meanwhile, capabilities=['postcopy-ram', *capabilities],
                      bandwidth=16 * MIB, max_postcopy_bandwidth=MIB)
        # What has been left out comes back as memory like any other.
        trip.guest.balloon_to(MEMORY)
        trip.guest.run('memfill 600')
        churn.end(check=False)
        assert churn.status == 0, trip.guest.said('churn')
        return hop.info['ram']['postcopy-requests']


@pytest.mark.parametrize('kind', KINDS)
def test_f11_postcopy(row, kind, seed):
    """No page request goes unanswered, and what comes is right."""
    asked = {pair: arrive(pair, kind, seed) for pair in PAIRS}
    row.report(must='all requests answered, all pages right',
               stock=f"{asked['stock']} requests", ours=f"{asked['ours']} requests",
               green=asked['ours'] >= ASKED)


# MiB of memory that the guest has freed; that it keeps, so that there is always more to send
# than the bandwidth allows; and that it takes.
FREED, KEPT, TAKEN = 1000, 200, 8
ROUNDS = 3


def go_over_later(source, target):
    """Go over to postcopy once free memory has been left out."""
    def left_out():
        # There is none in the beginning. Stock QEMU leaves nothing out.
        ram = source.migration().get('ram', {'transferred': 0})
        return ram['transferred'] >= 8 * MIB and \
            ram.get('unused-bytes', FREED * MIB) >= 0.9 * FREED * MIB
    source.wait_for(left_out, 'pages left out')
    source.start_postcopy(target)


def take_free(pair, capabilities):
    """Let the guest take free memory in postcopy; return seconds and page requests."""
    taken = []

    def meanwhile(source, target):
        go_over_later(source, target)
        # The program is not there yet, either. There is no memory of size 0.
        target.run('memfill -s 0', check=False)
        asked = source.migration()['ram']['postcopy-requests']
        began = time.monotonic()
        target.run(f'memfill -s {TAKEN}')
        taken[:] = (time.monotonic() - began,
                    source.migration()['ram']['postcopy-requests'] - asked)
        assert target.migration()['status'] == 'postcopy-active'
        source.set_migration_parameters(max_postcopy_bandwidth=0)

    append = 'rcupdate.rcu_cpu_stall_suppress=1'
    with Trip(Guest(memory=MEMORY, append=append, **PAIRS[pair])) as trip:
        trip.guest.load_balloon()
        with trip.guest.background(f'memfill -k {KEPT}'):
            trip.guest.run(f'memfill {FREED}')
            trip.go(meanwhile, capabilities=['postcopy-ram', *capabilities],
                    bandwidth=4 * MIB, max_postcopy_bandwidth=MIB)
    return taken


@pytest.mark.alone
@pytest.mark.parametrize('kind', ['plain', 'preempt'])
def test_f11_waits(row, kind):
    """Pages that the guest asks for do not wait for the bandwidth."""
    took = {pair: [] for pair in PAIRS}
    for _ in range(ROUNDS):
        for pair, rounds in took.items():
            rounds.append(take_free(pair, KINDS[kind][0]))
    seconds, asked = ({pair: median(one[i] for one in rounds)
                       for pair, rounds in took.items()} for i in range(2))
    # Without preempt, stock waits for up to a tenth of a second for each answer. With it,
    # an answer takes no longer than the way there and back.
    judged = asked if kind == 'preempt' else seconds
    text = {pair: f'{seconds[pair]:.2f} s, {asked[pair]} requests' for pair in PAIRS}
    row.report(must=f'for {TAKEN} MiB of free memory, a fifth of the time of stock; with '
               'preempt, of its requests', **text,
               green=judged['ours'] <= judged['stock'] / 5)


def refusal(pair):
    """What QEMU says of multifd together with postcopy."""
    with Guest(memory=256 * MIB, **PAIRS[pair]) as guest:
        with pytest.raises(Refused) as refused:
            guest.set_up_migration(['postcopy-ram', 'multifd'])
        return str(refused.value)


def test_f11_multifd(row):
    """QEMU 10.0 refuses both together; one that takes them needs a kind above."""
    said = {pair: refusal(pair) for pair in PAIRS}
    row.report(must='refused, as by stock', **said, green=said['ours'] == said['stock'])
