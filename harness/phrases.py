# SPDX-License-Identifier: GPL-2.0-or-later
"""Count phrases that CONTRIBUTING.md advises against, in everything that people read.

python3 -m harness.phrases [--list] [COMMIT]: the counts of the working tree, and of a
commit; --list prints each place in the working tree. Some of these phrases are right: it
is an aid, not a gate.
"""

import argparse
import ast
import io
import re
import sys
import tempfile
import tokenize
from collections import Counter
from pathlib import Path

from bench import report
from harness.common import ROOT, Failure
from harness.git import git, rev, unpack
from harness.refresh import MARKER

# What to print, and the expression that finds it, without regard to case unless noted.
PHRASES = {
    'what is, was, it ...': r'\bwhat (is|are|was|were|it|they|has|have|had|an?|the)\b',
    'say, said': r'\b(say|says|said|saying)\b(?!\()',
    'look at': r'\b(look|looks|looked|looking)\b',
    'tell, told': r'\b(tell|tells|told|telling)\b',
    'sentence begins What, Who, Those':
        r'(?-i:(?:^|(?<=[.!?:;] ))(What|Who|Whoever|Those)\b)',
    'those that, one that, that of':
        r'\b(those that|ones? that|those of|that of|those which)\b',
    'to be had': r'\b(to|can|could) be had\b',
    'meanwhile': r'\bmeanwhile\b',
    ', too': r', too\b',
    'for ever, as ever': r'\b(for|as) ever\b',
    'of its own': r'\bof (its|their|one\'s) own\b',
}


def python_texts(text):
    """Return the docstrings and comments of a Python file; adjacent comments are one."""
    found, last = [], None
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef,
                             ast.AsyncFunctionDef)):
            found.append(ast.get_docstring(node) or '')
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comment = token.string.lstrip('#! ')
            if last == token.start[0] - 1:
                found[-1] += f' {comment}'
            else:
                found.append(comment)
            last = token.start[0]
    return found


def c_texts(text):
    """Return the comments of C source."""
    return [re.sub(r'(?m)^\s*\*+ ?', '', match[2:].removesuffix('*/'))
            for match in re.findall(r'(?s)/\*.*?\*/|//[^\n]*', text)]


def prose_texts(text):
    """Return the paragraphs, list items and table cells of a document, without code."""
    text = re.sub(r'(?ms)^```.*?^```$', '', text)
    text = re.sub(r'(?m)^(    |\t).*$', '', text)
    return re.split(r'\n\s*\n|\n(?=\s*(?:[-*]|\d\.) )|\|', re.sub(r'`[^`]*`', 'X', text))


def patch_texts(text):
    """Return {kind: texts} of a patch: its message, and what it adds."""
    head, _, diff = text.partition('\n---\n')
    found = {'messages': head.split('\n\n')[1:], 'C in patches': [],
             'documents in patches': []}
    for part in diff.split('\ndiff --git a/')[1:]:
        name = part.split(' ', 1)[0]
        added = '\n'.join(line[1:] for line in part.splitlines() if line[0:1] == '+'
                          and not line.startswith('+++'))
        if name.endswith(('.c', '.h')):
            found['C in patches'] += c_texts(added)
        elif name.endswith(('.rst', '.json')):
            found['documents in patches'] += prose_texts(added)
    return found


def texts(folder, names):
    """Return [(kind, file, text)] of all that people read, each text in one line."""
    found = []
    for name in sorted(names):
        path, kinds = folder / name, {}
        if path.suffix not in ('.md', '.py', '.patch', '.txt', '.c', '.h'):
            continue
        text = path.read_text(encoding='utf-8')
        if path.suffix == '.patch':
            kinds = patch_texts(text)
        elif path.name == '0000-cover-letter.txt':
            kinds['cover letters'] = prose_texts(text.split(MARKER)[0])
        elif path.suffix == '.md':
            kinds['documents'] = prose_texts(text)
        elif path.suffix == '.py':
            kinds['Python'] = python_texts(text)
        elif path.suffix in ('.c', '.h'):
            kinds['C here'] = c_texts(text)
        found += [(kind, name, ' '.join(text.split()))
                  for kind, parts in kinds.items() for text in parts]
    return found


def count(found):
    """Return {(phrase, kind): how often}, and {('words', kind): how many}."""
    counts = Counter()
    for kind, _, text in found:
        counts['words', kind] += len(text.split())
        for phrase, expression in PHRASES.items():
            counts[phrase, kind] += len(re.findall(expression, text, re.I))
    return counts


def tracked(folder):
    """Return the files that git tracks or would add, as paths from the top."""
    names = git(folder, 'ls-files', '-co', '--exclude-standard', '-x', 'build/')
    return [name for name in names.splitlines() if (folder / name).is_file()]


def texts_of(commit):
    """Return what texts() does for a commit of this repository."""
    with tempfile.TemporaryDirectory() as temp:
        folder = unpack(ROOT, commit, Path(temp))
        return texts(folder, [str(path.relative_to(folder))
                              for path in folder.rglob('*') if path.is_file()])


def show(now, before):
    """Print a table of counts, each with that of the commit before if there is one."""
    kinds = list(dict.fromkeys(kind for _, kind in [*now, *(before or ())]))

    def cell(phrase, *of):
        value = str(sum(now[phrase, kind] for kind in of))
        return value if before is None else \
            f'{sum(before[phrase, kind] for kind in of)} > {value}'
    report.table([['', *kinds, 'all'], *(
        [phrase, *(cell(phrase, kind) for kind in kinds), cell(phrase, *kinds)]
        for phrase in [*PHRASES, 'words'])])


def main():
    """Print the counts, or each place."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--list', action='store_true', help='print each place')
    parser.add_argument('commit', nargs='?', help='a commit to compare with')
    options = parser.parse_args()
    if options.commit and not rev(ROOT, options.commit):
        raise Failure(f'{options.commit}: this repository has no such commit')
    found = texts(ROOT, tracked(ROOT))
    if options.list:
        for _, name, text in found:
            for phrase, expression in PHRASES.items():
                for match in re.finditer(expression, text, re.I):
                    print(f'{name}: {phrase}: '
                          f'{text[max(0, match.start() - 60):match.end() + 60]}')
    show(count(found), count(texts_of(options.commit)) if options.commit else None)


if __name__ == '__main__':
    try:
        main()
    except Failure as failure:
        sys.exit(f'error: {failure}')
