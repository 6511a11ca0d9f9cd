# SPDX-License-Identifier: GPL-2.0-or-later
"""The patch series, and what make tree and make refresh do, without the real trees."""

import os
import re
import shutil
import subprocess

import pytest

from harness import refresh, tree, upstream
from harness.common import PROJECTS, ROOT, Failure
from harness.debian import archive
from tests.support.files import list_files

pytestmark = pytest.mark.check

HEADERS = ('From: ', 'Date: ', 'Subject: [PATCH] ')


FOLDERS = {f'{project}/{series}': (project, series) for project in PROJECTS
           for series in tree.series_names(project)}


def patches():
    """Return all patches."""
    return [path for project in PROJECTS for path in tree.patch_files(project)]


@pytest.mark.parametrize('project, series', FOLDERS.values(), ids=FOLDERS)
def test_cover_letter_lists_the_patches(project, series):
    """A cover letter has its series' count and subjects, and the series below it."""
    files = tree.patch_files(project, series)
    cover = (tree.PATCHES / project / series / tree.COVER).read_text()
    assert re.search(rf'(?m)^Subject: \[PATCH .*\b0+/{len(files)}\] \S', cover)
    for path in files:
        subject = re.search(r'(?ms)^Subject: \[PATCH\] (.*?)\n(?=\S|\n)',
                            path.read_text())[1].replace('\n ', ' ')
        assert f'  {subject}\n' in cover
    text = cover.split(refresh.MARKER)[0].split('\n\n', 1)[1]
    links = re.compile(r'\[\d\] https://\S+')
    assert max(len(line) for line in text.splitlines()
               if not links.fullmatch(line)) <= 72
    assert series not in tree.below(project, series)
    assert len(files) <= 12


@pytest.mark.parametrize('project, series', FOLDERS.values(), ids=FOLDERS)
def test_nothing_but_patches(project, series):
    """The folder of a series holds its patches, numbered without gaps, and the letter."""
    names = sorted(path.name for path in (tree.PATCHES / project / series).iterdir())
    numbers = [int(name[:4]) for name in names if name.endswith('.patch')]
    assert numbers == list(range(1, len(numbers) + 1)) and numbers
    assert [name for name in names if not name.endswith('.patch')] \
        == [tree.COVER]


@pytest.mark.parametrize('project', PROJECTS)
def test_series_are_counted(project):
    """A tree's folder holds its series, numbered without gaps, and nothing else."""
    names = sorted(path.name for path in (tree.PATCHES / project).iterdir())
    assert [int(name[:2]) for name in names] == list(range(1, len(names) + 1))
    assert names == tree.series_names(project)


def test_headers():
    """Headers are sane, no line names a machine, nobody has signed off."""
    for path in patches():
        text = path.read_text()
        message = text.split('\n---\n', 1)[0]
        assert text.startswith('From ' + '0' * 40 + ' Mon Sep 17 00:00:00 2001\n')
        for header in HEADERS:
            assert f'\n{header}' in text, path.name
        assert 'Signed-off-by:' not in message, path.name
        assert 'Change-Id:' not in message, path.name
        subject = re.search(r'(?ms)^Subject: \[PATCH\] (.*?)\n(?=\S|\n)',
                            text)[1].replace('\n ', ' ')
        assert len(subject) <= 75, subject
        body = message.split('\n\n', 1)
        assert len(body) == 2 and body[1].strip(), f'{path.name} has no body'


def test_no_upstream_source():
    """The repository holds no upstream file, whole or packed."""
    for name in list_files():
        assert not re.search(r'\.(tar|deb|xz|gz|zip|dsc|orig)$', name), name
        assert (ROOT / name).stat().st_size < 1 << 20, name


@pytest.fixture(name='small_series')
def fixture_small_series(tmp_path, monkeypatch):
    """Two series of one patch each for a tree of one file, to try make tree on."""
    monkeypatch.setattr(tree, 'SRC', tmp_path / 'src')
    monkeypatch.setattr(tree, 'PATCHES', tmp_path / 'patches')
    monkeypatch.setattr(archive, 'record', lambda *_: None)
    own = tmp_path / 'own'
    own.mkdir()
    (own / 'VERSION').write_text('10.0.99\n')
    (own / 'file').write_text(''.join(f'{n}\n' for n in range(100)))
    monkeypatch.setenv('QEMU_SRC', str(own))
    (tmp_path / 'patches' / 'qemu').mkdir(parents=True)
    tree.ensure('qemu')
    for number, name in ((50, '01-more'), (80, '02-much')):
        text = (tree.tree('qemu') / 'file').read_text()
        commit(tree.tree('qemu'), f'balloon: say {name[3:]}', 'file',
               text.replace(f'{number}\n', f'{number}\n{number}.5\n'))
        git('branch', name)
    refresh.refresh('qemu')
    return tmp_path


def git(*argv, **kwargs):
    """Run git in the small tree, as a user."""
    subprocess.run(['git', '-c', 'user.name=A', '-c', 'user.email=a@b.c', '-C',
                    tree.tree('qemu'), *argv], check=True, **kwargs)


def commit(folder, message, name, text):
    """Write a file in a tree and commit it."""
    (folder / name).write_text(text)
    git('add', name)
    git('commit', '-qm', message)


def rebase(edit):
    """Rebase the small tree, as CONTRIBUTING.md says; edit: a command that changes the list."""
    git('rebase', '-qi', '--autosquash', 'base', env={
        **os.environ, 'GIT_SEQUENCE_EDITOR': edit, 'GIT_EDITOR': 'true'})


def patch_names(small_series):
    """Return the patches of the small tree, as folder/file."""
    return list(tree.read_patches(small_series / 'patches' / 'qemu'))


MORE, MUCH = '01-more/0001-balloon-say-more.patch', '02-much/0001-balloon-say-much.patch'


def test_borders_follow_a_rebase(small_series):
    """A fixup, and a commit beyond the last series, end where they belong."""
    folder = tree.tree('qemu')
    before = (small_series / 'patches' / 'qemu' / MUCH).read_text()
    commit(folder, 'fixup! balloon: say more', 'other', 'text\n')
    commit(folder, 'balloon: the end', 'third', 'text\n')
    rebase('true')
    refresh.refresh('qemu')
    assert patch_names(small_series) == [MORE, MUCH, '02-much/0002-balloon-the-end.patch']
    assert (small_series / 'patches' / 'qemu' / MUCH).read_text() == before
    # At a border, the list of git rebase decides on which side a commit is.
    rebase("sed -i '/update-ref.*01-more/d; /say much/a update-ref refs/heads/01-more'")
    refresh.refresh('qemu')
    assert patch_names(small_series) == [MORE, '01-more/0002-balloon-say-much.patch',
                                   '02-much/0001-balloon-the-end.patch']
    # Nothing but the borders has changed: make tree keeps them as well.
    git('branch', '-f', '01-more', 'HEAD~2')
    with pytest.raises(Failure, match='FORCE=1'):
        tree.ensure('qemu')
    refresh.refresh('qemu')
    assert patch_names(small_series) == [MORE, MUCH, '02-much/0002-balloon-the-end.patch']


@pytest.mark.parametrize('spoil, word', (
    (('branch', '-f', '01-more', 'HEAD'), '02-much.*no patch'),
    (('branch', '-m', '01-more', '03-more'), '03-more.*no patch'),
    (('branch', '-D', '01-more'), 'patches/qemu/01-more'),
    (('branch', '-m', '02-much', '02-most'), 'patches/qemu/02-much'),
    (('commit', '-q', '--amend', '-m', 'balloon: more'), '02-much has no patch'),
    (('checkout', '-q', '02-much'), 'git checkout master')))
def test_borders_that_do_not_fit(small_series, spoil, word):
    """A border that does not fit is named, and nothing is written."""
    git(*spoil)
    with pytest.raises(Failure, match=word):
        refresh.refresh('qemu')
    assert patch_names(small_series) == [MORE, MUCH]


def test_series_that_came_and_went(small_series):
    """A series is made, renamed and dropped with git's own commands."""
    patches_of = small_series / 'patches' / 'qemu'
    commit(tree.tree('qemu'), 'balloon: the end', 'third', 'text\n')
    git('branch', '03-end')
    refresh.refresh('qemu')
    assert patch_names(small_series)[2:] == ['03-end/0001-balloon-the-end.patch']
    rebase("sed -i '/say much/d; /02-much/d'")
    with pytest.raises(Failure, match='02-much has no patch'):
        refresh.refresh('qemu')
    git('branch', '-D', '02-much')
    shutil.rmtree(patches_of / '02-much')
    git('branch', '-m', '03-end', '02-end')
    (patches_of / '03-end').rename(patches_of / '02-end')
    refresh.refresh('qemu')
    assert patch_names(small_series) == [MORE, '02-end/0001-balloon-the-end.patch']
    shutil.rmtree(tree.tree('qemu'))
    tree.ensure('qemu')
    assert list(tree.borders('qemu')) == ['01-more', '02-end']


def test_tree_without_borders(small_series):
    """A tree from before there were series is brought up to date."""
    git('branch', '-D', '01-more', '02-much')
    git('config', 'queue.borders', '')
    tree.ensure('qemu')
    assert list(tree.borders('qemu')) == ['01-more', '02-much']
    assert patch_names(small_series) == [MORE, MUCH]


def test_work_is_never_lost(small_series):
    """make tree stops at commits of the user's own, and keeps them if forced."""
    folder = tree.tree('qemu')
    commit(folder, 'balloon: more', 'other', 'text\n')
    mine = tree.rev(folder, 'HEAD')
    with pytest.raises(Failure, match='FORCE=1'):
        tree.ensure('qemu')
    assert tree.rev(folder, 'HEAD') == mine
    (folder / 'file').write_text('dirt\n')
    with pytest.raises(Failure, match='not committed'):
        refresh.refresh('qemu')
    tree.ensure('qemu', force=True)
    assert not (folder / 'other').exists()
    kept = tree.git(folder, 'for-each-ref', '--format=%(refname)',
                    'refs/queue/backup').split()
    assert len(kept) == 1
    assert tree.git(folder, 'show', f'{kept[0]}:file') == 'dirt\n'
    assert tree.rev(folder, f'{kept[0]}~1') == mine
    assert small_series


def test_changed_series_is_applied(small_series):
    """A clean tree follows its series; a tree made anew has the same commits."""
    folder = tree.tree('qemu')
    patch = small_series / 'patches' / 'qemu' / MUCH
    tree.ensure('qemu', force=True)
    before = patch.read_bytes()
    patch.write_bytes(before.replace(b'say much', b'say much more'))
    tree.ensure('qemu')
    assert 'say much more' in tree.git(folder, 'log', '-1', '--format=%s')
    applied = tree.rev(folder, 'HEAD')
    shutil.rmtree(folder)
    tree.ensure('qemu')
    assert tree.rev(folder, 'HEAD') == applied
    refresh.refresh('qemu')
    assert patch_names(small_series) == [MORE, MUCH.replace('much.', 'much-more.')]
    # Another cut of the same patches is also a change.
    patch.parent.rename(patch.parents[1] / '02-rest')
    tree.ensure('qemu')
    assert list(tree.borders('qemu')) == ['01-more', '02-rest']


@pytest.mark.parametrize('message, word', (
    ('fixup! balloon: say more', 'squashed'),
    ('balloon: x\n\nSigned-off-by: A <a@b.c>', 'signed off')))
def test_refresh_refuses(small_series, message, word):
    """A commit that must not get into a series is named."""
    commit(tree.tree('qemu'), message, 'other', 'text\n')
    with pytest.raises(Failure, match=word):
        refresh.refresh('qemu')
    assert patch_names(small_series) == [MORE, MUCH]


def test_offset_is_noticed(small_series):
    """On the recorded version a hunk must apply without an offset."""
    patch = small_series / 'patches' / 'qemu' / MORE
    patch.write_text(re.sub(r'(?<=[-+])49(?=,)', '52',
                            patch.read_text()))
    folder = tree.tree('qemu')
    tree.git(folder, 'reset', '-q', '--hard', 'base')
    assert 'offset' in tree.apply('qemu', folder, exact=True)


def test_base_that_has_a_fix(small_series):
    """A patch is left out where the base mends the same in its own words."""
    patch = small_series / 'patches' / 'qemu' / MORE
    patch.write_text(patch.read_text().replace(
        '\n---\n', '\n\nBase-has-it-if: file: 50.25\n---\n', 1))
    folder = tree.tree('qemu')
    git('reset', '-q', '--hard', 'base')
    assert tree.apply('qemu', folder, exact=True) == ''
    assert '50.5' in (folder / 'file').read_text()
    git('reset', '-q', '--hard', 'base')
    commit(folder, 'QEMU own-10.0.99', 'file', (folder / 'file').read_text().replace(
        '50\n', '50\n50.25\n'))
    git('tag', '-f', 'base', stdout=subprocess.DEVNULL)
    tree.reapply('qemu')
    text = (folder / 'file').read_text()
    assert '50.25' in text and '50.5' not in text and '80.5' in text
    assert list(tree.borders('qemu')) == ['01-more', '02-much']
    tree.ensure('qemu')
    with pytest.raises(Failure, match='recorded version'):
        refresh.refresh('qemu')


def test_series_alone(small_series):
    """A series stands on those in its cover letter, and on the series below them."""
    cover = small_series / 'patches' / 'qemu' / '02-much' / tree.COVER
    cover.write_text('Subject: [PATCH 0/1] balloon: much\n\nStands-on: 01-more\n')
    assert not tree.below('qemu', '02-much')
    cover.write_text('Subject: [PATCH 0/1] balloon: much\nStands-on: 01-more\n\nText.\n')
    assert tree.below('qemu', '02-much') == ['01-more']
    cover.write_text('Subject: [PATCH 0/1] balloon: much\nStands-on: 01-mere\n\nText.\n')
    with pytest.raises(Failure, match='01-mere'):
        tree.below('qemu', '02-much')
    git('checkout', '-q', '--detach', 'base')
    assert tree.apply('qemu', tree.tree('qemu'), False, ['02-much']) == ''
    assert '50.5' not in (tree.tree('qemu') / 'file').read_text()


def test_cover_letter_is_kept_true(small_series):
    """refresh counts and lists the patches, and leaves the text alone."""
    cover = small_series / 'patches' / 'qemu' / '02-much' / tree.COVER
    cover.write_text('Subject: [PATCH 00/NN] balloon: all of it\n\nText.\n')
    refresh.refresh('qemu')
    first = cover.read_text()
    assert first.startswith('Subject: [PATCH 0/1] balloon: all of it\n\nText.\n')
    assert '  balloon: say much\n' in first and 'say more' not in first
    assert '1 file changed, 1 insertion(+)' in first
    refresh.refresh('qemu')
    assert cover.read_text() == first


def test_worktree_is_what_is_asked_for(small_series):
    """A worktree has the commit and no changes, whatever its folder held before."""
    folder = small_series / 'worktree'
    original = (tree.tree('qemu') / 'file').read_text().replace('50.5\n', '').replace('80.5\n', '')

    def check_out(name):
        tree.worktree('qemu', folder, name)
        assert tree.rev(folder, 'HEAD') == tree.rev(tree.tree('qemu'), name)

    check_out('HEAD')
    assert '50.5\n' in (folder / 'file').read_text()
    (folder / 'file').write_text('changed\n')
    check_out('base')
    assert (folder / 'file').read_text() == original
    # An interrupted removal, then a tree that has been made anew.
    (folder / '.git').unlink()
    check_out('base')
    shutil.rmtree(tree.tree('qemu'))
    tree.ensure('qemu')
    check_out('HEAD')


def test_new_files_are_seen(tmp_path):
    """Debian's .gitignore does not hide files that a commit adds to a tree."""
    (tmp_path / '.gitignore').write_text(
        '*.o\n\n#\n# Debian packaging: ignore everything\n#\n/*\n!/debian/\n')
    upstream.unhide(tmp_path)
    assert (tmp_path / '.gitignore').read_text() == '*.o\n\n'
    (tmp_path / '.gitignore').write_text('/build/\n')
    upstream.unhide(tmp_path)
    assert (tmp_path / '.gitignore').read_text() == '/build/\n'


@pytest.mark.parametrize('version, exact', (
    ('7.3.4-1~bpo13+1', True), ('7.3.99-1', False), ('7.4.1-1', True),
    ('own-7.3.9', False)))
def test_where_offsets_are_allowed(version, exact):
    """On point releases and in the user's trees; not on the recorded version."""
    conf = archive.load('linux')
    assert (version == conf.recorded) == (version == '7.3.4-1~bpo13+1')
    assert tree.must_be_exact(conf, version) == exact
