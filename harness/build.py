# SPDX-License-Identifier: GPL-2.0-or-later
"""Build kernels, QEMUs and the guest's initramfs with make and ninja.

The stock pair is Debian's own kernel, and a QEMU built from build/stock/src. The QEMUs
have the same relative paths from the object folders, so that ccache compiles a file once
for both.
"""

import hashlib
import os
import re
import shutil
from pathlib import Path

from harness import tree
from harness.arch import OTHERS, X86
from harness.common import (BUILD, PROJECTS, ROOT, SRC, STOCK, Failure, capture,
                            jobs, run_logged, warn)
from harness.debian import archive, packages
from harness.initramfs import make_initramfs, modules, packaged_modules

FRAGMENT = ROOT / 'base' / 'kernel.config'
QEMU_OPTIONS = ('--python=/usr/bin/python3', '--target-list=x86_64-softmmu',
                '--without-default-features', '--enable-system', '--enable-tcg',
                '--enable-kvm', '--disable-docs', '--disable-tools',
                '--disable-guest-agent', '--disable-install-blobs',
                '--enable-gnutls', '--disable-debug-info')
# Modules of our kernel, too, which tests or guest/init load.
STOCK_MODULES = ('virtio_balloon', 'virtio_blk', 'virtio_mem', 'virtio_mmio')


def compiler_environment(env=None):
    """Return the environment for compilers behind ccache."""
    return {**(env or os.environ), 'CCACHE_DIR': str(BUILD / 'ccache'),
            'CCACHE_BASEDIR': str(BUILD), 'CCACHE_NOHASHDIR': '1',
            'CCACHE_DEPEND': '1', 'CCACHE_MAXSIZE': '6G',
            # Compression makes a first build a quarter slower.
            'CCACHE_NOCOMPRESS': '1',
            # Names the tree, but what comes out is the same for both.
            'CCACHE_IGNOREOPTIONS': '-fmacro-prefix-map=*', 'LC_ALL': 'C'}


def copy_if_newer(source, target):
    """Give a finished file its place; leave an equal one as it is."""
    if not source.is_file():
        raise Failure(f'the build left no {source.relative_to(ROOT)}')
    if not target.exists() or target.stat().st_mtime_ns != source.stat().st_mtime_ns:
        # A guest may be running the old one.
        part = target.with_name(f'{target.name}.part')
        shutil.copy2(source, part)
        part.rename(target)


def is_current(stamp, state):
    """Return whether a stamp file has the wanted content."""
    return stamp.exists() and stamp.read_text() == state


# -- Kernel -----------------------------------------------------------------

def dropped_options(fragment, config):
    """Return the lines of a configuration fragment that a .config lacks."""
    have = dict(re.findall(r'(?m)^(CONFIG_\w+)=(.*)$', config))
    return [f'{name}={value}' for name, value in
            re.findall(r'(?m)^\s*(CONFIG_\w+)=(.*?)\s*$', fragment)
            if have.get(name, 'n') != value]


def write_config(make, out, env, fragment):
    """Write .config from tinyconfig and additional options."""
    capture([*make, 'tinyconfig'], env=env)
    with open(out / '.config', 'a', encoding='utf-8') as config:
        config.write(fragment)
    capture([*make, 'olddefconfig'], env=env)


def kernel_options(arch=X86, own=''):
    """Return base/kernel.config, with lines of an architecture and others in place."""
    fragment = FRAGMENT.read_text(encoding='utf-8')
    named = FRAGMENT.with_name(f'{arch.name}.config').read_text(encoding='utf-8')
    for more in (named, own):
        for name in re.findall(r'(?m)^CONFIG_\w+=', more):
            fragment = re.sub(rf'(?m)^{name}.*\n', '', fragment)
        fragment += more
    return fragment


def configure_kernel(make, out, env, fragment):
    """Write .config from tinyconfig and the fragment, unless it is current."""
    stamp = out / 'fragment.stamp'
    if (out / '.config').exists() and is_current(stamp, fragment):
        return
    write_config(make, out, env, fragment)
    if lost := dropped_options(fragment, (out / '.config').read_text()):
        (out / '.config').unlink()
        raise Failure(f"the kernel refuses options of base/*.config: {', '.join(lost)}")
    stamp.write_text(fragment)


def kernel_make(source, out, arch, prefix):
    """make for a kernel tree: arch is the kernel's ARCH, prefix its compiler's."""
    return ['make', '-C', source, f'O={out}', f'ARCH={arch}', f'-j{jobs()}',
            f'CROSS_COMPILE={prefix}', f'CC=ccache {prefix}gcc', 'HOSTCC=ccache gcc']


def build_kernel(title, out, log, arch=X86, own=''):
    """Build our kernel: its image, its modules, and its initramfs."""
    # own: options in place of those in base/*.config
    env = compiler_environment()
    out.mkdir(parents=True, exist_ok=True)
    make = [*kernel_make(SRC / 'linux', out, arch.kernel, arch.prefix),
            'KBUILD_BUILD_TIMESTAMP=1970-01-01', 'KBUILD_BUILD_USER=build',
            'KBUILD_BUILD_HOST=build', 'LOCALVERSION=']
    configure_kernel(make, out, env, kernel_options(arch, own))
    image = Path(arch.image).name
    run_logged(title, [*make, image, 'modules'], log, env=env)
    copy_if_newer(out / arch.image, out / image)
    make_initramfs(modules(out), out / 'initramfs', arch)


def kernel():
    """make kernel: build/kernel/bzImage and build/kernel/initramfs."""
    tree.ensure('linux', strict=False)
    build_kernel('kernel', BUILD / 'kernel', 'kernel.log')


def kernel_variant(name, own):
    """Build our kernel with other options, in a folder for Guest; return the folder."""
    # It starts from a copy of build/kernel if there is one: make then builds only the
    # files that depend on the options.
    out = BUILD / 'variants' / name
    if not out.exists() and (BUILD / 'kernel' / 'bzImage').exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_name(f'{name}.part')
        shutil.rmtree(part, ignore_errors=True)
        capture(['cp', '-a', '--reflink=auto', BUILD / 'kernel', part])
        part.rename(out)
    build_kernel(f'kernel, {name}', out, f'kernel-{name}.log', own=own)
    return out


# -- QEMU -------------------------------------------------------------------

def configure_qemu(title, source, out, log, options):
    """Configure a QEMU tree, if need be; return the environment to build it in."""
    env = compiler_environment(archive.meson_environment())
    out.mkdir(parents=True, exist_ok=True)
    stamp = out / 'configure.stamp'
    wanted = ' '.join(options)
    if not (out / 'build.ninja').exists() or not is_current(stamp, wanted):
        run_logged(f'{title}: configure',
                   [os.path.relpath(source / 'configure', out), *options],
                   f'{log}-configure.log', cwd=out, env=env)
        stamp.write_text(wanted)
    return env


def build_qemu(title, source, out, log, *targets, names=('x86_64',), options=()):
    """Build the system emulators of a QEMU tree, and other targets."""
    env = configure_qemu(title, source, out, log,
                         ('--cc=ccache gcc', *QEMU_OPTIONS, *options))
    run_logged(title, ['ninja', f'-j{jobs()}',
                       *(f'qemu-system-{name}' for name in names), *targets],
               f'{log}.log', cwd=out, env=env)


def qemu():
    """make qemu: build/qemu/qemu-system-x86_64."""
    tree.ensure('qemu', strict=False)
    build_qemu('QEMU', SRC / 'qemu', BUILD / 'qemu', 'qemu')


def build_qemus(title, source, out, log, names, *targets):
    """Build the emulators of some architectures, under TCG, and other targets."""
    softmmu = ','.join(f'{name}-softmmu' for name in names)
    build_qemu(title, source, out, log, *targets, names=names, options=(
        '--disable-kvm', '--enable-fdt=system', f'--target-list={softmmu}'))


# -- Other architectures ----------------------------------------------------

def arches():
    """Our pair for other architectures, in build/arch."""
    packages.install(packages.CROSS)
    for project in PROJECTS:
        tree.ensure(project, strict=False)
    for arch in OTHERS:
        build_kernel(f'kernel for {arch.name}', arch.folder, f'kernel-{arch.name}.log',
                     arch)
    build_qemus('QEMU for other architectures', SRC / 'qemu', BUILD / 'arch' / 'qemu',
                'arch-qemu', [arch.qemu for arch in OTHERS])


# -- The unpatched pair -----------------------------------------------------

def stock_kernel():
    """Debian's kernel for clouds, with the modules that guests need."""
    release, drivers = (next(archive.tool(f'stock-{what}').glob('usr/lib/modules/*'))
                        for what in ('binary', 'modules'))
    if release.name != drivers.name:
        raise Failure(f'the stock kernel is {release.name}, its modules are of '
                      f'{drivers.name}: remove build/tools/stock-* and '
                      'build/download/stock-*, and run make stock')
    version = tree.base_version(tree.tree('linux'))[1]
    if own_release(version) != own_release(release.name):
        warn(f'the stock kernel is {release.name}, ours was made from {version}')
    copy_if_newer(release / 'vmlinuz', STOCK / 'bzImage')
    make_initramfs(packaged_modules(drivers, STOCK_MODULES), STOCK / 'initramfs')
    # For the test that compares ours with it: two tests must not download at a time.
    archive.tool('stock-config')


def own_release(version):
    """Return the kernel's own part of a version: 7.3.4 of 7.3.4-1~bpo13+1."""
    return re.match(r'[0-9.]*', archive.upstream(version))[0]


def stock():
    """make stock: build/stock/bzImage and build/stock/qemu-system-x86_64."""
    # The yardstick does not change while its base and its options do not.
    for project in PROJECTS:
        tree.ensure(project, strict=False)
    folder = STOCK / 'src' / 'qemu'
    tree.worktree('qemu', folder, 'base')
    state = hashlib.sha256(repr([tree.rev(folder, 'HEAD'), QEMU_OPTIONS])
                           .encode()).hexdigest()
    stamp = STOCK / 'complete.stamp'
    if not is_current(stamp, state):
        stamp.unlink(missing_ok=True)
        build_qemu('stock QEMU', folder, STOCK / 'qemu', 'stock-qemu')
        stamp.write_text(state)
    copy_if_newer(STOCK / 'qemu/qemu-system-x86_64', STOCK / 'qemu-system-x86_64')
    stock_kernel()


def everything():
    """Both pairs."""
    kernel()
    qemu()
    stock()
