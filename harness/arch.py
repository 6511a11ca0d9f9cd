# SPDX-License-Identifier: GPL-2.0-or-later
"""The architectures of guests: how they are built, and what boots them."""

from dataclasses import dataclass

from harness.common import BUILD


@dataclass(frozen=True)
class Arch:
    """One architecture, as the kernel, Debian and QEMU name it."""
    # prefix: of the names of its compilers; image: the file that the kernel's build makes
    # machine: QEMU's, unless a test wants another; console: on the first -serial
    name: str
    kernel: str
    debian: str
    qemu: str
    prefix: str
    image: str
    machine: str
    cpu: tuple
    console: str
    page: int = 4096

    @property
    def folder(self):
        """Return the folder for the kernel and its initramfs."""
        return BUILD / 'arch' / self.name


X86 = Arch('x86_64', 'x86_64', 'amd64', 'x86_64', '', 'arch/x86/boot/bzImage',
           'pc', (), 'ttyS0')
# The architectures of make test-arch.
OTHERS = (
    Arch('arm64-64k', 'arm64', 'arm64', 'aarch64', 'aarch64-linux-gnu-',
         'arch/arm64/boot/Image', 'virt', ('-cpu', 'cortex-a57'), 'ttyAMA0',
         64 << 10),
    Arch('s390x', 's390', 's390x', 's390x', 's390x-linux-gnu-',
         'arch/s390/boot/bzImage', 's390-ccw-virtio', (), 'ttysclp0'),
    Arch('i386', 'i386', 'i386', 'i386', 'i686-linux-gnu-',
         'arch/x86/boot/bzImage', 'pc', (), 'ttyS0'),
)
ARCHES = {arch.name: arch for arch in (X86, *OTHERS)}
