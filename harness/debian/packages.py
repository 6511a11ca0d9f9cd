# SPDX-License-Identifier: GPL-2.0-or-later
"""Install the Debian packages that building and testing need."""

import os
import subprocess

from harness.common import Failure, run_logged

# One line per purpose.
PACKAGES = '''
    git make gcc libc6-dev ccache xz-utils ca-certificates
    dpkg-dev debian-archive-keyring
    bc bison flex libelf-dev libssl-dev perl rsync
    ninja-build pkg-config python3-venv libglib2.0-dev libpixman-1-dev
    libfdt-dev zlib1g-dev libgnutls28-dev
    seabios qemu-system-data ipxe-qemu
    busybox-static e2fsprogs
    python3 python3-pytest python3-pytest-xdist python3-ply python3-git codespell
    python3-matplotlib git-email libmailtools-perl python3-aiosmtpd
'''.split()
# For make mail.
MAILING = 'git-email libmailtools-perl python3-aiosmtpd perl codespell'.split()
# For make check.
CHECKING = [*'git python3-pytest python3-pytest-xdist e2fsprogs xz-utils'.split(),
            *MAILING]
# For make test-arch.
CROSS = '''
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    gcc-s390x-linux-gnu libc6-dev-s390x-cross
    gcc-i686-linux-gnu libc6-dev-i386-cross
'''.split()
# For make fuzz, and make test-long.
FUZZING = ['clang', 'libclang-rt-dev']
# For make lint. coccinelle compiles what some semantic patches have in OCaml.
LINTING = ['gcc-aarch64-linux-gnu', 'gcc-s390x-linux-gnu', 'coccinelle',
           'ocaml-nox', 'python3-sphinx', 'python3-sphinx-rtd-theme']
# For make spec.
TYPESETTING = ['texlive-latex-base', 'texlive-latex-recommended', 'lmodern']


def missing(wanted):
    """Return the packages that are not installed."""
    done = subprocess.run(
        ['dpkg-query', '-W', '-f', '${Package} ${db:Status-Status}\n',
         *wanted], capture_output=True, text=True, check=False)
    have = {line.split()[0] for line in done.stdout.splitlines()
            if line.endswith(' installed')}
    return [name for name in wanted if name not in have]


def install(wanted=PACKAGES):
    """Install missing packages as root; otherwise raise Failure with the command line."""
    names = missing(wanted)
    if not names:
        return
    line = f"apt-get install -y --no-install-recommends {' '.join(names)}"
    if os.geteuid():
        raise Failure(f'Debian packages are missing. As root: {line}')
    env = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'}
    run_logged('package lists', ['apt-get', '-q', 'update'], 'apt-update.log', env=env)
    run_logged(f'installing {len(names)} packages', line.split(),
               'apt-install.log', env=env)
