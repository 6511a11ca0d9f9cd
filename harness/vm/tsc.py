# SPDX-License-Identifier: GPL-2.0-or-later
"""The rate of the host's time stamp counter, which a guest under TCG reads.

On a busy host the guest's own calibration may be wrong by a factor, and then so are all
its clocks. The host's kernel states the rate nowhere, and a program would have to be
compiled: so this executes RDTSC from a buffer.
"""

import ctypes
import functools
import mmap
import platform
import time


@functools.cache
def tsc_khz():
    """Measure the counter's rate in kHz; None if the host is not x86-64."""
    if platform.machine() != 'x86_64':
        return None
    # rdtsc; shl $32, %rdx; or %rdx, %rax; ret
    code = mmap.mmap(-1, mmap.PAGESIZE,
                     prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b'\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3')
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(
        ctypes.addressof(ctypes.c_char.from_buffer(code)))

    def read_pair():
        """Return (ns, ticks) of the same moment: the pair read fastest of some."""
        pairs = []
        for _ in range(20):
            before, ticks = time.monotonic_ns(), rdtsc()
            pairs.append((time.monotonic_ns() - before, before, ticks))
        return min(pairs)[1:]
    began = read_pair()
    time.sleep(0.1)
    ended = read_pair()
    return round((ended[1] - began[1]) * 1e6 / (ended[0] - began[0]))
