# SPDX-License-Identifier: GPL-2.0-or-later
"""What the projects' own scripts say of the patches."""

import os
import subprocess

import pytest

from harness import tree
from harness.common import QUEUES

CHECKPATCH = {
    # The sender signs.
    'linux': ['--strict', '--codespell', '--no-signoff', '--terse'],
    'qemu': ['--no-signoff', '--terse'],
}
# QEMU asks whether a script imported a header from a Linux release; ours comes
# from the other queue.
IMPORTED = 'imported from Linux, are you using'
# mm's names of page flags.
ALLOWED = (IMPORTED, 'Avoid CamelCase: <__ClearPageOffline>')
PATCHES = [(queue, path) for queue in QUEUES
           for path in tree.queue_files(queue)]


@pytest.mark.parametrize('queue, patch', PATCHES,
                         ids=[f'{q}-{p.name[:4]}' for q, p in PATCHES])
def test_checkpatch(queue, patch):
    """checkpatch finds nothing to say."""
    # Its helpers want Debian's Python, whatever else is on the PATH.
    env = {**os.environ, 'PATH': f"/usr/bin:{os.environ['PATH']}"}
    done = subprocess.run(['scripts/checkpatch.pl', *CHECKPATCH[queue], patch],
                          cwd=tree.tree(queue), capture_output=True, text=True,
                          env=env, check=False)
    said = [line for line in done.stdout.splitlines() + done.stderr.splitlines()
            if not line.startswith('total:')
            and not any(text in line for text in ALLOWED)]
    assert not said, '\n'.join(said)
    assert done.returncode == 0 or any(text in done.stdout for text in ALLOWED)
