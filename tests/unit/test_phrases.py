# SPDX-License-Identifier: GPL-2.0-or-later
"""The counter of phrases finds them where people read, and in no code."""

import pytest

from harness import phrases

pytestmark = pytest.mark.check

PATCH = '''From 0
Subject: [PATCH] What is in a header

Those that say nothing.
---
 file.c | 1 +

diff --git a/file.c b/file.c
--- a/file.c
+++ b/file.c
@@ -1,2 +1,4 @@
 /* What is old. */
+/*
+ * What is new, and said
+ * twice, too.
+ */
+look(told);
'''
FILES = {
    'a.py': '"""What is it?"""\n# It tells\n# of those that wait.\nx = "meanwhile"  # look\n',
    'b.md': 'Says `what is`.\n\n    what is code\n\n| Those | wait |\n',
    'c.patch': PATCH, 'd.c': 'say(); // to be had\n',
    '0000-cover-letter.txt': 'Subject: x\n\nSay.\n\nPatches and diffstat:\n\n  say\n',
    'e.sh': '# what is this\n'}
COUNTS = {
    ('what is, was, it ...', 'Python'): 1, ('tell, told', 'Python'): 1,
    ('sentence begins What, Who, Those', 'Python'): 1, ('look at', 'Python'): 1,
    ('those that, one that, that of', 'Python'): 1, ('say, said', 'documents'): 1,
    ('sentence begins What, Who, Those', 'documents'): 1,
    ('say, said', 'messages'): 1, ('those that, one that, that of', 'messages'): 1,
    ('sentence begins What, Who, Those', 'messages'): 1,
    ('what is, was, it ...', 'C in patches'): 1, ('say, said', 'C in patches'): 1,
    ('sentence begins What, Who, Those', 'C in patches'): 1, (', too', 'C in patches'): 1,
    ('to be had', 'C here'): 1, ('say, said', 'cover letters'): 1}


def test_phrases_are_counted(tmp_path):
    """Each phrase counts once, for the kind of text that has it."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    counts = phrases.count(phrases.texts(tmp_path, FILES))
    assert {key: value for key, value in counts.items()
            if value and key[0] != 'words'} == COUNTS
    assert counts['words', 'messages'] == 4


def test_counts_are_compared(capsys):
    """The table has both counts of a phrase."""
    now = phrases.count([('Python', 'a.py', 'What is it?')])
    phrases.show(now, phrases.count([('Python', 'a.py', 'It said so; I say so.')]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ['Python', 'all']
    assert lines[1].endswith('0 > 1  0 > 1') and lines[2].endswith('2 > 0  2 > 0')
