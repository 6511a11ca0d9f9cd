# SPDX-License-Identifier: GPL-2.0-or-later
"""Pack the guest's files: busybox, our static programs, the kernel's modules."""

import lzma
import os
import shutil
import stat
from pathlib import Path

from harness.arch import X86
from harness.common import BUILD, ROOT, Failure, compile_if_newer
from harness.debian import archive

GUEST = ROOT / 'guest'
CFLAGS = ('-O2', '-static', '-Wall', '-Wextra', '-Werror', '-pthread')


def build_programs(arch):
    """Compile guest/*.c where they or a header are newer; {name: path}."""
    out = BUILD / 'guest' if arch is X86 else arch.folder / 'guest'
    out.mkdir(parents=True, exist_ok=True)
    programs = {source.stem: out / source.stem for source in sorted(GUEST.glob('*.c'))}
    for name, program in programs.items():
        source = GUEST / f'{name}.c'
        compile_if_newer([f'{arch.prefix}gcc', *CFLAGS, source], program, source,
                         *GUEST.glob('*.h'))
    return programs


def modules(objects):
    """Return the modules that a kernel build made."""
    listing = objects / 'modules.order'
    return [objects / Path(line).with_suffix('.ko') for line in
            (listing.read_text().split() if listing.exists() else ())]


def packaged_modules(folder, names):
    """Return the modules of a Debian package by name."""
    found = [next(folder.rglob(f'{name}.ko*'), None) for name in names]
    if None in found:
        raise Failure(f'{folder.name}, the stock kernel, has no '
                      f'{names[found.index(None)]}.ko')
    return found


def content(path):
    """Return the content of a file, decompressed if need be."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == '.xz' else data


def entry(number, name, mode, data=b'', device=(0, 0)):
    """Return one file of a cpio archive in the "newc" format."""
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
    head = '070701' + ''.join(f'{field:08x}' for field in fields)
    out = head.encode() + name.encode() + b'\0'
    out += b'\0' * (-len(out) % 4)
    return out + data + b'\0' * (-len(data) % 4)


def find_busybox(arch):
    """Return a static busybox: the system's, or a download."""
    if arch is not X86:
        return archive.tool(f'busybox-{arch.debian}') / 'bin/busybox'
    busybox = shutil.which('busybox')
    if not busybox:
        raise Failure('busybox is missing: install busybox-static')
    return Path(busybox)


def make_initramfs(drivers, target, arch=X86):
    """Write an initramfs with a kernel's modules, if it changes."""
    files = {'init': GUEST / 'init', 'bin/leaks': GUEST / 'leaks',
             'bin/busybox': find_busybox(arch)}
    files |= {f'bin/{n}': p for n, p in build_programs(arch).items()}
    files |= {f"lib/modules/{p.name.removesuffix('.xz')}": p for p in drivers}
    folders = ('bin', 'dev', 'lib', 'lib/modules', 'proc', 'sys', 'tmp')
    parts = [(name, stat.S_IFDIR | 0o755, b'', (0, 0)) for name in folders]
    parts.append(('dev/console', stat.S_IFCHR | 0o600, b'', (5, 1)))
    parts += [(name, stat.S_IFREG | 0o755, content(path), (0, 0))
              for name, path in files.items()]
    parts.append(('TRAILER!!!', 0, b'', (0, 0)))
    image = b''.join(entry(i, *part) for i, part in enumerate(parts, 1))
    if not target.exists() or target.read_bytes() != image:
        temp = target.with_name(target.name + '.part')
        temp.write_bytes(image)
        os.replace(temp, target)
