# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests to try balloons on: a kernel, a QEMU, and an agent inside the guest.

Every wait is bounded; its exception quotes the end of the guest's console.
"""

from harness.vm.agent import GuestError, GuestTimeout, Refused
from harness.vm.guest import SPLATS, Guest
from harness.vm.host import (FIRMWARE, GIB, KERNELS, MIB, PAGE, QEMUS, accelerator,
                             cpu_seconds_of_all, qemu_version, resident)
from harness.vm.migration import BANDWIDTH

__all__ = ['BANDWIDTH', 'FIRMWARE', 'GIB', 'Guest', 'GuestError', 'GuestTimeout',
           'KERNELS', 'MIB', 'PAGE', 'QEMUS', 'Refused', 'SPLATS', 'accelerator',
           'cpu_seconds_of_all', 'qemu_version', 'resident']
