# SPDX-License-Identifier: GPL-2.0-or-later
"""Write patches/ from the commits of the trees in build/src: make refresh."""

import re
import tempfile
from pathlib import Path

from harness import tree
from harness.common import QUEUES, Failure, say, warn
from harness.debian import archive

MARKER = 'The patches and what they touch (kept by "make refresh"):'


def check_commits(series):
    """Raise Failure if a tree's commits cannot go into the series."""
    folder = tree.tree(series)
    tree.check_usable(series)
    if tree.dirty(folder):
        raise Failure(f'build/src/{series} has changes that are not committed '
                      f'({tree.dirty(folder)[0].strip()}): commit or stash them')
    if tree.git(folder, 'rev-list', '--merges', 'base..HEAD'):
        raise Failure(f'build/src/{series} has merges: a series is linear')
    log = tree.git(folder, 'log', '--format=%h %s%x00%b%x01', 'base..HEAD')
    for commit in filter(None, (c.strip() for c in log.split('\1'))):
        subject, body = commit.split('\0', 1)
        if re.match(r'\w+ (fixup|squash|amend)!', subject):
            raise Failure(f'build/src/{series}: "{subject}" is not squashed yet: '
                          'git rebase -i --autosquash base')
        if re.search(r'(?m)^Signed-off-by:', body):
            raise Failure(f'build/src/{series}: "{subject}" is signed off; the '
                          'person who sends the series does that, at sending')


def refresh_cover(series):
    """Keep the count, the list and the diffstat of a cover letter true."""
    folder = tree.tree(series)
    path = tree.PATCHES / series / tree.COVER
    count = len(tree.patch_files(series))
    if not path.exists():
        if count:
            warn(f'patches/{series}/{tree.COVER} is still to be written')
        return
    text = path.read_text(encoding='utf-8')
    text = re.sub(r'\[PATCH( [^]]*?)? 0+/\w+\]',
                  lambda m: f"[PATCH{m[1] or ''} {0:0{len(str(count))}}/{count}]",
                  text, count=1)
    head = text.split(MARKER)[0].rstrip()
    subjects = tree.git(folder, 'log', '--reverse', '--format=  %s', 'base..HEAD')
    stat = tree.git(folder, 'diff', '--stat=72', '--summary', 'base..HEAD')
    path.write_text(f'{head}\n\n{MARKER}\n\n{subjects}\n{stat}',
                    encoding='utf-8')


def refresh(series):
    """Write a series anew from the commits of its tree."""
    check_commits(series)
    target = tree.PATCHES / series
    with tempfile.TemporaryDirectory() as temp:
        new = tree.export(series, Path(temp))
    for name in tree.read_patches(target).keys() - new.keys():
        (target / name).unlink()
    for name, text in new.items():
        if not (target / name).exists() or (target / name).read_bytes() != text:
            (target / name).write_bytes(text)
    refresh_cover(series)
    tree.mark_applied(series)
    _, version = tree.base_version(tree.tree(series))
    if version.startswith('own-'):
        warn(f'{series}: refreshed on a tree of your own; the recorded base '
             'version stays')
    else:
        archive.record(series, version)
    say(f'{series}: {len(new)} patches in patches/{series}')


def refresh_all():
    """make refresh: nothing is written unless both trees are fit for it."""
    for series in QUEUES:
        if not tree.tree(series).exists():
            raise Failure(f'there is no build/src/{series}: make tree first')
        check_commits(series)
    for series in QUEUES:
        refresh(series)
