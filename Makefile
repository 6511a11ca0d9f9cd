# SPDX-License-Identifier: GPL-2.0-or-later
# The front door. What it does is in harness/.

PYTHON := /usr/bin/python3
HARNESS := $(PYTHON) -B -m harness

export FORCE JOBS ACCEL TESTS LINUX_SRC QEMU_SRC BENCH SEED FUZZ_SECONDS \
	SERIES V PREVIOUS
# The harness decides how parallel a build is.
unexport MAKEFLAGS MFLAGS MAKELEVEL

# As harness/__main__.py lists them; make help prints them.
COMMANDS := all tree refresh kernel qemu stock run check test test-field test-long \
	test-arch lint bench bench-native bench-peers migration fuzz spec mail fetch \
	clean-src help

.PHONY: clean $(COMMANDS)

$(COMMANDS):
	@$(HARNESS) $@

clean:
	-umount build/hugetlbfs 2>/dev/null
	rm -rf build/kernel build/qemu build/stock/kernel build/stock/qemu \
		build/stock/bzImage build/stock/initramfs build/stock/*.stamp \
		build/stock/qemu-system-x86_64 build/guest build/kunit \
		build/kunit-x86 build/kunit-debug build/kunit-qemu build/logs \
		build/*.json build/*.xml build/*.ext4 build/results build/disk \
		build/test-long.* build/slow_device.so build/mutants \
		build/each build/fuzz build/arch build/variants build/spec build/mail \
		build/native
