// SPDX-License-Identifier: GPL-2.0-or-later
/* See memory.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "decode.h"
#include "memory.h"

#define PUNCH	(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

bool memory_has(const struct memory *mem, uint64_t first, uint64_t frames)
{
	uint64_t from = first * FRAME_SIZE, size = frames * FRAME_SIZE;

	return mem->fd >= 0 && first < FRAME_END && frames <= FRAME_END &&
	       from >= mem->start && size <= mem->size &&
	       from - mem->start <= mem->size - size;
}

void memory_discard(struct memory *mem, uint64_t first, uint64_t frames)
{
	uint64_t at = first * FRAME_SIZE - mem->start + mem->offset;
	uint64_t started = now_ns();

	if (fallocate(mem->fd, PUNCH, at, frames * FRAME_SIZE))
		mem->failed++;
	mem->ns += now_ns() - started;
	mem->discards++;
	mem->discarded += frames * FRAME_SIZE;
}

uint64_t memory_resident(const struct memory *mem)
{
	struct stat st;

	return mem->fd < 0 || fstat(mem->fd, &st) ? 0 : st.st_blocks * 512ULL;
}

uint64_t memory_one_discard(uint64_t size)
{
	uint64_t at, ns = 0;
	uint8_t *map;
	int fd = memfd_create("one discard", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, size)) {
		close(fd);
		return 0;
	}
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED) {
		for (at = 0; at < size; at += FRAME_SIZE)
			((volatile uint8_t *)map)[at] = 1;
		ns = now_ns();
		ns = fallocate(fd, PUNCH, 0, size) ? 0 : now_ns() - ns;
		munmap(map, size);
	}
	close(fd);
	return ns;
}
