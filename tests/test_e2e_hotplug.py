# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory comes and goes while its pages are in the balloon."""

from harness.vm import GIB, MIB, Guest
from tests.test_e2e_memory import FORMATS, check_totals


@FORMATS
def test_unplug_dimm_with_ballooned_pages(page_bitmap):
    """A DIMM whose pages are in the balloon can go; the pages move."""
    with Guest(memory=GIB, page_bitmap=page_bitmap,
               args=['-m', 'slots=1,maxmem=4G'],
               append='memhp_default_state=online_movable') as guest:
        guest.load_balloon()
        total = guest.meminfo()['MemTotal']
        guest.qmp('object-add', **{'qom-type': 'memory-backend-ram',
                                   'id': 'dimm', 'size': GIB,
                                   'reserve': False})
        guest.qmp('device_add', driver='pc-dimm', id='dimm0', memdev='dimm')
        guest.wait_for(lambda: guest.meminfo()['MemTotal'] > total + 900 * MIB,
                       'DIMM online')
        # Movable memory goes into the balloon first: that of the DIMM.
        guest.balloon_to(2 * GIB - 8 * MIB)
        before = guest.vmstat()['balloon_migrate']
        guest.qmp('device_del', id='dimm0')
        guest.event('DEVICE_DELETED', timeout=180, device='dimm0')
        assert guest.vmstat()['balloon_migrate'] > before + 8 * MIB // 8192
        assert guest.actual() == GIB - 8 * MIB
        check_totals(guest, total)
        guest.balloon_to(GIB)
        check_totals(guest, total)
