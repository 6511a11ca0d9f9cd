# SPDX-License-Identifier: GPL-2.0-or-later
"""F1: a file system that fills up, or a cgroup that may have no more huge pages."""

import os
from contextlib import contextmanager, suppress

import pytest

from harness.common import capture
from harness.vm import MIB, PAGE, cgroup
from tests.support import hugepages
from tests.support.pairs import OURS, STOCK
from tests.support.trial import balloon_settles, fill, outcome, trial

# One after another, as they share the host's huge pages.
pytestmark = pytest.mark.xdist_group('huge pages')

MEMORY = 512 * MIB
SMALL = 256 * MIB
# Room for the guest's memory, and for what a file system keeps for itself.
SIZE = MEMORY + 64 * MIB


class FileSystem:
    """One that holds a guest's memory, and nothing else at first."""

    def __init__(self, folder, kind):
        self.mount = folder / 'mount'
        self.mount.mkdir()
        if kind == 'tmpfs':
            words = ['-t', 'tmpfs', '-o', f'size={SIZE}', 'balloon']
        else:
            image = folder / 'image'
            capture(['/sbin/mkfs.ext4', '-q', '-m', '0', image, f'{SIZE // MIB}M'])
            words = ['-o', 'loop', image]
        capture(['mount', *words, self.mount])
        self.options = {'backend': f'{kind},reserve=on,prealloc=on,mem-path={self.mount}'}

    @contextmanager
    def short(self, _guest):
        """A context in which another file has all space that was free."""
        path = self.mount / 'other'
        with open(path, 'wb') as file:
            end = 0
            for step in (MIB, PAGE):
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), end, step)
                        end += step
        yield
        path.unlink()

    def close(self):
        """Unmount it."""
        capture(['umount', self.mount])


class Cgroup:
    """One around QEMU, with a limit of huge pages."""

    def __init__(self, name):
        self.name = name
        self.folder = cgroup.make(name, SIZE, 'hugetlb')
        self.options = {'backend': 'hugetlb,reserve=on,prealloc=on',
                        'wrapper': cgroup.wrapper(self.folder)}

    @contextmanager
    def short(self, guest):
        """A context in which QEMU may have no more huge pages than it has."""
        held = sum(map(guest.resident, ('Shared_Hugetlb', 'Private_Hugetlb')))
        cgroup.make(self.name, held, 'hugetlb')
        yield
        cgroup.make(self.name, SIZE, 'hugetlb')

    def close(self):
        """Remove it."""
        self.folder.rmdir()


def make_host(kind, name, folder):
    """Return what a guest is in, which may have too little memory for it."""
    if kind == 'cgroup':
        return Cgroup(name)
    return FileSystem(folder, kind)


def deflate_when_short(request, pair, kind, folder):
    """Inflate; let the host run short; deflate and fill; what becomes of the guest."""
    # All of the memory is there at first: what the guest has never touched is not
    # the balloon's to look after.
    folder.mkdir()
    host = make_host(kind, f'{folder.name}-{request.node.name}', folder)
    try:
        with trial(request, pair, memory=MEMORY, **host.options) as guest:
            guest.balloon_to(SMALL)
            with host.short(guest):
                held = outcome(guest, lambda: balloon_settles(guest, MEMORY),
                               lambda: fill(guest))
                if not guest.running():
                    return held
                if pair is OURS:
                    held += f" ({guest.get('inflate-state')})"
            after = outcome(guest, lambda: guest.balloon_to(MEMORY),
                            lambda: fill(guest))
            return f'{held}, then {after}'
    finally:
        host.close()


@pytest.mark.parametrize('kind', ['tmpfs', 'disk', 'cgroup'])
def test_f01_full(row, request, tmp_path, kind):
    """A guest whose freed memory the host has no longer lives, and goes on."""
    with hugepages.pool(SIZE // hugepages.HUGE):
        stock = deflate_when_short(request, STOCK, kind, tmp_path / 'stock')
        ours = deflate_when_short(request, OURS, kind, tmp_path / 'ours')
    row.report(must='alive (not-backed), then alive', stock=stock, ours=ours,
               green=ours == 'alive (not-backed), then alive')
