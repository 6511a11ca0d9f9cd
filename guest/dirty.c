// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes to memory at a steady rate.
 *
 * Usage: dirty MIB RATE
 *
 * Writes one word to each page of MIB, over and over, RATE MB (10^6 bytes) of
 * pages per second. Prints "filled" when it has been through once, which it does as fast
 * as it can. SIGTERM or SIGINT ends it: it prints what rate it reached, between
 * "filled" and then.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

/* How often the rate is kept: every 10 ms. */
#define TICK	10000000L

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

static void sleep_until(int64_t when)
{
	struct timespec t = { when / 1000000000, when % 1000000000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

int main(int argc, char **argv)
{
	size_t page = sysconf(_SC_PAGESIZE), size, rate, at = 0;
	uint64_t word = 0, written = 0;
	int64_t started, next;
	char *memory;

	if (argc != 3) {
		fprintf(stderr, "usage: dirty MIB RATE\n");
		return 2;
	}
	size = strtoull(argv[1], NULL, 0) << 20;
	rate = strtoull(argv[2], NULL, 0) * 1000000;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		perror("dirty");
		return 1;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	for (size_t i = 0; i < size; i += page)
		*(volatile uint64_t *)(memory + i) = ++word;
	printf("filled\n");
	fflush(stdout);
	for (next = started = now(); !ended; next += TICK) {
		/* Time lost is made up for, but not more than 100 ms. */
		if (now() > next + 10 * TICK)
			next = now();
		sleep_until(next);
		for (size_t n = 0; n < rate / 100; n += page) {
			*(volatile uint64_t *)(memory + at) = ++word;
			at = at + page < size ? at + page : 0;
			written += page;
		}
	}
	printf("dirty: %.0f MB/s\n", written / ((now() - started) / 1e3));
	return 0;
}
