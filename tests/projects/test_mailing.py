# SPDX-License-Identifier: GPL-2.0-or-later
"""make mail on real trees: their scripts, and git am of what arrives."""

import pytest

from harness import mail, tree
from harness.common import PROJECTS


@pytest.mark.parametrize('project', PROJECTS)
def test_first_series_arrives(project, tmp_path, monkeypatch, capsys):
    """The first series arrives as mails that give the same tree."""
    monkeypatch.setattr(mail, 'FOLDER', tmp_path)
    monkeypatch.setenv('GIT_COMMITTER_NAME', 'Jörg Sender')
    monkeypatch.setenv('GIT_COMMITTER_EMAIL', 'sender@localhost')
    for name in ('V', 'PREVIOUS'):
        monkeypatch.delenv(name, raising=False)
    series = f'{project}/{tree.series_names(project)[0]}'
    monkeypatch.setenv('SERIES', series)
    assert mail.rehearse_all() == 0
    out = capsys.readouterr().out
    count = len(list((tmp_path / series).iterdir()))
    assert f'{series}: {count} mails arrived' in out and 'same tree' in out
    assert {'linux': 'linux-kernel@vger.kernel.org', 'qemu': 'qemu-devel@nongnu.org'}[
        project] in out
