// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes the virtio devices of a QEMU slow to answer, while the rest of it goes on.
 *
 * Usage: LD_PRELOAD=slow_device.so SLOW_DEVICE=FILE qemu-system-x86_64 ...
 *
 * While FILE exists, QEMU does not learn that the driver has given buffers to a
 * device. When it is gone, QEMU learns all at once. If FILE holds two numbers,
 * "EVERY SECONDS", only one of EVERY notifications is kept back, for SECONDS.
 * FILE.count has the number of notifications that were kept back.
 *
 * QEMU learns of buffers by reading an eventfd of the queue, which it makes when the
 * driver has started the device: in the thread of the virtual CPU that did so. All
 * its other eventfds are made by the main thread. So the guest must have no virtio
 * device but those to be slow.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX	4096
/* How often FILE is checked. */
#define LOOK_NS	10000000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Eventfds of queues, and when a kept notification is due; 0: none is kept. */
static unsigned char of_queue[FDS_MAX];
static time_t due[FDS_MAX];
static unsigned long seen, kept;
static const char *control;

static time_t seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + 1;
}

/* Is FILE there?  The numbers in it: 1 and no end, if there are none. */
static int controlled(unsigned long *every, time_t *length)
{
	FILE *file = control ? fopen(control, "re") : NULL;
	unsigned long count;
	long time;

	*every = 1;
	*length = 1 << 30;
	if (!file)
		return 0;
	if (fscanf(file, "%lu %ld", &count, &time) == 2 && count) {
		*every = count;
		*length = time;
	}
	fclose(file);
	return 1;
}

/* A notification has been read: keep it back?  Under the lock. */
static int keep(int fd)
{
	unsigned long every;
	char name[4096];
	time_t length;
	FILE *file;

	if (!controlled(&every, &length) || seen++ % every)
		return 0;
	due[fd] = seconds() + length;
	kept++;
	snprintf(name, sizeof(name), "%s.count", control);
	file = fopen(name, "we");
	if (file) {
		fprintf(file, "%lu\n", kept);
		fclose(file);
	}
	return 1;
}

/* Hand on the notifications that are due, or all once FILE is gone. */
static void *hand_on(void *unused)
{
	static const struct timespec interval = { .tv_nsec = LOOK_NS };
	static const uint64_t one = 1;

	for (;;) {
		unsigned long every;
		time_t length;
		int held;

		nanosleep(&interval, NULL);
		pthread_mutex_lock(&lock);
		held = controlled(&every, &length);
		for (int fd = 0; fd < FDS_MAX; fd++) {
			if (due[fd] <= 0 || (held && due[fd] > seconds()))
				continue;
			/* Negative: to be let through by read(). */
			due[fd] = -1;
			if (write(fd, &one, sizeof(one)) != sizeof(one))
				perror("slow_device: write");
		}
		pthread_mutex_unlock(&lock);
	}
	return unused;
}

static void __attribute__((constructor)) start(void)
{
	pthread_t thread;

	control = getenv("SLOW_DEVICE");
	unsetenv("LD_PRELOAD");
	if (!control || pthread_create(&thread, NULL, hand_on, NULL)) {
		fprintf(stderr, "slow_device: cannot start\n");
		exit(1);
	}
}

int eventfd(unsigned int value, int flags)
{
	int (*make)(unsigned int, int) = dlsym(RTLD_NEXT, "eventfd");
	int fd = make(value, flags);

	if (fd < 0 || fd >= FDS_MAX)
		return fd;
	pthread_mutex_lock(&lock);
	of_queue[fd] = gettid() != getpid();
	due[fd] = 0;
	pthread_mutex_unlock(&lock);
	return fd;
}

int close(int fd)
{
	int (*end)(int) = dlsym(RTLD_NEXT, "close");

	if (fd >= 0 && fd < FDS_MAX && of_queue[fd]) {
		pthread_mutex_lock(&lock);
		of_queue[fd] = 0;
		due[fd] = 0;
		pthread_mutex_unlock(&lock);
	}
	return end(fd);
}

ssize_t read(int fd, void *data, size_t size)
{
	static ssize_t (*get)(int, void *, size_t);
	ssize_t length;

	if (!get)
		get = dlsym(RTLD_NEXT, "read");
	length = get(fd, data, size);
	if (length != sizeof(uint64_t) || fd < 0 || fd >= FDS_MAX || !of_queue[fd])
		return length;

	pthread_mutex_lock(&lock);
	if (due[fd] > 0 || (due[fd] == 0 && keep(fd))) {
		length = -1;
		errno = EAGAIN;
	} else {
		due[fd] = 0;
	}
	pthread_mutex_unlock(&lock);
	return length;
}
