# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of this repository."""

import subprocess

from harness.common import ROOT


def list_files(*patterns):
    """Return the files that git tracks, or would add, as paths from the top."""
    out = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard',
                          '-x', 'build/', '--', *patterns],
                         cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in out.stdout.splitlines() if (ROOT / name).is_file()]
