// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fragments the guest's memory as fragment.c does, by means of a file of tmpfs
 * instead of its own memory: on user-mode Linux each piece of a program's memory
 * is a mapping of the host, which has no room for so many.
 *
 * Usage: pieces FILE MIB
 *
 * Makes the file, and punches holes of 60 KiB of each 64 KiB. What is free then
 * comes in these pieces, as far as the memory of the file is contiguous.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT	(4 << 10)
#define WINDOW	(64 << 10)

int main(int argc, char **argv)
{
	static char data[1 << 20];
	off_t at, size;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: pieces FILE MIB\n");
		return 2;
	}
	size = (off_t)strtoull(argv[2], NULL, 0) << 20;
	fd = open(argv[1], O_CREAT | O_TRUNC | O_WRONLY, 0600);
	memset(data, 1, sizeof(data));
	for (at = 0; fd >= 0 && at < size; at += sizeof(data)) {
		if (write(fd, data, sizeof(data)) != sizeof(data)) {
			perror("pieces: write");
			return 1;
		}
	}
	for (at = 0; fd >= 0 && at < size; at += WINDOW) {
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      at + KEPT, WINDOW - KEPT)) {
			perror("pieces: fallocate");
			return 1;
		}
	}
	if (fd < 0)
		perror(argv[1]);
	return fd < 0;
}
