# SPDX-License-Identifier: GPL-2.0-or-later
"""Feature bits, bounds and answers that several tests rely on."""

from harness.vm import MIB, Refused

# Bits of what QEMU can offer. Statistics are always offered.
STATS = 1
BITS = {'deflate_on_oom': 2, 'free_page_hint': 3, 'page_poison': 4,
        'free_page_reporting': 5, 'page_bitmap': 9, 'host_request': 10}

# By how much RECLAIM may give back more than was asked for (docs/protocol.md).
OVERSHOOT = 48 * MIB

# For the kernel's command line: the guest syncs when the host asks.
SYNC = 'virtio_balloon.accept_sync=1'


def accepted(guest, kind):
    """Return the id of a new request, or None while another one runs."""
    try:
        return guest.start_request(kind)
    except Refused as error:
        assert 'running' in str(error)
        return None


def cancel(guest, kind):
    """Make a request and cancel it, if it is not too late; return how it ended."""
    number = guest.start_request(kind)
    try:
        guest.qmp('balloon-cancel', id=number)
    except Refused as error:
        assert 'run' in str(error)
    return guest.request_ends(number)['status']
