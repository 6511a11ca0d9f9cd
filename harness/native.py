# SPDX-License-Identifier: GPL-2.0-or-later
"""Build kernels for user-mode Linux, and the device, for the native bench.

The kernels are ours and the stock one, of the same options (base/uml.config), each with
and without SMP. The device is native/, with the libvhost-user of QEMU's tree.
"""

from harness import tree
from harness.build import (compiler_environment, configure_kernel, copy_if_newer,
                           kernel_make)
from harness.common import BUILD, ROOT, SRC, STOCK, compile_if_newer, run_logged
from harness.initramfs import make_initramfs

OUT = BUILD / 'native'
DEVICE = OUT / 'device'
VECTORS = OUT / 'vectors'
INITRAMFS = OUT / 'initramfs'
SOURCES = ROOT / 'native'
LIBRARY = SRC / 'qemu' / 'subprojects' / 'libvhost-user'
WARNINGS = ('-O2', '-Wall', '-Wextra', '-Werror')


def program(target, *names, argv=()):
    """Compile a program of some files of native/."""
    OUT.mkdir(parents=True, exist_ok=True)
    files = [SOURCES / f'{name}.c' for name in names]
    compile_if_newer(['gcc', *WARNINGS, *files, *argv], target, *files,
                     *SOURCES.glob('*.h'), ROOT / 'conformance' / 'vectors.h')


def vectors():
    """build/native/vectors: the table of conformance/ against the device's decoder."""
    program(VECTORS, 'vectors', 'decode')


def device():
    """build/native/device."""
    library = OUT / 'libvhost-user.o'
    OUT.mkdir(parents=True, exist_ok=True)
    # The tree's own warnings are not ours to mend.
    compile_if_newer(['gcc', '-O2', '-w', '-D_GNU_SOURCE', f'-I{LIBRARY}', '-c',
                      LIBRARY / 'libvhost-user.c'], library,
                     *LIBRARY.glob('libvhost-user.[ch]'))
    program(DEVICE, 'device', 'decode', 'memory',
            argv=[library, '-isystem', LIBRARY, '-pthread'])


def kernel_path(name, cpus):
    """The kernel, ours or stock, of a guest with so many CPUs."""
    return OUT / f'linux-{name}{"" if cpus > 1 else "-up"}'


def kernel(name, source, cpus):
    """A kernel for user-mode Linux from a tree, where kernel_path() says."""
    target = kernel_path(name, cpus)
    env, out = compiler_environment(), OUT / target.name.replace('linux', 'kernel')
    out.mkdir(parents=True, exist_ok=True)
    make = [*kernel_make(source, out, 'um', ''), 'KBUILD_BUILD_TIMESTAMP=1970-01-01',
            'KBUILD_BUILD_USER=build', 'KBUILD_BUILD_HOST=build', 'LOCALVERSION=']
    fragment = (ROOT / 'base' / 'uml.config').read_text(encoding='utf-8')
    if cpus == 1:
        fragment = fragment.replace('CONFIG_SMP=y', 'CONFIG_SMP=n')
    configure_kernel(make, out, env, fragment)
    run_logged(f'{name} kernel for UML{", SMP" * (cpus > 1)}', [*make, 'linux'],
               f'uml-{target.name}.log', env=env)
    copy_if_newer(out / 'linux', target)


def build():
    """Device, kernels, and the guest's files."""
    for project in tree.PROJECTS:
        tree.ensure(project, strict=False)
    device()
    stock = STOCK / 'src' / 'linux'
    tree.worktree('linux', stock, 'base')
    for cpus in (2, 1):
        kernel('ours', tree.tree('linux'), cpus)
        kernel('stock', stock, cpus)
    make_initramfs((), INITRAMFS)
