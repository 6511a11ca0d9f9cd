# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands behind the Makefile: python3 -m harness <command>."""

import importlib
import signal
import sys

from harness import common
from harness.debian import packages

# The command, the function in harness/ that runs it, and what make help prints.
COMMANDS = {
    'all': ('run.measure', '''
        from nothing to the tables: install, fetch, build, boot, measure
        (half an hour from nothing on two cores, then minutes)'''),
    'check': ('run.check', '''
        what needs no build: harness, series, documents, constants (a minute)'''),
    'test': ('run.tests', '''
        everything is built, then tested; ends with "N passed, M failed"
        TESTS="tests/e2e/test_boot.py -k stock" runs a part of them'''),
    'test-field': ('run.field_tests', '''
        what operators report, stock beside ours, as a table'''),
    'test-long': ('run.long_tests', '''
        100 migrations under load; ten thousand targets; all combinations of
        features; faults put into Linux and QEMU, which tests must find; kernels
        with KASAN, or without compaction; QEMU with ASan and UBSan (hours);
        SEED=N repeats a run of migrations or targets, in make test, too'''),
    'test-arch': ('run.arch_tests', '''
        the main tests in guests of arm64 with pages of 64 KiB, of s390x, of i386
        with highmem, under TCG (minutes, and an hour to build)'''),
    'lint': ('run.lint', '''
        each Linux patch built alone with W=1: x86_64 (=y, =m, =n), arm64, s390x,
        i386, UML; each QEMU patch for x86_64, s390x; sparse, coccicheck,
        kernel-doc, Sphinx, checkpatch (one to two and a half hours)'''),
    'fuzz': ('fuzz.fuzz', '''
        the QEMU device under libFuzzer, ASan and UBSan: FUZZ_SECONDS=N (60) for
        its decoders, and for its queues'''),
    'bench': ('run.bench', '''
        the table of whole blocks: speed against the targets, guest sizes, huge
        pages (BENCH="--parts idle,sizes --rounds 1 ..."); and the charts'''),
    'bench-native': ('run.bench_native', '''
        the table of native speed, without an emulator: our driver and the stock one
        in user-mode Linux, a device behind vhost-user (BENCH="--sizes 1 ...")'''),
    'migration': ('run.migration', '''
        the table of live migration (BENCH="--size 2 --cases 13 ...")'''),
    'bench-peers': ('run.peers', '''
        ours beside the stock balloon, virtio-mem and free page reporting: the
        table (BENCH="--states touched --rounds 1 ...")'''),
    'spec': ('spec.pdf', '''
        build/spec/virtio-balloon.pdf: docs/virtio-spec, the text for the virtio
        specification'''),
    'tree': ('tree.make_trees', '''
        git trees build/src/linux and build/src/qemu: base and patches
        FORCE=1 puts work in them aside and applies the patches anew
        LINUX_SRC=, QEMU_SRC= name trees of your own to start from'''),
    'refresh': ('refresh.refresh_all', '''
        write patches/ anew from the commits of these trees'''),
    'mail': ('mail.rehearse_all', '''
        rehearse sending every series with git send-email, to this machine only
        SERIES=linux/02-virtio-balloon-fixes rehearses one (seconds)
        V=2 PREVIOUS=COMMIT: as version 2, PREVIOUS having been version 1'''),
    'fetch': ('debian.archive.fetch_all', '''
        only download the base sources'''),
    'kernel': ('build.kernel', '''
        build/kernel/bzImage and its initramfs'''),
    'qemu': ('build.qemu', '''
        build/qemu/qemu-system-x86_64'''),
    'stock': ('build.stock', '''
        the unpatched pair, build/stock/'''),
    'run': ('run.interactive', '''
        boot a guest with a console on this terminal'''),
    'clean-src': ('tree.remove_all', '''
        remove downloads and the trees, if no work would be lost'''),
    'help': ('__main__.print_help', '''
        print this text'''),
}
OPTIONS = '''\
make clean      remove builds, results, and findings of fuzzing; sources,
                downloads and the compiler cache stay

JOBS=N compilers at a time; ACCEL=tcg or kvm instead of the default;
BENCH="--size 4 --rounds 7" are options of bench/inflate.py (make), blocks.py
(make bench), uml.py (make bench-native), migration.py (make migration) or peers.py
(make bench-peers): python3 -m bench.NAME --help
Logs are in build/logs.'''
# Commands that run without the packages that building needs.
BARE = ('check', 'refresh', 'clean-src', 'spec', 'help')


def print_help():
    """Print every command of make, and its options."""
    for name, (_, text) in COMMANDS.items():
        title = 'make' if name == 'all' else f'make {name}'
        for line in map(str.strip, text.strip().splitlines()):
            print(f'{title:15} {line}')
            title = ''
    print(OPTIONS)


def command(name):
    """Run one command; return its exit status."""
    module, function = COMMANDS[name][0].rsplit('.', 1)
    if name not in BARE:
        packages.install()
    return getattr(importlib.import_module(f'harness.{module}'), function)() or 0


def main():
    """Run the command; report errors that a user can mend in words, not as a traceback."""
    # A terminated run must not leave its compilers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return command(sys.argv[1])
    except common.Failure as failure:
        print(f'error: {failure}', file=sys.stderr)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
    except PermissionError as error:
        print(f'error: {error.filename}: permission denied. Run all targets as the user '
              'who made build/', file=sys.stderr)
    except OSError as error:
        if error.errno != 28:
            raise
        print('error: the disk is full: free some space', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
