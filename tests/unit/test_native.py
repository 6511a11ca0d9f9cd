# SPDX-License-Identifier: GPL-2.0-or-later
"""The device of make bench-native decodes the table of conformance/ as it must."""

import subprocess

import pytest

from harness.common import ROOT, capture

pytestmark = pytest.mark.check

FOLDER = ROOT / 'native'
# What is changed in decode.c, which vectors must notice: (text, in its place)
FAULTS = [
    ('at[6] & UNIT_RESERVED', '0'), ('!at[7]', '0'), ('SHIFT_MAX\t30', 'SHIFT_MAX\t31'),
    ('SHIFT_MIN\t12', 'SHIFT_MIN\t11'), ('<= FRAME_END;', '<= FRAME_END + 1;'),
    ('first < *end', 'first + 1 < *end'), ('get(msg + 2, 2)', '0'),
    ('size > PAGES_MAX)', 'size > PAGES_MAX + 8)'), ('left >= rec->size', '1'),
    ('return recs->count;', 'return true;'), ('get(bytes + 12, 4)', '0'),
    ('from > req->above ? from : req->above', 'from'), ('end < to ? end : to', 'end + 0 * to'),
    ('rec->first = get(at, 6)', 'rec->first = get(at, 4)')]


def failures(folder, text):
    """Compile the vectors' program with a decoder's text; return what it says is bad."""
    (folder / 'decode.c').write_text(text, encoding='utf-8')
    program = folder / 'vectors'
    capture(['gcc', '-O1', '-Wall', '-Wextra', '-Werror', '-Wno-type-limits',
             '-iquote', FOLDER, '-o', program, FOLDER / 'vectors.c', folder / 'decode.c'])
    done = subprocess.run([program], check=False, capture_output=True, text=True)
    bad = done.stdout.count('\nnot ok') + done.stdout.startswith('not ok')
    assert done.returncode == bool(bad) and '\n1..' in done.stdout, done
    return bad


def test_vectors(tmp_path):
    """All verdicts, numbers and frames are those of the table."""
    assert failures(tmp_path, (FOLDER / 'decode.c').read_text(encoding='utf-8')) == 0


@pytest.mark.parametrize('text, wrong', FAULTS)
def test_wrong_decoder_is_found(tmp_path, text, wrong):
    """A decoder with a fault fails."""
    source = (FOLDER / 'decode.c').read_text(encoding='utf-8')
    assert source.count(text) == 1
    assert failures(tmp_path, source.replace(text, wrong)) > 0
