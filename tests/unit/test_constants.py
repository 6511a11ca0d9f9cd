# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers that stand in more than one place are the same in all of them.

The reference is the UAPI header of Linux, as the patches make it.
"""

import re

import pytest

from harness import fuzz, tree
from harness.common import PROJECTS, ROOT
from harness.vm import MIB
from tests.support import protocol

pytestmark = pytest.mark.check

PROTOCOL = (ROOT / 'docs' / 'protocol.md').read_text(encoding='utf-8')
# Masks and bounds of single fields, which the document gives in other words.
UNNAMED = {'VIRTIO_BALLOON_PAGES_SHIFT_MASK', 'VIRTIO_BALLOON_PAGES_BITMAP',
           'VIRTIO_BALLOON_RECLAIM_ALL'}


def defined(project):
    """Return {name: value} that the patches of a project add to the header of the device."""
    names = {}
    for path in tree.patch_files(project):
        for part in path.read_text(encoding='utf-8').split('\ndiff --git ')[1:]:
            if re.match(r'\S+linux/virtio_balloon\.h ', part):
                names |= re.findall(
                    r'(?m)^\+#define (VIRTIO_BALLOON_\w+)\s+([^\s/]+)', part)
    return names


def documented():
    """Return {name: number} of docs/protocol.md: in tables, and in the text."""
    names = dict(re.findall(r'`(VIRTIO_BALLOON_F_\w+)` \| (\d+) ', PROTOCOL))
    for prefix, rows in re.findall(
            r'name `(VIRTIO_BALLOON_\w+)…`.*\n\| ---.*\n((?:\|.*\n)+)', PROTOCOL):
        for value, name in re.findall(r'(?m)^\| (\d+) \| `(\w+)`', rows):
            names[prefix + name] = value
    for value, name in re.findall(
            r'\b(\d+)(?: bytes\b[^`.]*\(|\s)`(VIRTIO_BALLOON_\w+)`', PROTOCOL):
        names[name] = value
    low, high, prefix = re.search(
        r'(\d+) to (\d+) \(`(VIRTIO_BALLOON_\w+_)MIN`, `_MAX`', PROTOCOL).groups()
    return names | {f'{prefix}MIN': low, f'{prefix}MAX': high}


def test_both_projects_define_the_same():
    """The header that QEMU gets has the numbers of Linux."""
    first, second = map(defined, PROJECTS)
    assert len(first) > 20
    assert first == second


def test_protocol_has_the_numbers_of_the_header():
    """Every number of the header stands in docs/protocol.md, and is the same there."""
    header = defined('linux')
    assert documented() == {name: value for name, value in header.items()
                            if name not in UNNAMED}
    for name in UNNAMED:
        assert f'`{name}`' in PROTOCOL or name.endswith('_MASK')


def test_tests_have_the_numbers():
    """Tests use the header's feature bits, and the document's bound of RECLAIM."""
    header = defined('linux')
    assert protocol.BITS['page_bitmap'] == int(header['VIRTIO_BALLOON_F_PAGE_BITMAP'])
    assert protocol.BITS['host_request'] == int(header['VIRTIO_BALLOON_F_HOST_REQ_VQ'])
    assert f'up to {protocol.OVERSHOOT // MIB} MiB for each' in ' '.join(PROTOCOL.split())


def test_fuzzers_start_from_the_examples():
    """Every seed of the decoders' fuzzer is an example of docs/protocol.md."""
    examples = ''.join(re.findall(r'(?m)^    ((?:[0-9a-f]{2} ){7}[0-9a-f]{2})\b',
                                  PROTOCOL)).replace(' ', '')
    for seed in fuzz.SET_SEEDS + fuzz.ANSWER_SEEDS:
        assert seed in examples, seed
