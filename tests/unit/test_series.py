# SPDX-License-Identifier: GPL-2.0-or-later
"""The patch queues: exact, signed by nobody, and round."""

import os
import re
import shutil
import subprocess

import pytest

from harness import base, tree
from harness.common import QUEUES, ROOT, Failure
from tests.support import mutant

HEADERS = ('From: ', 'Date: ', 'Subject: [PATCH] ')


def patches():
    """All patches of both queues."""
    return [path for queue in QUEUES for path in tree.queue_files(queue)]


def tracked():
    """The files of this repository."""
    out = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard',
                          '-x', 'build/'],
                         cwd=ROOT, check=True, capture_output=True, text=True)
    return out.stdout.splitlines()


def test_qemu_has_the_header_of_linux(tmp_path):
    """QEMU's script that brings in UAPI headers would not change ours."""
    header = 'linux/virtio_balloon.h'
    script = (tree.tree('qemu') / 'scripts/update-linux-headers.sh').read_text()
    convert = re.search(r'(?ms)^cp_portable\(\) \{.*?^\}$', script)[0]
    subprocess.run(['sh', '-ec', f'{convert}\ncp_portable "$@"', 'sh',
                    tree.tree('linux') / 'include/uapi' / header, tmp_path],
                   check=True, env={**os.environ, 'arch': ''})
    ours = tree.tree('qemu') / 'include/standard-headers' / header
    assert (tmp_path / 'virtio_balloon.h').read_text() == ours.read_text()


@pytest.mark.parametrize('queue', QUEUES)
def test_applies_and_round_trips(queue, tmp_path, monkeypatch):
    """Plain git am takes every patch where it says, and refresh gives it back."""
    built = tree.tree(queue)
    copy = tmp_path / queue
    subprocess.run(['git', '-C', built, 'worktree', 'add', '-q', '--detach',
                    '--no-checkout', copy, 'base'], check=True)
    try:
        # Only the folders that the patches touch are checked out.
        folders = {'/' + line.split('/', 1)[0] + '/'
                   for path in tree.queue_files(queue)
                   for line in re.findall(r'(?m)^diff --git a/(\S+)',
                                          path.read_text()) if '/' in line}
        subprocess.run(['git', '-C', copy, 'sparse-checkout', 'set', '--no-cone',
                        '/*', '!/*/', *sorted(folders)], check=True)
        subprocess.run(['git', '-C', copy, 'checkout', '-q', '--detach', 'base'],
                       check=True)
        conf = base.load(queue)
        _, version = tree.base_version(built)
        exact = tree.must_be_exact(conf, version)
        assert tree.apply(queue, copy, exact) == ''
        if version == conf.recorded:
            monkeypatch.setattr(tree, 'tree', lambda _: copy)
            (tmp_path / 'out').mkdir()
            assert tree.export(queue, tmp_path / 'out') == \
                tree.queue_text(tree.PATCHES / queue)
    finally:
        subprocess.run(['git', '-C', built, 'worktree', 'remove', '--force',
                        copy], check=True)


@pytest.mark.parametrize('queue', QUEUES)
def test_not_empty(queue):
    """There is a series, and a letter that introduces it."""
    assert tree.queue_files(queue)
    cover = (tree.PATCHES / queue / tree.COVER).read_text()
    count = len(tree.queue_files(queue))
    assert re.search(rf'(?m)^Subject: \[PATCH .*\b0+/{count}\] \S', cover)
    for path in tree.queue_files(queue):
        subject = re.search(r'(?ms)^Subject: \[PATCH\] (.*?)\n(?=\S|\n)',
                            path.read_text())[1].replace('\n ', ' ')
        assert f'  {subject}\n' in cover


@pytest.mark.parametrize('queue', QUEUES)
def test_nothing_but_patches(queue):
    """A queue's folder holds its patches, numbered without gaps, and the letter."""
    names = sorted(path.name for path in (tree.PATCHES / queue).iterdir())
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
    for name in tracked():
        assert not re.search(r'\.(tar|deb|xz|gz|zip|dsc|orig)$', name), name
        assert (ROOT / name).stat().st_size < 1 << 20, name
    for queue in QUEUES:
        for name in tracked():
            if name.endswith(('.c', '.h')):
                assert not (tree.tree(queue) / name).exists(), name


@pytest.fixture(name='small_queue')
def fixture_small_queue(tmp_path, monkeypatch):
    """A queue of one patch for a tree of one file, to try make tree on."""
    monkeypatch.setattr(tree, 'SRC', tmp_path / 'src')
    monkeypatch.setattr(tree, 'PATCHES', tmp_path / 'patches')
    monkeypatch.setattr(base, 'record', lambda *_: None)
    own = tmp_path / 'own'
    own.mkdir()
    (own / 'VERSION').write_text('10.0.99\n')
    (own / 'file').write_text(''.join(f'{n}\n' for n in range(100)))
    monkeypatch.setenv('QEMU_SRC', str(own))
    (tmp_path / 'patches' / 'qemu').mkdir(parents=True)
    tree.ensure('qemu')
    commit(tree.tree('qemu'), 'balloon: say more', 'file',
           (own / 'file').read_text().replace('50\n', '50\n50.5\n'))
    tree.refresh('qemu')
    return tmp_path


def commit(folder, message, name, text):
    """Write a file in a tree and commit it."""
    (folder / name).write_text(text)
    for argv in (['add', name], ['-c', 'user.name=A', '-c', 'user.email=a@b.c',
                                 'commit', '-qm', message]):
        subprocess.run(['git', '-C', folder, *argv], check=True)


def test_work_is_never_lost(small_queue):
    """make tree stops at commits of the user's own, and keeps them if forced."""
    folder = tree.tree('qemu')
    commit(folder, 'balloon: more', 'other', 'text\n')
    mine = tree.rev(folder, 'HEAD')
    with pytest.raises(Failure, match='FORCE=1'):
        tree.ensure('qemu')
    assert tree.rev(folder, 'HEAD') == mine
    (folder / 'file').write_text('dirt\n')
    with pytest.raises(Failure, match='not committed'):
        tree.refresh('qemu')
    tree.ensure('qemu', force=True)
    assert not (folder / 'other').exists()
    kept = tree.git(folder, 'for-each-ref', '--format=%(refname)',
                    'refs/queue/backup').split()
    assert len(kept) == 1
    assert tree.git(folder, 'show', f'{kept[0]}:file') == 'dirt\n'
    assert tree.rev(folder, f'{kept[0]}~1') == mine
    assert small_queue


def test_queue_changes_are_applied(small_queue):
    """A clean tree follows its queue; a tree made anew has the same commits."""
    folder = tree.tree('qemu')
    patch, = tree.queue_files('qemu')
    tree.ensure('qemu', force=True)
    before = patch.read_bytes()
    patch.write_bytes(before.replace(b'say more', b'say much more'))
    tree.ensure('qemu')
    assert 'say much more' in tree.git(folder, 'log', '-1', '--format=%s')
    applied = tree.rev(folder, 'HEAD')
    shutil.rmtree(folder)
    tree.ensure('qemu')
    assert tree.rev(folder, 'HEAD') == applied
    tree.refresh('qemu')
    assert tree.queue_text(small_queue / 'patches' / 'qemu').keys() \
        == {'0001-balloon-say-much-more.patch'}


@pytest.mark.parametrize('message, word', (
    ('fixup! balloon: say more', 'squashed'),
    ('balloon: x\n\nSigned-off-by: A <a@b.c>', 'signed off')))
def test_refresh_refuses(small_queue, message, word):
    """What must not get into a queue is named."""
    commit(tree.tree('qemu'), message, 'other', 'text\n')
    with pytest.raises(Failure, match=word):
        tree.refresh('qemu')
    assert len(list((small_queue / 'patches' / 'qemu').iterdir())) == 1


def test_offset_is_noticed(small_queue):
    """On the recorded version a hunk must lie where the patch says."""
    patch, = tree.queue_files('qemu')
    patch.write_text(re.sub(r'(?<=[-+])49(?=,)', '52',
                            patch.read_text()))
    folder = tree.tree('qemu')
    tree.git(folder, 'reset', '-q', '--hard', 'base')
    assert 'offset' in tree.apply('qemu', folder, exact=True)
    assert small_queue


def test_cover_letter_is_kept_true(small_queue):
    """refresh counts and lists the patches, and leaves the text alone."""
    cover = small_queue / 'patches' / 'qemu' / tree.COVER
    cover.write_text('Subject: [PATCH 00/NN] balloon: all of it\n\nText.\n')
    tree.refresh('qemu')
    first = cover.read_text()
    assert first.startswith('Subject: [PATCH 0/1] balloon: all of it\n\nText.\n')
    assert '  balloon: say more\n' in first
    tree.refresh('qemu')
    assert cover.read_text() == first


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
    conf = base.load('linux')
    assert (version == conf.recorded) == (version == '7.3.4-1~bpo13+1')
    assert tree.must_be_exact(conf, version) == exact


@pytest.mark.parametrize('patch', mutant.MUTANTS, ids=lambda patch: patch.stem)
def test_mutants_apply(patch):
    """The faults that make test-long puts in on purpose can be put in."""
    tree.git(tree.tree(mutant.header(patch, 'Queue')), 'apply', '--check', patch)
