# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuzz the QEMU device, and run QEMU's tests of it under the sanitizers.

One build in build/fuzz serves both: build/qemu with clang's libFuzzer, ASan and UBSan.
"""

import os
import re
import shutil
from pathlib import Path

from harness import tree
from harness.build import QEMU_OPTIONS, configure_qemu
from harness.common import (BUILD, LOGS, SRC, Failure, jobs, run_logged, say, tail)
from harness.debian import packages
from harness.vm import FIRMWARE

OUT = BUILD / 'fuzz'
# QEMU searches this folder for firmware when it runs from its build folder.
BUNDLE = OUT / 'qemu-bundle/usr/local/share/qemu'
OPTIONS = ('--cc=ccache clang', '--host-cc=ccache clang', *QEMU_OPTIONS,
           '--enable-fuzzing', '--enable-asan', '--enable-ubsan')
PROGRAMS = ('qemu-fuzz-x86_64', 'qemu-system-x86_64', 'tests/qtest/qos-test',
            'tests/unit/test-virtio-balloon-pages')

# The code that libFuzzer watches. Fewer counters make more executions.
FILTER = '''src:*/hw/virtio/virtio-balloon*
src:*/hw/virtio/virtio.c
src:*/tests/qtest/fuzz/fuzz.c
fun:*
'''

# Messages to start from: the examples of docs/protocol.md.
SET_SEEDS = (
    '01000000080000004523010000000c05',
    '01000000100000000010000000008c010d00000000000080',
    '02000000080000000000040000001501',
    '01000000080000000000000002000c01',
    '0100000010000000a000000000000c010001000000000c01',
)
ANSWER_SEEDS = (
    '010000000100000010000000000000000000000000000000'
    '0000040000000f80001004000000' '0cff',
    '010000000200000000000000000000000000200000000000',
)
# Features, then actions of 4 bytes (what, queue, size, flags) with their data:
# see tests/qtest/fuzz/virtio_balloon_fuzz.c.
QUEUE_SEEDS = (
    '00' + '00001001' '0010000000000c05' '0510000000000c05',
    '00' + '07000105' '07006401' '07000307' + '00000801' '0010000000000c10',
    '00' + '00000801' '0010000000000c10' + '00010801' '0410000000000c02',
    '00' + '03000002' '02021800' + '00021001' '0010000000000c05'
    '0020000000000c05' '00020000',
    '00' + '03000001' '02021800' '02021800' '04000000' '05005000' '06000000',
    '01' + '01001000' '00100000011000000210000003100000',
)
# Per target: seeds, and how long an input may be.
TARGETS = {'virtio-balloon-decoders': (SET_SEEDS + ANSWER_SEEDS, 4096),
           'virtio-balloon-queues': (QUEUE_SEEDS, 512)}


def sanitizer_environment():
    """Return the environment in which programs from build/fuzz stop at a finding."""
    # QEMU does not free all at its end.
    return {**os.environ, 'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1',
            'ASAN_OPTIONS': 'detect_leaks=0:allocator_may_return_null=1'}


def link_firmware():
    """Have the programs in build/fuzz find the firmware of the system."""
    BUNDLE.mkdir(parents=True, exist_ok=True)
    for file in (file for folder in FIRMWARE for file in Path(folder).glob('*')):
        link = BUNDLE / file.name
        if file.is_file() and not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(file)


def build():
    """build/fuzz: fuzzers, QEMU and its tests with sanitizers."""
    packages.install(packages.FUZZING)
    tree.ensure('qemu', strict=False)
    env = configure_qemu('fuzzers', SRC / 'qemu', OUT, 'fuzz', OPTIONS)
    # ccache does not read the file.
    filter_file = OUT / 'instrumentation-filter'
    env['CCACHE_EXTRAFILES'] = str(filter_file)
    # Configuring anew, which ninja may do first, writes QEMU's own filter.
    run_logged('fuzzers: meson', ['ninja', 'build.ninja'], 'fuzz-meson.log',
               cwd=OUT, env=env)
    filter_file.write_text(FILTER)
    run_logged('fuzzers', ['ninja', f'-j{jobs()}', *PROGRAMS],
               'fuzz-build.log', cwd=OUT, env=env)
    link_firmware()


def corpus(target):
    """Return the folder of a target's inputs, with its seeds."""
    folder = OUT / 'corpus' / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[target][0]):
        (folder / f'seed-{number}').write_bytes(bytes.fromhex(seed))
    return folder


def executions(log):
    """Return how many inputs a libFuzzer run has executed, by its own count."""
    found = re.findall(r'(?m)^stat::number_of_executed_units:\s*(\d+)',
                       (LOGS / log).read_text(errors='replace'))
    if not found:
        raise Failure(f'the fuzzer has not said how much it did: {tail(LOGS / log)}')
    return int(found[-1])


def fuzz_target(target, seconds):
    """Fuzz one target for so long; return the number of executions."""
    findings = OUT / 'findings' / target
    shutil.rmtree(findings, ignore_errors=True)
    findings.mkdir(parents=True)
    log = f'fuzz-{target}.log'
    # The limits bound a single input (seconds, MiB), and the whole run.
    try:
        run_logged(f'fuzz {target}',
                   [OUT / 'qemu-fuzz-x86_64', f'--fuzz-target={target}',
                    f'-max_total_time={seconds}', '-timeout=30',
                    '-rss_limit_mb=4096', f'-max_len={TARGETS[target][1]}',
                    '-detect_leaks=0', '-close_fd_mask=2',
                    '-print_final_stats=1', f'-artifact_prefix={findings}/',
                    corpus(target)], log, cwd=OUT, env=sanitizer_environment())
    except Failure as failure:
        inputs = ' '.join(str(path) for path in sorted(findings.iterdir()))
        raise Failure(f'{failure}\nRepeat it: {OUT}/qemu-fuzz-x86_64 '
                      f'--fuzz-target={target} {inputs}') from failure
    done = executions(log)
    if not done:
        raise Failure(f'fuzz {target}: nothing was executed')
    say(f'fuzz {target}: {done} executions, no finding')
    return done


def fuzz():
    """make fuzz: FUZZ_SECONDS for each target."""
    build()
    seconds = int(os.environ.get('FUZZ_SECONDS') or 60)
    total = sum(fuzz_target(target, seconds) for target in TARGETS)
    say(f'{total} executions in total, no finding')
