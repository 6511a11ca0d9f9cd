/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoder of docs/protocol.md, written from that page alone: messages of packed
 * page sets, and answers to requests. Plain functions over bytes.
 */
#ifndef NATIVE_DECODE_H
#define NATIVE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Frames are numbered from 0 to this, which is not one. */
#define FRAME_END	(1ULL << 48)
#define FRAME_SIZE	4096ULL

/* The type of a message, by its queue */
enum { PAGES_INFLATE = 1, PAGES_DEFLATE = 2 };

/* The status of a message */
enum { PAGES_S_OK, PAGES_S_INHIBITED, PAGES_S_RANGE, PAGES_S_MALFORMED,
       PAGES_S_NOT_BACKED };

/* Header and records of a message or of an answer, at most */
#define PAGES_MAX	65536
#define PAGES_HEADER	8
#define PAGES_STATUS	16

/* Frames that follow each other. Returns false to see no more of them. */
typedef bool (*frames_fn)(void *opaque, uint64_t first, uint64_t frames);

/* Records that have been checked */
struct records {
	const uint8_t *at;
	const uint8_t *end;
	/* How many there are */
	uint32_t count;
};

/*
 * Check all of a message (DRV-13 to DRV-16). Returns false if it is malformed;
 * else @recs are its records.
 */
bool message_check(const uint8_t *msg, size_t size, unsigned int type,
		   struct records *recs);

/*
 * Visit the frames of the first @count records, in ascending order. Returns how
 * many records were visited until @visit returned false.
 */
uint32_t records_visit(const struct records *recs, uint32_t count,
		       frames_fn visit, void *opaque);

#define REQUEST_SIZE	24
#define ANSWER_SIZE	24

/* Read a little-endian number. */
static inline uint64_t get(const uint8_t *at, unsigned int bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | at[bytes];
	return value;
}

/* The type of a request, and of an answer */
enum { REQ_UNUSED_PAGES = 1, REQ_RECLAIM, REQ_SYNC, REQ_CANCEL };
enum { ANSWER_PAGES = 1, ANSWER_DONE };

/* The status of an answer that ends a request */
enum { REQ_S_OK, REQ_S_CANCELLED, REQ_S_BUSY, REQ_S_UNSUPPORTED, REQ_S_INVALID,
       REQ_S_PARTIAL, REQ_S_NOT_FOUND };

/* A request that runs */
struct request {
	uint32_t id;
	uint16_t type;
	uint64_t param[2];
	/* UNUSED_PAGES: the end of what answers have named */
	uint64_t above;
};

struct answer {
	uint16_t type;
	uint16_t status;
	uint64_t value;
	/* PAGES */
	struct records recs;
};

/* Write a request as the driver gets it: 24 bytes. */
void request_write(const struct request *req, uint8_t *to);

/* Check an answer. Returns false if the device must not act on it (DEV-34). */
bool answer_check(const uint8_t *bytes, size_t size, const struct request *req,
		  struct answer *ans);

/*
 * Visit the frames that PAGES names, but for those outside the window and those
 * that are not above all that were named before (DEV-36).
 */
void answer_visit(const struct answer *ans, struct request *req, frames_fn visit,
		  void *opaque);

#endif
