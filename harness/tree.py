# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the git trees in build/src from the patches, and keep them up to date.

A tree's first commit, tag "base", is the upstream source; every commit after it
is a patch. Each series, a folder of patches that is mailed by itself, is a branch of
the same name that ends with its last patch; "git rebase" takes the branches along
(rebase.updateRefs). The ref refs/queue/applied and the configuration queue.* name the
state in which tree and patches were last known to be the same: what differs from it is
the user's own work.
"""

import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness import upstream
from harness.common import BUILD, PROJECTS, ROOT, SRC, STOCK, Failure, say, warn
from harness.debian import apt, archive
from harness.git import FIXED, PLAIN, dirty, git, rev

PATCHES = ROOT / 'patches'
COVER = '0000-cover-letter.txt'
# How the name of a series begins: its number.
NUMBER = '[0-9][0-9]-'
APPLIED = 'refs/queue/applied'
FORMAT = ('format-patch', '-q', '--no-numbered', '--zero-commit',
          '--no-signature', '--full-index', '--no-attach', '--no-thread',
          '--no-base', '--no-notes', '--no-cover-letter', '--find-renames',
          '--diff-algorithm=myers', '--no-color', '--no-ext-diff')


def tree(project):
    """Return the path of a project's tree."""
    return SRC / project


def base_version(folder):
    """Return (name, version) of a tree's base, from the subject of its commit."""
    return git(folder, 'log', '-1', '--format=%s', 'base').strip().split(' ', 1)


def series_names(project):
    """Return the series of a project in the order in which they apply."""
    return sorted(path.name for path in (PATCHES / project).glob(f'{NUMBER}*'))


def patch_files(project, series=f'{NUMBER}*'):
    """Return the patches of a project, or of one of its series, as they apply."""
    return sorted((PATCHES / project).glob(f'{series}/[0-9][0-9][0-9][0-9]-*.patch'))


def read_patches(folder):
    """Return {series/name: content} of the patches in a folder of series."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.glob('*/*.patch'))}


def below(project, series):
    """Return the series that one needs, in order: its cover letter names them."""
    cover = PATCHES / project / series / COVER
    head = cover.read_text(encoding='utf-8').split('\n\n')[0] if cover.exists() else ''
    names = re.findall(r'[^\s,]+', ''.join(re.findall('(?m)^Stands-on: (.*)', head)))
    for name in names:
        if name not in series_names(project) or name >= series:
            raise Failure(f'{cover.relative_to(PATCHES.parent)}: there is no series '
                          f'{name} before it to stand on')
    return sorted({*names, *(more for name in names for more in below(project, name))})


def alone(project):
    """Return {series: those that it needs} where these are not all before it."""
    names = series_names(project)
    return {series: below(project, series) for number, series in enumerate(names)
            if below(project, series) != names[:number]}


def create(project):
    """Make a tree with its base commit; it appears only when complete."""
    part = SRC / f'{project}.part'
    shutil.rmtree(part, ignore_errors=True)
    folder = upstream.make_base(archive.load(project), part, lambda folder: apply(
        project, folder, exact=True))
    git(folder, 'update-ref', APPLIED, 'HEAD')
    folder.rename(tree(project))
    shutil.rmtree(part)


# -- Patches to tree --------------------------------------------------------

def offsets(folder, patch):
    """Return what keeps a patch from applying exactly, or ''."""
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


def has_fix(folder, patch):
    """Return whether a base mends by itself what a patch mends, in its own words.

    The patch says how to tell, in its message: "Base-has-it-if: FILE: TEXT".
    """
    found = re.search(r'(?m)^Base-has-it-if: (\S+): (.+)$',
                      patch.read_text(encoding='utf-8').split('\n---\n')[0])
    return bool(found) and found[2] in (folder / found[1]).read_text(encoding='utf-8')


def apply(project, folder, exact, names=(f'{NUMBER}*',)):
    """Apply series to a tree at its base, all by default; return '' or the error.

    exact: a hunk that applies at other lines than the patch says is a fault.
    """
    for patch in [patch for name in names for patch in patch_files(project, name)]:
        if has_fix(folder, patch):
            say(f'{patch.name}: the base has this fix')
            # Series are told apart by the number of their commits.
            git(folder, 'commit', '-q', '--allow-empty', '-m',
                f'{patch.name}: in the base', env=FIXED)
            continue
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
    """Return whether offsets are an error on a base, not just worth a warning.

    They are on the version that the patches were made on, and on newer releases.
    """
    return version == conf.recorded or not (
        version.startswith('own-') or archive.accepted(conf, version))


def reapply(project):
    """Set a tree to its base and apply all patches."""
    folder = tree(project)
    _, version = base_version(folder)
    conf = archive.load(project)
    git(folder, 'reset', '-q', '--hard', 'base')
    problem = apply(project, folder, must_be_exact(conf, version))
    if problem:
        git(folder, 'reset', '-q', '--hard', APPLIED)
        raise Failure(f'patches/{project} does not apply to {conf.name} {version}: '
                      f'{problem}')
    mark_applied(project)
    say(f'{project}: {len(patch_files(project))} patches on {conf.name} {version}')


def check_usable(project):
    """Raise Failure if a tree is not in a state to work with."""
    folder = tree(project)
    if not rev(folder, 'base'):
        raise Failure(f'build/src/{project} has no tag "base": it is not one of '
                      'our trees. Move it away and run make tree.')
    for state in ('rebase-apply', 'rebase-merge'):
        if (folder / '.git' / state).exists():
            raise Failure(f'build/src/{project} is in the middle of a rebase or '
                          'am: finish or abort it first')
    branch = git(folder, 'rev-parse', '--abbrev-ref', 'HEAD').strip()
    if fnmatch.fnmatch(branch, f'{NUMBER}*'):
        raise Failure(f'build/src/{project} is on {branch}, where a series ends: '
                      'git checkout master')


def digest_patches(project):
    """Return a name for the state of a project's patches."""
    value = hashlib.sha256()
    for name, text in read_patches(PATCHES / project).items():
        value.update(name.encode() + text)
    return value.hexdigest()


def branches(project):
    """Return a tree's branches of series, as text."""
    return git(tree(project), 'for-each-ref', '--format=%(refname:short) %(objectname)',
               f'refs/heads/{NUMBER}*').strip()


def commits(project):
    """Return the base of a tree and its commits after that, in order."""
    return ['base', *git(tree(project), 'rev-list', '--reverse', 'base..HEAD').split()]


def borders(project):
    """Return {series: its last commit} of a tree, by its branches.

    What lies beyond the last branch is part of the last series.
    """
    order, ends, begin = commits(project), {}, 0
    for line in branches(project).splitlines():
        series, end = line.split()
        if end not in order or order.index(end) <= begin:
            raise Failure(f'build/src/{project}: {series} has no patch of base..HEAD '
                          f'beyond the series before it: git branch -f {series} COMMIT, '
                          f'its last patch; or git branch -D {series}')
        begin, ends[series] = order.index(end), end
    if order[1:] and not ends:
        raise Failure(f'build/src/{project} has no series: git branch 01-NAME')
    return {**ends, **dict.fromkeys([*ends][-1:], order[-1])}


def counted(project):
    """Return {series: its last commit} of a tree that holds the patches and no more."""
    order, last = commits(project), 0
    return {series: order[last := last + len(patch_files(project, series))]
            for series in series_names(project)}


def noted(project, key):
    """Return what mark_applied() noted in a tree, or ''."""
    return subprocess.run(['git', '-C', str(tree(project)), 'config', f'queue.{key}'],
                          capture_output=True, text=True, check=False).stdout.strip()


def mark_applied(project):
    """Note that a tree holds its patches, in their present state, and no more."""
    folder = tree(project)
    git(folder, 'update-ref', APPLIED, 'HEAD')
    ends = counted(project)
    for line in branches(project).splitlines():
        if line.split()[0] not in ends:
            git(folder, 'update-ref', '-d', f'refs/heads/{line.split()[0]}')
    for series, end in ends.items():
        git(folder, 'update-ref', f'refs/heads/{series}', end)
    git(folder, 'config', 'rebase.updateRefs', 'true')
    git(folder, 'config', 'queue.digest', digest_patches(project))
    git(folder, 'config', 'queue.borders', branches(project))


def recut(project):
    """Return whether the borders of series in a tree are not as they were noted."""
    return branches(project) != noted(project, 'borders')


def same(project):
    """Return whether the commits of a tree are the patches of its project."""
    folder = tree(project)
    if rev(folder, 'HEAD') == rev(folder, APPLIED) and not recut(project) \
            and noted(project, 'digest') == digest_patches(project):
        return True
    try:
        with tempfile.TemporaryDirectory() as temp:
            return export(project, Path(temp)) == read_patches(PATCHES / project)
    except Failure:
        return False


def own_work(project):
    """Return what a tree holds that make tree would destroy, or ''."""
    folder = tree(project)
    if dirty(folder):
        return 'changes that are not committed'
    if rev(folder, 'HEAD') not in (rev(folder, APPLIED), rev(folder, 'base')):
        return 'commits that the patches do not have'
    return 'series with other borders' if recut(project) else ''


def back_up(project):
    """Put a tree's work aside under refs/queue/backup, uncommitted work too."""
    folder = tree(project)
    name = f"refs/queue/backup/{git(folder, 'rev-parse', '--short', 'HEAD')}"
    name = name.strip()
    if dirty(folder):
        git(folder, 'add', '-A')
        git(folder, 'commit', '-q', '-m', 'Uncommitted work', env=FIXED)
        name += '-dirty'
    git(folder, 'update-ref', name, 'HEAD')
    say(f'{project}: your work is kept as {name}')


def ensure(project, force=False, strict=True):
    """Bring a tree up to date with its patches, creating it if it is missing.

    Work of the user's own is never touched: with 'strict' it is a Failure that
    says how to go on, without it the tree is left as it is (to be built). With
    'force' the work is put aside first.
    """
    folder = tree(project)
    if not folder.exists():
        (PATCHES / project).mkdir(parents=True, exist_ok=True)
        create(project)
        reapply(project)
        return
    check_usable(project)
    own = upstream.own_source(project)
    if own and not base_version(folder)[1].startswith('own-'):
        warn(f'{project}: {own} is not used, since there is a build/src/{project}: '
             'make clean-src first')
    if same(project) and not (force and dirty(folder)):
        mark_applied(project)
        return
    work = own_work(project)
    if work and force:
        back_up(project)
    elif work and strict:
        raise Failure(f'build/src/{project} has {work}. "make refresh" takes them '
                      f'into patches/{project}; "make tree FORCE=1" puts them '
                      'aside and applies the patches.')
    elif work:
        say(f'{project}: build/src/{project} has {work}; built as it is')
        return
    if not rev(folder, APPLIED):
        git(folder, 'update-ref', APPLIED, 'HEAD')
    reapply(project)


def worktree(project, folder, name, patterns=()):
    """Check out a commit of a tree in a git worktree of its own, and no changes.

    Files that are not part of the commit, but not in its way, stay. patterns: the
    files to check out, as in .gitignore; all of them by default.
    """
    repository = tree(project)
    commit = rev(repository, name)
    # A folder without .git would stand for the repository around it, and one of a
    # tree that has been made anew does not know the commit.
    if not (folder / '.git').is_file() or rev(folder, commit) != commit:
        shutil.rmtree(folder, ignore_errors=True)
        git(repository, 'worktree', 'prune')
        git(repository, 'worktree', 'add', '-q', '--detach', '--no-checkout', folder,
            commit)
    if patterns:
        git(folder, 'sparse-checkout', 'set', '--no-cone', *patterns)
    git(folder, 'checkout', '-qf', '--detach', commit)


# -- Tree to patches --------------------------------------------------------

def export(project, folder, ends=None):
    """Write a tree's commits as patches into folders of series; return their text.

    ends: {series: its last commit}, by the tree's branches if not given.
    """
    begin = 'base'
    for series, end in (borders(project) if ends is None else ends).items():
        git(tree(project), *FORMAT, '-o', folder / series, f'{begin}..{end}')
        begin = end
    return read_patches(folder)


def make_trees():
    """make tree, with FORCE=1 if that is set."""
    for project in PROJECTS:
        ensure(project, force=os.environ.get('FORCE') == '1')


def remove_all():
    """make clean-src: remove trees and downloads unless work would be lost."""
    for project in PROJECTS:
        if tree(project).exists() and own_work(project) and not same(project):
            raise Failure(f'build/src/{project} has {own_work(project)}: "make '
                          'refresh" first, or remove the folder yourself')
    # Git worktrees do not outlive their repository.
    for folder in (SRC, STOCK / 'src', archive.DOWNLOAD, apt.STATE,
                   BUILD / 'mutants', BUILD / 'each'):
        shutil.rmtree(folder, ignore_errors=True)
