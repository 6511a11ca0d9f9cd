// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fills memory with a different word in every page.
 *
 * Usage: memfill [-k] [-s] MIB
 *
 *	-k	keep the memory until a signal ends the program; without it,
 *		exit as soon as all is written
 *	-s	small pages only (no transparent huge pages)
 *
 * Prints "filled" when every page has been written.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void on_signal(int number)
{
	(void)number;
	_exit(0);
}

int main(int argc, char **argv)
{
	int keep = 0, small = 0, option;
	size_t size, page = sysconf(_SC_PAGESIZE);
	char *memory;

	while ((option = getopt(argc, argv, "ks")) != -1) {
		keep |= option == 'k';
		small |= option == 's';
		if (option == '?')
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: memfill [-k] [-s] MIB\n");
		return 2;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	size = strtoull(argv[optind], NULL, 0) << 20;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		perror("memfill: mmap");
		return 1;
	}
	if (small && madvise(memory, size, MADV_NOHUGEPAGE))
		perror("memfill: MADV_NOHUGEPAGE");
	for (size_t i = 0; i < size; i += page)
		*(volatile uint64_t *)(memory + i) = i + 1;
	printf("filled\n");
	fflush(stdout);
	while (keep)
		pause();
	return 0;
}
