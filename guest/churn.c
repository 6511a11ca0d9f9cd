// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Searches for lost pages: takes memory, writes, frees, forks and maps files
 * all the time, and knows the content that each of its pages must have.
 *
 * Usage: churn [-j WORKERS] [-r RATE] [-d FOLDER] [-s SEED] MIB
 *
 *	-j	processes that share the work (2)
 *	-r	MB (10^6 bytes) that all together write per second (no limit)
 *	-d	where to keep files (/tmp)
 *	-s	seed of all random choices (the time)
 *
 * SIGUSR1 has every worker check all of its pages; so does SIGTERM, which then
 * ends the program. Each check prints a line "churn: check N: P pages right" per
 * worker. A page with wrong content ends the program: exit status 1, with the
 * page and its content in the output. "ready" is printed when all workers have
 * begun.
 *
 * The program searches for a page that was free when the guest was asked for
 * unused pages, and is then taken, written once and only read from there on. So
 * it takes freed slots again at random, does not write most slots again within
 * seconds, and lets its memory ebb and flow between a quarter and three quarters
 * of MIB, to get deep into the free lists. Slots have sizes from one page to one
 * huge page.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define PAGE		4096UL
/* One word in every cache line of a page is written and checked. */
#define LINE		64UL
#define FILES		8
#define CHILDREN	2
/* Half a period of the tide in ns. */
#define TIDE		1500000000LL
/* How many wrong pages are described. */
#define SHOWN		8

/* Memory that is owned as one: @pages pages from page @first of arena or file. */
struct slot {
	size_t first;
	size_t pages;
	/* The content written last; counts up over the slot's life. */
	uint32_t generation;
	/* Whether the slot has memory that must hold @generation. */
	int owned;
};

/* Slots in every 4 MiB of the arena: how many of how many pages of 4 KiB. */
static const struct { int slots, pages; } shape[] = {
	{ 1, 512 }, { 4, 64 }, { 12, 16 }, { 16, 2 }, { 32, 1 },
};
/* Where the guest's pages are larger, slots are, by so much. */
static size_t scale;
#define GROUP_PAGES	(1024 * scale)
#define GROUP_SLOTS	65

static volatile sig_atomic_t asked, ended;
static uint64_t *arena;
static struct slot *slots, files[FILES];
static size_t nr_slots;
static const char *folder = "/tmp";
static uint64_t rng;
static unsigned long long written, right, wrong;
static pid_t self;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		asked++;
	else
		ended = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "churn: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static uint64_t below(uint64_t limit)
{
	rng += 0x9e3779b97f4a7c15;
	return mix(rng) % limit;
}

/* The first word of a page in a generation; the others count up from there. */
static uint64_t word(uint64_t page, uint32_t generation)
{
	return mix((page << 32) + generation + 0x9e3779b97f4a7c15) | 1;
}

static void write_pages(uint64_t *at, uint64_t page, size_t pages,
			uint32_t generation)
{
	for (size_t i = 0; i < pages; i++, at += PAGE / 8) {
		uint64_t w = word(page + i, generation);

		for (size_t j = 0; j < PAGE / LINE; j++)
			*(volatile uint64_t *)(at + j * (LINE / 8)) = w + j;
	}
	written += pages * PAGE;
}

/* Print the content of a page that should hold @generation. */
static void describe(const uint64_t *at, uint64_t page, uint32_t generation,
		     const char *what)
{
	uint32_t g = generation;

	if (++wrong > SHOWN)
		return;
	printf("churn: %d: %s page %llu at %p, line %lu: found %016llx, wanted %016llx of generation %u",
	       self, what, (unsigned long long)page, (void *)at,
	       ((uintptr_t)at % PAGE) / LINE, (unsigned long long)*at,
	       (unsigned long long)word(page, generation), generation);
	while (g > 0 && word(page, g) != *at - ((uintptr_t)at % PAGE) / LINE)
		g--;
	if (*at == 0)
		printf(": zeroes\n");
	else if (g)
		printf(": that is generation %u\n", g);
	else
		printf("\n");
}

static void check_pages(const uint64_t *at, uint64_t page, size_t pages,
			uint32_t generation, const char *what)
{
	for (size_t i = 0; i < pages; i++, at += PAGE / 8) {
		uint64_t w = word(page + i, generation);
		size_t j = 0;

		while (j < PAGE / LINE &&
		       *(volatile uint64_t *)(at + j * (LINE / 8)) == w + j)
			j++;
		if (j < PAGE / LINE)
			describe(at + j * (LINE / 8), page + i, generation,
				 what);
		else
			right++;
	}
}

static uint64_t *slot_memory(const struct slot *slot)
{
	return arena + slot->first * (PAGE / 8);
}

static void check_slot(const struct slot *slot)
{
	check_pages(slot_memory(slot), slot->first, slot->pages,
		    slot->generation, "arena");
}

static void write_slot(struct slot *slot)
{
	write_pages(slot_memory(slot), slot->first, slot->pages,
		    ++slot->generation);
	slot->owned = 1;
}

static void free_slot(struct slot *slot)
{
	if (madvise(slot_memory(slot), slot->pages * PAGE, MADV_DONTNEED))
		die("MADV_DONTNEED");
	slot->owned = 0;
}

/* Take, free, write again or leave one slot; @flow: how many of 100 to free. */
static void step_slot(struct slot *slot, unsigned int flow)
{
	if (!slot->owned) {
		if (below(100) >= flow / 2)
			write_slot(slot);
		return;
	}
	check_slot(slot);
	if (below(100) < flow) {
		free_slot(slot);
		if (below(8) == 0)
			write_slot(slot);
	} else if (below(8) == 0) {
		write_slot(slot);
	}
}

static void file_name(const struct slot *file, char *name, size_t size)
{
	snprintf(name, size, "%s/churn-%d-%td", folder, self, file - files);
}

/* Map a whole file; its pages have numbers after the pages of the arena. */
static uint64_t *map_file(struct slot *file, int flags)
{
	size_t size = file->pages * PAGE;
	uint64_t *memory;
	char name[256];
	int fd;

	file_name(file, name, sizeof(name));
	fd = open(name, O_RDWR | O_CLOEXEC | flags, 0600);
	if (fd < 0 || (flags && ftruncate(fd, size)))
		die(name);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		die("mmap of a file");
	close(fd);
	return memory;
}

static void check_file(struct slot *file)
{
	uint64_t *memory = map_file(file, 0);

	check_pages(memory, file->first, file->pages, file->generation, "file");
	munmap(memory, file->pages * PAGE);
}

static void remove_file(struct slot *file)
{
	char name[256];

	file_name(file, name, sizeof(name));
	if (unlink(name))
		die(name);
	file->owned = 0;
}

static void step_file(struct slot *file)
{
	uint64_t *memory;

	if (file->owned) {
		check_file(file);
		if (below(2))
			remove_file(file);
		return;
	}
	file->pages = 1 + below(512);
	memory = map_file(file, O_CREAT | O_TRUNC);
	write_pages(memory, file->first, file->pages, ++file->generation);
	munmap(memory, file->pages * PAGE);
	file->owned = 1;
}

static void end_if_wrong(void)
{
	if (!wrong)
		return;
	printf("churn: %d: %llu pages wrong, %llu right\n", self, wrong, right);
	fflush(stdout);
	_exit(1);
}

/*
 * In a child: inherited pages must not change while the parent goes on; the
 * child's writes are private to it.
 */
static void child(void)
{
	right = 0;
	for (int i = 0; i < 32; i++) {
		struct slot *slot = slots + below(nr_slots);

		if (slot->owned)
			check_slot(slot);
		write_slot(slot);
		check_slot(slot);
	}
	end_if_wrong();
	_exit(0);
}

static void reap(int *children, int options)
{
	int status;

	while (*children && waitpid(-1, &status, options) > 0) {
		--*children;
		if (status) {
			printf("churn: %d: a child ended with status %x\n",
			       self, status);
			fflush(stdout);
			_exit(1);
		}
	}
}

static void fork_child(int *children)
{
	pid_t pid;

	reap(children, WNOHANG);
	if (*children == CHILDREN)
		return;
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		child();
	if (pid > 0)
		++*children;
}

static void check_all(unsigned int number)
{
	right = 0;
	for (size_t i = 0; i < nr_slots; i++)
		if (slots[i].owned)
			check_slot(slots + i);
	for (int i = 0; i < FILES; i++)
		if (files[i].owned)
			check_file(files + i);
	end_if_wrong();
	printf("churn: check %u: %llu pages right\n", number, right);
	fflush(stdout);
}

/* Sleep if more has been written since @started than @rate bytes/s allow. */
static void keep_rate(int64_t *started, uint64_t rate)
{
	int64_t ahead, due = *started + (int64_t)(written * 1e9 / rate);
	struct timespec pause;

	ahead = due - now();
	/* Time lost to the host is made up for, but not more than 200 ms. */
	if (ahead < -200000000) {
		*started -= ahead;
	} else if (ahead > 1000000) {
		pause = (struct timespec){ ahead / 1000000000,
					   ahead % 1000000000 };
		nanosleep(&pause, NULL);
	}
}

static void make_slots(size_t groups)
{
	size_t at = 0;
	struct slot *slot;

	nr_slots = groups * GROUP_SLOTS;
	slot = slots = calloc(nr_slots, sizeof(*slots));
	arena = mmap(NULL, groups * GROUP_PAGES * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!slots || arena == MAP_FAILED)
		die("arena");
	for (size_t g = 0; g < groups; g++)
		for (size_t i = 0; i < sizeof(shape) / sizeof(*shape); i++)
			for (int n = 0; n < shape[i].slots; n++) {
				slot->first = at;
				slot->pages = shape[i].pages * scale;
				at += slot++->pages;
			}
	for (int i = 0; i < FILES; i++, at += 512)
		files[i].first = at;
}

static void worker(size_t groups, uint64_t rate, int ready)
{
	int64_t started = now(), began = started;
	int checked = 0, children = 0;

	self = getpid();
	rng += self * 0x9e3779b97f4a7c15;
	make_slots(groups);
	for (size_t i = 0; i < nr_slots; i += 2)
		write_slot(slots + i);
	written = 0;
	started = now();
	close(ready);
	for (unsigned int i = 1; !ended; i++) {
		int ebb = (now() - began) / TIDE % 2;

		step_slot(slots + below(nr_slots), ebb ? 75 : 25);
		if (i % 64 == 0)
			step_file(files + below(FILES));
		if (i % 256 == 0)
			fork_child(&children);
		end_if_wrong();
		while (checked != asked)
			check_all(++checked);
		if (rate)
			keep_rate(&started, rate);
	}
	reap(&children, 0);
	check_all(checked + 1);
	for (int i = 0; i < FILES; i++)
		if (files[i].owned)
			remove_file(files + i);
	exit(0);
}

int main(int argc, char **argv)
{
	size_t workers = 2, mib, status, failed = 0;
	uint64_t rate = 0;
	int option, ready[2];
	char byte;

	rng = time(NULL);
	while ((option = getopt(argc, argv, "j:r:d:s:")) != -1) {
		if (option == 'j')
			workers = strtoul(optarg, NULL, 0);
		else if (option == 'r')
			rate = strtoul(optarg, NULL, 0) * 1000000;
		else if (option == 'd')
			folder = optarg;
		else if (option == 's')
			rng = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	scale = sysconf(_SC_PAGESIZE) / PAGE;
	mib = optind + 1 == argc ? strtoul(argv[optind], NULL, 0) : 0;
	if (!workers || mib / 4 / scale / workers == 0) {
		fprintf(stderr, "usage: churn [-j WORKERS] [-r RATE] [-d FOLDER] [-s SEED] MIB\n");
		return 2;
	}
	signal(SIGUSR1, on_signal);
	signal(SIGTERM, on_signal);
	if (pipe2(ready, O_CLOEXEC))
		die("pipe");
	for (size_t i = 0; i < workers; i++)
		if (fork() == 0)
			worker(mib / 4 / scale / workers, rate / workers,
			       ready[1]);
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 0) {
		printf("ready\n");
		fflush(stdout);
	}
	for (size_t i = 0; i < workers; i++) {
		int result;

		while (wait(&result) < 0)
			if (errno != EINTR)
				die("wait");
		status = WIFEXITED(result) ? WEXITSTATUS(result) : 128;
		if (status > failed)
			failed = status;
		if (status)
			kill(0, SIGTERM);
	}
	return failed;
}
