// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loads the balloon driver, waits until the balloon is still, and prints the memory left.
 *
 * Usage: still		(process 1 of a crash kernel: field.run=still)
 *
 * The balloon is still when it has not changed for STILL_S seconds: the driver tries
 * again after 5 s at most. Then one line on standard output has the memory in KiB and
 * pages, and the machine is powered off:
 *
 *	still: total N free N available N balloon N killed N
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MODULE	"/lib/modules/virtio_balloon.ko"
#define STILL_S	12

/* The number after a name in a file of lines; -1: there is none. */
static long number(const char *path, const char *name)
{
	size_t length = strlen(name);
	char line[256];
	long value = -1;
	FILE *file = fopen(path, "re");

	while (file && value < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, length))
			sscanf(line + length, "%*[: ]%ld", &value);
	if (file)
		fclose(file);
	return value;
}

static void load(void)
{
	int module = open(MODULE, O_RDONLY | O_CLOEXEC);

	if (module < 0 || (syscall(SYS_finit_module, module, "", 0) &&
			   errno != EEXIST))
		perror("still: " MODULE);
}

int main(void)
{
	long balloon, last = -1;

	setlinebuf(stdout);
	load();
	for (int calm = 0; calm < STILL_S; calm++) {
		balloon = number("/proc/vmstat", "nr_balloon_pages");
		if (balloon != last)
			calm = 0;
		last = balloon;
		sleep(1);
	}
	printf("still: total %ld free %ld available %ld balloon %ld killed %ld\n",
	       number("/proc/meminfo", "MemTotal"), number("/proc/meminfo", "MemFree"),
	       number("/proc/meminfo", "MemAvailable"), last,
	       number("/proc/vmstat", "oom_kill"));
	reboot(RB_POWER_OFF);
	return 1;
}
