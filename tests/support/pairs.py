# SPDX-License-Identifier: GPL-2.0-or-later
"""The two pairs of guest and device that rows of the field compare."""

from harness.vm import GuestError

STOCK = {'qemu': 'stock', 'kernel': 'stock'}
OURS = {'qemu': 'ours', 'kernel': 'ours', 'page_bitmap': True, 'host_request': True}
PAIRS = {'stock': STOCK, 'ours': OURS}


def fate(guest):
    """Return a guest's state: "alive", or how its QEMU or its kernel ended."""
    try:
        guest.check()
    except GuestError as error:
        return str(error).splitlines()[0].split(': ', 1)[-1]
    return 'alive'
