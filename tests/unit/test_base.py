# SPDX-License-Identifier: GPL-2.0-or-later
"""What fetching does when the archive, the network or the disk does not."""

import json
import shutil
import subprocess

import pytest

from harness import base, build, packages, run
from harness.common import Failure


class FakeApt:
    """Stands for apt: suites with versions, and faults to order."""

    def __init__(self, suites, fault=''):
        self.suites = suites
        self.fault = fault
        self.commands = []

    def __call__(self, suite, *argv, cwd=None):
        self.commands.append((suite, *argv))
        if argv[-1] == 'update':
            if self.fault:
                return 100, '', self.fault
            if suite not in self.suites:
                return 100, '', f'E: {suite} does not have a Release file.'
            return 0, '', ''
        if argv[1] == 'pkgnames':
            return 0, '\n'.join({p for p, _ in self.suites[suite]}), ''
        if argv[1] == 'madison':
            return 0, '\n'.join(
                f'{p} | {v} | http://mirror {suite}/main amd64 Packages'
                for p, v in self.suites[suite] if p in argv), ''
        (cwd / 'package.deb').write_text('content')
        return 0, '', ''


@pytest.fixture(name='apt')
def fixture_apt(tmp_path, monkeypatch):
    """A function that puts a fake apt in place; downloads go to tmp_path."""
    monkeypatch.setattr(base, 'APT', tmp_path / 'apt')
    monkeypatch.setattr(base, 'DOWNLOAD', tmp_path / 'download')
    monkeypatch.setattr(base, 'mirror', lambda: 'http://mirror')

    def put(suites, fault=''):
        fake = FakeApt(suites, fault)
        monkeypatch.setattr(base, 'run_apt', fake)
        return fake

    return put


LINUX = base.Base('linux', 'Linux', 'binary', 'linux-source-7.3', ('7.3.*',),
                  ('one', 'two'), 'linux-source-[0-9]*', '7.3.4-1')


def test_first_suite_that_has_it(apt):
    """Suites are asked in order, and no further than needed."""
    fake = apt({'one': [], 'two': [('linux-source-7.3', '7.3.9-1')]})
    found = next(base.search(LINUX))
    assert (found.suite, found.version, found.newer) == ('two', '7.3.9-1', False)
    apt({'one': [('linux-source-7.3', '7.3.9-1')], 'two': []})
    assert next(base.search(LINUX)).suite == 'one'
    assert fake.commands[0][0] == 'one'


def test_nearest_newer_release(apt):
    """When the release has left the archive, the next ones are named in order."""
    apt({'one': [('linux-source-7.10', '7.10.1-1'),
                 ('linux-source-7.4', '7.4.2-1'),
                 ('linux-source-6.12', '6.12.1-1')], 'two': []})
    found = []
    with pytest.raises(Failure, match='does not apply'):
        for candidate in base.search(LINUX):
            found.append(candidate)
    assert [f.version for f in found] == ['7.4.2-1', '7.10.1-1']
    assert all(f.newer for f in found)


def test_nothing_serves(apt):
    """The message names every suite, what it lacked, and the way out."""
    apt({'one': []})
    with pytest.raises(Failure) as error:
        next(base.search(LINUX))
    for words in ('one: no linux-source-7.3', 'two: the mirror does not have it',
                  'LINUX_SRC='):
        assert words in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('stderr, words', (
    ("E: Failed to fetch http://x  Temporary failure resolving 'x'", 'network'),
    ('E: Failed to fetch http://x  Connection timed out', 'network'),
    ('W: GPG error: NO_PUBKEY 0123', 'debian-archive-keyring'),
    ('E: write error: No space left on device', 'disk is full'),
    ("E: You don't have enough free space in /x", 'disk is full')))
def test_faults_are_named(apt, stderr, words):
    """Each kind of failure gets words that say what to do."""
    apt({}, stderr)
    with pytest.raises(Failure, match=words):
        next(base.search(LINUX))


def test_no_network_for_real(tmp_path, monkeypatch):
    """The real apt, with a mirror that is not there."""
    monkeypatch.setattr(base, 'APT', tmp_path / 'apt')
    monkeypatch.setattr(base, 'mirror', lambda: 'http://127.0.0.1:9/debian')
    with pytest.raises(Failure, match='check the network'):
        next(base.search(LINUX))


def test_broken_download_is_noticed(apt):
    """A file that changed, or a download cut off, is not taken for good."""
    apt({'one': [('linux-source-7.3', '7.3.4-1')]})
    found = next(base.search(LINUX))
    base.download(LINUX, found)
    folder = base.DOWNLOAD / 'linux'
    assert base.downloaded(LINUX) == found
    (folder / 'package.deb').write_text('contemt')
    assert base.downloaded(LINUX) is None
    assert not folder.exists()
    base.download(LINUX, found)
    (folder / base.STAMP).unlink()
    assert base.downloaded(LINUX) is None
    base.download(LINUX, found)
    stamp = json.loads((folder / base.STAMP).read_text())
    (folder / base.STAMP).write_text(json.dumps(stamp)[:-20])
    assert base.downloaded(LINUX) is None


def test_half_unpacked_is_done_again(apt, tmp_path):
    """What an interrupted unpacking left behind is not built upon."""
    apt({'one': [('linux-source-7.3', '7.3.4-1')]})
    base.download(LINUX, next(base.search(LINUX)))
    with pytest.raises(Failure):
        base.unpack(LINUX, tmp_path / 'part')
    package = tmp_path / 'package'
    (package / 'DEBIAN').mkdir(parents=True)
    (package / 'DEBIAN' / 'control').write_text(
        'Package: x\nVersion: 1\nArchitecture: all\n'
        'Maintainer: x <x@localhost>\nDescription: x\n')
    (package / 'usr/src').mkdir(parents=True)
    (tmp_path / 'linux').mkdir()
    (tmp_path / 'linux' / 'Makefile').write_text('VERSION = 7\n')
    subprocess.run(['tar', '-C', tmp_path, '-cJf',
                    package / 'usr/src/linux.tar.xz', 'linux'], check=True)
    subprocess.run(['dpkg-deb', '-b', package,
                    base.DOWNLOAD / 'linux' / 'package.deb'], check=True,
                   capture_output=True)
    (tmp_path / 'part' / 'tree').mkdir(parents=True)
    (tmp_path / 'part' / 'tree' / 'rubble').touch()
    unpacked = base.unpack(LINUX, tmp_path / 'part')
    assert [path.name for path in unpacked.iterdir()] == ['Makefile']
    shutil.rmtree(tmp_path / 'part')


def test_mirror_of_this_machine():
    """The mirror is the one that apt is configured with."""
    assert base.mirror().startswith(('http', 'file', 'mirror', 'copy', 'cdrom'))


def test_recorded_versions_are_accepted():
    """base/*.conf does not contradict itself."""
    for key in ('linux', 'qemu'):
        conf = base.load(key)
        assert base.accepted(conf, conf.recorded)


def test_dropped_kernel_option_is_named():
    """An option that olddefconfig threw away does not go unnoticed."""
    config = 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\n'
    fragment = '# a comment\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=y\nCONFIG_D=y\n'
    assert build.dropped_options(fragment, config) == ['CONFIG_C=y',
                                                       'CONFIG_D=y']


def test_missing_packages_are_named(monkeypatch):
    """Who is not root gets the exact line, and nothing else happens."""
    monkeypatch.setattr(packages, 'missing', lambda _: ['bison', 'flex'])
    monkeypatch.setattr(packages.os, 'geteuid', lambda: 1000)
    with pytest.raises(Failure, match='apt-get install -y '
                       '--no-install-recommends bison flex'):
        packages.install()


def test_skips_count_as_failures(tmp_path):
    """The last line of make test does not hide what was not run."""
    junit = tmp_path / 'tests.xml'
    junit.write_text('<testsuites><testsuite errors="1" failures="2" '
                     'skipped="3" tests="10"><testcase/></testsuite>')
    assert run.summary(junit) == (4, 6)
    assert run.summary(tmp_path / 'none.xml') == (0, 0)
