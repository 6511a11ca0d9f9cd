# SPDX-License-Identifier: GPL-2.0-or-later
"""Another kernel for a guest that runs: guest/kexec.c, and the disks it reads from."""

import re

from harness.disk import drive
from harness.vm.host import KERNELS

FILES = ('bzImage', 'initramfs')


def kernel_disks(kernel):
    """Return QEMU's arguments for two disks, with a kernel and its initramfs."""
    return [arg for name in FILES for arg in drive(name, KERNELS[kernel] / name)]


def load_kernel(guest, more='', crash=False):
    """Load the guest's own kernel again, with more on its command line."""
    # crash: for the memory that the guest has reserved with crashkernel=
    for name, disk in zip(FILES, ('vda', 'vdb')):
        size = (guest.shape.folder / name).stat().st_size
        guest.run(f'head -c {size} /dev/{disk} > /tmp/{name}')
    line = re.sub(r'\bcrashkernel=\S+ ?', '', guest.read('/proc/cmdline'))
    guest.run(f"kexec {'-p' if crash else ''} /tmp/bzImage /tmp/initramfs "
              f"'{line} {more}'")
    guest.run('rm /tmp/bzImage /tmp/initramfs')
