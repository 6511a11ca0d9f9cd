# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetching, when the archive, the network or the disk fails."""

import dataclasses
import subprocess

import pytest

from harness.common import Failure
from harness.debian import apt as debian_apt
from harness.debian import archive, packages

pytestmark = pytest.mark.check


class FakeApt:
    """Stands for apt: suites with versions, and faults to order."""

    def __init__(self, suites, fault=''):
        self.suites, self.fault, self.asked = suites, fault, []

    def __call__(self, suite, *argv, cwd=None):
        self.asked.append(suite)
        if argv[-1] == 'update':
            fault = self.fault or ('' if suite in self.suites else
                                   f'E: {suite} does not have a Release file.')
            return 100 * bool(fault), '', fault
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
    monkeypatch.setattr(debian_apt, 'STATE', tmp_path / 'apt')
    monkeypatch.setattr(archive, 'DOWNLOAD', tmp_path / 'download')
    monkeypatch.setattr(debian_apt, 'mirror', lambda: 'http://mirror')

    def put(suites, fault=''):
        fake = FakeApt(suites, fault)
        monkeypatch.setattr(debian_apt, 'run_apt', fake)
        return fake

    return put


LINUX = archive.Source('linux', 'Linux', 'binary', 'linux-source-7.3', ('7.3.*',),
                        ('one', 'two'), 'linux-source-[0-9]*', '7.3.4-1')


@pytest.mark.parametrize('suites, asked', (
    ({'one': [], 'two': [('linux-source-7.3', '7.3.9-1')]}, ['one', 'two']),
    ({'one': [('linux-source-7.3', '7.3.9-1')], 'two': []}, ['one'])))
def test_first_suite_that_has_it(apt, suites, asked):
    """Suites are asked in order, and no further than needed."""
    fake = apt(suites)
    found = next(archive.search(LINUX))
    assert (found.suite, found.version, found.newer) == (asked[-1], '7.3.9-1', False)
    assert list(dict.fromkeys(fake.asked)) == asked


def test_nearest_newer_release(apt):
    """When the release has left the archive, the next ones are named in order."""
    apt({'one': [('linux-source-7.10', '7.10.1-1'), ('linux-source-7.4', '7.4.2-1'),
                 ('linux-source-6.12', '6.12.1-1')], 'two': []})
    found = []
    with pytest.raises(Failure, match='does not apply'):
        found.extend(archive.search(LINUX))
    assert [f.version for f in found] == ['7.4.2-1', '7.10.1-1']
    assert all(f.newer for f in found)


@pytest.mark.parametrize('later, earlier', (
    ('7.4-1', '7.4~rc1-1'),
    ('7.3.4-1', '7.3.4-1~bpo13+1'),
    ('7.10.1-1', '7.4.2-1'),
    ('10.0.13+ds-0+deb13u1', '10.0.13+ds-0')))
def test_versions_are_in_the_order_of_dpkg(apt, later, earlier):
    """A release candidate and a backport come before the release."""
    assert debian_apt.is_later(later, earlier)
    assert not debian_apt.is_later(earlier, later)
    assert not debian_apt.is_later(later, later)
    assert sorted((later, earlier), key=debian_apt.version_key) == [earlier, later]
    apt({'one': [('linux', earlier), ('linux', later)]})
    source = dataclasses.replace(LINUX, package='linux', accept=('*',))
    assert next(archive.search(source)).version == later


def test_nothing_serves(apt):
    """The message names every suite, the missing package, and the remedy."""
    apt({'one': []})
    with pytest.raises(Failure) as error:
        next(archive.search(LINUX))
    for words in ('one: no linux-source-7.3', 'two: the mirror does not have it',
                  'LINUX_SRC='):
        assert words in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('stderr, words', (
    ("E: Failed to fetch http://x  Temporary failure resolving 'x'", 'network'),
    ('E: Failed to fetch http://x  Connection timed out', 'network'),
    ("  connect (101: Network is unreachable)\nE: The repository 'http://x one "
     "Release' does not have a Release file.", 'network'),
    ('W: GPG error: NO_PUBKEY 0123', 'debian-archive-keyring'),
    ('E: write error: No space left on device', 'disk is full'),
    ("E: You don't have enough free space in /x", 'disk is full')))
def test_faults_are_named(apt, stderr, words):
    """The message of each kind of failure has a remedy."""
    apt({}, stderr)
    with pytest.raises(Failure, match=words):
        next(archive.search(LINUX))


def test_no_network_for_real(tmp_path, monkeypatch):
    """The real apt, with a mirror that is not there."""
    monkeypatch.setattr(debian_apt, 'STATE', tmp_path / 'apt')
    monkeypatch.setattr(debian_apt, 'mirror', lambda: 'http://127.0.0.1:9/debian')
    with pytest.raises(Failure, match='check the network'):
        next(archive.search(dataclasses.replace(LINUX, suites=('one',))))


def test_broken_download_is_noticed(apt):
    """A file that changed, or a download cut off, is not taken for good."""
    apt({'one': [('linux-source-7.3', '7.3.4-1')]})
    found = next(archive.search(LINUX))
    folder = archive.DOWNLOAD / 'linux'
    stamp = folder / archive.STAMP
    for fault in (lambda: (folder / 'package.deb').write_text('contemt'), stamp.unlink,
                  lambda: stamp.write_text(stamp.read_text()[:-20])):
        archive.download(LINUX, found)
        assert archive.downloaded(LINUX) == found
        fault()
        assert archive.downloaded(LINUX) is None
        assert not folder.exists()


def test_half_unpacked_is_done_again(apt, tmp_path):
    """Files that an interrupted unpacking left behind are not used."""
    apt({'one': [('linux-source-7.3', '7.3.4-1')]})
    archive.download(LINUX, next(archive.search(LINUX)))
    with pytest.raises(Failure):
        archive.unpack(LINUX, tmp_path / 'part')
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
                    archive.DOWNLOAD / 'linux' / 'package.deb'], check=True,
                   capture_output=True)
    (tmp_path / 'part' / 'tree').mkdir(parents=True)
    (tmp_path / 'part' / 'tree' / 'rubble').touch()
    unpacked = archive.unpack(LINUX, tmp_path / 'part')
    assert [path.name for path in unpacked.iterdir()] == ['Makefile']


def test_mirror_of_this_machine():
    """The mirror comes from apt's configuration."""
    assert debian_apt.mirror().startswith(('http', 'file', 'mirror', 'copy', 'cdrom'))


def test_recorded_versions_are_accepted():
    """base/*.conf does not contradict itself."""
    for key in ('linux', 'qemu'):
        conf = archive.load(key)
        assert archive.accepted(conf, conf.recorded)


def test_missing_packages_are_named(monkeypatch):
    """A user who is not root gets the exact command line, and nothing else happens."""
    monkeypatch.setattr(packages, 'missing', lambda _: ['bison', 'flex'])
    monkeypatch.setattr(packages.os, 'geteuid', lambda: 1000)
    with pytest.raises(Failure, match='apt-get install -y '
                       '--no-install-recommends bison flex'):
        packages.install()
