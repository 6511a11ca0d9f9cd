// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fragments the guest's memory: fills it with small pages, then keeps some KiB
 * and gives back some KiB, in turn.
 *
 * Usage: fragment [-l] [-k KIB] [-f KIB] MIB
 *
 *	-l	locks the pages that it keeps: with compact_unevictable_allowed 0
 *		in /proc/sys/vm they are not moved
 *	-k	KiB that it keeps at a time (64)
 *	-f	KiB that it frees at a time (192)
 *
 * Prints "fragmented" when that is done, then waits for a signal to end. Free
 * memory then consists of pieces of at most the size of -f, as far as the memory
 * that the program got was contiguous. At the end it checks the pages that it
 * kept: exit status 1 if one is wrong, with its place and content in the output.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int check(const char *memory, size_t size, size_t page, size_t kept,
		 size_t freed)
{
	for (size_t i = 0; i < size; i += page) {
		uint64_t found;

		if (i % (kept + freed) >= kept)
			continue;
		found = *(const volatile uint64_t *)(memory + i);
		if (found == i + 1)
			continue;
		printf("fragment: at %zx: found %llx\n", i,
		       (unsigned long long)found);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	size_t size, page = sysconf(_SC_PAGESIZE), kept = 64, freed = 192;
	int option, number, lock = 0;
	sigset_t ends;
	char *memory;

	while ((option = getopt(argc, argv, "lk:f:")) != -1) {
		if (option == 'k')
			kept = strtoull(optarg, NULL, 0);
		else if (option == 'f')
			freed = strtoull(optarg, NULL, 0);
		else if (option == 'l')
			lock = 1;
		else
			return 2;
	}
	kept <<= 10;
	freed <<= 10;
	if (optind + 1 != argc || !freed || kept % page || freed % page) {
		fprintf(stderr, "usage: fragment [-l] [-k KIB] [-f KIB] MIB\n");
		return 2;
	}
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	size = strtoull(argv[optind], NULL, 0) << 20;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED || madvise(memory, size, MADV_NOHUGEPAGE)) {
		perror("fragment");
		return 1;
	}
	for (size_t i = 0; i < size; i += page)
		*(volatile uint64_t *)(memory + i) = i + 1;
	for (size_t i = kept; i + freed <= size; i += kept + freed) {
		if (madvise(memory + i, freed, MADV_DONTNEED)) {
			perror("fragment: MADV_DONTNEED");
			return 1;
		}
	}
	if (lock && mlock2(memory, size, MLOCK_ONFAULT)) {
		perror("fragment: mlock2");
		return 1;
	}
	printf("fragmented\n");
	fflush(stdout);
	sigwait(&ends, &number);
	return check(memory, size, page, kept, freed);
}
