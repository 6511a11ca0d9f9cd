// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counts the offline pages, which a dump of the memory leaves out.
 *
 * Usage: offline	(prints the number)
 */
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	static uint64_t flags[1 << 16];
	unsigned long count = 0;
	int file = open("/proc/kpageflags", O_RDONLY);
	ssize_t length;

	if (file < 0) {
		perror("/proc/kpageflags");
		return 1;
	}
	while ((length = read(file, flags, sizeof(flags))) > 0)
		for (size_t i = 0; i < length / sizeof(*flags); i++)
			count += flags[i] >> KPF_OFFLINE & 1;
	printf("%lu\n", count);
	return length < 0;
}
