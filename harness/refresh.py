# SPDX-License-Identifier: GPL-2.0-or-later
"""Write patches/ from the commits of the trees in build/src: make refresh."""

import re
import tempfile
from pathlib import Path

from harness import tree
from harness.common import PROJECTS, Failure, say, warn
from harness.debian import archive
from harness.documents import markdown_table, replace_part

# make refresh writes the rest of a cover letter, from this line on.
MARKER = 'Patches and diffstat:'


def check_commits(project):
    """Raise Failure if a tree's commits cannot go into series."""
    folder = tree.tree(project)
    tree.check_usable(project)
    if tree.dirty(folder):
        raise Failure(f'build/src/{project} has changes that are not committed '
                      f'({tree.dirty(folder)[0].strip()}): commit or stash them')
    if tree.git(folder, 'rev-list', '--merges', 'base..HEAD'):
        raise Failure(f'build/src/{project} has merges: a series is linear')
    log = tree.git(folder, 'log', '--format=%h %s%x00%b%x01', 'base..HEAD')
    if found := re.search(r'(?m)^\w+ (\S+\.patch): in the base\0', log):
        raise Failure(f'build/src/{project} is on a base that has {found[1]}: '
                      'refresh on the recorded version')
    for commit in filter(None, (c.strip() for c in log.split('\1'))):
        subject, body = commit.split('\0', 1)
        if re.match(r'\w+ (fixup|squash|amend)!', subject):
            raise Failure(f'build/src/{project}: "{subject}" is not squashed yet: '
                          'git rebase -i --autosquash base')
        if re.search(r'(?m)^Signed-off-by:', body):
            raise Failure(f'build/src/{project}: "{subject}" is signed off; the '
                          'person who sends a series does that, at sending')
    for series in tree.series_names(project):
        if series not in tree.borders(project):
            raise Failure(f'build/src/{project} has no branch {series}, as there is a '
                          f'folder patches/{project}/{series}: rename or remove the '
                          'folder, or make the branch')


def refresh_cover(project, series, commits):
    """Keep the count, the list and the diffstat of a cover letter true."""
    folder = tree.tree(project)
    path = tree.PATCHES / project / series / tree.COVER
    count = len(tree.patch_files(project, series))
    if not path.exists():
        warn(f'patches/{project}/{series}/{tree.COVER} is still to be written')
        return
    text = path.read_text(encoding='utf-8')
    text = re.sub(r'\[PATCH( [^]]*?)? 0+/\w+\]',
                  lambda m: f"[PATCH{m[1] or ''} {0:0{len(str(count))}}/{count}]",
                  text, count=1)
    head = text.split(MARKER)[0].rstrip()
    subjects = tree.git(folder, 'log', '--reverse', '--format=  %s', commits)
    stat = tree.git(folder, 'diff', '--stat=72', '--summary', commits)
    path.write_text(f'{head}\n\n{MARKER}\n\n{subjects}\n{stat}',
                    encoding='utf-8')


def series_table(project):
    """Return the series of a project as a table: subject, and base of each."""
    rows = [['series', 'patches', 'what', 'it stands on']]
    for series in tree.series_names(project):
        cover = tree.PATCHES / project / series / tree.COVER
        text = cover.read_text(encoding='utf-8') if cover.exists() else ''
        title = re.search(r'Subject: \[PATCH[^]]*\] (.*)', text)
        stands = re.search(r'(?m)^Stands-on: (.*)', text)
        rows.append([f'`{series}`', str(len(tree.patch_files(project, series))),
                     title[1] if title else '', stands[1] if stands else ''])
    return markdown_table(rows, (1,))


def write_series_tables():
    """Write the tables of series in docs/review-guide.md anew."""
    guide = tree.PATCHES.parent / 'docs' / 'review-guide.md'
    for project in PROJECTS:
        if guide.exists():
            replace_part(guide, project, series_table(project))


def refresh(project):
    """Write the patches of a project anew from the commits of its tree."""
    check_commits(project)
    target = tree.PATCHES / project
    with tempfile.TemporaryDirectory() as temp:
        new = tree.export(project, Path(temp))
    for name in tree.read_patches(target).keys() - new.keys():
        (target / name).unlink()
    for name, text in new.items():
        (target / name).parent.mkdir(exist_ok=True)
        if not (target / name).exists() or (target / name).read_bytes() != text:
            (target / name).write_bytes(text)
    begin = 'base'
    for series, end in tree.borders(project).items():
        refresh_cover(project, series, f'{begin}..{end}')
        begin = end
    tree.mark_applied(project)
    _, version = tree.base_version(tree.tree(project))
    if version.startswith('own-'):
        warn(f'{project}: refreshed on a tree of your own; the recorded base '
             'version stays')
    else:
        archive.record(project, version)
    say(f'{project}: {len(new)} patches in {len(tree.series_names(project))} series '
        f'in patches/{project}')


def refresh_all():
    """make refresh: nothing is written unless both trees are fit for it."""
    for project in PROJECTS:
        if not tree.tree(project).exists():
            raise Failure(f'there is no build/src/{project}: make tree first')
        check_commits(project)
    for project in PROJECTS:
        refresh(project)
    write_series_tables()
