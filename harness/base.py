# SPDX-License-Identifier: GPL-2.0-or-later
"""Find and download base sources with apt, beside the system's own lists."""

import configparser
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from harness.common import BUILD, QUEUES, ROOT, Failure, say, warn

APT = BUILD / 'apt'
DOWNLOAD = BUILD / 'download'
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
STAMP = 'complete.json'

# What apt says on its standard error, and what the user should read instead.
APT_ERRORS = (
    (r'No space left|enough free space', 'the disk is full: free some space'),
    (r'NO_PUBKEY|not signed', "the archive's key is not known here: install "
     'a newer debian-archive-keyring'),
    (r'Hash Sum mismatch|unexpected size|Checksum', 'the download is broken'),
    (r'Release file|404', 'the mirror does not have it'),
    (r'resolv|[Cc]onnect|unreachable|timed out|Failed to fetch',
     'the mirror cannot be reached: check the network'),
)


@dataclass(frozen=True)
class Base:
    """One base/<key>.conf: what to look for, and where."""
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
    """One version that a suite has. 'newer': not what the queue was made for."""
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
    return Base(key=key, name=conf['name'], kind=conf['kind'],
                package=conf['package'], accept=tuple(conf['accept'].split()),
                suites=tuple(conf['suites'].split()),
                newer=conf.get('newer', ''), recorded=conf.get('recorded', ''))


def record(key, version):
    """Write the version on which a queue has been refreshed; say if it changed."""
    path = ROOT / 'base' / f'{key}.conf'
    text = path.read_text(encoding='utf-8')
    new = re.sub(r'(?m)^recorded = .*$', f'recorded = {version}', text)
    if new != text:
        path.write_text(new, encoding='utf-8')
        say(f'base/{key}.conf: recorded base version is now {version}')


def upstream(version):
    """A Debian version without its epoch."""
    return version.split(':', 1)[-1]


def accepted(base, version):
    """Whether a version is one that the queue is made for."""
    return any(fnmatch.fnmatchcase(upstream(version), glob)
               for glob in base.accept)


def explain(stderr):
    """Turn apt's words into one line that names what is wrong."""
    for pattern, meaning in APT_ERRORS:
        if re.search(pattern, stderr):
            return meaning
    lines = [line for line in stderr.splitlines() if line.startswith('E:')]
    return (lines or stderr.splitlines() or ['apt failed'])[0]


def mirror():
    """The Debian archive's address in the machine's own apt configuration."""
    done = subprocess.run(
        ['apt-get', 'indextargets', '--format', '$(LABEL)|$(SITE)',
         'Identifier: Packages'],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    targets = [line.split('|', 1) for line in done.stdout.splitlines()]
    for label, site in targets:
        if label == 'Debian':
            return site
    # Before the first "apt-get update" the labels are not known yet.
    for label, site in targets:
        if not label.startswith('Debian') and 'security' not in site \
                and 'debian' in site:
            return site
    raise Failure("no Debian mirror in this machine's apt configuration: add "
                  'one to /etc/apt/sources.list.d, or name trees of your own '
                  'with LINUX_SRC= and QEMU_SRC=')


def apt_options(suite):
    """The options that keep apt's state for a suite under build/apt.

    A suite may be one of another architecture: "trixie:arm64".
    """
    state, arch = APT / suite, suite.partition(':')[2]
    return ['-o', f'Dir::Etc::SourceList={state}/sources.list',
            '-o', 'Dir::Etc::SourceParts=/dev/null',
            '-o', 'Dir::Etc::Preferences=/dev/null',
            '-o', 'Dir::Etc::PreferencesParts=/dev/null',
            '-o', f'Dir::State={state}',
            '-o', 'Dir::State::status=/var/lib/dpkg/status',
            '-o', f'Dir::State::Lists={state}/lists',
            '-o', f'Dir::Cache={state}/cache',
            '-o', 'APT::Sandbox::User=root',
            '-o', 'APT::Update::Error-Mode=any',
            '-o', 'Acquire::Languages=none',
            '-o', 'Acquire::Retries=2',
            *(['-o', f'APT::Architecture={arch}',
               '-o', f'APT::Architectures={arch}'] if arch else [])]


def run_apt(suite, *argv, cwd=None):
    """Run one apt command on a suite; return (status, stdout, stderr)."""
    done = subprocess.run([argv[0], *apt_options(suite), *argv[1:]],
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors='replace', cwd=cwd, check=False,
                          env={**os.environ, 'LC_ALL': 'C.UTF-8'})
    return done.returncode, done.stdout, done.stderr


def update(suite, kind):
    """Read a suite's lists into build/apt; return '' or what went wrong."""
    state = APT / suite
    for folder in ('lists/partial', 'cache/archives/partial'):
        (state / folder).mkdir(parents=True, exist_ok=True)
    word = {'binary': 'deb', 'source': 'deb-src'}[kind]
    name = suite.partition(':')[0]
    line = f'{word} [signed-by={KEYRING}] {mirror()} {name} main\n'
    (state / 'sources.list').write_text(line, encoding='utf-8')
    status, _, stderr = run_apt(suite, 'apt-get', '-q', 'update')
    return explain(stderr) if status else ''


def versions(suite, pattern, kind):
    """[(package, version)] in a suite's lists whose name matches a glob."""
    names = [pattern]
    if any(c in pattern for c in '*?['):
        _, out, _ = run_apt(suite, 'apt-cache', 'pkgnames')
        names = sorted(n for n in out.split() if fnmatch.fnmatchcase(n, pattern))
    if not names:
        return []
    _, out, _ = run_apt(suite, 'apt-cache', 'madison', *names)
    rows = [[field.strip() for field in line.split('|')]
            for line in out.splitlines()]
    word = 'Sources' if kind == 'source' else 'Packages'
    return [(row[0], row[1]) for row in rows
            if len(row) == 3 and word in row[2]]


def order(version):
    """A sort key for Debian versions, good enough to find the nearest one."""
    return [int(part) for part in re.findall(r'\d+', upstream(version))]


def search(base):
    """Yield what serves, best first, as Found; then raise Failure.

    A suite is asked only when those before it had nothing that serves.
    """
    tried = []
    reached = []
    for suite in base.suites:
        problem = update(suite, base.kind)
        if problem:
            tried.append(f'{suite}: {problem}')
            continue
        reached.append(suite)
        fit = [(p, v) for p, v in versions(suite, base.package, base.kind)
               if accepted(base, v)]
        if not fit:
            tried.append(f"{suite}: no {base.package} {' or '.join(base.accept)}")
        for package, version in sorted(fit, key=lambda pv: order(pv[1]),
                                       reverse=True):
            yield Found(suite, package, version, False)
            tried.append(f'{suite}: {package} {version} does not serve')
    if base.newer:
        yield from search_newer(base, reached, tried)
    own = f'. Name a tree of your own: make {base.key.upper()}_SRC=/path/to/' \
        f'{base.key}' if base.key in QUEUES else ''
    raise Failure(f"no {base.name} {' or '.join(base.accept)} to be had. Tried "
                  + '; '.join(tried) + own)


def search_newer(base, suites, tried):
    """Yield versions later than the recorded one, nearest first."""
    later = {}
    for suite in suites:
        for package, version in versions(suite, base.newer, base.kind):
            # Not linux-source-7.4-rt, nor what else begins like it.
            if re.fullmatch(r'[a-z-]+[0-9.]*', package) \
                    and order(version) > order(base.recorded) \
                    and not accepted(base, version):
                later.setdefault((package, version), suite)
    for package, version in sorted(later, key=lambda pv: order(pv[1])):
        suite = later[package, version]
        yield Found(suite, package, version, True)
        tried.append(f'{suite}: {package} {version} (newer; the queue does '
                     'not apply to it exactly)')


def digest(path):
    """The SHA-256 of a file."""
    value = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            value.update(chunk)
    return value.hexdigest()


def downloaded(base):
    """The Found of a complete, unbroken download of a base, or None."""
    folder = DOWNLOAD / base.key
    try:
        stamp = json.loads((folder / STAMP).read_text())
        whole = all(digest(folder / name) == value
                    for name, value in stamp['files'].items())
        found = Found(**stamp['found'])
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole and folder.exists():
        warn(f'the download of {base.name} is broken or unfinished; '
             'it is done again')
        shutil.rmtree(folder)
    return found if whole else None


def download(base, found):
    """Download one version; leave it complete in build/download/<key>."""
    part = DOWNLOAD / f'{base.key}.part'
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    what = f'{found.package}={found.version}'
    argv = ['apt-get', '-q', 'download', what] if base.kind == 'binary' else \
        ['apt-get', '-q', 'source', '--download-only', what]
    say(f'{base.name}: downloading {found.package} {found.version} '
        f'from {found.suite}')
    for attempt in (1, 2):
        status, _, stderr = run_apt(found.suite, *argv, cwd=part)
        if not status:
            break
        if attempt == 2:
            raise Failure(f'{base.name}: {found.package} {found.version} from '
                          f'{found.suite}: {explain(stderr)}')
    files = {path.name: digest(path) for path in sorted(part.iterdir())
             if path.is_file()}
    stamp = {'found': found.__dict__, 'files': files}
    (part / STAMP).write_text(json.dumps(stamp, indent=1) + '\n')
    shutil.rmtree(DOWNLOAD / base.key, ignore_errors=True)
    part.rename(DOWNLOAD / base.key)


def fetch_all():
    """make fetch: download what the trees are made from."""
    for base in map(load, QUEUES):
        if not downloaded(base):
            download(base, next(search(base)))


def quiet(argv, cwd):
    """Run an unpacking command; raise Failure in words that say what to do."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors='replace')
    if done.returncode:
        words = done.stderr.strip() or f'{argv[0]} failed'
        if 'No space left' in words:
            words = 'the disk is full: free some space under build/'
        raise Failure(words.splitlines()[-1])


def unpack(base, folder):
    """Unpack a finished download into an empty folder; return the sources' path."""
    source = DOWNLOAD / base.key
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if base.kind == 'source':
        dsc = next(source.glob('*.dsc'))
        quiet(['dpkg-source', '--no-check', '-x', dsc, folder / 'tree'], folder)
        shutil.rmtree(folder / 'tree' / '.pc', ignore_errors=True)
        return folder / 'tree'
    quiet(['dpkg-deb', '-x', next(source.glob('*.deb')), folder / 'deb'], folder)
    archives = list((folder / 'deb/usr/src').glob('*.tar.*')) \
        if (folder / 'deb/usr/src').is_dir() else []
    if not archives:
        return folder / 'deb'
    (folder / 'tree').mkdir()
    quiet(['tar', '-xf', archives[0], '--strip-components=1',
           '-C', folder / 'tree'], folder)
    shutil.rmtree(folder / 'deb')
    return folder / 'tree'


def tool(key, finish=lambda folder: None):
    """build/tools/<key>: what base/<key>.conf names, unpacked, and finished."""
    home = BUILD / 'tools' / key
    if not home.is_dir():
        base = load(key)
        if not downloaded(base):
            download(base, next(search(base)))
        part = home.with_name(f'{key}.part')
        folder = unpack(base, part)
        finish(folder)
        folder.rename(home)
        shutil.rmtree(part, ignore_errors=True)
    return home


def meson_environment():
    """The environment in which a meson that QEMU accepts is first on PATH."""
    env = dict(os.environ)
    probe = subprocess.run(['meson', '--version'], capture_output=True,
                           text=True, check=False) \
        if shutil.which('meson') else None
    if probe and order(probe.stdout) >= [1, 5]:
        return env
    home = tool('meson')
    env['PATH'] = f"{home}/usr/bin:{env['PATH']}"
    env['PYTHONPATH'] = f'{home}/usr/lib/python3/dist-packages'
    return env
