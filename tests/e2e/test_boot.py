# SPDX-License-Identifier: GPL-2.0-or-later
"""Both kernels boot under both QEMUs; the legacy format moves memory."""

import pytest

from harness.vm import GIB, MIB, PAGE


@pytest.mark.parametrize('kernel, qemu', [
    pytest.param('stock', 'stock', marks=pytest.mark.long), ('stock', 'ours'),
    ('ours', 'stock'), ('ours', 'ours')])
def test_legacy_targets(boot, kernel, qemu):
    """Guest, driver and device agree on every target, up and down."""
    guest = boot(kernel=kernel, qemu=qemu, memory=GIB)
    for target in (768 * MIB, 300 * MIB + PAGE, 512 * MIB, GIB - PAGE, GIB):
        guest.balloon_to(target)
        assert guest.meminfo()['MemTotal'] == guest.total - (GIB - target)
        assert guest.vmstat()['nr_balloon_pages'] * PAGE == GIB - target


@pytest.mark.parametrize('kernel', [pytest.param('stock', marks=pytest.mark.long),
                                    'ours'])
def test_reload(boot, kernel):
    """A driver that is unloaded gives everything back; loaded, it goes on."""
    guest = boot(kernel=kernel, qemu='stock', memory=GIB)
    guest.balloon_to(512 * MIB)
    guest.unload_balloon()
    assert guest.meminfo()['MemTotal'] == guest.total
    guest.load_balloon()
    guest.wait_for(lambda: guest.actual() == 512 * MIB, 'inflated again')


def test_programs(boot):
    """The programs that other tests rely on work as documented."""
    guest = boot(qemu='stock', kernel='stock', memory=GIB)
    before = guest.resident()
    assert 'filled' in guest.run('memfill 256')
    assert guest.resident() - before > 240 * MIB
    with guest.background('pattern 64'):
        guest.balloon_to(512 * MIB)
    assert 'pages checked' in guest.said('pattern')
    assert guest.run('exit 3', check=False) == ''
    job = guest.spawn('exit 3')
    job.wait(check=False)
    assert job.status == 3
