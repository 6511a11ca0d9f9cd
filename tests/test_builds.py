# SPDX-License-Identifier: GPL-2.0-or-later
"""Every Linux patch builds alone: built in, as a module, and without the driver.

With W=1, and without a warning that the base does not have. Built is what the
queue touches, after each of its patches.
"""

import functools
import re

import pytest

from harness import build, tree
from harness.common import BUILD, LOGS, capture, jobs, run_logged

pytestmark = pytest.mark.long

FOLDER = BUILD / 'each'
COMMITS = tree.git(tree.tree('linux'), 'rev-list', '--reverse',
                   'base..HEAD').split()


@pytest.fixture(name='source', scope='module')
def fixture_source():
    """A worktree to check commits out in."""
    source = FOLDER / 'linux'
    if not source.exists():
        tree.git(tree.tree('linux'), 'worktree', 'prune')
        tree.git(tree.tree('linux'), 'worktree', 'add', '-q', '--detach',
                 source, 'base')
    return source


def configuration(value):
    """The guests' options, with the driver set so, and KUnit tests with it."""
    text = build.FRAGMENT.read_text(encoding='utf-8')
    text, count = re.subn(r'(?m)^(CONFIG_VIRTIO_BALLOON)=m$', rf'\1={value}', text)
    assert count == 1
    tests = 'm' if value == 'm' else 'y'
    return f'''{text}
CONFIG_KUNIT=y
CONFIG_VIRTIO_BALLOON_KUNIT_TEST={tests}
CONFIG_VIRTIO_BALLOON_DEVICE_KUNIT_TEST={tests if value != 'n' else 'n'}
CONFIG_UNUSED_PAGES_KUNIT_TEST={tests}
CONFIG_BALLOON_KUNIT_TEST=y
'''


def targets(source, value):
    """drivers/virtio, and the objects of what the queue touches elsewhere."""
    files = tree.git(tree.tree('linux'), 'diff', '--name-only', 'base', 'HEAD',
                     '--', '*.c').split()
    objects = [name[:-1] + 'o' for name in files if (source / name).exists()
               and not name.startswith(('drivers/virtio/', 'tools/'))
               and (value != 'n' or name != 'mm/balloon.c')]
    return [*objects, 'drivers/virtio/']


def warnings(source, commit, value):
    """Build a commit; the warnings without the line where they are."""
    out, env = FOLDER / value, build.compiler_environment()
    out.mkdir(parents=True, exist_ok=True)
    tree.git(source, 'checkout', '-q', '--detach', commit)
    make = ['make', '-C', source, f'O={out}', 'ARCH=x86_64', 'W=1',
            'CC=ccache gcc', 'HOSTCC=ccache gcc']
    capture([*make, 'tinyconfig'], env=env)
    with open(out / '.config', 'a', encoding='utf-8') as config:
        config.write(configuration(value))
    capture([*make, 'olddefconfig'], env=env)
    log = f'each-{value}.log'
    run_logged(f'{commit[:12]}, ={value}',
               [*make, f'-j{jobs()}', 'prepare', *targets(source, value)],
               log, env=env)
    said = (LOGS / log).read_text(encoding='utf-8', errors='replace')
    return {re.sub(r':\d+', '', line) for line in said.splitlines()
            if re.search(r'\bwarning:', line, re.I)}


@functools.cache
def known(source, value):
    """What the base warns of."""
    return warnings(source, 'base', value)


@pytest.mark.parametrize('value', ['y', 'm', 'n'])
@pytest.mark.parametrize('number', range(len(COMMITS)),
                         ids=lambda number: f'{number + 1:04}')
def test_patch(number, value, source):
    """The patch compiles and adds no warning."""
    before = known(source, value)
    assert not warnings(source, COMMITS[number], value) - before
