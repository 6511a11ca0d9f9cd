# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU whose virtio devices do not answer for a while: slow_device.c in front."""

from pathlib import Path

from harness.common import BUILD, compile_if_newer

SOURCE = Path(__file__).with_name('slow_device.c')
LIBRARY = BUILD / 'slow_device.so'
COMPILE = ('gcc', '-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-pthread',
           SOURCE, '-ldl')


class SlowDevice:
    """Controls when the devices of one QEMU answer. Its guest needs serial=True.

    folder: an empty one for the files that steer the library
    """

    def __init__(self, folder):
        self._control = Path(folder) / 'slow'
        compile_if_newer(COMPILE, LIBRARY, SOURCE)
        self.wrapper = ('env', f'LD_PRELOAD={LIBRARY}', f'SLOW_DEVICE={self._control}')

    def hold(self, every=1, seconds=None):
        """Keep every so manieth notification back: so long, or until let_go()."""
        text = f'{every} {seconds}' if seconds else ''
        part = self._control.with_suffix('.part')
        part.write_text(text, encoding='ascii')
        part.rename(self._control)

    def let_go(self):
        """Let the devices answer again."""
        self._control.unlink()

    def held(self):
        """Return how many notifications have been kept back so far."""
        count = self._control.with_name('slow.count')
        return int(count.read_text('ascii') or 0) if count.exists() else 0
