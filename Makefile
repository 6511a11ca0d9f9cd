# SPDX-License-Identifier: GPL-2.0-or-later
# The front door. What it does is in harness/.

PYTHON := /usr/bin/python3
HARNESS := $(PYTHON) -B -m harness

export FORCE JOBS ACCEL TESTS LINUX_SRC QEMU_SRC BENCH SEED FUZZ_SECONDS
# The harness decides how parallel a build is.
unexport MAKEFLAGS MFLAGS MAKELEVEL

COMMANDS := tree refresh kernel qemu stock run check test test-field test-long test-arch lint bench \
	migration fuzz fetch

.PHONY: all help clean clean-src $(COMMANDS)

all:
	@$(HARNESS) all

$(COMMANDS):
	@$(HARNESS) $@

help:
	@echo 'make          from nothing to the table: install, fetch, build, boot, measure'
	@echo '              (15 minutes on two cores; 2 minutes when all is built)'
	@echo 'make test     the same set-up, then tests; ends with "N passed, M failed"'
	@echo '              TESTS="tests/e2e/test_boot.py -k stock" runs a part of them'
	@echo 'make check    what needs no build: harness, series, documents (a minute)'
	@echo 'make test-field  what operators report, stock beside ours, as a table'
	@echo 'make test-long  100 migrations under load; ten thousand targets; all combinations'
	@echo '              of features; faults put into Linux and QEMU, which tests must find;'
	@echo '              kernels with KASAN, or without compaction; QEMU with ASan and UBSan'
	@echo '              (about three hours by its parts); SEED=N repeats a run of'
	@echo '              migrations or targets, in make test, too'
	@echo 'make lint     each Linux patch built alone with W=1: x86_64 (=y, =m, =n), arm64,'
	@echo '              s390x, i386, UML; each QEMU patch for x86_64, s390x; sparse, coccicheck,'
	@echo '              kernel-doc, Sphinx, checkpatch (an hour by its parts)'
	@echo 'make test-arch  the main tests in guests of arm64 with pages of 64 KiB, of s390x, of'
	@echo '              i386 with highmem, under TCG (13 minutes, and an hour to build)'
	@echo 'make fuzz     the QEMU device under libFuzzer, ASan and UBSan: FUZZ_SECONDS=N (60)'
	@echo '              for its decoders, and for its queues (and 8 minutes to build)'
	@echo 'make bench    the table of whole blocks: speed against the targets, guest sizes, huge'
	@echo '              pages (BENCH="--parts idle,sizes --rounds 1 ..."); and the charts in'
	@echo '              docs/charts, two of them of what make and make migration left in build/'
	@echo 'make migration  the table of live migration (BENCH="--size 2 --cases 13 ...")'
	@echo ''
	@echo 'make tree     git trees build/src/linux and build/src/qemu: base and patches'
	@echo '              FORCE=1 puts work in them aside and applies the queues anew'
	@echo '              LINUX_SRC=, QEMU_SRC= name trees of your own to start from'
	@echo 'make refresh  write patches/ anew from the commits of these trees'
	@echo 'make fetch    only download the base sources'
	@echo ''
	@echo 'make kernel   build/kernel/bzImage and its initramfs'
	@echo 'make qemu     build/qemu/qemu-system-x86_64'
	@echo 'make stock    the unpatched pair, build/stock/'
	@echo 'make run      boot a guest with a console on this terminal'
	@echo ''
	@echo 'make clean      remove what was built, measured, or found by fuzzing; sources,'
	@echo '                downloads and the compiler cache stay'
	@echo 'make clean-src  remove downloads and the trees, if no work would be lost'
	@echo ''
	@echo 'JOBS=N compilers at a time; ACCEL=tcg or kvm instead of what is found;'
	@echo 'BENCH="--size 4 --rounds 7" are options of bench/inflate.py (make), blocks.py'
	@echo '(make bench) or migration.py (make migration): python3 bench/NAME.py --help'
	@echo 'Logs are in build/logs.'

clean:
	rm -rf build/kernel build/qemu build/stock/kernel build/stock/qemu \
		build/stock/bzImage build/stock/initramfs build/stock/*.stamp \
		build/stock/qemu-system-x86_64 build/guest build/kunit \
		build/kunit-x86 build/kunit-debug build/kunit-qemu build/logs \
		build/*.json build/*.xml build/*.ext4 build/mutants \
		build/each build/fuzz build/arch build/variants

clean-src:
	@$(HARNESS) $@
