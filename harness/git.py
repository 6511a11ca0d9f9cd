# SPDX-License-Identifier: GPL-2.0-or-later
"""Run git on the trees, so that it does the same for every user."""

import os
import shutil
import subprocess

from harness.common import capture

# Base commits and committers are the same on every machine.
FIXED = {'GIT_AUTHOR_NAME': 'upstream', 'GIT_AUTHOR_EMAIL': 'upstream@localhost',
         'GIT_COMMITTER_NAME': 'queue', 'GIT_COMMITTER_EMAIL': 'queue@localhost',
         'GIT_AUTHOR_DATE': '2000-01-01T00:00:00Z',
         'GIT_COMMITTER_DATE': '2000-01-01T00:00:00Z'}
# The user's git configuration must not change the form of patches.
PLAIN = {'GIT_CONFIG_GLOBAL': '/dev/null', 'GIT_CONFIG_NOSYSTEM': '1'}


def git(folder, *argv, env=None):
    """Run git in a folder, free of the user's configuration."""
    return capture(['git', '-C', folder, *argv],
                   env={**os.environ, **PLAIN, **(env or {})})


def rev(folder, name):
    """Return the commit that a name stands for, or '' if there is none."""
    done = subprocess.run(['git', '-C', str(folder), 'rev-parse', '-q',
                           '--verify', f'{name}^{{commit}}'], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False)
    return done.stdout.strip()


def dirty(folder):
    """Return the files that differ from HEAD or are unknown to git."""
    return git(folder, 'status', '--porcelain').splitlines()


def unpack(repository, commit, folder, *paths):
    """Unpack the files of a commit, all or some paths, into a folder; return it."""
    git(repository, 'archive', '-o', folder / 'archive.tar', commit, *paths)
    shutil.unpack_archive(folder / 'archive.tar', folder)
    (folder / 'archive.tar').unlink()
    return folder
