# SPDX-License-Identifier: GPL-2.0-or-later
"""The text for the virtio specification agrees with docs/protocol.md.

The UAPI header of Linux and QEMU's copy agree as well; and tests name every sentence.
"""

import re

import pytest

from harness import spec, tree
from harness.common import PROJECTS, ROOT, Failure

pytestmark = pytest.mark.check

PAGE = (ROOT / 'docs' / 'protocol.md').read_text(encoding='utf-8')
PARTS = {path.name: path.read_text(encoding='utf-8')
         for path in sorted(spec.SOURCE.glob('[1-4]-*.tex'))}
LATEX = '\n'.join(PARTS.values())
MODAL = re.compile(r'\b(?:MUST|SHOULD|MAY)\b')
# The parts of a structure's name that headings of the page stand for.
STRUCTS = {'Configuration space': 'config', 'Header': 'pages_hdr', 'Record': 'pages_rec',
           'Status': 'pages_status', 'Request': 'req', 'Answer': 'answer'}
HEADER = re.compile(r'\S+linux/virtio_balloon\.h ')
TESTS = re.compile(r'\S*/tests/')


def sentences():
    """Return {number: text} of the numbered sentences of the page."""
    found = re.findall(r'(?m)^- \[((?:DRV|DEV)-\d+)\] (.*(?:\n  .*)*)', PAGE)
    assert len(dict(found)) == len(found) > 90
    return dict(found)


def statements():
    """Return [(number, text)] of the statements in LaTeX, with lists below them."""
    return [(number, ' '.join(text.split())) for number, text in re.findall(
        r'(?m)^% \[((?:DRV|DEV)-\d+)\]\n'
        r'((?:.+\n)+(?:\n\\begin\{(?:itemize|enumerate)\}\n(?:.+\n)+)?)', LATEX)]


def page_constants():
    """Return {name: value} of the page: in tables, and in its text."""
    names = dict(re.findall(r'`(VIRTIO_BALLOON_F_\w+)` \| (\d+) ', PAGE))
    for prefix, rows in re.findall(
            r'name `(VIRTIO_BALLOON_\w+)…`.*\n\| ---.*\n((?:\|.*\n)+)', PAGE):
        names |= {prefix + name: value
                  for value, name in re.findall(r'(?m)^\| (\d+) \| `(\w+)`', rows)}
    for value, name in re.findall(
            r'(?<![-\w])(\d+(?:\^\d+ - \d+)?)(?: bytes[^.|(]*)?\s+\(?`(VIRTIO_BALLOON_\w+)`',
            PAGE):
        names[name] = value
    low, high, prefix = re.search(
        r'(\d+) to (\d+) \(`(VIRTIO_BALLOON_\w+_)MIN`, `_MAX`', PAGE).groups()
    names |= {f'{prefix}MIN': low, f'{prefix}MAX': high}
    bit, name = re.search(r'Bit (\d): `(VIRTIO_BALLOON_\w+)`', PAGE).groups()
    return names | {name: hex(1 << int(bit))}


def latex_constants():
    """Return {name: value} of listings and of lists, where both have the same."""
    defined = re.findall(r'(?m)^#define (\w+) \(?(.*?)\)?$', LATEX)
    items = re.findall(r'\\item\[(\w+) \((\d+)\)\]', LATEX)
    for rows in defined, items:
        assert len(dict(rows)) == len(rows)
    assert {**dict(items), **dict(defined)} == {**dict(defined), **dict(items)}
    return dict(defined + items)


def added(project, files):
    """Return the lines that the patches of a project add to files of such a name."""
    return '\n'.join(
        '\n'.join(re.findall(r'(?m)^\+(?!\+\+ )(.*)$', part))
        for path in tree.patch_files(project)
        for part in path.read_text(encoding='utf-8').split('\ndiff --git ')[1:]
        if files.match(part))


def header_structs(project):
    """Return {name: layout} of the protocol's structs in a project's header."""
    # Line by line, since not every comment has both its ends in the same patch.
    text = re.sub(r'(?m)^\s*(?:/?\*|#).*$', '', added(project, HEADER))
    # As Linux has it; QEMU's header has no byte order.
    text = re.sub(r'__((?:le|u)\d+)', r'\1', re.sub(r'\buint(\d+)_t', r'u\1', text))
    structs = re.findall(r'(?s)struct virtio_balloon_(\w+) \{\n(.*?)\n\};', text)
    config = re.sub(r'(?s)struct virtio_balloon_\w+ \{\n.*?\n\};', '', text)
    return {name: layout(fields) for name, fields in structs} | {
        'config': layout(config, 16)}


def layout(fields, offset=0):
    """Return [(offset, field, type)] of fields of a struct in C."""
    rows = []
    for kind, bits, name, number in re.findall(
            r'(?m)^\s+((?:le|u)(\d+)) (\w+)(?:\[(\d+)\])?;$', fields):
        rows.append((offset, name, kind + (f'[{number}]' if number else '')))
        offset += int(bits) // 8 * int(number or 1)
    return rows


def page_structs():
    """Return {name: layout} of the tables of offsets, under their headings."""
    structs = {}
    for heading, body in re.findall(r'(?m)^#+ (.*)\n((?:(?!#).*\n)*)', PAGE):
        rows = re.findall(r'(?m)^\| (\d+) \| `(\w+)` \| ((?:le|u)\d+\S*) \|', body)
        if rows:
            structs[STRUCTS[heading]] = [(int(offset), *row) for offset, *row in rows]
    return structs


def latex_structs():
    """Return {name: layout} of listings; fields added to a struct count from its end."""
    structs = {}
    for name, fields in re.findall(r'struct virtio_balloon_(\w+) \{\n(.*?)\};', LATEX,
                                   re.S):
        structs[name] = layout(fields)
    for name, offset, fields in re.findall(
            r'struct\s+virtio_balloon_(\w+),\s+at\s+offset\s+(\d+)\.\}\s+'
            r'\\begin\{lstlisting\}(.*?)\\end', LATEX, re.S):
        structs.setdefault(name, []).extend(layout(fields, int(offset)))
    return structs


def test_every_sentence_is_there():
    """Every numbered sentence of the page is in the text, and no other."""
    assert {number for number, _ in statements()} == set(sentences())


@pytest.mark.parametrize('number', sentences())
def test_sentence_says_the_same(number):
    """The statements of a sentence have its words for must, and its numbers."""
    page = sentences()[number]
    text = ' '.join(text for other, text in statements() if other == number)
    words = r'MUST(?: NOT)?|SHOULD(?: NOT)?|MAY'
    assert set(re.findall(words, page)) <= set(re.findall(words, text))
    constants = latex_constants()
    text += ''.join(f' {constants.get(name)}'
                    for name in re.findall(r'VIRTIO_BALLOON_\w+', text))
    # Not the numbers of sentences, or of a bit that another feature has.
    page = re.sub(r'\[D\w+-\d+\]|bit \d', '', page)
    assert (set(re.findall(r'\b\d+\b', re.sub(r'\w*[^\W\d]\w*', '', page)))
            <= set(re.findall(r'\b\d+\b', text)))


@pytest.mark.parametrize('name', PARTS)
def test_one_statement_a_paragraph(name):
    """MUST, SHOULD and MAY stand in normative files, one in a numbered paragraph."""
    for paragraph in re.split(r'\n\s*\n', PARTS[name]):
        wanted = paragraph.startswith(('% [DRV-', '% [DEV-'))
        assert not wanted or 'normative' in name
        text = re.sub(r'(?m)^%.*', '', paragraph)
        assert len(MODAL.findall(text)) == int(wanted), paragraph


def test_constants():
    """Feature bits, types, statuses and limits have the names and values of the page."""
    constants = page_constants()
    assert len(constants) > 30
    assert latex_constants() == constants


def test_structs():
    """Offsets, names and types of fields are the same as on the page."""
    structs = page_structs()
    assert sorted(structs) == sorted(STRUCTS.values())
    # The first four fields of the configuration space are the specification's.
    structs['config'] = structs['config'][4:]
    assert latex_structs() == structs


@pytest.mark.parametrize('project', PROJECTS)
def test_structs_of_headers(project):
    """The headers have the same structs; QEMU's has no byte order."""
    structs = page_structs()
    structs['config'] = structs['config'][4:]
    if project == 'qemu':
        structs = {name: [(offset, field, kind.replace('le', 'u'))
                          for offset, field, kind in rows]
                   for name, rows in structs.items()}
    assert header_structs(project) == structs


def test_every_sentence_is_tested():
    """A test names each sentence, and no sentence that there is not."""
    texts = [added(project, TESTS) for project in PROJECTS]
    files = {*ROOT.glob('tests/*/test_*.py'), *ROOT.glob('conformance/*.h')}
    texts += [path.read_text(encoding='utf-8')
              for path in files if path.name != 'test_spec.py']
    named = set(re.findall(r'\b(?:DRV|DEV)-\d+\b', '\n'.join(texts)))
    assert named == set(sentences())


def test_labels_are_listed_for_conformance():
    """Each normative block is listed once, and each label that is listed exists."""
    for side in 'driver', 'device':
        blocks = re.findall(rf'\\{side}normative\{{.*?\}}\{{.*?\}}\{{(.*)\}}', LATEX)
        assert len(blocks) > 3
        assert sorted(blocks) == sorted(re.findall(
            rf'\\item \\ref\{{{side}normative:(.*)\}}', LATEX))


def test_latex_error_is_one_line(tmp_path, monkeypatch):
    """An error of LaTeX is one line, with the log's name."""
    def run_logged(*_, **__):
        (tmp_path / 'spec.log').write_text('text\n./1.tex:7: Undefined control sequence.\n')
        raise Failure('twenty lines')
    monkeypatch.setattr(spec, 'run_logged', run_logged)
    monkeypatch.setattr(spec, 'LOGS', tmp_path)
    with pytest.raises(Failure) as failure:
        spec.latex()
    assert str(failure.value) == ('LaTeX: 1.tex:7: Undefined control sequence. '
                                  '(all of it: build/spec/virtio-balloon.log)')
