// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counts the offline pages, which a dump of the memory leaves out, and how many of
 * them fill whole pageblocks.
 *
 * Usage: offline	(prints both numbers)
 */
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/* Pages of a pageblock: 2 MiB of 4 KiB each. */
#define PAGEBLOCK 512

int main(void)
{
	static uint64_t flags[1 << 16];
	unsigned long count = 0, whole = 0, pages = 0;
	int file = open("/proc/kpageflags", O_RDONLY);
	ssize_t length;

	if (file < 0) {
		perror("/proc/kpageflags");
		return 1;
	}
	while ((length = read(file, flags, sizeof(flags))) > 0)
		for (size_t i = 0; i < length / sizeof(*flags); i++) {
			if (i % PAGEBLOCK == 0)
				pages = 0;
			pages += flags[i] >> KPF_OFFLINE & 1;
			count += flags[i] >> KPF_OFFLINE & 1;
			if (pages == PAGEBLOCK)
				whole += PAGEBLOCK;
		}
	printf("%lu %lu\n", count, whole);
	return length < 0;
}
