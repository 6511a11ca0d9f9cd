// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loads another kernel beside the running one, or starts it.
 *
 * Usage: kexec [-p] KERNEL INITRD COMMAND-LINE
 *        kexec -e
 *
 *	-p	for the memory that crashkernel= has reserved: it starts when the
 *		kernel that runs has panicked
 *	-e	start the loaded kernel at once: the caller syncs file systems
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

static int usage(void)
{
	fprintf(stderr, "usage: kexec [-p] KERNEL INITRD COMMAND-LINE; kexec -e\n");
	return 2;
}

static int failed(const char *what)
{
	perror(what);
	return 1;
}

int main(int argc, char **argv)
{
	unsigned long flags = 0;
	int option, kernel, initrd;

	while ((option = getopt(argc, argv, "pe")) != -1) {
		if (option == 'e') {
			reboot(LINUX_REBOOT_CMD_KEXEC);
			return failed("kexec: reboot");
		}
		if (option != 'p')
			return usage();
		flags |= KEXEC_FILE_ON_CRASH;
	}
	if (optind + 3 != argc)
		return usage();
	kernel = open(argv[optind], O_RDONLY | O_CLOEXEC);
	if (kernel < 0)
		return failed(argv[optind]);
	initrd = open(argv[optind + 1], O_RDONLY | O_CLOEXEC);
	if (initrd < 0)
		return failed(argv[optind + 1]);
	if (syscall(SYS_kexec_file_load, kernel, initrd,
		    strlen(argv[optind + 2]) + 1, argv[optind + 2], flags))
		return failed("kexec: kexec_file_load");
	return 0;
}
