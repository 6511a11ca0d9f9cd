# SPDX-License-Identifier: GPL-2.0-or-later
"""make bench-native: the decoder of its device, by the table of conformance/; its table."""

import subprocess

import pytest

from bench import uml
from harness.common import ROOT, capture

pytestmark = pytest.mark.check

FOLDER = ROOT / 'native'
# Changes of decode.c that vectors must notice: (text, in its place)
FAULTS = [
    ('at[6] & UNIT_RESERVED', '0'), ('!at[7]', '0'), ('get(msg + 2, 2)', '0'),
    ('SHIFT_MAX\t30', 'SHIFT_MAX\t31'), ('SHIFT_MIN\t12', 'SHIFT_MIN\t11'),
    ('<= FRAME_END;', '<= FRAME_END + 1;'), ('first < *end', 'first + 1 < *end'),
    ('size > PAGES_MAX)', 'size > PAGES_MAX + 8)'), ('left >= rec->size', '1'),
    ('return recs->count;', 'return true;'), ('get(bytes + 12, 4)', '0'),
    ('from > req->above ? from : req->above', 'from'),
    ('end < to ? end : to', 'end + 0 * to'),
    ('rec->first = get(at, 6)', 'rec->first = get(at, 4)')]


def failures(folder, text):
    """Compile the vectors' program with a decoder's text; return the vectors that it finds bad."""
    (folder / 'decode.c').write_text(text, encoding='utf-8')
    program = folder / 'vectors'
    capture(['gcc', '-O1', '-Wall', '-Wextra', '-Werror', '-Wno-type-limits',
             '-iquote', FOLDER, '-o', program, FOLDER / 'vectors.c', folder / 'decode.c'])
    done = subprocess.run([program], check=False, capture_output=True, text=True)
    bad = done.stdout.count('\nnot ok') + done.stdout.startswith('not ok')
    assert done.returncode == bool(bad) and '\n1..' in done.stdout, done
    return bad


def test_vectors(tmp_path):
    """All verdicts, numbers and frames agree with the table."""
    assert failures(tmp_path, (FOLDER / 'decode.c').read_text(encoding='utf-8')) == 0


@pytest.mark.parametrize('text, wrong', FAULTS)
def test_wrong_decoder_is_found(tmp_path, text, wrong):
    """A decoder with a fault fails."""
    source = (FOLDER / 'decode.c').read_text(encoding='utf-8')
    assert source.count(text) == 1
    assert failures(tmp_path, source.replace(text, wrong)) > 0


def made_up(state, factor):
    """A case of 4 GiB, of which ours takes so many ms per GiB, in one round."""
    moved, parts = 3, ('guest', 'wake-ups', 'device', 'discard')
    values = {f'{way}: {key}': [factor * moved * 1e6] for way in uml.WAYS
              for key in ('ns', *parts, 'messages', 'configs', 'discards')}
    values |= {f'scan: {key}': [1] for key in ('ns', 'bytes')}
    values |= {'inflate: before': [4 << 30], 'inflate: after': [1 << 30], 'one': [3e6]}
    return {'state': state, 'gib': 4, 'append': '', 'cpus': 2,
            'kinds': dict.fromkeys(uml.KINDS, values)}


@pytest.mark.parametrize('state, factor, said', [
    ('idle', 3.5, ['reached', 'MISSED by 3%']), ('idle', 3.4, ['reached', 'reached']),
    ('idle', 4, ['MISSED by 3%', 'MISSED by 18%']), ('touched', 1.2, ['reached']),
    ('touched', 2.4, ['MISSED by 100%']), ('fragmented', 9, [])])
def test_goals(state, factor, said):
    """The table says which goals are reached, and by how much others are missed."""
    lines = list(uml.rows({'header': {'size_gib': 4}, 'cases': [made_up(state, factor)]}))
    assert len({len(line) for line in lines}) == 1
    assert [line[-1] for line in lines[1:] if line[-1]] == said
