# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks: with files that fill a guest's page cache, and to write to."""

import os
import tempfile
from contextlib import suppress

from harness.common import BUILD, capture
from harness.vm import MIB

# Disks of an eighth of the guest's memory each.
DISKS = 7


def make_image(name, size, fill):
    """Return an ext4 image of so many bytes in build/, with the files of fill(folder)."""
    image = BUILD / f'{name}.ext4'
    if image.exists():
        return image
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        files, part = f'{folder}/files', f'{folder}/part'
        os.mkdir(files)
        fill(files)
        capture(['/sbin/mkfs.ext4', '-q', '-O', '^has_journal', '-m', '0', '-d',
                 files, part, f'{size // MIB}M'])
        # Another process may have made one in between, and may be using it.
        with suppress(FileExistsError):
            os.link(part, image)
    return image


def disk_image(size):
    """Return an ext4 image that holds one file of as many bytes without a zero page."""
    def fill(folder):
        block = os.urandom(MIB)
        with open(f'{folder}/file', 'wb') as file:
            for _ in range(size // MIB):
                file.write(block)
    return make_image(f'file-{size // MIB}', size * 17 // 16 + 16 * MIB, fill)


def drive(name, path, options='read-only=on,file.locking=off'):
    """Return QEMU's arguments for a disk, which several guests may read by default."""
    return ['-blockdev', f'raw,node-name={name},{options},file.driver=file,'
                         f'file.filename={path}',
            '-device', f'virtio-blk,drive={name}']


def disks(image):
    """Return QEMU's arguments for DISKS read-only disks with the same content."""
    return [arg for i in range(DISKS) for arg in drive(f'disk{i}', image)]


def writable_disk(image, size, throttle=None):
    """Make an ext4 image of so many bytes; return QEMU's arguments for the disk."""
    # throttle: bytes that are written in a second at most
    capture(['/sbin/mkfs.ext4', '-q', '-F', image, f'{size // MIB}M'])
    args = ['-blockdev', f'file,node-name=file,filename={image}']
    if throttle:
        args += ['-object', f'throttle-group,id=slow,x-bps-write={throttle}',
                 '-blockdev', 'throttle,node-name=disk,throttle-group=slow,'
                              'file=file']
    return [*args, '-device', f"virtio-blk,drive={'disk' if throttle else 'file'}"]
