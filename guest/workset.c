// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Uses a working set, of anonymous memory and of page cache, and times each access.
 *
 * Usage: workset FILE FILE-MIB ANON-MIB
 *
 * Every access is to a random page: half of them write a word of anonymous memory,
 * half read a page of the file, which may be a disk. All pages are used once before
 * "warm" is printed. SIGUSR1 prints a line, and begins to count anew:
 *
 *	accesses N p99 N max N		(microseconds)
 *
 * SIGTERM ends the program.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"

#define PAGE	4096
/* Buckets of the histogram: eight for each power of two nanoseconds. */
#define BUCKETS	(64 * 8)

static volatile sig_atomic_t asked, ended;
static unsigned long buckets[BUCKETS], accesses;
static int64_t longest;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		asked = 1;
	else
		ended = 1;
}

static void note(int64_t ns)
{
	int power = 63 - __builtin_clzll(ns | 8);

	buckets[power * 8 + ((ns >> (power - 3)) & 7)]++;
	accesses++;
	if (ns > longest)
		longest = ns;
}

/* The nanoseconds that 99 of 100 accesses have not exceeded, by the histogram. */
static int64_t p99(void)
{
	unsigned long left = accesses / 100;
	int i = BUCKETS - 1;

	while (i > 0 && buckets[i] <= left)
		left -= buckets[i--];
	return ((int64_t)(i % 8 + 9)) << (i / 8 - 3);
}

static void print(void)
{
	printf("accesses %lu p99 %lld max %lld\n", accesses,
	       (long long)p99() / 1000, (long long)longest / 1000);
	fflush(stdout);
	memset(buckets, 0, sizeof(buckets));
	accesses = longest = 0;
}

static uint64_t random_number(void)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void read_page(int file, uint64_t page)
{
	static char data[PAGE];

	if (pread(file, data, PAGE, page * PAGE) != PAGE) {
		perror("workset: pread");
		exit(1);
	}
}

static void use(int file, uint64_t file_pages, char *memory, uint64_t pages)
{
	int64_t began = now();
	uint64_t at = random_number();

	if (at & 1)
		read_page(file, (at >> 1) % file_pages);
	else
		*(volatile uint64_t *)(memory + (at >> 1) % pages * PAGE) = at;
	note(now() - began);
}

int main(int argc, char **argv)
{
	uint64_t file_pages, pages;
	char *memory;
	int file;

	if (argc != 4) {
		fprintf(stderr, "usage: workset FILE FILE-MIB ANON-MIB\n");
		return 2;
	}
	file = open(argv[1], O_RDONLY | O_CLOEXEC);
	file_pages = (strtoull(argv[2], NULL, 0) << 20) / PAGE;
	pages = (strtoull(argv[3], NULL, 0) << 20) / PAGE;
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (file < 0 || memory == MAP_FAILED || !file_pages || !pages) {
		perror("workset");
		return 1;
	}
	signal(SIGUSR1, on_signal);
	signal(SIGTERM, on_signal);
	for (uint64_t i = 0; i < pages; i++)
		*(volatile uint64_t *)(memory + i * PAGE) = i;
	for (uint64_t i = 0; i < file_pages; i++)
		read_page(file, i);
	/* From now on each missing page is read alone. */
	posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM);
	printf("warm\n");
	fflush(stdout);
	while (!ended) {
		use(file, file_pages, memory, pages);
		if (asked) {
			asked = 0;
			print();
		}
	}
	return 0;
}
