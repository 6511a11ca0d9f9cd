# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the first commit of a tree: Debian's source, or the user's own."""

import os
import re
import shutil
from pathlib import Path

from harness.common import Failure, capture, run_logged, say, warn
from harness.debian import archive
from harness.git import FIXED, git, rev


def unhide(folder):
    """Take out of .gitignore what hides every file of Debian's kernel source.

    Debian keeps other files in git than we do. With its lines in place, git
    would neither show nor add a file that a patch is to create.
    """
    ignore = folder / '.gitignore'
    text = ignore.read_text(encoding='utf-8') if ignore.exists() else ''
    ours, found, _ = text.partition('\n#\n# Debian packaging:')
    if found:
        ignore.write_text(ours + '\n', encoding='utf-8')


def commit_base(folder, subject):
    """Make the one commit that a tree starts from."""
    unhide(folder)
    git(folder, 'init', '-q', '-b', 'master')
    for key, value in (('core.looseCompression', '1'), ('gc.auto', '0'),
                       ('core.fsync', 'none')):
        git(folder, 'config', key, value)
    run_logged(f'{subject}: into git', ['git', '-C', folder, 'add', '-Af', '.'],
               f'git-add-{folder.parent.name}.log')
    git(folder, 'commit', '-q', '-m', subject, env=FIXED)
    git(folder, 'tag', 'base')


def own_version(folder):
    """Return the version of a tree that the user named."""
    version = folder / 'VERSION'
    if version.is_file():
        return version.read_text().strip()
    text = (folder / 'Makefile').read_text() \
        if (folder / 'Makefile').is_file() else ''
    parts = [re.search(rf'(?m)^{key} = *(\d+)', text)
             for key in ('VERSION', 'PATCHLEVEL', 'SUBLEVEL')]
    return '.'.join(part[1] for part in parts if part) or 'unknown'


def from_own(conf, own, part):
    """Copy the tree that LINUX_SRC= or QEMU_SRC= names, at its HEAD."""
    own = Path(own).expanduser().resolve()
    if not own.is_dir():
        raise Failure(f'{conf.key.upper()}_SRC={own}: there is no such folder')
    folder = part / 'tree'
    if (own / '.git').exists():
        folder.mkdir(parents=True)
        capture(['sh', '-c', 'git -C "$0" archive HEAD | tar -x -C "$1"',
                 own, folder])
    else:
        part.mkdir(parents=True)
        shutil.copytree(own, folder, symlinks=True)
    commit_base(folder, f'{conf.name} own-{own_version(folder)}')
    # The base that make mail names, where other people have it.
    if rev(own, 'HEAD') and git(own, 'rev-parse', 'HEAD^{tree}') \
            == git(folder, 'rev-parse', 'HEAD^{tree}'):
        git(folder, 'config', 'queue.upstream', rev(own, 'HEAD'))
    return folder


def from_archive(conf, part, try_patches):
    """Download, unpack and commit the first version that serves.

    A newer release serves only if the patches apply to it exactly; leaves them
    unapplied in any case.
    """
    ready = archive.downloaded(conf)
    candidates = [ready] if ready else archive.search(conf)
    for found in candidates:
        if found is not ready:
            archive.download(conf, found)
        try:
            folder = archive.unpack(conf, part)
        except Failure as failure:
            shutil.rmtree(archive.DOWNLOAD / conf.key, ignore_errors=True)
            raise Failure(f'{conf.name}: unpacking failed: {failure}') \
                from failure
        version = archive.upstream(found.version)
        commit_base(folder, f'{conf.name} {version}')
        if not found.newer:
            say(f'{conf.name}: {version} from {found.suite}')
            return folder
        problem = try_patches(folder)
        if not problem:
            warn(f'{conf.name} {conf.accept[0]} is gone from the archive; using '
                 f'{version} from {found.suite}, to which every patch applies')
            git(folder, 'reset', '-q', '--hard', 'base')
            return folder
        warn(f'{conf.name} {version} does not serve: {problem}')
        shutil.rmtree(archive.DOWNLOAD / conf.key)
        if found is ready:
            return from_archive(conf, part, try_patches)
    raise Failure(f'no {conf.name} to be had')


def own_source(project):
    """Return the tree of the user's own that LINUX_SRC= or QEMU_SRC= names, or None."""
    return os.environ.get(f'{project.upper()}_SRC')


def make_base(conf, part, try_patches):
    """Make a tree of one commit in a folder below part; return it.

    try_patches: returns what keeps the patches from applying to a tree, or ''
    """
    own = own_source(conf.key)
    return from_own(conf, own, part) if own else from_archive(conf, part, try_patches)
