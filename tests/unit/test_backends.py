# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of memory backends become QEMU's arguments, or a clear error."""

import pytest

from harness.common import Failure
from harness.vm import GIB, MIB
from harness.vm.memory import BACKENDS, backend, memory_args

pytestmark = pytest.mark.check


@pytest.fixture(autouse=True)
def fixture_no_mounts(monkeypatch):
    """Nothing is mounted or made for a name."""
    monkeypatch.setattr('harness.vm.memory.prepare', lambda path: None)


@pytest.mark.parametrize('name', BACKENDS)
def test_every_name(name):
    """Each name gives an object with its size, and reserves nothing."""
    kind, *words = backend(name, 'ram', GIB).split(',')
    assert kind.startswith('memory-backend-')
    assert {'id=ram', f'size={GIB}', 'reserve=off'} <= set(words)
    assert not name.endswith('-private') or 'share=off' in words


def test_properties_replace():
    """Properties after a name replace the defaults of the name."""
    words = backend('hugetlb,reserve=on,prealloc=on', 'ram', GIB).split(',')
    assert 'reserve=on' in words and 'prealloc=on' in words
    assert 'reserve=off' not in words


@pytest.mark.parametrize('name, message', [
    ('hugepages,share=on', 'no backend "hugepages": one of anon, .*memfd'),
    ('memfd,prealloc', '"prealloc" is no property=value'),
    ('anon+memfd', 'more names than NUMA nodes')])
def test_errors(name, message):
    """The error for a wrong name gives the reason, and lists the names that exist."""
    with pytest.raises(Failure, match=message):
        memory_args(name, GIB)


def test_nodes_take_turns():
    """Each NUMA node has the backend of its name, and its share of the memory."""
    args = memory_args('anon+memfd', GIB, nodes=2)
    objects = [args[i + 1] for i, arg in enumerate(args) if arg == '-object']
    assert objects == [f'memory-backend-ram,id=ram0,size={512 * MIB},reserve=off',
                       f'memory-backend-memfd,id=ram1,size={512 * MIB},reserve=off,'
                       'share=on']
