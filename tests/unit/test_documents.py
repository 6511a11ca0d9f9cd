# SPDX-License-Identifier: GPL-2.0-or-later
"""Names in the documents exist; the parts that programs write are up to date."""

import functools
import re

import pytest

from bench import pages
from harness import __main__ as commands
from harness import documents, refresh, tree
from harness.common import PROJECTS, ROOT
from tests.support.files import list_files

pytestmark = pytest.mark.check

DOCUMENTS = {str(path.relative_to(ROOT)): path.read_text(encoding='utf-8')
             for folder in ('', 'base/', 'conformance/', 'docs/',
                            'docs/virtio-spec/')
             for path in sorted(ROOT.glob(f'{folder}*.md'))}
# Made by make, or in a guest.
ELSEWHERE = ('build/', 'refs/', '/')


# Names in the glossary that stock Linux and QEMU have.
STOCK = {'balloon', 'query-balloon', 'sync(2)'}


@functools.cache
def added():
    """Return the lines that the patches add, with C strings in one piece."""
    lines = [line[1:] for project in PROJECTS for path in tree.patch_files(project)
             for line in path.read_text().splitlines() if line.startswith('+')]
    return re.sub(r'"\s*\n\s*(PRIu32\s*)?"', '', '\n'.join(lines))


def touched():
    """Return the files that the patches touch, in Linux and in QEMU."""
    return {name for project in PROJECTS for path in tree.patch_files(project)
            for name in re.findall(r'(?m)^diff --git a/\S+ b/(\S+)', path.read_text())}


def paths_in(text):
    """Return what looks like a path in the code spans of a document."""
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


def anchors(text):
    """Return the anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r'(?ms)^```.*?^```', '', text)
    return {re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-')
            for title in re.findall(r'(?m)^#+ (.*)', text)}


@pytest.mark.parametrize('document', DOCUMENTS)
def test_anchors_exist(document):
    """A link to a heading leads to one."""
    folder = (ROOT / document).parent
    missing = [f'{name}#{anchor}' for name, anchor in re.findall(
        r'\]\(([^)#\s]*)#([^)\s]+)\)', DOCUMENTS[document]) if '://' not in name
        and anchor not in anchors((folder / name).read_text(encoding='utf-8')
                                  if name else DOCUMENTS[document])]
    assert not missing


def test_readme_fits():
    """README.md has at most 150 lines. It, or a recipe, links to each page of docs/."""
    assert len(DOCUMENTS['README.md'].splitlines()) <= 150
    linked = set(re.findall(r'\((docs/[\w-]+\.md)', DOCUMENTS['README.md']))
    linked |= {f'docs/{name}' for name in
               re.findall(r'\(([\w-]+\.md)', DOCUMENTS['docs/using.md'])}
    assert linked == {name for name in DOCUMENTS if re.fullmatch(r'docs/[^/]+', name)}


def test_figures_are_those_of_the_results():
    """README.md has the figures of docs/charts, and docs/results.md the tables."""
    assert documents.part(DOCUMENTS['README.md'], 'figures') == pages.figures(), \
        'python3 -m bench.pages'
    assert DOCUMENTS['docs/results.md'] == pages.results(), 'python3 -m bench.pages'
    covers = [*pages.covers()]
    assert len(covers) >= 3
    for path, text in covers:
        assert text == pages.with_tables(text), f'{path}: python3 -m bench.pages'


@pytest.mark.parametrize('project', PROJECTS)
def test_series_are_listed(project):
    """The review guide has the series of patches/."""
    assert documents.part(DOCUMENTS['docs/review-guide.md'], project) == \
        refresh.series_table(project), 'make refresh'


def test_messages_are_printed():
    """docs/using.md quotes messages as Linux and QEMU print them."""
    table = DOCUMENTS['docs/using.md'].split('## What to do when')[1]
    quoted = [piece.strip() for row in re.findall(r'(?m)^\| (.*?) \|', table)
              for words in re.findall('"([^"]+)"', row) for piece in words.split('…')]
    assert len(quoted) > 8
    # Stock Linux says the first as well.
    assert not [words for words in quoted if words not in added()
                and words not in ('Out of puff!', '')]


def test_names_of_the_glossary_exist():
    """Each name in the tables of the glossary stands in a patch."""
    head = DOCUMENTS['docs/glossary.md'].split('## Words')[0]
    names = {name.removesuffix('()') for name in re.findall('`([^`]+)`', head)
             if not re.search('[/…]', name)}
    assert len(names) > 30
    missing = {name for name in names - STOCK if name not in added()
               and name.removeprefix('virtio_balloon_') not in added()}
    assert not missing


@pytest.mark.parametrize('document', DOCUMENTS)
def test_commands_exist(document):
    """A document names no command that make does not have."""
    used = re.findall(r'(?m)(?:`|^    )make ([a-z][a-z-]*)(?=[`\s])', DOCUMENTS[document])
    # The last are commands of the kernel's make.
    assert not set(used) - {*commands.COMMANDS, 'clean', 'kselftest-install',
                            'olddefconfig'}


def test_every_base_file_is_explained():
    """base/README.md names each file of its folder, and no other."""
    names = {word for row in re.findall(r'(?m)^\| (`.*?) \|', DOCUMENTS['base/README.md'])
             for word in re.findall(r'`([^`]+)`', row)}
    files = {path.name for path in (ROOT / 'base').iterdir()} - {'README.md'}
    assert names == files
