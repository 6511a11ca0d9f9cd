// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fragments the guest's memory: fills it with small pages, then gives back three
 * of every four 64 KiB and keeps the rest.
 *
 * Usage: fragment MIB
 *
 * Prints "fragmented" when that is done, then waits for a signal to end. What
 * is free then comes in pieces of 192 KiB at most, as far as the memory it was
 * given was contiguous.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE	(64 << 10)

static void on_signal(int number)
{
	(void)number;
	_exit(0);
}

int main(int argc, char **argv)
{
	size_t size, page = sysconf(_SC_PAGESIZE);
	char *memory;

	if (argc != 2) {
		fprintf(stderr, "usage: fragment MIB\n");
		return 2;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	size = strtoull(argv[1], NULL, 0) << 20;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED || madvise(memory, size, MADV_NOHUGEPAGE)) {
		perror("fragment");
		return 1;
	}
	for (size_t i = 0; i < size; i += page)
		*(volatile uint64_t *)(memory + i) = i + 1;
	for (size_t i = 0; i + 4 * PIECE <= size; i += 4 * PIECE) {
		if (madvise(memory + i + PIECE, 3 * PIECE, MADV_DONTNEED)) {
			perror("fragment: MADV_DONTNEED");
			return 1;
		}
	}
	printf("fragmented\n");
	fflush(stdout);
	for (;;)
		pause();
}
