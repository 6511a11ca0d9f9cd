# SPDX-License-Identifier: GPL-2.0-or-later
"""A cgroup around QEMU, on hosts with version 1 or 2 of cgroups, or with both."""

from pathlib import Path

from harness.common import Failure

ROOT = '/sys/fs/cgroup'
LIMITS = {
    'memory': ((f'{ROOT}/memory', 'memory.limit_in_bytes'), (ROOT, 'memory.max')),
    'hugetlb': ((f'{ROOT}/hugetlb', 'hugetlb.2MB.limit_in_bytes'),
                (f'{ROOT}/unified', 'hugetlb.2MB.max'), (ROOT, 'hugetlb.2MB.max'))}


def make(name, limit, controller='memory'):
    """Make a cgroup, or change its limit in bytes; return its folder."""
    for root, control in LIMITS[controller]:
        folder = Path(root) / f'balloon-{name}'
        try:
            folder.mkdir(exist_ok=True)
            if control.endswith('max'):
                (Path(root) / 'cgroup.subtree_control').write_text(f'+{controller}',
                                                                   encoding='ascii')
            # A folder that is no cgroup has no files.
            if not (folder / 'cgroup.procs').exists():
                raise FileNotFoundError
            (folder / control).write_text(str(limit), encoding='ascii')
            return folder
        except OSError:
            if folder.is_dir():
                folder.rmdir()
    raise Failure(f'no {controller} cgroup can be made here (as root?)')


def wrapper(folder):
    """Return the words before a command that starts it in a cgroup."""
    return ('sh', '-c', f'echo $$ > {folder}/cgroup.procs && exec "$@"', 'sh')
