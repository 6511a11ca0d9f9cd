# SPDX-License-Identifier: GPL-2.0-or-later
"""The patch series and the trees in build/src: exact, round, and in step."""

import os
import re
import subprocess

import pytest

from harness import tree
from harness.common import PROJECTS, ROOT
from harness.debian import archive
from tests.support import mutant
from tests.support.files import list_files


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


def test_qemu_has_the_table_of_vectors():
    """QEMU's unit test runs the table of conformance/, and no other."""
    copy = tree.tree('qemu') / 'tests/unit/virtio-balloon-vectors.inc'
    assert copy.read_bytes() == (ROOT / 'conformance/vectors.h').read_bytes()


@pytest.fixture(name='touched')
def fixture_touched(request, tmp_path):
    """A project, and a worktree of its base with the files that its patches touch."""
    project = request.param
    files = {name for path in tree.patch_files(project) for name in re.findall(
        r'(?m)^diff --git a/(\S+)', path.read_text(encoding='utf-8'))}
    folder = tmp_path / project
    # The text of a patch beside @@ depends on .gitattributes.
    tree.worktree(project, folder, 'base',
                  ['.gitattributes', *sorted(f'/{name}' for name in files)])
    yield project, folder
    tree.git(tree.tree(project), 'worktree', 'remove', '--force', folder)


@pytest.mark.parametrize('touched', PROJECTS, indirect=True)
def test_applies_and_round_trips(touched, tmp_path, monkeypatch):
    """Plain git am applies every patch without an offset, and refresh gives it back."""
    project, folder = touched
    conf = archive.load(project)
    _, version = tree.base_version(folder)
    assert tree.apply(project, folder, tree.must_be_exact(conf, version)) == ''
    if version == conf.recorded:
        monkeypatch.setattr(tree, 'tree', lambda _: folder)
        assert tree.export(project, tmp_path / 'out', tree.counted(project)) == \
            tree.read_patches(tree.PATCHES / project)


@pytest.mark.parametrize('touched', PROJECTS, indirect=True)
def test_series_apply_alone(touched):
    """Each series applies to no more than what its cover letter names."""
    project, folder = touched
    for series, needed in tree.alone(project).items():
        tree.git(folder, 'reset', '-q', '--hard', 'base')
        assert tree.apply(project, folder, False, [*needed, series]) == '', series


def test_no_upstream_file():
    """No source file of this repository has the name of one in the trees."""
    for project in PROJECTS:
        for name in list_files('*.c', '*.h'):
            assert not (tree.tree(project) / name).exists(), name


@pytest.mark.parametrize('patch', mutant.MUTANTS, ids=lambda patch: patch.stem)
def test_mutants_apply(patch):
    """The mutants of make test-long apply."""
    tree.git(tree.tree(mutant.header(patch, 'Tree')), 'apply', '--check', patch)
