# SPDX-License-Identifier: GPL-2.0-or-later
"""Our guest's kernel has the memory options of Debian's kernel for clouds.

These are in the Kconfig files below. base/differences.txt has a reason for each difference.
"""

import re

import pytest

from harness import tree
from harness.common import BUILD, ROOT, SRC
from harness.debian import archive

# (file, first option, last option); all of the file where no options are named.
GROUPS = (
    ('mm/Kconfig',), ('mm/Kconfig.debug',), ('mm/damon/Kconfig',), ('security/Kconfig',),
    ('security/Kconfig.hardening',), ('kernel/power/Kconfig',), ('kernel/Kconfig.kexec',),
    ('kernel/Kconfig.preempt',), ('kernel/Kconfig.hz',), ('kernel/time/Kconfig',),
    ('drivers/virtio/Kconfig',), ('lib/Kconfig.kasan',), ('lib/Kconfig.kfence',),
    ('lib/Kconfig.kmsan',), ('lib/Kconfig.ubsan',),
    # Accounting, scheduling, cgroups, namespaces
    ('init/Kconfig', 'VIRT_CPU_ACCOUNTING', 'SCHED_AUTOGROUP'),
    # Debugging of memory, of the scheduler, of data structures
    ('lib/Kconfig.debug', 'DEBUG_OBJECTS', 'CODE_TAGGING'),
    ('lib/Kconfig.debug', 'SCHED_INFO', 'SCHEDSTATS'),
    ('lib/Kconfig.debug', 'DEBUG_LIST', 'DEBUG_MAPLE_TREE'),
    # Hardening and NUMA of this architecture
    ('arch/Kconfig', 'STACKPROTECTOR', 'STACKPROTECTOR_STRONG'),
    ('arch/Kconfig', 'VMAP_STACK', 'RANDOMIZE_KSTACK_OFFSET_DEFAULT'),
    ('arch/x86/Kconfig', 'MAXSMP', 'NR_CPUS'),
    ('arch/x86/Kconfig', 'NUMA', 'NODES_SHIFT'),
    ('arch/x86/Kconfig', 'RELOCATABLE', 'RANDOMIZE_MEMORY_PHYSICAL_PADDING'),
    ('arch/x86/Kconfig', 'CPU_MITIGATIONS', 'MITIGATION_VMSCAPE'),
)
# Options that the compiler, which differs from Debian's, or the architecture sets.
NOT_CHOSEN = re.compile(r'(CC|GCC|CLANG|RUSTC|HAVE)_')
# Differences that no reason excuses.
NEVER = '''
INIT_ON_ALLOC_DEFAULT_ON MEMCG NUMA NUMA_BALANCING SPARSEMEM_VMEMMAP
TRANSPARENT_HUGEPAGE_ALWAYS CGROUP_HUGETLB KSM ZSWAP PAGE_REPORTING VIRTIO_MEM
HIBERNATION KEXEC_FILE CRASH_DUMP PROC_VMCORE PSI HARDENED_USERCOPY
SLAB_FREELIST_HARDENED SLAB_FREELIST_RANDOM SHUFFLE_PAGE_ALLOCATOR
VIRTIO_BALLOON JUMP_LABEL
'''.split()
LINE = re.compile(r'(\w+): (.+)')


def options(path, first='', last=''):
    """Return the options that a Kconfig file defines, or those from one to another."""
    text = (SRC / 'linux' / path).read_text(encoding='utf-8')
    names = re.findall(r'(?m)^\s*(?:menu)?config\s+(\w+)', text)
    return names[names.index(first):names.index(last) + 1] if first else names


def added():
    """Return the options that the patches add."""
    return {name for patch in tree.patch_files('linux') for name in re.findall(
        r'(?m)^\+config (\w+)', patch.read_text(encoding='utf-8'))}


def values(path):
    """Return {option: value} of a .config, without options that are not set."""
    return dict(re.findall(r'(?m)^CONFIG_(\w+)=(.*)$',
                           path.read_text(encoding='utf-8')))


@pytest.fixture(name='differences', scope='module')
def fixture_differences():
    """{option: (ours, Debian's)} of the options that differ."""
    home = archive.tool('stock-config')
    debian = values(next(home.glob('usr/lib/modules/*/config')))
    ours = values(BUILD / 'kernel' / '.config')
    names = {name for group in GROUPS for name in options(*group)
             if not NOT_CHOSEN.match(name)} - added()
    assert len(names) > 500
    pairs = {name: (ours.get(name, 'n'), debian.get(name, 'n'))
             for name in names.union(NEVER)}
    return {name: pair for name, pair in pairs.items() if len(set(pair)) > 1}


@pytest.fixture(name='reasons', scope='module')
def fixture_reasons():
    """{option: why it differs}, at most 20."""
    text = (ROOT / 'base' / 'differences.txt').read_text(encoding='utf-8')
    lines = [line for line in text.splitlines() if line and line[0] != '#']
    found = dict(LINE.fullmatch(line).groups() for line in lines)
    assert len(found) == len(lines) <= 20
    return found


def test_differences_have_reasons(differences, reasons):
    """Every difference is in the table."""
    unexplained = sorted(f'{name}: ours {ours}, Debian {debian}'
                         for name, (ours, debian) in differences.items()
                         if name not in reasons)
    assert not unexplained, '\n'.join(unexplained)


def test_reasons_have_differences(differences, reasons):
    """Every option in the table differs."""
    assert not reasons.keys() - differences.keys()


def test_never(differences):
    """Options that guests in clouds rely on are as in Debian; modules are modules."""
    assert not differences.keys() & set(NEVER)
