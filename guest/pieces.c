// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fragments the guest's memory as fragment.c does, by means of a file of tmpfs
 * instead of its own memory: on user-mode Linux each piece of a program's memory
 * is a mapping of the host, which has no room for so many.
 *
 * Usage: pieces FILE MIB
 *
 * Allocates the file, and punches holes of 60 KiB of each 64 KiB. The free memory then
 * comes in these pieces, as far as the memory of the file is contiguous.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEPT	(4 << 10)
#define WINDOW	(64 << 10)

int main(int argc, char **argv)
{
	off_t at, size;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: pieces FILE MIB\n");
		return 2;
	}
	size = (off_t)strtoull(argv[2], NULL, 0) << 20;
	fd = open(argv[1], O_CREAT | O_TRUNC | O_WRONLY, 0600);
	if (fd < 0 || fallocate(fd, 0, 0, size)) {
		perror(argv[1]);
		return 1;
	}
	for (at = 0; at < size; at += WINDOW) {
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      at + KEPT, WINDOW - KEPT)) {
			perror("pieces: fallocate");
			return 1;
		}
	}
	return 0;
}
