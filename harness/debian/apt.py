# SPDX-License-Identifier: GPL-2.0-or-later
"""Ask the Debian archive about a suite, with lists and caches of our own.

The system's package lists and its apt settings stay as they are.
"""

import fnmatch
import functools
import os
import re
import subprocess

from harness.common import BUILD, Failure

STATE = BUILD / 'apt'
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

# Messages of apt, and the ones that the user reads instead. The first match counts:
# without a network, apt may also miss a Release file.
ERRORS = (
    (r'No space left|enough free space', 'the disk is full: free some space'),
    (r'NO_PUBKEY|not signed', "the archive's key is not known here: install "
     'a newer debian-archive-keyring'),
    (r'Hash Sum mismatch|unexpected size|Checksum', 'the download is broken'),
    (r'Temporary failure|[Cc]onnection|unreachable|timed out|[Cc]ould not (connect|resol)',
     'the mirror cannot be reached: check the network'),
    (r'Release file|404', 'the mirror does not have it'),
    (r'Failed to fetch', 'the mirror cannot be reached: check the network'),
)


def explain(stderr, stdout=''):
    """Return one line that names the problem, from apt's output."""
    for pattern, meaning in ERRORS:
        if re.search(pattern, stdout + stderr):
            return meaning
    lines = [line for line in stderr.splitlines() if line.startswith('E:')]
    return (lines or stderr.splitlines() or ['apt failed'])[0]


def is_later(version, other):
    """Return whether dpkg takes a version for later than another one."""
    return not subprocess.run(['dpkg', '--compare-versions', version, 'gt', other],
                              check=False).returncode


def compare(one, other):
    """Return 1, 0 or -1, as a version is later than another, equal, or earlier."""
    return is_later(one, other) - is_later(other, one)


# The key by which sorted() puts versions into the order of dpkg.
version_key = functools.cmp_to_key(compare)


def mirror():
    """Return the Debian archive's address in the system's apt configuration."""
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
    """Return the options that keep apt's state for a suite under build/apt."""
    # A suite may be one of another architecture: "trixie:arm64".
    state, arch = STATE / suite, suite.partition(':')[2]
    options = [f'Dir::Etc::SourceList={state}/sources.list',
               'Dir::Etc::SourceParts=/dev/null', 'Dir::Etc::Preferences=/dev/null',
               'Dir::Etc::PreferencesParts=/dev/null', f'Dir::State={state}',
               'Dir::State::status=/var/lib/dpkg/status',
               f'Dir::State::Lists={state}/lists', f'Dir::Cache={state}/cache',
               'APT::Sandbox::User=root', 'APT::Update::Error-Mode=any',
               'Acquire::Languages=none', 'Acquire::Retries=2']
    if arch:
        options += [f'APT::Architecture={arch}', f'APT::Architectures={arch}']
    return [word for option in options for word in ('-o', option)]


def run_apt(suite, *argv, cwd=None):
    """Run one apt command on a suite; return (status, stdout, stderr)."""
    done = subprocess.run([argv[0], *apt_options(suite), *argv[1:]],
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors='replace', cwd=cwd, check=False,
                          env={**os.environ, 'LC_ALL': 'C.UTF-8'})
    return done.returncode, done.stdout, done.stderr


def update(suite, kind):
    """Fetch a suite's lists into build/apt; return '' or what went wrong."""
    state = STATE / suite
    for folder in ('lists/partial', 'cache/archives/partial'):
        (state / folder).mkdir(parents=True, exist_ok=True)
    word = {'binary': 'deb', 'source': 'deb-src'}[kind]
    name = suite.partition(':')[0]
    line = f'{word} [signed-by={KEYRING}] {mirror()} {name} main\n'
    (state / 'sources.list').write_text(line, encoding='utf-8')
    status, out, stderr = run_apt(suite, 'apt-get', '-q', 'update')
    return explain(stderr, out) if status else ''


def versions(suite, pattern, kind):
    """Return [(package, version)] of a suite, for names that match a glob."""
    names = [pattern]
    if any(c in pattern for c in '*?['):
        _, out, _ = run_apt(suite, 'apt-cache', 'pkgnames')
        names = sorted(n for n in out.split() if fnmatch.fnmatchcase(n, pattern))
    if not names:
        return []
    _, out, _ = run_apt(suite, 'apt-cache', 'madison', *names)
    rows = [[field.strip() for field in line.split('|')] for line in out.splitlines()]
    word = 'Sources' if kind == 'source' else 'Packages'
    return [(row[0], row[1]) for row in rows if len(row) == 3 and word in row[2]]
