# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory comes and goes while its pages are in the balloon."""

from harness.vm import GIB, MIB
from tests.support.accounts import LEGACY_LATER, check_totals, gone


def dimm_guest(boot, **properties):
    """Boot a guest with a slot for a DIMM; return functions to plug it and to see it."""
    guest = boot(memory=GIB, args=['-m', 'slots=1,maxmem=4G'],
                 append='memhp_default_state=online_movable', **properties)

    def plug():
        guest.qmp('object-add', **{'qom-type': 'memory-backend-ram',
                                   'id': 'dimm', 'size': GIB, 'reserve': False})
        guest.qmp('device_add', driver='pc-dimm', id='dimm0', memdev='dimm')

    def online():
        return guest.meminfo()['MemTotal'] > guest.total + 900 * MIB
    return guest, plug, online


@LEGACY_LATER
def test_unplug_dimm_with_ballooned_pages(boot, page_bitmap):
    """A DIMM whose pages are in the balloon can go; the pages move."""
    guest, plug, online = dimm_guest(boot, page_bitmap=page_bitmap)
    plug()
    guest.wait_for(online, 'DIMM online')
    # The balloon takes movable memory first: that of the DIMM, apart from pieces.
    guest.balloon_to(2 * GIB - 256 * MIB)
    before = gone(guest)
    guest.qmp('device_del', id='dimm0')
    guest.event('DEVICE_DELETED', device='dimm0')
    assert gone(guest) > before + 8 * MIB // 8192
    # Pages that were given back are taken elsewhere a little later.
    guest.wait_for(lambda: guest.actual() == GIB - 256 * MIB, 'balloon at its target')
    check_totals(guest)
    guest.balloon_to(GIB)
    check_totals(guest)


def test_scan_while_dimm_comes_and_goes(boot):
    """Unused pages can be requested while a DIMM comes and goes."""
    guest, plug, online = dimm_guest(boot, host_request=True)

    def unused():
        data = guest.request('unused-pages')
        assert data['status'] == 'done'
        return data['bytes']

    for _ in range(3):
        small = unused()
        plug()
        guest.wait_for(lambda: (unused(), online())[1], 'DIMM online')
        assert unused() > small + 800 * MIB
        guest.qmp('device_del', id='dimm0')
        guest.wait_for(lambda: (unused(), not online())[1], 'DIMM offline')
        guest.event('DEVICE_DELETED', device='dimm0')
        guest.qmp('object-del', id='dimm')
        assert unused() < small + 100 * MIB
        check_totals(guest)
