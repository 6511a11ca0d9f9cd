# SPDX-License-Identifier: GPL-2.0-or-later
"""make mail, on two small series: the mails that arrive, and wrong input."""

import os
import shutil
import subprocess

import pytest

from harness import mail, refresh, sink, tree
from harness.common import Failure
from harness.debian import archive, packages

pytestmark = [pytest.mark.check, pytest.mark.usefixtures('repository')]

MAINTAINERS = '''#!/bin/sh
case "$*" in
*--nom*) ;;
*) echo '"Eugenio Pérez" <e@example.org>'; echo '"Michael S. X" <m@example.org>' ;;
esac
echo list@example.org
'''
PATCH_AUTHOR = {'GIT_AUTHOR_NAME': 'Project', 'GIT_AUTHOR_EMAIL': 'a@project.example'}
OTHER = {'GIT_AUTHOR_NAME': 'Ann Öther', 'GIT_AUTHOR_EMAIL': 'ann@example.org'}
SENDER = ('Jörg Sender', 'sender@example.org')


def git(folder, *argv, **env):
    """Run git in a folder, as a committer with a name."""
    subprocess.run(['git', '-c', 'user.name=A', '-c', 'user.email=a@b.c', '-C', folder,
                    *argv], check=True, env={**os.environ, **env})


def commit(subject, text, **author):
    """Append text to the file of the small tree, and commit it."""
    folder = tree.tree('qemu')
    with open(folder / 'file', 'a', encoding='utf-8') as out:
        out.write(text)
    git(folder, 'commit', '-qam', f'{subject}\n\nAdds {text[:20].strip()}.', **author)


def write_cover(series, head=''):
    """Write the cover letter of a small series."""
    (tree.PATCHES / 'qemu' / series / tree.COVER).write_text(
        f'Subject: [PATCH RFC 0/0] balloon: {series}, so thät a header\n'
        f' is folded\n{head}\nText of {series}: ö.\n', encoding='utf-8')


@pytest.fixture(name='repository')
def fixture_repository(tmp_path, monkeypatch):
    """A repository with two series for a small tree, sent by a user with a name."""
    repository, own = tmp_path / 'repository', tmp_path / 'own'
    for module, name, value in (
            (tree, 'SRC', tmp_path / 'src'), (tree, 'PATCHES', repository / 'patches'),
            (mail, 'ROOT', repository), (mail, 'FOLDER', tmp_path / 'mail'),
            (mail, 'PROJECTS', ('qemu',)), (archive, 'record', lambda *_: None)):
        monkeypatch.setattr(module, name, value)
    (own / 'scripts').mkdir(parents=True)
    for name, text in (('get_maintainer', MAINTAINERS),
                       ('checkpatch', '#!/bin/sh\necho remark; exit 1\n')):
        (own / 'scripts' / f'{name}.pl').write_text(text)
        (own / 'scripts' / f'{name}.pl').chmod(0o755)
    (own / 'VERSION').write_text('10.0.99\n')
    (own / 'file').write_text(''.join(f'{n}\n' for n in range(100)))
    monkeypatch.setenv('QEMU_SRC', str(own))
    for name in ('SERIES', 'V', 'PREVIOUS'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('GIT_COMMITTER_NAME', SENDER[0])
    monkeypatch.setenv('GIT_COMMITTER_EMAIL', SENDER[1])
    (repository / 'patches' / 'qemu').mkdir(parents=True)
    tree.ensure('qemu')
    commit('balloon: one', 'one\n', **PATCH_AUTHOR)
    git(tree.tree('qemu'), 'branch', '01-one')
    commit('balloon: zwölf', 'zwölf\n' + 'x' * 2000 + '\n', **PATCH_AUTHOR)
    commit('balloon: three', ' three \n', **OTHER)
    git(tree.tree('qemu'), 'branch', '02-more')
    refresh.refresh('qemu')
    write_cover('01-one')
    write_cover('02-more', 'Stands-on: 01-one\n')
    refresh.refresh('qemu')
    git(repository, 'init', '-q')
    git(repository, 'add', '.')
    git(repository, 'commit', '-qm', 'first')
    return repository


@pytest.fixture(name='sent')
def fixture_sent(repository, monkeypatch):
    """The mails of 02-more that arrived; see Mail."""
    arrived, send = [], sink.send

    def record(*argv):
        mails = send(*argv)
        arrived.extend(mails)
        return mails
    monkeypatch.setattr(sink, 'send', record)
    monkeypatch.setenv('SERIES', 'qemu/02-more')
    assert repository.exists() and mail.rehearse_all() == 0
    return arrived


def test_mails_that_arrive(capsys, sent):
    """A cover letter and its patches arrive, from the sender to people and lists."""
    cover, first, second = (item.message for item in sent)
    assert cover['Subject'] == \
        '[PATCH RFC 0/2] balloon: 02-more, so thät a header is folded'
    assert first['Subject'] == '[PATCH RFC 1/2] balloon: zwölf'
    text = cover.get_content()
    assert 'Text of 02-more: ö.\n\nAnn Öther (1):\n  balloon: three\n' in text
    assert '\nJörg Sender (1):\n  balloon: zwölf\n' in text
    assert '1 file changed, 3 insertions(+)' in text
    assert '\nbase-commit: ' in text and '\nprerequisite-patch-id: ' in text
    assert refresh.MARKER not in text and 'Stands-on' not in text
    assert cover['To'] == 'list@example.org'
    assert cover['Cc'] == 'Eugenio Pérez <e@example.org>, "Michael S. X" <m@example.org>'
    assert not first.get_content().startswith('From:')
    assert second.get_content().startswith('From: Ann Öther <ann@example.org>\n\n')
    out = capsys.readouterr().out
    assert 'qemu/02-more: 3 mails arrived' in out
    assert 'remarks of checkpatch: 2' in out
    assert len(tree.git(tree.tree('qemu'), 'worktree', 'list').splitlines()) == 1


def test_public_base(monkeypatch, tmp_path):
    """A tree that was made from a clone has the clone's commit as base."""
    clone = tmp_path / 'own'
    git(clone, 'init', '-q')
    git(clone, 'add', '.')
    git(clone, 'commit', '-qm', 'release')
    shutil.rmtree(tree.tree('qemu'))
    tree.ensure('qemu')
    monkeypatch.setenv('SERIES', 'qemu/02-more')
    assert mail.rehearse_all() == 0
    cover = (mail.FOLDER / 'qemu/02-more/0000-cover-letter.txt').read_text()
    assert f'\nbase-commit: {tree.rev(clone, "HEAD")}\n' in cover


def test_signed_off(sent):
    """The trailers that CONTRIBUTING.md adds to the files arrive in the messages."""
    folder = mail.FOLDER / 'qemu/02-more'
    git(folder, 'interpret-trailers', '--in-place', '--trailer', 'Assisted-by: LLM',
        '--trailer', 'Signed-off-by: A <a@b.c>', *sorted(folder.glob('*.patch')))
    sink.send(sorted(folder.iterdir()), SENDER)
    for unsigned, signed in zip(sent[1:3], sent[4:]):
        before, after = unsigned.message.get_content(), signed.message.get_content()
        assert after == before.replace(
            '\n---\n', '\n\nAssisted-by: LLM\nSigned-off-by: A <a@b.c>\n---\n', 1)


def test_next_version(capsys, monkeypatch):
    """V=2 has a version in its subjects and a range-diff; a new series has neither."""
    commit('balloon: four', 'four\n', **PATCH_AUTHOR)
    git(tree.tree('qemu'), 'branch', '-f', '02-more')
    commit('balloon: five', 'five\n', **PATCH_AUTHOR)
    git(tree.tree('qemu'), 'branch', '03-five')
    refresh.refresh('qemu')
    write_cover('03-five', 'Stands-on: 02-more\n')
    monkeypatch.setenv('V', '2')
    monkeypatch.setenv('PREVIOUS', 'HEAD')
    # The text alone has characters beyond ASCII then.
    monkeypatch.setenv('GIT_COMMITTER_NAME', 'Plain')
    assert mail.rehearse_all() == 0
    out = capsys.readouterr().out
    assert 'range-diff: 1 the same, 0 changed, 0 new, 0 gone' in out
    assert 'range-diff: 2 the same, 0 changed, 1 new, 0 gone' in out
    assert '03-five: PREVIOUS has no such series' in out
    cover = (mail.FOLDER / 'qemu/02-more/v2-0000-cover-letter.txt').read_text()
    assert '[PATCH RFC v2 0/3]' in cover and '\nRange-diff against v1:\n' in cover
    assert (mail.FOLDER / 'qemu/03-five/0001-balloon-five.patch').exists()


def test_configuration_does_not_redirect(repository, sent, monkeypatch, tmp_path):
    """No configuration of git sends mails elsewhere, or to more people."""
    wrong = tmp_path / '.gitconfig'
    wrong.write_text('[sendemail]\n\tsmtpserver = /bin/false\n\tbcc = spy@example.org\n'
                     '\ttocmd = echo spy@example.org\n\tidentity = x\n'
                     '[sendemail "x"]\n\tsmtpserverport = 1\n\tcc = spy@example.org\n'
                     '[format]\n\tcc = spy@example.org\n\tthread = deep\n')
    git(tmp_path, 'init', '-q')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sink.tempfile, 'tempdir', str(tmp_path))
    monkeypatch.setenv('GIT_CONFIG_COUNT', '1')
    monkeypatch.setenv('GIT_CONFIG_KEY_0', 'sendemail.bcc')
    monkeypatch.setenv('GIT_CONFIG_VALUE_0', 'spy@example.org')
    for project in (tmp_path, repository, tree.tree('qemu')):
        with open(project / '.git/config', 'a', encoding='utf-8') as out:
            out.write(wrong.read_text())
    count = len(sent)
    assert mail.rehearse_all() == 0
    assert len(sent) == 2 * count
    for before, after in zip(sent, sent[count:]):
        assert before.recipients == after.recipients
        assert before.message['Cc'] == after.message['Cc']


class Bad(sink.Sink):
    """Takes one mail; then does what a subclass or an argument says."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    async def handle_DATA(self, server, session, envelope):
        """Refuse, or drop the connection."""
        if self.mails:
            if self.answer:
                return self.answer
            server.transport.abort()
        return await super().handle_DATA(server, session, envelope)


@pytest.mark.usefixtures('sent')
@pytest.mark.parametrize('answer', ('554 no', '421 busy', ''))
def test_sink_that_fails(answer):
    """A sink that refuses a mail, or dies, is one line."""
    with pytest.raises(Failure, match=r'stopped after [12] of 3 mails: \S.*$') as failure:
        sink.send(sorted((mail.FOLDER / 'qemu/02-more').iterdir()), SENDER, Bad(answer))
    assert '\n' not in str(failure.value) and answer[4:] in str(failure.value)


@pytest.mark.usefixtures('sent')
def test_sink_that_hangs(monkeypatch):
    """A sink that does not answer ends as a failure, and with it git send-email."""
    class Slow(sink.Sink):
        """Never answers."""
        async def handle_DATA(self, _server, _session, _envelope):
            """Wait for ever."""
            await sink.asyncio.Event().wait()

    monkeypatch.setattr(sink.limits, 'COMMAND', 2)
    with pytest.raises(Failure, match='did not end within 2 s'):
        sink.send(sorted((mail.FOLDER / 'qemu/02-more').iterdir()), SENDER, Slow())


# A mail's number, what in it is replaced by what, and the error.
FAULTS = (
    (1, b'Subject: ', b'Subject: Re: ', 'mail 1 has the subject'),
    (2, b' 2/2]', b' 1/2]', 'mail 2 has the subject'),
    (0, b'sender@', b'another@', 'mail 0 comes from'),
    (1, b'\nTo: ', b'\nX-To: ', 'mail 1 has no To'),
    (1, b'm@example.org', b'n@example.org', 'mail 1 has other recipients'),
    (2, b'\nCc: ', b'\nX-Name: \xc3\xb6\nCc: ', 'mail 2 has headers that are not ASCII'),
    (0, b'text/plain', b'text/html', 'mail 0 is not plain text'),
    (2, b'From: Ann =C3=96', b'From: Ann =C3', 'mail 2 does not decode'),
    (2, b'\nIn-Reply-To: <', b'\nIn-Reply-To: <x', 'mail 2 does not answer'),
    (1, b'\nReferences: ', b'\nX-References: ', 'mail 1 does not answer'),
    (0, b'base-commit: ', b'base-commit: 0', 'does not name the base commit'))


def test_faults_in_mails(sent):
    """Each fault of a mail that arrived is named."""
    base = tree.rev(tree.tree('qemu'), 'base')
    sink.check(sent, SENDER, 1, base)
    for number, old, new, word in FAULTS:
        content = sent[number].content
        assert old in content, word
        content = content.replace(old, new)
        mails = list(sent)
        mails[number] = mails[number]._replace(content=content,
                                               message=sink.parse(content))
        with pytest.raises(Failure, match=word):
            sink.check(mails, SENDER, 1, base)


def test_other_content_is_noticed(monkeypatch, capsys):
    """A mail that arrives with another patch is an error."""
    send = sink.send

    monkeypatch.setattr(sink, 'send', lambda files, author: [
        item._replace(content=item.content.replace(b'\n+one', b'\n+two'))
        for item in send(files, author)])
    monkeypatch.setenv('SERIES', 'qemu/01-one')
    assert mail.rehearse_all() == 1
    assert 'do not give the same tree' in capsys.readouterr().err
    monkeypatch.setattr(sink, 'send', lambda files, author: [
        item._replace(content=item.content.replace(b'\nAdds', b'\nHas'))
        for item in send(files, author)])
    assert mail.rehearse_all() == 1
    assert 'do not give the same messages' in capsys.readouterr().err


@pytest.mark.parametrize('name, value, word', (
    ('SERIES', 'qemu/09-none', 'SERIES=qemu/09-none: there is no such series'),
    ('SERIES', '"', 'SERIES='), ('V', 'two', 'V=two'), ('V', '0', 'V=0'),
    ('V', '2', 'V=2 needs PREVIOUS'), ('PREVIOUS', 'HEAD', 'from V=2 on')))
def test_wrong_variables(monkeypatch, name, value, word):
    """A variable that does not fit is named."""
    monkeypatch.setenv(name, value)
    with pytest.raises(Failure, match=word):
        mail.rehearse_all()


def test_wrong_state(monkeypatch):
    """No such commit, no identity, work in the tree, no package: one line each."""
    monkeypatch.setenv('V', '2')
    monkeypatch.setenv('PREVIOUS', 'nothing')
    with pytest.raises(Failure, match='PREVIOUS=nothing: this repository has no'):
        mail.rehearse_all()
    monkeypatch.delenv('V')
    monkeypatch.delenv('PREVIOUS')
    file = tree.tree('qemu') / 'file'
    text = file.read_text()
    file.write_text('dirt\n')
    with pytest.raises(Failure, match='not committed'):
        mail.rehearse_all()
    file.write_text(text)
    commit('balloon: more', 'more\n')
    with pytest.raises(Failure, match='make refresh'):
        mail.rehearse_all()
    for name in ('NAME', 'EMAIL'):
        monkeypatch.delenv(f'GIT_COMMITTER_{name}')
    monkeypatch.setenv('GIT_CONFIG_NOSYSTEM', '1')
    monkeypatch.delenv('EMAIL', raising=False)
    with pytest.raises(Failure, match='git config --global user.name'):
        mail.rehearse_all()
    monkeypatch.setattr(packages, 'missing', list)
    monkeypatch.setattr(packages.os, 'geteuid', lambda: 1)
    with pytest.raises(Failure, match='apt-get install .* git-email'):
        mail.rehearse_all()


def test_wrong_series(monkeypatch, capsys):
    """A cover letter that is missing or has another form is one line."""
    cover = tree.PATCHES / 'qemu/01-one' / tree.COVER
    cover.write_text('balloon\n\nText.\n')
    monkeypatch.setenv('SERIES', 'qemu/01-one')
    assert mail.rehearse_all() == 1
    assert 'does not begin with' in capsys.readouterr().err
    cover.unlink()
    assert mail.rehearse_all() == 1
    assert capsys.readouterr().err == (
        'error: qemu/01-one: patches/qemu/01-one/0000-cover-letter.txt is missing\n')
