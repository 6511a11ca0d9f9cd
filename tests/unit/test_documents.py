# SPDX-License-Identifier: GPL-2.0-or-later
"""The files, links and commands of make that documents name exist."""

import re

import pytest

from harness import __main__ as commands
from harness import tree
from harness.common import PROJECTS, ROOT
from tests.support.files import list_files

pytestmark = pytest.mark.check

DOCUMENTS = {str(path.relative_to(ROOT)): path.read_text(encoding='utf-8')
             for folder in ('', 'base/', 'conformance/', 'docs/',
                            'docs/virtio-spec/')
             for path in sorted(ROOT.glob(f'{folder}*.md'))}
# Made by make, or in a guest.
ELSEWHERE = ('build/', 'refs/', '/')


def touched():
    """Return the files that the patches touch, in Linux and in QEMU."""
    return {name for project in PROJECTS for path in tree.patch_files(project)
            for name in re.findall(r'(?m)^diff --git a/\S+ b/(\S+)', path.read_text())}


def paths_in(text):
    """Return the words in code spans of a document that have the form of a path."""
    return {word for word in re.findall(r'`([^`\s]+)`', text)
            if re.fullmatch(r'[\w.*-]*(/[\w.*-]*)+', word)}


def matches(pattern, name):
    """Return whether a path is a pattern's: a file, or a folder around it."""
    glob = re.escape(pattern).replace(r'\*', '[^/]*')
    end = '' if pattern.endswith('/') else '(/|$)'
    return re.match(glob + end, name)


@pytest.mark.parametrize('document', DOCUMENTS)
def test_paths_exist(document):
    """A path in a document is here, or is a file that a patch touches."""
    names = {*list_files(), *touched()}
    missing = [path for path in sorted(paths_in(DOCUMENTS[document]))
               if not path.startswith(ELSEWHERE)
               and not any(matches(path, name) for name in names)]
    assert not missing


@pytest.mark.parametrize('document', DOCUMENTS)
def test_links_lead_somewhere(document):
    """A link to another file leads to one."""
    folder = (ROOT / document).parent
    missing = [link for link in re.findall(r'\]\(([^)#\s]+)', DOCUMENTS[document])
               if '://' not in link and not (folder / link).exists()]
    assert not missing


@pytest.mark.parametrize('document', DOCUMENTS)
def test_commands_exist(document):
    """A document names no command that make does not have."""
    used = re.findall(r'(?m)(?:`|^    )make ([a-z][a-z-]*)(?=[`\s])', DOCUMENTS[document])
    # The last is a command of the kernel's make.
    assert not set(used) - {*commands.COMMANDS, 'clean', 'kselftest-install'}


def test_every_base_file_is_explained():
    """base/README.md names each file of its folder, and no other."""
    names = {word for row in re.findall(r'(?m)^\| (`.*?) \|', DOCUMENTS['base/README.md'])
             for word in re.findall(r'`([^`]+)`', row)}
    files = {path.name for path in (ROOT / 'base').iterdir()} - {'README.md'}
    assert names == files
