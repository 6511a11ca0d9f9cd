# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of documents that programs write, each between two marks."""

import re


def _pattern(name):
    """Return what matches a part: its first mark, its text, its last mark."""
    return re.compile(rf'(<!-- begin {name}: [^\n]* -->\n)(.*?)(<!-- end {name} -->\n)',
                      re.S)


def part(text, name):
    """Return a part of a document, or None if the document has no such part."""
    found = _pattern(name).search(text)
    return found[2] if found else None


def replace_part(path, name, new):
    """Write a part of a document anew, unless it is as it should be."""
    text = path.read_text(encoding='utf-8')
    changed = _pattern(name).sub(lambda found: found[1] + new + found[3], text)
    if changed != text:
        path.write_text(changed, encoding='utf-8')


def markdown_table(rows, right=()):
    """Return rows of cells as a table; columns in right are aligned to the right."""
    head, *body = rows
    rule = [' ---: ' if column in right else ' --- ' for column in range(len(head))]
    lines = [f"| {' | '.join(row)} |" for row in (head, *body)]
    return '\n'.join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]]) + '\n'
