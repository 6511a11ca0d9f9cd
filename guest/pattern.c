// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keeps memory filled with a pattern and checks it until a signal ends it.
 *
 * Usage: pattern [-s] MIB
 *
 *	-s	small pages only (no transparent huge pages)
 *
 * Every word of a page is a function of its address and of the page's
 * generation. In each round all pages are checked, then every fourth page gets
 * the next generation. SIGTERM or SIGINT ends the program after one more check:
 * exit status 0, and the number of rounds and checked pages on standard output.
 * A wrong word ends it at once: exit status 1, with its place and content in the
 * output. Prints "filled" when the memory is in place.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

/* The word at an address in a generation: a mix of both (splitmix64). */
static uint64_t word(const uint64_t *at, uint32_t generation)
{
	uint64_t x = (uintptr_t)at + ((uint64_t)generation << 48) +
		     0x9e3779b97f4a7c15;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static void fill(uint64_t *page, size_t words, uint32_t generation)
{
	for (size_t i = 0; i < words; i++)
		page[i] = word(page + i, generation);
}

static void check(const uint64_t *page, size_t words, uint32_t generation)
{
	for (size_t i = 0; i < words; i++) {
		uint64_t found = page[i], wanted = word(page + i, generation);

		if (found == wanted)
			continue;
		printf("pattern: %p, generation %u: found %016llx, wanted %016llx\n",
		       (void *)(page + i), generation,
		       (unsigned long long)found, (unsigned long long)wanted);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	size_t size, pages, words, page_size = sysconf(_SC_PAGESIZE);
	unsigned long long rounds = 0, checked = 0;
	uint32_t *generation;
	uint64_t *memory;
	int small = 0, option;

	while ((option = getopt(argc, argv, "s")) != -1) {
		small |= option == 's';
		if (option == '?')
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: pattern [-s] MIB\n");
		return 2;
	}
	size = strtoull(argv[optind], NULL, 0) << 20;
	pages = size / page_size;
	words = page_size / sizeof(*memory);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	generation = calloc(pages, sizeof(*generation));
	if (memory == MAP_FAILED || !generation) {
		perror("pattern");
		return 2;
	}
	if (small && madvise(memory, size, MADV_NOHUGEPAGE))
		perror("pattern: MADV_NOHUGEPAGE");
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	for (size_t i = 0; i < pages; i++)
		fill(memory + i * words, words, 0);
	printf("filled\n");
	fflush(stdout);

	for (int last = 0; !last; rounds++) {
		last = ended;
		for (size_t i = 0; i < pages; i++)
			check(memory + i * words, words, generation[i]);
		checked += pages;
		for (size_t i = rounds % 4; i < pages; i += 4)
			fill(memory + i * words, words, ++generation[i]);
	}
	printf("pattern: %llu rounds, %llu pages checked\n", rounds, checked);
	return 0;
}
