# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a guest's memory comes from: the backends that operators use, by name.

Properties of QEMU's memory backend after a name override the name's own:
"hugetlb-private,prealloc=on". NUMA nodes take turns: "anon+disk-private".
"""

from harness.common import BUILD, Failure, capture
from harness.vm.host import MIB

HUGETLBFS = BUILD / 'hugetlbfs'
DISK = BUILD / 'disk'

MEMFD = {'qom': 'memory-backend-memfd', 'reserve': 'off'}
FILE = {'qom': 'memory-backend-file', 'reserve': 'off'}
SHARED, PRIVATE = {'share': 'on'}, {'share': 'off'}
HUGE = {'hugetlb': 'on', 'hugetlbsize': '2M'}
# Nothing is reserved unless the properties ask for it. QEMU makes a file in a folder and
# removes it; "mem-path" names another.
BACKENDS = {
    'anon': {'qom': 'memory-backend-ram', 'reserve': 'off'},
    'anon-shared': {'qom': 'memory-backend-ram', 'reserve': 'off', **SHARED},
    'memfd': {**MEMFD, **SHARED},
    'memfd-private': {**MEMFD, **PRIVATE},
    'tmpfs': {**FILE, **SHARED, 'mem-path': '/dev/shm'},
    'tmpfs-private': {**FILE, **PRIVATE, 'mem-path': '/dev/shm'},
    'disk': {**FILE, **SHARED, 'mem-path': str(DISK)},
    'disk-private': {**FILE, **PRIVATE, 'mem-path': str(DISK)},
    'hugetlb': {**MEMFD, **HUGE, **SHARED},
    'hugetlb-private': {**MEMFD, **HUGE, **PRIVATE},
    'hugetlbfs': {**FILE, **SHARED, 'mem-path': str(HUGETLBFS)},
    'hugetlbfs-private': {**FILE, **PRIVATE, 'mem-path': str(HUGETLBFS)},
}


def prepare(path):
    """Make the folder of a file backend; mount hugetlbfs where it is wanted."""
    if path == str(DISK):
        DISK.mkdir(parents=True, exist_ok=True)
    if path != str(HUGETLBFS) or HUGETLBFS.is_mount():
        return
    HUGETLBFS.mkdir(parents=True, exist_ok=True)
    try:
        capture(['mount', '-t', 'hugetlbfs', '-o', 'pagesize=2M', 'hugetlbfs', HUGETLBFS])
    except Failure as failure:
        raise Failure(f'hugetlbfs cannot be mounted (as root?): {failure}') from None


def backend(name, ident, size):
    """Return the value of -object for a backend of so many bytes."""
    kind, *own = name.split(',')
    if kind not in BACKENDS:
        raise Failure(f'no backend "{kind}": one of {", ".join(BACKENDS)}')
    for word in own:
        if '=' not in word:
            raise Failure(f'backend "{name}": "{word}" is no property=value')
    properties = BACKENDS[kind] | dict(word.split('=', 1) for word in own)
    prepare(properties.get('mem-path'))
    return ','.join([properties.pop('qom'), f'id={ident}', f'size={size}',
                     *(f'{key}={value}' for key, value in properties.items())])


def memory_args(name, size, nodes=1, dimm=0, virtio_mem=0):
    """Return QEMU's arguments for a guest's memory."""
    # nodes       NUMA nodes that share it equally
    # dimm        bytes of a DIMM that is there at boot
    # virtio_mem  bytes of a virtio-mem device, all of them plugged
    args = ['-m', f'{size // MIB}M']
    if dimm or virtio_mem:
        args[-1] += f',slots=4,maxmem={(size + dimm + virtio_mem) // MIB}M'
    names = name.split('+')
    if len(names) > max(nodes, 1):
        raise Failure(f'backend "{name}": more names than NUMA nodes')
    if nodes == 1:
        args += ['-object', backend(name, 'ram', size),
                 '-machine', 'memory-backend=ram']
    for node in range(nodes if nodes > 1 else 0):
        args += ['-object', backend(names[node % len(names)], f'ram{node}',
                                    size // nodes),
                 '-numa', f'node,nodeid={node},memdev=ram{node}'
                 + ',cpus=0' * (node == 0) + ',cpus=1' * (node == 1)]
    if dimm:
        args += ['-object', backend(names[-1], 'dimm', dimm),
                 '-device', 'pc-dimm,id=dimm0,memdev=dimm']
    if virtio_mem:
        args += ['-object', backend(names[-1], 'vmem', virtio_mem), '-device',
                 f'virtio-mem-pci,id=vmem0,memdev=vmem,requested-size={virtio_mem}']
    return args
