# SPDX-License-Identifier: GPL-2.0-or-later
"""A hundred migrations under load, and QEMUs that lose pages on purpose."""

import random
import shutil

import pytest

from harness.vm import MIB, QEMUS, GuestError
from tests.field.test_postcopy import arrive
from tests.support import mutant
from tests.support.journey import CASES, Journey, Lost, ask
from tests.support.pairs import OURS, PAIRS

pytestmark = pytest.mark.long

# Of each of the six cases.
STEPS = 18
# How many guests a broken QEMU may have until it is found out, and how often
# each of them migrates.
GUESTS, EACH = 10, 6
MUTANTS = [patch for patch in mutant.MUTANTS
           if mutant.header(patch, 'Caught-by') == 'migration']
POSTCOPY_MUTANTS = [patch for patch in mutant.MUTANTS
                    if mutant.header(patch, 'Caught-by') == 'postcopy']


@pytest.fixture
def rng(seed):
    """The source of random choices."""
    return random.Random(seed)


def at_random(journey, rng, steps):
    """Migrate; cancel some migrations, send requests during others."""
    # Return how many migrations were completed.
    completed = 0
    for _ in range(steps):
        limits = {'downtime': rng.choice((30, 100, 300))}
        if rng.random() < 0.3:
            completed += not journey.cancel(rng.uniform(0, 1.5), **limits)
        kinds = [rng.choice(('reclaim', 'sync', 'unused-pages'))
                 for _ in range(rng.randrange(3))]
        if journey.case == 5:
            journey.guest.set_target(rng.randrange(700, 1400) * MIB)
        journey.go(lambda source, _target, kinds=kinds:
                   ask(source, kinds, rng), **limits)
        completed += 1
    return completed


@pytest.mark.parametrize('case', CASES, ids=lambda n: CASES[n].__name__)
def test_many(case, rng, tmp_path):
    """At least a hundred over all cases; every page is checked after each."""
    with Journey(case, rng.randrange(1 << 30), tmp_path) as journey:
        done = at_random(journey, rng, STEPS)
    print(f'{done} migrations')
    assert done >= STEPS >= 100 / len(CASES)


@pytest.mark.alone
@pytest.mark.parametrize('patch', MUTANTS, ids=lambda patch: patch.stem)
def test_mutant_is_caught(patch, rng, tmp_path, monkeypatch):
    """The migrations of test_many find a QEMU that loses pages."""
    # The kernel may be the first to lose a page. If all that is seen of that is a
    # guest that no longer answers, another guest is tried.
    monkeypatch.setitem(QEMUS, 'mutant', shutil.copy2(
        mutant.build(patch, 'qemu-system-x86_64'), mutant.FOLDER / f'qemu-{patch.stem}'))
    done = 0
    for number in range(GUESTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            with Journey(rng.choice((1, 2)), rng.randrange(1 << 30), folder,
                         qemu='mutant', rate=0) as journey:
                for _ in range(EACH):
                    done += 1
                    journey.go(downtime=300)
        except Lost as lost:
            print(f'guest {number}, migration {done}: {lost}')
            if lost.proven:
                return
    pytest.fail(f'not caught within {done} migrations')


@pytest.mark.alone
@pytest.mark.parametrize('patch', POSTCOPY_MUTANTS, ids=lambda patch: patch.stem)
def test_postcopy_mutant_is_caught(patch, seed, monkeypatch):
    """A QEMU that does not send a page that it is asked for keeps the guest waiting."""
    monkeypatch.setitem(QEMUS, 'mutant', mutant.build(patch, 'qemu-system-x86_64'))
    monkeypatch.setitem(PAIRS, 'mutant', {**OURS, 'qemu': 'mutant'})
    with pytest.raises((AssertionError, GuestError)) as failure:
        arrive('mutant', 'plain', seed)
    print(str(failure.value)[:200])


def test_mutants_are_there():
    """The two ways to lose pages that must be caught."""
    assert {patch.stem for patch in MUTANTS} >= {'stale-id', 'early-ask'}
