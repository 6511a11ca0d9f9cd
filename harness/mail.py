# SPDX-License-Identifier: GPL-2.0-or-later
"""Rehearse with git send-email how a series is sent: make mail.

The mails go to an SMTP server on the loopback interface that keeps them; git send-email
reads no configuration. CONTRIBUTING.md has the command that sends a series for real.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent import futures
from email.header import Header
from email.utils import formataddr, parseaddr
from pathlib import Path

from harness import lint, refresh, sink, tree
from harness.common import BUILD, PROJECTS, ROOT, Failure, jobs, say, split_words
from harness.debian import packages
from harness.git import PLAIN, dirty, git, rev, unpack

FOLDER = BUILD / 'mail'
# The author of patches in this repository: the sender takes its place.
PROJECT_AUTHOR = re.compile(rb'(?m)(?<=^From: )[^\n]*(\n [^\n]*)*\.example>$')
# The projects' lists want other people in To: a kernel series goes to maintainers, one
# for QEMU to its lists (.b4-config).
TO = {'linux': ['--nol', '--nor'], 'qemu': ['--nom', '--nor']}

# The tree's own configuration adds nothing.
FORMAT = ('format-patch', '-q', '--numbered', '--cover-letter', '--base=base',
          '--find-renames', '--diff-algorithm=myers', '--no-attach', '--no-thread',
          '--no-to', '--no-cc', '--no-add-header', '--no-signoff', '--no-notes',
          '--no-color', '--no-ext-diff', '--cover-from-description=none')


def identity():
    """Return the user's (name, address), as git knows it."""
    done = subprocess.run(
        ['git', '-C', ROOT, '-c', 'user.useConfigOnly=true', 'var',
         'GIT_COMMITTER_IDENT'], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure('git does not know who sends: git config --global user.name NAME; '
                      'git config --global user.email ADDRESS')
    return parseaddr(done.stdout.rsplit('>', 1)[0] + '>')


def chosen_series():
    """Return the (project, series) that SERIES names, or all."""
    names = {f'{project}/{series}': (project, series)
             for project in PROJECTS for series in tree.series_names(project)}
    wanted = split_words('SERIES') or list(names)
    for name in wanted:
        if name not in names:
            raise Failure(f'SERIES={name}: there is no such series; patches/ has '
                          f'{", ".join(names)}')
    return [names[name] for name in wanted]


def chosen_version():
    """Return what V and PREVIOUS say: the version, and the commit of the one before."""
    version, previous = os.environ.get('V') or '1', os.environ.get('PREVIOUS', '')
    if not version.isdecimal() or not int(version):
        raise Failure(f'V={version}: give a whole number above 0')
    if int(version) > 1 and not previous:
        raise Failure(f'V={version} needs PREVIOUS=COMMIT: the commit of this repository '
                      f'that was sent as version {int(version) - 1}')
    if previous and int(version) < 2:
        raise Failure('PREVIOUS is for a version from V=2 on')
    if previous and not rev(ROOT, previous):
        raise Failure(f'PREVIOUS={previous}: this repository has no such commit')
    return int(version), previous


def touched_files(project, *versions):
    """Return patterns of the files that the patches touch, for tree.worktree()."""
    patches = [path for patches in versions
               for path in tree.patch_files(project, patches=patches)]
    return sorted({f'/{name}' for path in patches for name in re.findall(
        r'(?m)^diff --git a/(\S+)', path.read_text(encoding='utf-8'))})


def check_tree(project):
    """Raise Failure unless the tree holds the patches, and nothing else."""
    tree.ensure(project)
    if changes := dirty(tree.tree(project)):
        raise Failure(f'build/src/{project} has changes that are not committed '
                      f'({changes[0].strip()}): commit or stash them')


class Stack:
    """The series of a project in one version, as commits of the sender."""

    def __init__(self, project, worktree, author, patches=None):
        self.project, self.worktree, self.patches = project, worktree, patches
        self.author = author
        # The last commit of some series that were applied in this order.
        self.ends = {(): rev(worktree, 'base')}
        if not patches:
            names = tree.series_names(project)
            for series, end in tree.borders(project).items():
                self.ends[tuple(names[:names.index(series) + 1])] = end

    def names(self):
        """Return the names of the series."""
        return tree.series_names(self.project, self.patches)

    def apply(self, series, folder):
        """Apply a series in the worktree, with the sender as author."""
        for patch in tree.patch_files(self.project, series, self.patches):
            (folder / patch.name).write_bytes(PROJECT_AUTHOR.sub(
                formataddr(self.author).encode(), patch.read_bytes(), count=1))
        if problem := tree.am(self.worktree, *sorted(folder.iterdir())):
            raise Failure(f'{self.project}/{series} does not apply to what it stands '
                          f'on: {" ".join(problem.split())}')

    def commit(self, series):
        """Return the commit that a series stands on, and its last one."""
        needed = tree.below(self.project, series, self.patches)
        known = next(count for count in range(len(needed), -1, -1)
                     if tuple(needed[:count]) in self.ends)
        git(self.worktree, 'checkout', '-qf', '--detach', self.ends[(*needed[:known],)])
        for name in [*needed[known:], series]:
            begin = rev(self.worktree, 'HEAD')
            with tempfile.TemporaryDirectory() as temp:
                self.apply(name, Path(temp))
        end = self.ends[(*needed, series)] = rev(self.worktree, 'HEAD')
        return begin, end


def recipients(project, files):
    """Return (To, Cc) for some patches: lists of addresses with names."""
    def maintainers(*options):
        script = ['scripts/get_maintainer.pl', '--noroles', '--norolestats', '--nogit',
                  '--nogit-fallback', *options, *map(str, files)]
        done = subprocess.run(script, cwd=tree.tree(project), capture_output=True,
                              text=True, env={**os.environ, **PLAIN}, check=False)
        if done.returncode:
            raise Failure(f'get_maintainer.pl: {done.stderr.strip()}')
        return done.stdout.splitlines()
    # git send-email leaves those in To out of Cc.
    return maintainers(*TO[project]), maintainers()


def public_base(stack):
    """Return the base of a tree, as a commit of its upstream if that is known."""
    return tree.noted(stack.project, 'upstream') or rev(stack.worktree, 'base')


def fill_cover(path, cover, base, public):
    """Put subject and text of a cover letter into git format-patch's; name the base."""
    head, text = cover.split(refresh.MARKER)[0].split('\n\n', 1)
    subject = re.search(r'(?ms)^Subject: \[[^]]*\] (.*?)(?=\n\S|\Z)', head)[1]
    path.write_text(path.read_text(encoding='utf-8').replace(
        '*** SUBJECT HERE ***', Header(' '.join(subject.split())).encode(), 1).replace(
            '*** BLURB HERE ***', text.strip(), 1).replace(
                f'\nbase-commit: {base}\n', f'\nbase-commit: {public}\n'),
                    encoding='utf-8')
    path.rename(path.with_suffix('.txt'))


def write_mails(stack, series, commits, version, earlier):
    """Write a series as mails; return them, the cover letter first."""
    # earlier: what commit() returned for the version before, if there is one
    project, out = stack.project, FOLDER / stack.project / series
    shutil.rmtree(out, ignore_errors=True)
    cover = (tree.PATCHES / project / series / tree.COVER).read_text(encoding='utf-8')
    prefix = re.search(r'^Subject: \[(PATCH.*?) 0+/\w+\]', cover)
    if not prefix:
        raise Failure(f'patches/{project}/{series}/{tree.COVER} does not begin with '
                      '"Subject: [PATCH 0/N] "')
    to, cc = recipients(project, tree.patch_files(project, series))
    name, address = stack.author
    git(stack.worktree, *FORMAT, '-o', out,
        f'--from={name} <{address}>', f'--subject-prefix={prefix[1]}',
        *[f'-v{version}'] * (version > 1), *[f'--to={person}' for person in to],
        *[f'--cc={person}' for person in cc],
        *[f'--range-diff={begin}..{end}' for begin, end in earlier], '..'.join(commits),
        env={'GIT_COMMITTER_NAME': name, 'GIT_COMMITTER_EMAIL': address})
    fill_cover(min(out.iterdir()), cover, rev(stack.worktree, 'base'), public_base(stack))
    return sorted(out.iterdir())


def apply_mails(stack, commits, mails):
    """Apply the mails that arrived; raise Failure unless they give the same commits."""
    git(stack.worktree, 'checkout', '-qf', '--detach', commits[0])
    with tempfile.TemporaryDirectory() as temp:
        files = [Path(temp) / f'{number:04}' for number in range(len(mails))]
        for path, mail in zip(files, mails):
            path.write_bytes(mail.content)
        if problem := tree.am(stack.worktree, *files[1:]):
            raise Failure(f'git am of the mails that arrived: {problem}')
    trees = git(stack.worktree, 'rev-parse', f'{commits[1]}^{{tree}}',
                'HEAD^{tree}').split()
    if trees[0] != trees[1]:
        raise Failure('the mails that arrived do not give the same tree')
    form = ('log', '--format=%an%n%ae%n%B')
    if git(stack.worktree, *form, '..'.join(commits)) \
            != git(stack.worktree, *form, f'{commits[0]}..HEAD'):
        raise Failure('the mails that arrived do not give the same messages')
    return trees[0]


def show_checkpatch(project, patches):
    """Print what checkpatch reports about patches."""
    with futures.ThreadPoolExecutor(jobs()) as pool:
        found = pool.map(lambda patch: lint.checkpatch(project, patch)[1], patches)
        lines = [f'patch {number}: {line}' for number, some in enumerate(found, 1)
                 for line in some if not line.startswith('total:')]
    say(f'  remarks of checkpatch: {len(lines)}')
    for line in lines:
        say(f'    {line}')


def show_range_diff(cover):
    """Print how many patches are the same, changed, new or gone in a range-diff."""
    marks = re.findall(r'(?m)^ *[\d-]+: +[\da-f-]+ ([=!<>]) ', cover.read_text())
    say('  range-diff: ' + ', '.join(
        f'{marks.count(mark)} {word}' for mark, word in zip(
            '=!><', ('the same', 'changed', 'new', 'gone'))))


def rehearse(stack, series, version, before=None):
    """Rehearse sending one series; print what happened."""
    earlier, cover = [], tree.PATCHES / stack.project / series / tree.COVER
    if not cover.exists():
        raise Failure(f'patches/{stack.project}/{series}/{tree.COVER} is missing')
    if before and series not in before.names():
        say(f'{stack.project}/{series}: PREVIOUS has no such series, so this is its '
            'first version')
        version = 1
    elif before:
        earlier = [before.commit(series)]
    commits = stack.commit(series)
    files = write_mails(stack, series, commits, version, earlier)
    mails = sink.send(files, stack.author)
    sink.check(mails, stack.author, version, public_base(stack))
    same = apply_mails(stack, commits, mails)
    say(f'{stack.project}/{series}: {len(mails)} mails arrived on the loopback')
    say(f'  To: {mails[0].message["To"]}\n  Cc: {mails[0].message["Cc"]}')
    say(f'  git am gives the same tree, {same[:12]}')
    if not tree.noted(stack.project, 'upstream'):
        say('  base-commit: only build/src has it (CONTRIBUTING.md has the remedy)')
    if earlier:
        show_range_diff(files[0])
    show_checkpatch(stack.project, files[1:])
    say(f'  They are in {os.path.relpath(files[0].parent, ROOT)}')


def rehearse_project(project, series, worktree, version, old):
    """Rehearse series of a project; return how many failed."""
    tree.worktree(project, worktree, 'base', touched_files(project, None, old))
    stack = Stack(project, worktree, identity())
    before = Stack(project, worktree, stack.author, old) if old else None
    failed = 0
    try:
        for name in series:
            try:
                rehearse(stack, name, version, before)
            except Failure as failure:
                print(f'error: {project}/{name}: {failure}', file=sys.stderr, flush=True)
                failed += 1
    finally:
        git(tree.tree(project), 'worktree', 'remove', '--force', worktree)
    return failed


def rehearse_all():
    """make mail: rehearse sending the series that SERIES names, or all."""
    packages.install(packages.MAILING)
    series, (version, previous), failed = chosen_series(), chosen_version(), 0
    identity()
    with tempfile.TemporaryDirectory() as temp:
        old = unpack(ROOT, previous, Path(temp), 'patches') / 'patches' if previous \
            else None
        for project in dict.fromkeys(project for project, _ in series):
            check_tree(project)
            names = [name for mine, name in series if mine == project]
            failed += rehearse_project(project, names, Path(temp) / project, version, old)
    return 1 if failed else 0
