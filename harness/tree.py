# SPDX-License-Identifier: GPL-2.0-or-later
"""The git trees in build/src, and the patch queues made from them and for them.

A tree's first commit, tag "base", is the upstream source; every commit after it
is a patch. The ref refs/queue/applied names the commit at which tree and queue
were last known to be the same: what lies beyond it is the user's own work.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness import base
from harness.common import (BUILD, QUEUES, ROOT, SRC, STOCK, Failure, capture,
                            run_logged, say, warn)

PATCHES = ROOT / 'patches'
COVER = '0000-cover-letter.txt'
MARKER = 'The patches and what they touch (kept by "make refresh"):'
APPLIED = 'refs/queue/applied'

# Base commits and committers are the same on every machine.
FIXED = {'GIT_AUTHOR_NAME': 'upstream', 'GIT_AUTHOR_EMAIL': 'upstream@localhost',
         'GIT_COMMITTER_NAME': 'queue', 'GIT_COMMITTER_EMAIL': 'queue@localhost',
         'GIT_AUTHOR_DATE': '2000-01-01T00:00:00Z',
         'GIT_COMMITTER_DATE': '2000-01-01T00:00:00Z'}
# The user's git configuration must not change what patches look like.
PLAIN = {'GIT_CONFIG_GLOBAL': '/dev/null', 'GIT_CONFIG_NOSYSTEM': '1'}
FORMAT = ('format-patch', '-q', '--no-numbered', '--zero-commit',
          '--no-signature', '--full-index', '--no-attach', '--no-thread',
          '--no-base', '--no-notes', '--no-cover-letter', '--find-renames',
          '--diff-algorithm=myers', '--no-color', '--no-ext-diff')


def tree(queue):
    """Where a queue's tree lies."""
    return SRC / queue


def git(folder, *argv, env=None):
    """Run git in a folder, free of the user's configuration."""
    return capture(['git', '-C', folder, *argv],
                   env={**os.environ, **PLAIN, **(env or {})})


def rev(folder, name):
    """The commit that a name stands for, or '' if there is none."""
    done = subprocess.run(['git', '-C', str(folder), 'rev-parse', '-q',
                           '--verify', f'{name}^{{commit}}'], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False)
    return done.stdout.strip()


def dirty(folder):
    """The files that differ from HEAD or are unknown to git."""
    return git(folder, 'status', '--porcelain').splitlines()


def base_version(folder):
    """(name, version) of a tree's base, from the subject of its commit."""
    return git(folder, 'log', '-1', '--format=%s', 'base').strip().split(' ', 1)


def queue_files(queue):
    """A queue's patches in the order in which they apply."""
    return sorted((PATCHES / queue).glob('[0-9][0-9][0-9][0-9]-*.patch'))


def queue_text(folder):
    """{name: content} of the patches in a folder."""
    return {path.name: path.read_bytes() for path in folder.glob('*.patch')}


# -- Making a tree ----------------------------------------------------------

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
    git(folder, 'update-ref', APPLIED, 'HEAD')


def own_version(folder):
    """The version of a tree that the user named."""
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
    return folder


def from_archive(conf, part):
    """Download, unpack and commit the first version that serves.

    A newer release serves only if the queue applies to it exactly; leaves the
    queue unapplied in any case.
    """
    ready = base.downloaded(conf)
    candidates = [ready] if ready else base.search(conf)
    for found in candidates:
        if found is not ready:
            base.download(conf, found)
        try:
            folder = base.unpack(conf, part)
        except Failure as failure:
            shutil.rmtree(base.DOWNLOAD / conf.key, ignore_errors=True)
            raise Failure(f'{conf.name}: unpacking failed: {failure}') \
                from failure
        version = base.upstream(found.version)
        commit_base(folder, f'{conf.name} {version}')
        if not found.newer:
            say(f'{conf.name}: {version} from {found.suite}')
            return folder
        problem = apply(conf.key, folder, exact=True)
        if not problem:
            warn(f'{conf.name} {conf.accept[0]} is gone from the archive; using '
                 f'{version} from {found.suite}, to which every patch applies')
            git(folder, 'reset', '-q', '--hard', 'base')
            return folder
        warn(f'{conf.name} {version} does not serve: {problem}')
        shutil.rmtree(base.DOWNLOAD / conf.key)
        if found is ready:
            return from_archive(conf, part)
    raise Failure(f'no {conf.name} to be had')


def create(queue):
    """Make a tree with its base commit; it appears only when complete."""
    conf = base.load(queue)
    part = SRC / f'{queue}.part'
    shutil.rmtree(part, ignore_errors=True)
    own = os.environ.get(f'{queue.upper()}_SRC')
    folder = from_own(conf, own, part) if own else from_archive(conf, part)
    folder.rename(tree(queue))
    shutil.rmtree(part)


# -- Queue to tree ----------------------------------------------------------

def offsets(folder, patch):
    """What keeps a patch from applying exactly, or ''."""
    done = subprocess.run(['git', '-C', str(folder), 'apply', '--check', '-v',
                           str(patch)], text=True, capture_output=True,
                          env={**os.environ, **PLAIN, 'LC_ALL': 'C'},
                          check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ['does not apply'])[-1]
    moved = [line for line in done.stderr.splitlines() if '(offset' in line]
    return moved[0] if moved else ''


def am(folder, patch):
    """Apply one patch with plain git am; return '' or what is wrong."""
    done = subprocess.run(['git', '-C', str(folder), 'am', '-q',
                           '--committer-date-is-author-date', str(patch)],
                          text=True, capture_output=True,
                          stdin=subprocess.DEVNULL,
                          env={**os.environ, **PLAIN, **FIXED}, check=False)
    if not done.returncode:
        return ''
    subprocess.run(['git', '-C', str(folder), 'am', '--abort'], check=False,
                   capture_output=True)
    return done.stderr.strip() or done.stdout.strip()


def apply(queue, folder, exact):
    """Apply a queue to a tree at its base; return '' or what is wrong.

    exact: a hunk that applies at other lines than the patch says is a fault.
    """
    for patch in queue_files(queue):
        moved = offsets(folder, patch)
        if moved and exact:
            return f'{patch.name}: {moved}'
        problem = am(folder, patch)
        if problem:
            return f'{patch.name}: {problem}'
        if moved:
            warn(f'{patch.name}: {moved}')
    return ''


def must_be_exact(conf, version):
    """Whether offsets are an error on a base, not just worth a warning.

    They are on the version that the queue was made on, and on newer releases.
    """
    return version == conf.recorded or not (
        version.startswith('own-') or base.accepted(conf, version))


def reapply(queue):
    """Set a tree to its base and apply the queue."""
    folder = tree(queue)
    _, version = base_version(folder)
    conf = base.load(queue)
    git(folder, 'reset', '-q', '--hard', 'base')
    problem = apply(queue, folder, must_be_exact(conf, version))
    if problem:
        git(folder, 'reset', '-q', '--hard', APPLIED)
        raise Failure(f'the {queue} queue does not apply to {conf.name} '
                      f'{version}: {problem}')
    mark_applied(queue)
    say(f'{queue}: {len(queue_files(queue))} patches on {conf.name} {version}')


def check_usable(queue):
    """Raise Failure if a tree is not in a state to work with."""
    folder = tree(queue)
    if not rev(folder, 'base'):
        raise Failure(f'build/src/{queue} has no tag "base": it is not one of '
                      'our trees. Move it away and run make tree.')
    for state in ('rebase-apply', 'rebase-merge'):
        if (folder / '.git' / state).exists():
            raise Failure(f'build/src/{queue} is in the middle of a rebase or '
                          'am: finish or abort it first')


def queue_digest(queue):
    """A name for the state of a queue."""
    value = hashlib.sha256()
    for patch in queue_files(queue):
        value.update(patch.read_bytes())
    return value.hexdigest()


def mark_applied(queue):
    """Note that a tree holds its queue, in its present state, and no more."""
    folder = tree(queue)
    git(folder, 'update-ref', APPLIED, 'HEAD')
    git(folder, 'config', 'queue.digest', queue_digest(queue))


def same(queue):
    """Whether the commits of a tree are what the queue says."""
    folder = tree(queue)
    noted = subprocess.run(['git', '-C', str(folder), 'config', 'queue.digest'],
                           capture_output=True, text=True, check=False)
    if rev(folder, 'HEAD') == rev(folder, APPLIED) \
            and noted.stdout.strip() == queue_digest(queue):
        return True
    with tempfile.TemporaryDirectory() as temp:
        return export(queue, Path(temp)) == queue_text(PATCHES / queue)


def own_work(queue):
    """What a tree holds that make tree would destroy, or ''."""
    folder = tree(queue)
    if dirty(folder):
        return 'changes that are not committed'
    if rev(folder, 'HEAD') not in (rev(folder, APPLIED), rev(folder, 'base')):
        return 'commits that the queue does not have'
    return ''


def back_up(queue):
    """Put a tree's work aside under refs/queue/backup, uncommitted work too."""
    folder = tree(queue)
    name = f"refs/queue/backup/{git(folder, 'rev-parse', '--short', 'HEAD')}"
    name = name.strip()
    if dirty(folder):
        git(folder, 'add', '-A')
        git(folder, 'commit', '-q', '-m', 'Uncommitted work', env=FIXED)
        name += '-dirty'
    git(folder, 'update-ref', name, 'HEAD')
    say(f'{queue}: your work is kept as {name}')


def ensure(queue, force=False, strict=True):
    """Bring a tree up to date with its queue, creating it if it is missing.

    Work of the user's own is never touched: with 'strict' it is a Failure that
    says how to go on, without it the tree is left as it is (to be built). With
    'force' the work is put aside first.
    """
    folder = tree(queue)
    if not folder.exists():
        (PATCHES / queue).mkdir(parents=True, exist_ok=True)
        create(queue)
        reapply(queue)
        return
    check_usable(queue)
    if same(queue) and not (force and dirty(folder)):
        mark_applied(queue)
        return
    work = own_work(queue)
    if work and force:
        back_up(queue)
    elif work and strict:
        raise Failure(f'build/src/{queue} has {work}. "make refresh" takes them '
                      f'into patches/{queue}; "make tree FORCE=1" puts them '
                      'aside and applies the queue.')
    elif work:
        say(f'{queue}: build/src/{queue} has {work}; built as it is')
        return
    if not rev(folder, APPLIED):
        git(folder, 'update-ref', APPLIED, 'HEAD')
    reapply(queue)


# -- Tree to queue ----------------------------------------------------------

def export(queue, folder):
    """Write a tree's commits as patches into a folder; return their text."""
    git(tree(queue), *FORMAT, '-o', folder, 'base..HEAD')
    return queue_text(folder)


def check_commits(queue):
    """Raise Failure if a tree's commits cannot go into the queue."""
    folder = tree(queue)
    check_usable(queue)
    if dirty(folder):
        raise Failure(f'build/src/{queue} has changes that are not committed '
                      f'({dirty(folder)[0].strip()}): commit or stash them')
    if git(folder, 'rev-list', '--merges', 'base..HEAD'):
        raise Failure(f'build/src/{queue} has merges: a queue is linear')
    log = git(folder, 'log', '--format=%h %s%x00%b%x01', 'base..HEAD')
    for commit in filter(None, (c.strip() for c in log.split('\1'))):
        subject, body = commit.split('\0', 1)
        if re.match(r'\w+ (fixup|squash|amend)!', subject):
            raise Failure(f'build/src/{queue}: "{subject}" is not squashed yet: '
                          'git rebase -i --autosquash base')
        if re.search(r'(?m)^Signed-off-by:', body):
            raise Failure(f'build/src/{queue}: "{subject}" is signed off; the '
                          'person who sends the series does that, at sending')


def refresh_cover(queue):
    """Keep the count, the list and the diffstat of a cover letter true."""
    folder = tree(queue)
    path = PATCHES / queue / COVER
    count = len(queue_files(queue))
    if not path.exists():
        if count:
            warn(f'patches/{queue}/{COVER} is still to be written')
        return
    text = path.read_text(encoding='utf-8')
    text = re.sub(r'\[PATCH( [^]]*?)? 0+/\w+\]',
                  lambda m: f"[PATCH{m[1] or ''} {0:0{len(str(count))}}/{count}]",
                  text, count=1)
    head = text.split(MARKER)[0].rstrip()
    subjects = git(folder, 'log', '--reverse', '--format=  %s', 'base..HEAD')
    stat = git(folder, 'diff', '--stat=72', '--summary', 'base..HEAD')
    path.write_text(f'{head}\n\n{MARKER}\n\n{subjects}\n{stat}',
                    encoding='utf-8')


def refresh(queue):
    """Write a queue anew from the commits of its tree."""
    check_commits(queue)
    target = PATCHES / queue
    with tempfile.TemporaryDirectory() as temp:
        new = export(queue, Path(temp))
    for name in queue_text(target).keys() - new.keys():
        (target / name).unlink()
    for name, text in new.items():
        if not (target / name).exists() or (target / name).read_bytes() != text:
            (target / name).write_bytes(text)
    refresh_cover(queue)
    mark_applied(queue)
    _, version = base_version(tree(queue))
    if version.startswith('own-'):
        warn(f'{queue}: refreshed on a tree of your own; the recorded base '
             'version stays')
    else:
        base.record(queue, version)
    say(f'{queue}: {len(new)} patches in patches/{queue}')


def make_trees(force=False):
    """make tree."""
    for queue in QUEUES:
        ensure(queue, force)


def refresh_all():
    """make refresh: nothing is written unless both trees are fit for it."""
    for queue in QUEUES:
        if not tree(queue).exists():
            raise Failure(f'there is no build/src/{queue}: make tree first')
        check_commits(queue)
    for queue in QUEUES:
        refresh(queue)


def remove_all():
    """make clean-src: remove trees and downloads unless work would be lost."""
    for queue in QUEUES:
        if tree(queue).exists() and own_work(queue) and not same(queue):
            raise Failure(f'build/src/{queue} has {own_work(queue)}: "make '
                          'refresh" first, or remove the folder yourself')
    # Git worktrees do not outlive their repository.
    for folder in (SRC, STOCK / 'src', base.DOWNLOAD, base.APT,
                   BUILD / 'mutants', BUILD / 'each'):
        shutil.rmtree(folder, ignore_errors=True)
