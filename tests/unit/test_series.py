# SPDX-License-Identifier: GPL-2.0-or-later
"""The patch series, and what make tree and make refresh do, without the real trees."""

import re
import shutil
import subprocess

import pytest

from harness import refresh, tree
from harness.common import QUEUES, ROOT, Failure
from harness.debian import archive
from tests.support.files import list_files

pytestmark = pytest.mark.check

HEADERS = ('From: ', 'Date: ', 'Subject: [PATCH] ')


def patches():
    """Return all patches of both series."""
    return [path for series in QUEUES for path in tree.patch_files(series)]


@pytest.mark.parametrize('series', QUEUES)
def test_cover_letter_lists_the_patches(series):
    """There is a series, and a cover letter with its count and subjects."""
    assert tree.patch_files(series)
    cover = (tree.PATCHES / series / tree.COVER).read_text()
    count = len(tree.patch_files(series))
    assert re.search(rf'(?m)^Subject: \[PATCH .*\b0+/{count}\] \S', cover)
    for path in tree.patch_files(series):
        subject = re.search(r'(?ms)^Subject: \[PATCH\] (.*?)\n(?=\S|\n)',
                            path.read_text())[1].replace('\n ', ' ')
        assert f'  {subject}\n' in cover


@pytest.mark.parametrize('series', QUEUES)
def test_nothing_but_patches(series):
    """The folder of a series holds its patches, numbered without gaps, and the letter."""
    names = sorted(path.name for path in (tree.PATCHES / series).iterdir())
    numbers = [int(name[:4]) for name in names if name.endswith('.patch')]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [name for name in names if not name.endswith('.patch')] \
        == [tree.COVER]


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
    """A series of one patch for a tree of one file, to try make tree on."""
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
    commit(tree.tree('qemu'), 'balloon: say more', 'file',
           (own / 'file').read_text().replace('50\n', '50\n50.5\n'))
    refresh.refresh('qemu')
    return tmp_path


def commit(folder, message, name, text):
    """Write a file in a tree and commit it."""
    (folder / name).write_text(text)
    for argv in (['add', name], ['-c', 'user.name=A', '-c', 'user.email=a@b.c',
                                 'commit', '-qm', message]):
        subprocess.run(['git', '-C', folder, *argv], check=True)


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
    patch, = tree.patch_files('qemu')
    tree.ensure('qemu', force=True)
    before = patch.read_bytes()
    patch.write_bytes(before.replace(b'say more', b'say much more'))
    tree.ensure('qemu')
    assert 'say much more' in tree.git(folder, 'log', '-1', '--format=%s')
    applied = tree.rev(folder, 'HEAD')
    shutil.rmtree(folder)
    tree.ensure('qemu')
    assert tree.rev(folder, 'HEAD') == applied
    refresh.refresh('qemu')
    assert tree.read_patches(small_series / 'patches' / 'qemu').keys() \
        == {'0001-balloon-say-much-more.patch'}


@pytest.mark.parametrize('message, word', (
    ('fixup! balloon: say more', 'squashed'),
    ('balloon: x\n\nSigned-off-by: A <a@b.c>', 'signed off')))
def test_refresh_refuses(small_series, message, word):
    """What must not get into a series is named."""
    commit(tree.tree('qemu'), message, 'other', 'text\n')
    with pytest.raises(Failure, match=word):
        refresh.refresh('qemu')
    assert len(list((small_series / 'patches' / 'qemu').iterdir())) == 1


def test_offset_is_noticed(small_series):
    """On the recorded version a hunk must lie where the patch says."""
    patch, = tree.patch_files('qemu')
    patch.write_text(re.sub(r'(?<=[-+])49(?=,)', '52',
                            patch.read_text()))
    folder = tree.tree('qemu')
    tree.git(folder, 'reset', '-q', '--hard', 'base')
    assert 'offset' in tree.apply('qemu', folder, exact=True)
    assert small_series


def test_cover_letter_is_kept_true(small_series):
    """refresh counts and lists the patches, and leaves the text alone."""
    cover = small_series / 'patches' / 'qemu' / tree.COVER
    cover.write_text('Subject: [PATCH 00/NN] balloon: all of it\n\nText.\n')
    refresh.refresh('qemu')
    first = cover.read_text()
    assert first.startswith('Subject: [PATCH 0/1] balloon: all of it\n\nText.\n')
    assert '  balloon: say more\n' in first
    refresh.refresh('qemu')
    assert cover.read_text() == first


def test_worktree_is_what_is_asked_for(small_series):
    """A worktree has the commit and no changes, whatever its folder held before."""
    folder = small_series / 'worktree'
    original = (tree.tree('qemu') / 'file').read_text().replace('50.5\n', '')

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
    tree.unhide(tmp_path)
    assert (tmp_path / '.gitignore').read_text() == '*.o\n\n'
    (tmp_path / '.gitignore').write_text('/build/\n')
    tree.unhide(tmp_path)
    assert (tmp_path / '.gitignore').read_text() == '/build/\n'


@pytest.mark.parametrize('version, exact', (
    ('7.3.4-1~bpo13+1', True), ('7.3.99-1', False), ('7.4.1-1', True),
    ('own-7.3.9', False)))
def test_where_offsets_are_allowed(version, exact):
    """On point releases and in trees of one's own; not on the recorded version."""
    conf = archive.load('linux')
    assert (version == conf.recorded) == (version == '7.3.4-1~bpo13+1')
    assert tree.must_be_exact(conf, version) == exact
