# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests whose kernels are built otherwise: with debugging, without features."""

import pytest

from harness import build
from harness.limits import PROGRAM
from harness.vm import KERNELS, MIB
from tests.support.accounts import FORMATS, exact_at

# Kernels are built, one after another.
pytestmark = [pytest.mark.long, pytest.mark.alone]

# In place of options in base/kernel.config.
DEBUG = 'DEBUG_KERNEL KASAN KASAN_VMALLOC PROVE_LOCKING DEBUG_ATOMIC_SLEEP DEBUG_VM ' \
    'DEBUG_VM_PGFLAGS DEBUG_LIST DEBUG_KMEMLEAK'
VARIANTS = {
    'debug': ''.join(f'CONFIG_{name}=y\n' for name in DEBUG.split()),
    'no-balloon-migration': 'CONFIG_BALLOON_MIGRATION=n\n',
    # Huge pages select compaction.
    'no-compaction': 'CONFIG_COMPACTION=n\nCONFIG_TRANSPARENT_HUGEPAGE=n\n',
}


@pytest.fixture(params=VARIANTS)
def kernel(request):
    """Build one; return its name."""
    name = request.param
    KERNELS[name] = build.kernel_variant(name, VARIANTS[name])
    yield name
    del KERNELS[name]


@FORMATS
def test_kernel(boot, kernel, page_bitmap):
    """Memory goes and comes, a program keeps its own, nothing is leaked."""
    # KASAN and lockdep take 290 MiB of it.
    memory = 1536 * MIB
    guest = boot(load=False, memory=memory, kernel=kernel, page_bitmap=page_bitmap,
                 host_request=True)
    for _ in range(2):
        # The second time there is a target from the start.
        guest.load_balloon()
        with guest.background('pattern 100'):
            for target in (700, 1000, 600, 1536):
                exact_at(guest, target * MIB)
                assert guest.request('unused-pages')['bytes'] > 0
                guest.run('echo 1 > /proc/sys/vm/compact_memory', check=False)
                guest.run('echo 40 > /proc/sys/vm/nr_hugepages; '
                          'echo 0 > /proc/sys/vm/nr_hugepages')
        assert guest.request('reclaim')['status'] in ('done', 'partial')
        guest.balloon_to(900 * MIB)
        guest.unload_balloon()
        assert guest.meminfo()['MemTotal'] == guest.total
    if kernel == 'debug':
        assert guest.run('leaks', PROGRAM) == 'kmemleak: done\n'
