// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A virtio balloon behind vhost-user, for guests that QEMU does not run: the
 * second implementation of docs/protocol.md, on QEMU's libvhost-user.
 *
 * Usage: device [-b] [-j] [-r] FD
 *
 *	FD	a socket that listens for the driver's side, of which one comes
 *	-b	offers VIRTIO_BALLOON_F_PAGE_BITMAP
 *	-j	in the legacy format, discards the frames of a buffer in
 *		ascending order, with adjacent ones joined; without it, one
 *		by one, as QEMU does
 *	-r	offers VIRTIO_BALLOON_F_HOST_REQ_VQ, and UNUSED_PAGES
 *
 * It reads commands from standard input, a line each, and answers with a line of
 * JSON: see commands[]. It ends when the driver's side hangs up.
 *
 * The guest's memory is a file of tmpfs, which is taken never to be short of
 * memory: NOT_BACKED is never answered, nor INHIBITED. vhost-user has no status
 * here, so instead of DEVICE_NEEDS_RESET the device stands still until features
 * are negotiated anew, which stands for a reset, too.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "libvhost-user.h"
#include "standard-headers/linux/virtio_config.h"

#include "decode.h"
#include "memory.h"

#define F_MUST_TELL_HOST	(1ULL << 0)
#define F_PAGE_BITMAP		(1ULL << 9)
#define F_HOST_REQ_VQ		(1ULL << 10)
#define F_VERSION_1		(1ULL << VIRTIO_F_VERSION_1)

enum { VQ_INFLATE, VQ_DEFLATE, VQ_HOST_REQ = 5, VQ_MAX };

/* Configuration space, in words */
enum { NUM_PAGES, ACTUAL, NUM_PAGES_HI = 4, ACTUAL_HI, DISCARD_GRANULARITY,
       INFLATE_STATE, REQUESTS_OFFERED, REQUESTS_ACCEPTED, CONFIG_WORDS };

#define WATCHES_MAX	16
#define SLOTS		2

struct watch {
	vu_watch_cb callback;
	void *data;
};

/* What happened since the command that is to be answered. */
struct account {
	uint64_t started;
	uint64_t guest;
	uint64_t own;
	uint64_t messages;
	uint64_t bytes;
	uint64_t records;
	uint64_t configs;
	uint64_t freed;
	uint64_t resident;
	/* Of UNUSED_PAGES */
	uint64_t ranges;
	uint64_t frames;
};

static struct device {
	VuDev vu;
	struct memory mem;
	uint64_t offered;
	/* Accepted features that change formats (DEV-1) */
	uint64_t features;
	bool join;
	/* A message was malformed: nothing is done until the reset (DEV-14). */
	bool dead;
	/* In the order of the page, in the machine's byte order */
	uint32_t config[CONFIG_WORDS];
	/* Frames that the balloon is to have, for a command that waits; or -1 */
	uint64_t target;
	bool waits;
	struct account acct;
	clockid_t guest_clock;
	/* Request buffers that are kept (DEV-29), and the request that runs */
	VuVirtqElement *slots[SLOTS];
	struct request req;
	bool running;
	uint32_t last_id;
	struct pollfd fds[WATCHES_MAX];
	struct watch watches[WATCHES_MAX];
	unsigned int nfds;
} dev = { .mem.fd = -1 };

static uint64_t cpu_ns(clockid_t clock)
{
	struct timespec time = { 0 };

	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

/* -- Commands: their accounts ---------------------------------------------- */

static void account_begin(void)
{
	dev.mem.discards = dev.mem.discarded = dev.mem.failed = dev.mem.ns = 0;
	dev.acct = (struct account){
		.resident = memory_resident(&dev.mem),
		.guest = cpu_ns(dev.guest_clock),
		.own = cpu_ns(CLOCK_PROCESS_CPUTIME_ID),
	};
	dev.acct.started = now_ns();
}

static void account_end(const char *verdict)
{
	const struct account *acct = &dev.acct;
	uint64_t ended = now_ns();

	printf("{\"verdict\": \"%s\", \"ns\": %" PRIu64 ", \"guest\": %" PRIu64
	       ", \"device\": %" PRIu64 ", \"discard\": %" PRIu64
	       ", \"discards\": %" PRIu64 ", \"discarded\": %" PRIu64
	       ", \"failed\": %" PRIu64 ", \"messages\": %" PRIu64
	       ", \"bytes\": %" PRIu64 ", \"records\": %" PRIu64
	       ", \"configs\": %" PRIu64 ", \"freed\": %" PRIu64
	       ", \"ranges\": %" PRIu64 ", \"frames\": %" PRIu64
	       ", \"before\": %" PRIu64 ", \"after\": %" PRIu64 "}\n", verdict,
	       ended - acct->started, cpu_ns(dev.guest_clock) - acct->guest,
	       cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - acct->own, dev.mem.ns,
	       dev.mem.discards, dev.mem.discarded, dev.mem.failed,
	       acct->messages, acct->bytes, acct->records, acct->configs,
	       acct->freed, acct->ranges, acct->frames, acct->resident,
	       memory_resident(&dev.mem));
	fflush(stdout);
}

static uint64_t actual(void)
{
	return (uint64_t)dev.config[ACTUAL_HI] << 32 | dev.config[ACTUAL];
}

static void look_at_target(void)
{
	if (!dev.waits || actual() != dev.target)
		return;
	dev.waits = false;
	account_end("reached");
}

/* -- Configuration space ---------------------------------------------------- */

static int get_config(VuDev *vu, uint8_t *to, uint32_t size)
{
	uint32_t words[CONFIG_WORDS] = { 0 };
	unsigned int i, n = dev.offered & F_HOST_REQ_VQ ? CONFIG_WORDS :
			    dev.offered & F_PAGE_BITMAP ? REQUESTS_OFFERED :
			    NUM_PAGES_HI;

	(void)vu;
	/* The library does not check it; the buffer has that size. */
	if (size > VHOST_USER_MAX_CONFIG_SIZE)
		return -1;
	for (i = 0; i < n; i++)
		words[i] = htole32(dev.config[i]);
	memset(to, 0, size);
	memcpy(to, words, size < sizeof(words) ? size : sizeof(words));
	return 0;
}

/* Whether the driver may write a word (DEV-3) */
static bool writable(unsigned int word)
{
	switch (word) {
	case ACTUAL:
		return true;
	case ACTUAL_HI:
	case INFLATE_STATE:
		return dev.features & F_PAGE_BITMAP;
	case REQUESTS_ACCEPTED:
		return dev.features & F_HOST_REQ_VQ;
	}
	return false;
}

static int set_config(VuDev *vu, const uint8_t *data, uint32_t offset,
		      uint32_t size, uint32_t flags)
{
	bool upper = false, lower = false;
	uint32_t at, value;

	(void)vu;
	(void)flags;
	dev.acct.configs++;
	for (at = 0; at + 4 <= size && offset / 4 + at / 4 < CONFIG_WORDS; at += 4) {
		unsigned int word = (offset + at) / 4;

		if (offset % 4 || !writable(word))
			continue;
		memcpy(&value, data + at, 4);
		value = le32toh(value);
		upper |= word == ACTUAL_HI && dev.config[word] != value;
		lower |= word == ACTUAL;
		dev.config[word] = value;
	}
	/* The size holds once its lower half is written (DEV-4). */
	if (lower && !upper)
		look_at_target();
	return 0;
}

/* -- Queues ------------------------------------------------------------------ */

static void give_up(const char *why)
{
	fprintf(stderr, "device: %s: needs a reset\n", why);
	dev.dead = true;
}

static size_t gather(const VuVirtqElement *elem, uint8_t *to, size_t room)
{
	size_t size = 0, part;
	unsigned int i;

	for (i = 0; i < elem->out_num; i++) {
		part = elem->out_sg[i].iov_len;
		if (size < room)
			memcpy(to + size, elem->out_sg[i].iov_base,
			       part < room - size ? part : room - size);
		size += part;
	}
	return size;
}

static size_t room_in(const VuVirtqElement *elem)
{
	size_t size = 0;
	unsigned int i;

	for (i = 0; i < elem->in_num; i++)
		size += elem->in_sg[i].iov_len;
	return size;
}

static void scatter(const VuVirtqElement *elem, const uint8_t *from, size_t size)
{
	unsigned int i;
	size_t part;

	for (i = 0; i < elem->in_num && size; i++) {
		part = elem->in_sg[i].iov_len < size ? elem->in_sg[i].iov_len : size;
		memcpy(elem->in_sg[i].iov_base, from, part);
		from += part;
		size -= part;
	}
}

/* Frames that wait for those after them, to be discarded together */
struct pending {
	uint64_t first;
	uint64_t frames;
};

static void flush(struct pending *pending)
{
	if (pending->frames)
		memory_discard(&dev.mem, pending->first, pending->frames);
	pending->frames = 0;
}

static bool discard(void *opaque, uint64_t first, uint64_t frames)
{
	struct pending *pending = opaque;

	if (pending->frames && pending->first + pending->frames == first) {
		pending->frames += frames;
		return true;
	}
	flush(pending);
	*pending = (struct pending){ first, frames };
	return true;
}

static bool is_memory(void *opaque, uint64_t first, uint64_t frames)
{
	(void)opaque;
	return memory_has(&dev.mem, first, frames);
}

/* Act on a message that has been checked; the status. */
static unsigned int take(const struct records *recs, uint32_t *count,
			 uint64_t *freed)
{
	uint64_t before = memory_resident(&dev.mem), after;
	struct pending pending = { 0 };

	*count = records_visit(recs, recs->count, is_memory, NULL);
	records_visit(recs, *count, discard, &pending);
	flush(&pending);
	after = memory_resident(&dev.mem);
	*freed = before > after ? before - after : 0;
	return *count < recs->count ? PAGES_S_RANGE : PAGES_S_OK;
}

/* A packed page set; false if its buffer is not to be returned. */
static bool packed(const VuVirtqElement *elem, int index)
{
	static uint8_t msg[PAGES_MAX + 1];
	struct { uint16_t status, reserved; uint32_t records; uint64_t freed; }
		status = { 0 };
	size_t size = gather(elem, msg, sizeof(msg));
	uint32_t count = 0;
	uint64_t freed = 0;
	struct records recs;

	if (room_in(elem) < PAGES_STATUS) {
		give_up("no room for a status");
		return false;
	}
	if (!message_check(msg, size, index == VQ_INFLATE ? PAGES_INFLATE :
			   PAGES_DEFLATE, &recs)) {
		status.status = htole16(PAGES_S_MALFORMED);
		give_up("malformed message");
	} else if (index == VQ_INFLATE) {
		status.status = htole16(take(&recs, &count, &freed));
	} else {
		count = recs.count;
	}
	status.records = htole32(count);
	status.freed = htole64(freed);
	dev.acct.bytes += size;
	dev.acct.records += count;
	dev.acct.freed += freed;
	scatter(elem, (uint8_t *)&status, sizeof(status));
	return true;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* An array of frame numbers */
static void legacy(const VuVirtqElement *elem, int index)
{
	static uint32_t frames[16384];
	size_t i, n = gather(elem, (uint8_t *)frames, sizeof(frames)) / 4;
	struct pending pending = { 0 };

	n = n < 16384 ? n : 16384;
	dev.acct.bytes += n * 4;
	if (index == VQ_DEFLATE)
		return;
	for (i = 0; i < n; i++)
		frames[i] = le32toh(frames[i]);
	if (dev.join)
		qsort(frames, n, sizeof(*frames), by_value);
	for (i = 0; i < n; i++) {
		if (!memory_has(&dev.mem, frames[i], 1))
			continue;
		discard(&pending, frames[i], 1);
		if (!dev.join)
			flush(&pending);
	}
	flush(&pending);
}

static void on_pages(VuDev *vu, int index)
{
	VuVirtq *vq = vu_get_queue(vu, index);
	bool sets = dev.features & F_PAGE_BITMAP;
	VuVirtqElement *elem;

	while (!dev.dead && (elem = vu_queue_pop(vu, vq, sizeof(*elem)))) {
		dev.acct.messages++;
		if (!sets)
			legacy(elem, index);
		if (!sets || packed(elem, index)) {
			vu_queue_push(vu, vq, elem, sets ? PAGES_STATUS : 0);
			vu_queue_notify(vu, vq);
		}
		free(elem);
	}
}

/* -- Host requests ----------------------------------------------------------- */

static void return_buffer(int index, VuVirtqElement *elem, unsigned int used)
{
	VuVirtq *vq = vu_get_queue(&dev.vu, index);

	vu_queue_push(&dev.vu, vq, elem, used);
	vu_queue_notify(&dev.vu, vq);
	free(elem);
}

static void keep(VuVirtqElement *elem)
{
	unsigned int i;

	for (i = 0; i < SLOTS && dev.slots[i]; i++)
		;
	if (i == SLOTS) {
		return_buffer(VQ_HOST_REQ, elem, 0);
		return;
	}
	dev.slots[i] = elem;
	/* With both buffers here, nothing runs (DEV-35). */
	if (i == SLOTS - 1 && dev.running) {
		dev.running = false;
		account_end("ended");
	}
}

static bool count_range(void *opaque, uint64_t first, uint64_t frames)
{
	(void)opaque;
	if (memory_has(&dev.mem, first, frames)) {
		dev.acct.ranges++;
		dev.acct.frames += frames;
	}
	return true;
}

static void answered(const uint8_t *bytes, size_t size)
{
	struct answer ans;

	dev.acct.messages++;
	dev.acct.bytes += size;
	if (!dev.running || !answer_check(bytes, size, &dev.req, &ans))
		return;
	if (ans.type == ANSWER_PAGES) {
		dev.acct.records += ans.recs.count;
		answer_visit(&ans, &dev.req, count_range, NULL);
		return;
	}
	dev.running = false;
	account_end(ans.status == REQ_S_OK ? "done" : "not done");
}

static void on_requests(VuDev *vu, int index)
{
	static uint8_t bytes[PAGES_MAX + 1];
	VuVirtq *vq = vu_get_queue(vu, index);
	VuVirtqElement *elem;
	size_t size;

	while (!dev.dead && (elem = vu_queue_pop(vu, vq, sizeof(*elem)))) {
		if (!elem->out_num && room_in(elem) == REQUEST_SIZE) {
			keep(elem);
		} else if (elem->out_num && !elem->in_num) {
			size = gather(elem, bytes, sizeof(bytes));
			answered(bytes, size);
			return_buffer(index, elem, 0);
		} else {
			give_up("neither a request buffer nor an answer");
			free(elem);
		}
	}
}

/* Ask for the unused pages of all memory; false if that can't be. */
static bool ask(void)
{
	uint8_t bytes[REQUEST_SIZE];
	VuVirtqElement *elem = NULL;
	unsigned int i;

	if (!(dev.config[REQUESTS_ACCEPTED] & 1 << REQ_UNUSED_PAGES) || dev.running)
		return false;
	for (i = 0; i < SLOTS && !elem; i++) {
		elem = dev.slots[i];
		dev.slots[i] = NULL;
	}
	if (!elem)
		return false;
	dev.last_id = dev.last_id + 1 ? dev.last_id + 1 : 1;
	dev.req = (struct request){
		.id = dev.last_id, .type = REQ_UNUSED_PAGES,
		.param = { 0, (dev.mem.start + dev.mem.size) / FRAME_SIZE },
	};
	request_write(&dev.req, bytes);
	scatter(elem, bytes, sizeof(bytes));
	dev.running = true;
	account_begin();
	return_buffer(VQ_HOST_REQ, elem, REQUEST_SIZE);
	return true;
}

/* -- vhost-user -------------------------------------------------------------- */

static uint64_t get_features(VuDev *vu)
{
	(void)vu;
	return dev.offered | F_MUST_TELL_HOST;
}

/* The buffers were in queues, or in memory, that are gone. */
static void drop_slots(void)
{
	unsigned int i;

	for (i = 0; i < SLOTS; i++) {
		free(dev.slots[i]);
		dev.slots[i] = NULL;
	}
	dev.running = dev.waits = false;
}

static void set_features(VuDev *vu, uint64_t features)
{
	(void)vu;
	drop_slots();
	dev.features = features & F_VERSION_1 ? features & dev.offered : 0;
	dev.dead = false;
	dev.config[ACTUAL] = dev.config[ACTUAL_HI] = 0;
	dev.config[INFLATE_STATE] = dev.config[REQUESTS_ACCEPTED] = 0;
}

static void on_queue_started(VuDev *vu, int index, bool started)
{
	bool pages = index == VQ_INFLATE || index == VQ_DEFLATE;
	bool requests = index == VQ_HOST_REQ && dev.features & F_HOST_REQ_VQ;

	vu_set_queue_handler(vu, vu_get_queue(vu, index), !started ? NULL :
			     pages ? on_pages : requests ? on_requests : NULL);
}

/* The library closes the memory's file once it is mapped: keep it. */
static int on_message(VuDev *vu, VhostUserMsg *msg, int *reply)
{
	const VhostUserMemoryRegion region = msg->payload.memory.regions[0];

	(void)vu;
	*reply = 0;
	if (msg->request == VHOST_USER_SET_MEM_TABLE ||
	    msg->request == VHOST_USER_REM_MEM_REG)
		drop_slots();
	if (msg->request != VHOST_USER_SET_MEM_TABLE)
		return 0;
	if (dev.mem.fd >= 0)
		close(dev.mem.fd);
	dev.mem = (struct memory){
		.fd = msg->fd_num == 1 ? dup(msg->fds[0]) : -1,
		.start = region.guest_phys_addr,
		.size = region.memory_size,
		.offset = region.mmap_offset,
	};
	return 0;
}

static const VuDevIface interface = {
	.get_features = get_features,
	.set_features = set_features,
	.get_config = get_config,
	.set_config = set_config,
	.queue_set_started = on_queue_started,
	.process_msg = on_message,
};

static void remove_watch(VuDev *vu, int fd)
{
	unsigned int i;

	(void)vu;
	for (i = 0; i < dev.nfds; i++)
		if (dev.fds[i].fd == fd)
			dev.fds[i] = (struct pollfd){ .fd = -1 };
}

static void set_watch(VuDev *vu, int fd, int condition, vu_watch_cb callback,
		      void *data)
{
	unsigned int i;

	/* poll() passes over negative ones: their places are free. */
	remove_watch(vu, fd);
	for (i = 0; i < dev.nfds && dev.fds[i].fd >= 0; i++)
		;
	if (i == WATCHES_MAX) {
		fprintf(stderr, "device: too many watches\n");
		exit(1);
	}
	dev.fds[i] = (struct pollfd){ .fd = fd, .events = condition };
	dev.watches[i] = (struct watch){ callback, data };
	dev.nfds += i == dev.nfds;
}

static void on_panic(VuDev *vu, const char *error)
{
	(void)vu;
	fprintf(stderr, "device: %s\n", error);
	exit(1);
}

/* -- Commands ---------------------------------------------------------------- */

/* Resize the balloon; answered when the driver says that it is done. */
static bool balloon(uint64_t frames)
{
	if (frames > UINT32_MAX && !(dev.features & F_PAGE_BITMAP))
		return false;
	account_begin();
	dev.target = frames;
	dev.waits = true;
	dev.config[NUM_PAGES] = frames;
	dev.config[NUM_PAGES_HI] = frames >> 32;
	vu_config_change_msg(&dev.vu);
	look_at_target();
	return true;
}

/* Ask for unused pages; answered when the request has ended. */
static bool unused(uint64_t unneeded)
{
	(void)unneeded;
	return ask();
}

/* Time one discard of so many bytes that were written to. */
static bool one(uint64_t size)
{
	uint64_t ns = memory_one_discard(size);

	printf("{\"verdict\": \"%s\", \"ns\": %" PRIu64 "}\n",
	       ns ? "done" : "failed", ns);
	fflush(stdout);
	return true;
}

static bool about(uint64_t unneeded)
{
	(void)unneeded;
	printf("{\"verdict\": \"done\", \"page_bitmap\": %d, \"host_request\": %d, "
	       "\"actual\": %" PRIu64 ", \"state\": %" PRIu32 ", \"dead\": %d, "
	       "\"memory\": %" PRIu64 "}\n", !!(dev.features & F_PAGE_BITMAP),
	       !!(dev.features & F_HOST_REQ_VQ), actual(),
	       dev.config[INFLATE_STATE], dev.dead, memory_resident(&dev.mem));
	fflush(stdout);
	return true;
}

static const struct command {
	const char *name;
	bool (*run)(uint64_t number);
} commands[] = {
	/* FRAMES: resize the balloon, and answer when the driver has done it */
	{ "balloon", balloon },
	/* ask which pages of all memory are unused, and answer at the end */
	{ "unused", unused },
	/* BYTES: time one discard of so much memory that was written to */
	{ "discard", one },
	/* the negotiated features, and the state of the balloon */
	{ "about", about },
};

static bool on_command(void)
{
	char line[80], name[16];
	uint64_t number = 0;
	ssize_t size = read(0, line, sizeof(line) - 1);
	size_t i;

	if (size <= 0)
		return false;
	line[size] = '\0';
	if (sscanf(line, "%15s %" SCNu64, name, &number) < 1)
		return true;
	for (i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(name, commands[i].name) && !dev.waits && !dev.running &&
		    commands[i].run(number))
			return true;
	printf("{\"verdict\": \"refused\"}\n");
	fflush(stdout);
	return true;
}

static bool on_driver(void)
{
	return vu_dispatch(&dev.vu);
}

static void serve(void)
{
	unsigned int i;

	for (;;) {
		if (poll(dev.fds, dev.nfds, -1) < 0 && errno != EINTR)
			return;
		for (i = 0; i < dev.nfds; i++) {
			if (dev.fds[i].fd < 0 || !dev.fds[i].revents)
				continue;
			if (dev.watches[i].callback)
				dev.watches[i].callback(&dev.vu,
							dev.fds[i].revents,
							dev.watches[i].data);
			else if (dev.fds[i].fd ? !on_driver() : !on_command())
				return;
		}
	}
}

static int wait_for_driver(int listener)
{
	struct pollfd fds[] = {
		{ .fd = listener, .events = POLLIN },
		{ .fd = 0, .events = POLLIN },
	};
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd;

	/* Before the driver there comes no command, only the end of input. */
	if (poll(fds, 2, -1) < 1 || !(fds[0].revents & POLLIN))
		exit(1);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) ||
	    clock_getcpuclockid(peer.pid, &dev.guest_clock)) {
		perror("device");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	int option, sock;

	while ((option = getopt(argc, argv, "bjr")) != -1) {
		dev.offered |= option == 'b' ? F_PAGE_BITMAP : 0;
		dev.offered |= option == 'r' ? F_HOST_REQ_VQ : 0;
		dev.join |= option == 'j';
		if (option == '?')
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: device [-b] [-j] [-r] FD\n");
		return 2;
	}
	dev.config[DISCARD_GRANULARITY] =
		dev.offered & F_PAGE_BITMAP ? sysconf(_SC_PAGESIZE) : 0;
	dev.config[REQUESTS_OFFERED] =
		dev.offered & F_HOST_REQ_VQ ? 1 << REQ_UNUSED_PAGES : 0;
	sock = wait_for_driver(atoi(argv[optind]));
	if (!vu_init(&dev.vu, VQ_MAX, sock, on_panic, NULL, set_watch, remove_watch,
		     &interface))
		return 1;
	set_watch(&dev.vu, 0, POLLIN, NULL, NULL);
	set_watch(&dev.vu, sock, POLLIN, NULL, NULL);
	serve();
	vu_deinit(&dev.vu);
	return 0;
}
