# SPDX-License-Identifier: GPL-2.0-or-later
"""Feature bits and bounds that several tests rely on."""

from harness.vm import MIB

# Bits of what QEMU can offer. Statistics are always offered.
STATS = 1
BITS = {'deflate_on_oom': 2, 'free_page_hint': 3, 'page_poison': 4,
        'free_page_reporting': 5, 'page_bitmap': 9, 'host_request': 10}

# By how much RECLAIM may give back more than was asked for (docs/protocol.md).
OVERSHOOT = 48 * MIB
