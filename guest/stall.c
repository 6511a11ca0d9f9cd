// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Measures how long a program waits for memory, and how much is left to it.
 *
 * Usage: stall MIB
 *
 * Takes MIB of memory, writes to every page and gives it back, over and over.
 * The first ROUNDS rounds measure the usual time; then "ready" is printed.
 * SIGUSR1 begins the measurement ("begun" is printed), SIGTERM ends it and
 * prints one line:
 *
 *	stall: rounds=N usual=US longest=US total=US free_before=KIB free=KIB
 *	available=KIB
 *
 * usual is the median of the rounds before "ready". longest is by how much the
 * slowest round of the measurement exceeds it, total the sum of these times over
 * all rounds. free and available are the least MemFree and MemAvailable of the
 * measurement, which a second thread reads every 10 ms; free_before is the least
 * MemFree before SIGUSR1.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define ROUNDS	31

static volatile sig_atomic_t begun, ended;
/* Before and after SIGUSR1. */
static unsigned long least_free[2] = { -1UL, -1UL };
static unsigned long least_available[2] = { -1UL, -1UL };

static void on_signal(int number)
{
	if (number == SIGUSR1)
		begun = 1;
	else
		ended = 1;
}

static int64_t one_round(size_t size, size_t page)
{
	int64_t started = now();
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		perror("stall");
		exit(1);
	}
	for (size_t i = 0; i < size; i += page)
		*(volatile uint64_t *)(memory + i) = i + 1;
	munmap(memory, size);
	return now() - started;
}

static unsigned long field(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	if (!at) {
		fprintf(stderr, "stall: no %s\n", name);
		exit(1);
	}
	return strtoul(at + strlen(name), NULL, 10);
}

static void look(int fd, int phase)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	unsigned long free, available;

	if (n < 0) {
		perror("stall: /proc/meminfo");
		exit(1);
	}
	text[n] = '\0';
	free = field(text, "MemFree:");
	available = field(text, "MemAvailable:");
	if (free < least_free[phase])
		least_free[phase] = free;
	if (available < least_available[phase])
		least_available[phase] = available;
}

static void *watch(void *fd)
{
	while (!ended) {
		look(*(int *)fd, begun);
		usleep(10000);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	size_t page = sysconf(_SC_PAGESIZE), size;
	int64_t before[ROUNDS], usual, longest = 0, total = 0;
	int fd = open("/proc/meminfo", O_RDONLY);
	unsigned long rounds = 0;
	pthread_t watcher;

	if (argc != 2) {
		fprintf(stderr, "usage: stall MIB\n");
		return 2;
	}
	size = strtoull(argv[1], NULL, 0) << 20;
	signal(SIGUSR1, on_signal);
	signal(SIGTERM, on_signal);
	/* The watcher may be too late: read the values here as well. */
	look(fd, 0);
	if (pthread_create(&watcher, NULL, watch, &fd)) {
		fprintf(stderr, "stall: no thread\n");
		return 1;
	}
	for (int i = 0; i < ROUNDS; i++)
		before[i] = one_round(size, page);
	qsort(before, ROUNDS, sizeof(*before), compare);
	usual = before[ROUNDS / 2];
	printf("ready\n");
	fflush(stdout);
	while (!begun && !ended)
		one_round(size, page);
	printf("begun\n");
	fflush(stdout);
	while (!ended) {
		int64_t more = one_round(size, page) - usual;

		rounds++;
		if (more > longest)
			longest = more;
		if (more > 0)
			total += more;
	}
	pthread_join(watcher, NULL);
	look(fd, 1);
	printf("stall: rounds=%lu usual=%lld longest=%lld total=%lld free_before=%lu free=%lu available=%lu\n",
	       rounds, (long long)usual / 1000, (long long)longest / 1000,
	       (long long)total / 1000, least_free[0], least_free[1],
	       least_available[1]);
	return 0;
}
