# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests of all sizes, the memory that the driver takes, and huge pages.

sizes  guests of --sizes, larger than the host as well, inflated to a quarter and
       deflated. The smallest also changes its size by 4 MiB, for the cost of any change.
       "Driver memory" is MemTotal - MemFree - pages on lists of CPUs: how much it grows
       when the module is loaded (the kernel takes 2 MiB at a time for the code of
       modules), and when the balloon is inflated.
huge   huge pages that back QEMU (AnonHugePages) when a program in the guest has filled
       its memory, when half is in the balloon, after deflating, and filled again. The
       guest then asks for 2 MiB pages (nr_hugepages) for nearly all of its free memory,
       and its pages are counted. Each round is in new guests.
"""

import re
from collections import defaultdict
from statistics import median

from bench import inflate
from bench.inflate import WAYS, label, whole
from bench.targets import OURS, PAIRS, judge, row
from harness.common import say
from harness.vm import MIB, PAGE

HUGE = 2 * MIB
# They take long: not more rounds than these, and SMALL of the changes by 4 MiB.
ROUNDS, SMALL = 3, 11
# KiB by which the memory that a guest uses may differ between sizes although the driver
# takes the same: must and goal.
NOISE = (512, 256)


def listed(guest):
    """Return bytes of free pages on lists of CPUs: MemFree is without them."""
    counts = re.findall(r'^\s+count:\s+(\d+)', guest.read('/proc/zoneinfo'), re.M)
    return sum(map(int, counts)) * PAGE


def used(guest):
    """Return bytes of memory in use, without the balloon."""
    def look():
        info = guest.meminfo()
        return info['MemTotal'] - info['MemFree'] - listed(guest)
    return min(look() for _ in range(5))


def one_round(guest, small):
    """Return seconds and driver memory of one round."""
    guest.unload_balloon()
    without = used(guest)
    guest.load_balloon()
    found = {'loaded': used(guest) - without}

    def look():
        found['inflated'] = used(guest) - without
    return inflate.one_round(guest, small, look) | found


def measure_sizes(args, append):
    """Guests of all sizes."""
    found = {}
    for gib in sorted(args.sizes):
        say(f'    {gib:g} GiB')
        pairs = {name: halves for name, halves in PAIRS.items()
                 if name == OURS or gib <= args.stock_to}
        with inflate.paused(pairs, whole(gib), append=append) as guests:
            here = inflate.timed(guests, whole(gib) // 4, min(args.rounds, ROUNDS),
                                 measure_one=one_round)
            if not found:
                for name, values in inflate.timed(guests, whole(gib) - 4 * MIB,
                                                  SMALL).items():
                    here[name] |= {f'{way} 4 MiB': values[way] for way in WAYS}
        found[f'{gib:g}'] = here
    return found


def guest_huge_pages(guest):
    """Return (had, asked for): pages of 2 MiB, nearly as many as memory is free."""
    # The rest is for the shell.
    spare = guest.memory // 32
    free = guest.meminfo()['MemAvailable'] + listed(guest)
    asked = (free - spare) // HUGE
    return int(guest.run(f'cd /proc/sys/vm && echo {asked} > nr_hugepages; '
                         'cat nr_hugepages && echo 0 > nr_hugepages')), asked


def one_guest(guest):
    """Return the huge pages that back a guest, and the number that it can get."""
    found, size = {}, guest.memory

    def look(state):
        found[f'QEMU in huge pages, {state}: MiB'] = \
            guest.resident('AnonHugePages') / MIB
        found[f'QEMU resident, {state}: MiB'] = guest.resident() / MIB

    def ask(when):
        found[f'2 MiB pages that the guest gets, {when}'], \
            found[f'2 MiB pages that it asks for, {when}'] = guest_huge_pages(guest)
    ask('before')
    inflate.fill(guest)
    look('filled')
    guest.balloon_to(size // 2)
    look('inflated')
    ask('inflated')
    guest.balloon_to(size)
    look('deflated')
    inflate.fill(guest)
    look('filled again')
    ask('at the end')
    return found


def measure_huge(args, append):
    """Measure huge pages for QEMU and for the guest."""
    found = defaultdict(lambda: {name: [] for name in PAIRS})
    for _ in range(min(args.rounds, ROUNDS)):
        for name, halves in PAIRS.items():
            with inflate.booted(name, whole(args.touched), append=append,
                                **halves) as guest:
                for key, value in one_guest(guest).items():
                    found[key][name].append(value)
    return found


def per_gib(found, gib, way):
    """Return {pair: seconds per GiB} of guests of a size."""
    return {name: [value / 0.75 / float(gib) for value in values[way]]
            for name, values in found[gib].items()}


def rows_of_sizes(found, append):
    """Return lines about time per GiB and driver memory."""
    usual = max((gib for gib in found if float(gib) <= 8), key=float,
                default=[*found][0])
    for way in WAYS:
        middle = median(per_gib(found, usual, way)[OURS])
        for gib in found:
            seconds = per_gib(found, gib, way)
            ratio = median(seconds[OURS]) / middle
            yield row(f'guest of {gib} GiB, {label(way, append)}: ms per GiB', seconds,
                      1e3, 1, f'{ratio:.2f} of {usual} GiB',
                      judge(ratio, 1.25, 1.1) if gib != usual else ('', '', ''))
    least, most = [*found][0], [*found][-1]
    for way in WAYS:
        yield row(f'guest of {least} GiB, {label(way, append)} by 4 MiB: ms',
                  {name: values[f'{way} 4 MiB'] for name, values in
                   found[least].items()}, 1e3, 1)
    for state in ('loaded', 'inflated'):
        for gib in sorted({least, usual, most}, key=float):
            taken = {name: values[state] for name, values in found[gib].items()}
            grows = (median(taken[OURS]) - median(found[least][OURS][state])) / 1024
            yield row(f'driver memory, {label(state, append)}, {gib} GiB: KiB', taken,
                      1 / 1024, 0, f'{grows:+.0f} to {least} GiB',
                      judge(grows, *NOISE) if gib != least else ('', '', ''))


def rows_of_huge(found, append):
    """Return lines about huge pages outside and inside."""
    for what, values in found.items():
        yield row(label(what, append), values)
