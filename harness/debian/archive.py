# SPDX-License-Identifier: GPL-2.0-or-later
"""Find, download and unpack what base/*.conf names: base sources and tools."""

import configparser
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from harness.common import BUILD, PROJECTS, ROOT, Failure, say, warn
from harness.debian import apt

DOWNLOAD = BUILD / 'download'
STAMP = 'complete.json'


@dataclass(frozen=True)
class Source:
    """One base/<key>.conf: packages to search for, and suites."""
    key: str
    name: str
    kind: str
    package: str
    accept: tuple
    suites: tuple
    newer: str
    recorded: str


@dataclass(frozen=True)
class Found:
    """One version that a suite has. 'newer': the patches were made for an older one."""
    suite: str
    package: str
    version: str
    newer: bool


def load(key):
    """Read base/<key>.conf."""
    parser = configparser.ConfigParser(interpolation=None)
    with open(ROOT / 'base' / f'{key}.conf', encoding='utf-8') as file:
        parser.read_file(file)
    conf = parser['base']
    return Source(**{'key': key, 'newer': '', 'recorded': '', **conf,
                     'accept': tuple(conf['accept'].split()),
                     'suites': tuple(conf['suites'].split())})


def record(key, version):
    """Write the version on which the patches were refreshed; print it if it changed."""
    path = ROOT / 'base' / f'{key}.conf'
    text = path.read_text(encoding='utf-8')
    new = re.sub(r'(?m)^recorded = .*$', f'recorded = {version}', text)
    if new != text:
        path.write_text(new, encoding='utf-8')
        say(f'base/{key}.conf: recorded base version is now {version}')


def upstream(version):
    """Return a Debian version without its epoch."""
    return version.split(':', 1)[-1]


def accepted(source, version):
    """Return whether the patches are made for a version."""
    return any(fnmatch.fnmatchcase(upstream(version), glob) for glob in source.accept)


def search(source):
    """Yield what serves, best first, as Found; then raise Failure."""
    # A suite is asked only when those before it had nothing that serves.
    tried = []
    reached = []
    for suite in source.suites:
        problem = apt.update(suite, source.kind)
        if problem:
            tried.append(f'{suite}: {problem}')
            continue
        reached.append(suite)
        fit = [(p, v) for p, v in apt.versions(suite, source.package, source.kind)
               if accepted(source, v)]
        if not fit:
            tried.append(f"{suite}: no {source.package} {' or '.join(source.accept)}")
        for package, version in sorted(fit, key=by_version, reverse=True):
            yield Found(suite, package, version, False)
            tried.append(f'{suite}: {package} {version} does not serve')
    if source.newer:
        yield from search_newer(source, reached, tried)
    own = f'. Name a tree of your own: make {source.key.upper()}_SRC=/path/to/' \
        f'{source.key}' if source.key in PROJECTS else ''
    raise Failure(f"no {source.name} {' or '.join(source.accept)} to be had. Tried "
                  + '; '.join(tried) + own)


def by_version(found):
    """Return the key that sorts (package, version) as dpkg orders versions."""
    return apt.version_key(upstream(found[1]))


def search_newer(source, suites, tried):
    """Yield versions later than the recorded one, nearest first."""
    later = {}
    for suite in suites:
        for package, version in apt.versions(suite, source.newer, source.kind):
            # Not linux-source-7.4-rt, nor other names that begin alike.
            if re.fullmatch(r'[a-z-]+[0-9.]*', package) \
                    and apt.is_later(upstream(version), source.recorded) \
                    and not accepted(source, version):
                later.setdefault((package, version), suite)
    for package, version in sorted(later, key=by_version):
        suite = later[package, version]
        yield Found(suite, package, version, True)
        tried.append(f'{suite}: {package} {version} (newer; a patch does '
                     'not apply to it exactly)')


def digest(path):
    """Return the SHA-256 of a file."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def downloaded(source):
    """Return the Found of a complete, unbroken download, or None."""
    folder = DOWNLOAD / source.key
    try:
        stamp = json.loads((folder / STAMP).read_text())
        whole = all(digest(folder / name) == value
                    for name, value in stamp['files'].items())
        found = Found(**stamp['found'])
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole and folder.exists():
        warn(f'the download of {source.name} is broken or unfinished; it is done again')
        shutil.rmtree(folder)
    return found if whole else None


def download(source, found):
    """Download one version; leave it complete in build/download/<key>."""
    part = DOWNLOAD / f'{source.key}.part'
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    what = f'{found.package}={found.version}'
    argv = ['apt-get', '-q', 'download', what] if source.kind == 'binary' else \
        ['apt-get', '-q', 'source', '--download-only', what]
    say(f'{source.name}: downloading {found.package} {found.version} '
        f'from {found.suite}')
    for attempt in (1, 2):
        status, _, stderr = apt.run_apt(found.suite, *argv, cwd=part)
        if not status:
            break
        if attempt == 2:
            raise Failure(f'{source.name}: {found.package} {found.version} from '
                          f'{found.suite}: {apt.explain(stderr)}')
    files = {path.name: digest(path) for path in sorted(part.iterdir())
             if path.is_file()}
    stamp = {'found': found.__dict__, 'files': files}
    (part / STAMP).write_text(json.dumps(stamp, indent=1) + '\n')
    shutil.rmtree(DOWNLOAD / source.key, ignore_errors=True)
    part.rename(DOWNLOAD / source.key)


def fetch(source):
    """Download the best version that serves, unless there is one already."""
    if not downloaded(source):
        download(source, next(search(source)))


def fetch_all():
    """make fetch: download the sources of the trees."""
    for key in PROJECTS:
        fetch(load(key))


def run_unpacker(argv, cwd):
    """Run an unpacking command; raise Failure with a remedy."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors='replace')
    if done.returncode:
        words = done.stderr.strip() or f'{argv[0]} failed'
        if 'No space left' in words:
            words = 'the disk is full: free some space under build/'
        raise Failure(words.splitlines()[-1])


def unpack(source, folder):
    """Unpack a finished download into an empty folder; return the sources' path."""
    packed = DOWNLOAD / source.key
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if source.kind == 'source':
        dsc = next(packed.glob('*.dsc'))
        run_unpacker(['dpkg-source', '--no-check', '-x', dsc, folder / 'tree'], folder)
        shutil.rmtree(folder / 'tree' / '.pc', ignore_errors=True)
        return folder / 'tree'
    run_unpacker(['dpkg-deb', '-x', next(packed.glob('*.deb')), folder / 'deb'], folder)
    archives = list((folder / 'deb/usr/src').glob('*.tar.*')) \
        if (folder / 'deb/usr/src').is_dir() else []
    if not archives:
        return folder / 'deb'
    (folder / 'tree').mkdir()
    run_unpacker(['tar', '-xf', archives[0], '--strip-components=1',
                  '-C', folder / 'tree'], folder)
    shutil.rmtree(folder / 'deb')
    return folder / 'tree'


def tool(key, finish=lambda folder: None):
    """Return build/tools/<key>: what base/<key>.conf names, unpacked and finished."""
    home = BUILD / 'tools' / key
    if not home.is_dir():
        source = load(key)
        fetch(source)
        part = home.with_name(f'{key}.part')
        folder = unpack(source, part)
        finish(folder)
        folder.rename(home)
        shutil.rmtree(part, ignore_errors=True)
    return home


def meson_environment():
    """Return an environment in which a meson that QEMU accepts is first on PATH."""
    env = dict(os.environ)
    probe = subprocess.run(['meson', '--version'], capture_output=True,
                           text=True, check=False) if shutil.which('meson') else None
    if probe and not apt.is_later('1.5', probe.stdout.strip()):
        return env
    home = tool('meson')
    env['PATH'] = f"{home}/usr/bin:{env['PATH']}"
    env['PYTHONPATH'] = f'{home}/usr/lib/python3/dist-packages'
    return env
