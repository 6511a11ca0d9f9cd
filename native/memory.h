/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's memory: a file of tmpfs, of which holes are given back to the host. */
#ifndef NATIVE_MEMORY_H
#define NATIVE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

struct memory {
	/* -1: the driver has not said yet */
	int fd;
	/* What of it is the guest's, in guest-physical addresses */
	uint64_t start;
	uint64_t size;
	/* Where @start is in the file */
	uint64_t offset;
	/* What discards took */
	uint64_t discards;
	uint64_t discarded;
	uint64_t failed;
	uint64_t ns;
};

uint64_t now_ns(void);

/* Whether frames are the guest's memory */
bool memory_has(const struct memory *mem, uint64_t first, uint64_t frames);

/* Give frames that memory_has() back to the host. */
void memory_discard(struct memory *mem, uint64_t first, uint64_t frames);

/* Bytes of the file that the host has memory for */
uint64_t memory_resident(const struct memory *mem);

/*
 * How many ns one discard takes of @size bytes that have been written to, in a
 * file like the guest's; 0 if it could not be tried.
 */
uint64_t memory_one_discard(uint64_t size);

#endif
