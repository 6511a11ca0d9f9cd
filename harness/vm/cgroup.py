# SPDX-License-Identifier: GPL-2.0-or-later
"""A memory cgroup around QEMU, on hosts with version 1 or 2 of cgroups."""

from pathlib import Path

from harness.common import Failure

ROOTS = (('/sys/fs/cgroup/memory', 'memory.limit_in_bytes'),
         ('/sys/fs/cgroup', 'memory.max'))


def make(name, limit):
    """Make a cgroup, or change its memory limit in bytes; return its folder."""
    for root, control in ROOTS:
        folder = Path(root) / f'balloon-{name}'
        try:
            folder.mkdir(exist_ok=True)
            # A folder that is no cgroup has no files.
            if not (folder / 'cgroup.procs').exists():
                raise FileNotFoundError
            (folder / control).write_text(str(limit), encoding='ascii')
            return folder
        except OSError:
            if folder.is_dir():
                folder.rmdir()
    raise Failure('no memory cgroup can be made here (as root?)')


def wrapper(folder):
    """Return the words before a command that starts it in a cgroup."""
    return ('sh', '-c', f'echo $$ > {folder}/cgroup.procs && exec "$@"', 'sh')
