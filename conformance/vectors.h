/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Virtio balloon: messages, and what their receiver makes of them
 *
 * One table of byte strings: the examples of the protocol's page, and every way
 * in which a message, a status, a request or an answer can be malformed, or is
 * just legal. Nothing has to be included before it, and no function is called,
 * so that a test of any project can use it as it is. For each vector:
 * balloon_vector_copy() the bytes, let the receiver decode them, and compare
 * verdict, number and ranges.
 */
#ifndef VIRTIO_BALLOON_VECTORS_H
#define VIRTIO_BALLOON_VECTORS_H

/* Who sends what */
enum balloon_kind {
	/* Messages: what the driver writes, header and records */
	BV_INFLATE,
	BV_DEFLATE,
	/* Statuses: what the device writes; as long as the used length */
	BV_INFLATE_STATUS,
	BV_DEFLATE_STATUS,
	/*
	 * What the device writes to a request buffer. As long as the used
	 * length: of more than 24 bytes, the last do not reach the buffer.
	 */
	BV_REQUEST,
	/* What the driver writes in answer to a request */
	BV_ANSWER,
};

/*
 * What the receiver makes of it. Statuses have the values of the page:
 * message: BV_OK, or what the device answers
 * status: the status, where the driver believes it
 * request: BV_OK if the driver may begin it, or what it answers. Every request
 *	is accepted, and none runs
 * answer: DONE: its status; PAGES: BV_OK
 */
enum balloon_verdict {
	BV_OK = 0,
	/* Of messages */
	BV_INHIBITED = 1,
	BV_RANGE = 2,
	BV_MALFORMED = 3,
	BV_NOT_BACKED = 4,
	/* Of requests */
	BV_CANCELLED = 1,
	BV_BUSY = 2,
	BV_UNSUPPORTED = 3,
	BV_INVALID = 4,
	BV_PARTIAL = 5,
	BV_NOT_FOUND = 6,
	/* Status: the driver treats the device as one that needs a reset */
	BV_NEEDS_RESET = 0x10000,
	/* Request: nothing was asked, the buffer is posted again */
	BV_RETURNED,
	/* Answer: the device does not act on it */
	BV_IGNORED,
	/* Answer: the device takes the request for ended, in vain */
	BV_ENDED,
};

struct balloon_range {
	unsigned long long first;
	unsigned long long frames;
};

struct balloon_vector {
	const char *name;
	/* Numbers of the sentences that it tests */
	const char *rules;
	enum balloon_kind kind;
	/* An enum balloon_verdict */
	unsigned int verdict;
	const unsigned char *bytes;
	unsigned int size;
	/*
	 * If not 0: the last 8 bytes stand there that many times, and each
	 * time their first 48 bits, a frame number, are @step more.
	 */
	unsigned int repeat;
	unsigned int step;
	/*
	 * Message, PAGES: number of records. Status: records acted on. DONE:
	 * the value. 0 if the verdict is bad.
	 */
	unsigned long long number;
	/*
	 * The frames that are named: ranges in ascending order that do not
	 * touch, whatever records they came in
	 */
	const struct balloon_range *ranges;
	unsigned int nranges;
	/*
	 * Answer: some frames must be ignored. The receiver may ignore more of
	 * them than is said here, or all of the answer.
	 */
	unsigned int fewer;
	/* Status: how many records the message had */
	unsigned int sent;
	/* Answer: the 24 bytes of the request, which runs */
	const unsigned char *asked;
	/* Answer: the answer to the same request that came before, if any */
	const unsigned char *before;
	unsigned int before_size;
};

/* Room for the bytes of any vector */
#define BALLOON_VECTOR_MAX	(65536 + 8)

static inline unsigned int balloon_vector_size(const struct balloon_vector *v)
{
	return v->size + (v->repeat ? (v->repeat - 1) * 8 : 0);
}

static inline void balloon_vector_copy(const struct balloon_vector *v,
				       unsigned char *to)
{
	unsigned int size = balloon_vector_size(v);
	unsigned int i, again, byte, sum = 0;

	for (i = 0; i < size; i++) {
		again = i >= v->size;
		byte = (i - v->size) % 8;
		sum = again && !byte ? v->step : sum;
		sum += again ? to[i - 8] : v->bytes[i];
		to[i] = sum & 0xff;
		/* Nothing is carried out of the frame number. */
		sum = byte < 5 ? sum >> 8 : 0;
	}
}

/* Bytes of fields, in little endian */
#define BV_BYTE(v, bit)	((unsigned long long)(v) >> (bit) & 0xff)
#define BV_LE16(v)	BV_BYTE(v, 0), BV_BYTE(v, 8)
#define BV_LE32(v)	BV_LE16(v), BV_BYTE(v, 16), BV_BYTE(v, 24)
#define BV_LE48(v)	BV_LE32(v), BV_BYTE(v, 32), BV_BYTE(v, 40)
#define BV_LE64(v)	BV_LE48(v), BV_BYTE(v, 48), BV_BYTE(v, 56)

/* Headers, records: reserved bytes are the upper ones of the field before. */
#define BV_HDR(type, len)	BV_LE32(type), BV_LE32(len)
#define BV_RUN(pfn, unit, count)	BV_LE48(pfn), (unit), (count)
#define BV_MAP(pfn, unit, count)	BV_RUN(pfn, (unit) | 0x80, count)
#define BV_WORD(bits)	BV_LE64(bits)
#define BV_REPLY(status, records, freed)				\
	BV_LE32(status), BV_LE32(records), BV_LE64(freed)
#define BV_ASK(id, type, first, second)					\
	BV_LE32(id), BV_LE32(type), BV_LE64(first), BV_LE64(second)
#define BV_ANS(id, type, status, len, value)				\
	BV_LE32(id), BV_LE16(type), BV_LE16(status), BV_LE64(len),	\
	BV_LE64(value)
/* A good header of PAGES for request 1 */
#define BV_PAGES(len)	BV_ANS(1, 1, 0, len, 0)

/* What a vector says beside its bytes */
#define BV_NONE
#define BV_IS(n)	.number = n,
#define BV_NAMES(n, ...)						\
	.number = n,							\
	.ranges = (const struct balloon_range[]){ __VA_ARGS__ },	\
	.nranges = sizeof((const struct balloon_range[]){ __VA_ARGS__ }) / \
		   sizeof(struct balloon_range),
#define BV_TIMES(n, by)	.repeat = n, .step = by,
#define BV_OF(n)	.sent = n,
#define BV_TO(request)	.asked = request,
#define BV_NEXT								\
	.before = bv_before, .before_size = sizeof(bv_before),
#define BV_FEWER	.fewer = 1,

#define BV_HEAD(k, title, sentences, result)				\
	.name = title, .rules = sentences,				\
	.kind = BV_##k, .verdict = BV_##result
#define BV_BYTES(...)							\
	.bytes = (const unsigned char[]){ __VA_ARGS__ },		\
	.size = sizeof((const unsigned char[]){ __VA_ARGS__ })
#define BV_LINE(k, title, sentences, result, says, ...)			\
	{								\
		BV_HEAD(k, title, sentences, result),			\
		BV_BYTES(__VA_ARGS__), says				\
	}
/* Nothing was written. */
#define BV_ZERO(k, title, sentences, result, says)			\
	{ BV_HEAD(k, title, sentences, result), says }
/* The same records on the inflate and on the deflate queue: good, bad */
#define BV_SETS(title, sentences, says, len, ...)			\
	{								\
		BV_HEAD(INFLATE, title, sentences, OK),			\
		BV_BYTES(BV_HDR(1, len), __VA_ARGS__), says		\
	}, {								\
		BV_HEAD(DEFLATE, title, sentences, OK),			\
		BV_BYTES(BV_HDR(2, len), __VA_ARGS__), says		\
	}
#define BV_BADS(title, sentences, says, len, ...)			\
	{								\
		BV_HEAD(INFLATE, title, sentences " DEV-13", MALFORMED), \
		BV_BYTES(BV_HDR(1, len), __VA_ARGS__), says		\
	}, {								\
		BV_HEAD(DEFLATE, title, sentences " DEV-13", MALFORMED), \
		BV_BYTES(BV_HDR(2, len), __VA_ARGS__), says		\
	}

/* The first frame number that there is not */
#define BV_END	0x1000000000000ULL
#define BV_ONES	0xffffffffffffffffULL

/* Requests that run, and an answer that has been given */
static const unsigned char bv_unused[] = { BV_ASK(1, 1, 0, 0x200000) };
static const unsigned char bv_window[] = { BV_ASK(1, 1, 0x1000, 0x1000) };
static const unsigned char bv_all[] = { BV_ASK(1, 1, 0, BV_END) };
static const unsigned char bv_reclaim[] = { BV_ASK(2, 2, 1 << 30, 0) };
static const unsigned char bv_sync[] = { BV_ASK(3, 3, 0, 0) };
static const unsigned char bv_cancel[] = { BV_ASK(8, 4, 7, 0) };
static const unsigned char bv_before[] = {
	BV_PAGES(8), BV_RUN(0x1000, 12, 16)
};

static const struct balloon_vector balloon_vectors[] = {
	/* Examples of the page, byte for byte */
	BV_LINE(INFLATE, "example: a run", "DRV-13", OK,
		BV_NAMES(1, { 0x12345, 5 }),
		0x01, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00,
		0x45, 0x23, 0x01, 0x00, 0x00, 0x00, 0x0c, 0x05),
	BV_LINE(INFLATE_STATUS, "example: a run, done", "DRV-18", OK,
		BV_OF(1) BV_IS(1),
		0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
		0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00),
	BV_LINE(INFLATE, "example: a bitmap", "DRV-13", OK,
		BV_NAMES(1, { 0x1000, 1 }, { 0x1002, 2 }, { 0x103f, 1 }),
		0x01, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00,
		0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x8c, 0x01,
		0x0d, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80),
	BV_LINE(DEFLATE, "example: a 2 MiB page", "DRV-13", OK,
		BV_NAMES(1, { 0x40000, 512 }),
		0x02, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x15, 0x01),
	BV_LINE(DEFLATE_STATUS, "example: a 2 MiB page, no memory", "DRV-20",
		NOT_BACKED, BV_OF(1),
		0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00),
	BV_LINE(INFLATE, "example: not memory", "DRV-13 DEV-16", OK,
		BV_NAMES(2, { 0xa0, 1 }, { 0x100, 1 }),
		0x01, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00,
		0xa0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x01,
		0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x01),
	BV_LINE(INFLATE_STATUS, "example: not memory, refused", "DRV-18",
		RANGE, BV_OF(2),
		0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00),
	BV_LINE(INFLATE, "example: above 32 bits", "DRV-13 DRV-14", OK,
		BV_NAMES(1, { 0x200000000, 1 }),
		0x01, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x0c, 0x01),
	BV_LINE(REQUEST, "example: unused pages", "DEV-32", OK, BV_NONE,
		0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00),
	BV_LINE(ANSWER, "example: unused pages, some", "DRV-39", OK,
		BV_TO(bv_unused)
		BV_NAMES(2, { 0x40000, 0x400 }, { 0x41000, 255 }),
		0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
		0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x0f, 0x80,
		0x00, 0x10, 0x04, 0x00, 0x00, 0x00, 0x0c, 0xff),
	BV_LINE(ANSWER, "example: unused pages, the end", "DRV-35", OK,
		BV_TO(bv_unused) BV_IS(0x200000),
		0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00),
	BV_LINE(REQUEST, "example: reclaim 1 GiB", "DEV-32", OK, BV_NONE,
		0x02, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00),
	BV_LINE(ANSWER, "example: reclaim 1 GiB, half", "DRV-35", PARTIAL,
		BV_TO(bv_reclaim) BV_IS(1 << 29),
		0x02, 0x00, 0x00, 0x00, 0x02, 0x00, 0x05, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00),
	BV_LINE(REQUEST, "example: cancel request 7", "DEV-32", OK, BV_NONE,
		0x08, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00,
		0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00),
	BV_LINE(ANSWER, "example: cancel request 7, not found", "DRV-35",
		NOT_FOUND, BV_TO(bv_cancel),
		0x08, 0x00, 0x00, 0x00, 0x02, 0x00, 0x06, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00),

	/* Messages: type and reserved bytes of the header */
	BV_LINE(INFLATE, "type 0", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_HDR(0, 8), BV_RUN(0x100, 12, 1)),
	BV_LINE(INFLATE, "type DEFLATE", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_HDR(2, 8), BV_RUN(0x100, 12, 1)),
	BV_LINE(INFLATE, "type 3", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_HDR(3, 8), BV_RUN(0x100, 12, 1)),
	BV_LINE(INFLATE, "type, high byte", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_HDR(0x101, 8), BV_RUN(0x100, 12, 1)),
	BV_LINE(INFLATE, "type, other byte order", "DRV-13 DEV-13", MALFORMED,
		BV_NONE,
		BV_HDR(0x100, 8), BV_RUN(0x100, 12, 1)),
	BV_LINE(INFLATE, "reserved[0]", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_HDR(0x10001, 8), BV_RUN(0x100, 12, 1)),
	BV_LINE(INFLATE, "reserved[1]", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_HDR(0x80000001, 8), BV_RUN(0x100, 12, 1)),
	BV_LINE(DEFLATE, "type 0", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_HDR(0, 8), BV_RUN(0x100, 12, 1)),
	BV_LINE(DEFLATE, "type INFLATE", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_HDR(1, 8), BV_RUN(0x100, 12, 1)),
	BV_LINE(DEFLATE, "type, high byte", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_HDR(0x8002, 8), BV_RUN(0x100, 12, 1)),
	BV_LINE(DEFLATE, "reserved[0]", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_HDR(0x10002, 8), BV_RUN(0x100, 12, 1)),
	BV_LINE(DEFLATE, "reserved[1]", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_HDR(0x80000002, 8), BV_RUN(0x100, 12, 1)),

	/* Messages: len */
	BV_BADS("len 0", "DRV-13", BV_NONE, 0, BV_RUN(0x100, 12, 1)),
	BV_BADS("len 7", "DRV-13", BV_NONE, 7, BV_RUN(0x100, 12, 1)),
	BV_BADS("len 9", "DRV-13", BV_NONE, 9, BV_RUN(0x100, 12, 1)),
	BV_BADS("len a record short", "DRV-13", BV_NONE, 8,
		BV_RUN(0x100, 12, 1), BV_RUN(0x200, 12, 1)),
	BV_BADS("len a record long, as with the header", "DRV-13", BV_NONE, 16,
		BV_RUN(0x100, 12, 1)),
	BV_BADS("len, high byte", "DRV-13", BV_NONE, 0x80000008,
		BV_RUN(0x100, 12, 1)),
	BV_BADS("len -8", "DRV-13", BV_NONE, 0xfffffff8,
		BV_RUN(0x100, 12, 1)),
	BV_BADS("len 4, as is there", "DRV-13", BV_NONE, 4, BV_LE32(0x100)),
	BV_BADS("len 12, as is there", "DRV-13", BV_NONE, 12,
		BV_RUN(0x100, 12, 1), BV_LE32(0x200)),
	BV_BADS("a run and a byte", "DRV-13", BV_NONE, 9,
		BV_RUN(0x100, 12, 1), 0),

	/* Messages that are too short, and just long enough */
	BV_ZERO(INFLATE, "status alone", "DRV-13 DEV-13", MALFORMED, BV_NONE),
	BV_ZERO(DEFLATE, "status alone", "DRV-13 DEV-13", MALFORMED, BV_NONE),
	BV_LINE(INFLATE, "1 byte", "DRV-13 DEV-13", MALFORMED, BV_NONE, 1),
	BV_LINE(DEFLATE, "2 bytes", "DRV-13 DEV-13", MALFORMED, BV_NONE, 2, 0),
	BV_LINE(INFLATE, "7 bytes", "DRV-13 DEV-13", MALFORMED, BV_NONE,
		BV_LE32(1), 8, 0, 0),
	BV_LINE(INFLATE, "header alone, len 0", "DRV-13 DEV-13", MALFORMED,
		BV_NONE, BV_HDR(1, 0)),
	BV_LINE(DEFLATE, "header alone, len 0", "DRV-13 DEV-13", MALFORMED,
		BV_NONE, BV_HDR(2, 0)),
	BV_LINE(INFLATE, "header alone, len 8", "DRV-13 DEV-13", MALFORMED,
		BV_NONE, BV_HDR(1, 8)),
	BV_BADS("cut in the record", "DRV-13", BV_NONE, 8,
		BV_LE32(0x100), 0, 0, 12),
	BV_BADS("cut in the second record", "DRV-13", BV_NONE, 16,
		BV_RUN(0x100, 12, 1), BV_LE32(0x200), 0, 0, 12),
	BV_SETS("one record", "DRV-13", BV_NAMES(1, { 0, 1 }), 8,
		BV_RUN(0, 12, 1)),

	/* Runs: unit and count */
	BV_BADS("run, shift 0", "DRV-13", BV_NONE, 8, BV_RUN(0x100, 0, 1)),
	BV_BADS("run, shift 11", "DRV-13", BV_NONE, 8, BV_RUN(0x100, 11, 1)),
	BV_SETS("run, shift 13", "DRV-13", BV_NAMES(1, { 0x100, 2 }), 8,
		BV_RUN(0x100, 13, 1)),
	BV_SETS("run, shift 30", "DRV-13", BV_NAMES(1, { 0x40000, 0x40000 }), 8,
		BV_RUN(0x40000, 30, 1)),
	BV_BADS("run, shift 31", "DRV-13", BV_NONE, 8, BV_RUN(0, 31, 1)),
	BV_BADS("run, shift 32", "DRV-13", BV_NONE, 8, BV_RUN(0, 32, 1)),
	BV_BADS("run, shift 63", "DRV-13", BV_NONE, 8, BV_RUN(0, 63, 1)),
	BV_BADS("run, bit 6", "DRV-13", BV_NONE, 8, BV_RUN(0x100, 0x4c, 1)),
	BV_BADS("run, count 0", "DRV-13", BV_NONE, 8, BV_RUN(0x100, 12, 0)),
	BV_SETS("run, count 255", "DRV-13", BV_NAMES(1, { 0x100, 255 }), 8,
		BV_RUN(0x100, 12, 255)),
	BV_SETS("run of 255 GiB", "DRV-13", BV_NAMES(1, { 0, 0x3fc0000 }), 8,
		BV_RUN(0, 30, 255)),
	BV_SETS("run that is not aligned to its unit", "DRV-13",
		BV_NAMES(1, { 0x12345, 0x600 }), 8,
		BV_RUN(0x12345, 21, 3)),
	BV_SETS("run, all bytes of the frame number", "DRV-13",
		BV_NAMES(1, { 0x123456789abc, 2 }), 8,
		BV_RUN(0x123456789abc, 12, 2)),
	BV_SETS("runs of which all but one touch", "DRV-13 DRV-15",
		BV_NAMES(4, { 0x100, 12 }, { 0x200, 1 }), 32,
		BV_RUN(0x100, 12, 8), BV_RUN(0x108, 13, 1),
		BV_RUN(0x10a, 12, 2), BV_RUN(0x200, 12, 1)),
	BV_BADS("good run, then shift 31", "DRV-13 DEV-12", BV_NONE, 16,
		BV_RUN(0x100, 12, 1), BV_RUN(0x40000, 31, 1)),
	BV_BADS("good run, then count 0", "DRV-13 DEV-12", BV_NONE, 16,
		BV_RUN(0x100, 12, 1), BV_RUN(0x200, 12, 0)),

	/* Bitmaps: unit, count, words */
	BV_BADS("bitmap, shift 0", "DRV-13", BV_NONE, 16,
		BV_MAP(0x100, 0, 1), BV_WORD(1)),
	BV_BADS("bitmap, shift 11", "DRV-13", BV_NONE, 16,
		BV_MAP(0x100, 11, 1), BV_WORD(1)),
	BV_SETS("bitmap, shift 21", "DRV-13",
		BV_NAMES(1, { 0x40000, 512 }, { 0x40400, 1024 }), 16,
		BV_MAP(0x40000, 21, 1), BV_WORD(0xd)),
	BV_SETS("bitmap, shift 30, not aligned", "DRV-13",
		BV_NAMES(1, { 0x40005, 0x40000 }), 16,
		BV_MAP(5, 30, 1), BV_WORD(2)),
	BV_BADS("bitmap, shift 31", "DRV-13", BV_NONE, 16,
		BV_MAP(0, 31, 1), BV_WORD(1)),
	BV_BADS("bitmap, shift 63", "DRV-13", BV_NONE, 16,
		BV_MAP(0, 63, 1), BV_WORD(1)),
	BV_BADS("bitmap, bit 6", "DRV-13", BV_NONE, 16,
		BV_MAP(0x100, 0x4c, 1), BV_WORD(1)),
	BV_BADS("bitmap, count 0", "DRV-13", BV_NONE, 8, BV_MAP(0x100, 12, 0)),
	BV_BADS("bitmap, count 0, then a run", "DRV-13", BV_NONE, 16,
		BV_MAP(0x100, 12, 0), BV_RUN(0x200, 12, 1)),
	BV_SETS("bitmap, all bits of a word", "DRV-13",
		BV_NAMES(1, { 0x100, 64 }), 16,
		BV_MAP(0x100, 12, 1), BV_WORD(BV_ONES)),
	BV_SETS("bitmap, bits on both sides of a word's end", "DRV-13",
		BV_NAMES(1, { 0x13f, 2 }, { 0x17f, 1 }), 24,
		BV_MAP(0x100, 12, 2), BV_WORD(1ULL << 63),
		BV_WORD(1ULL << 63 | 1)),
	BV_SETS("bitmap, each byte of a word", "DRV-13",
		BV_NAMES(1, { 0x100, 1 }, { 0x109, 1 }, { 0x112, 1 },
			 { 0x11b, 1 }, { 0x124, 1 }, { 0x12d, 1 },
			 { 0x136, 1 }, { 0x13f, 1 }), 16,
		BV_MAP(0x100, 12, 1), BV_WORD(0x8040201008040201)),
	BV_SETS("bitmap, 255 words", "DRV-13",
		BV_TIMES(255, 0) BV_NAMES(1, { 0x100, 16320 }), 2048,
		BV_MAP(0x100, 12, 255), BV_WORD(BV_ONES)),
	BV_SETS("bitmap that names nothing", "DRV-13", BV_IS(1), 16,
		BV_MAP(0x100, 12, 1), BV_WORD(0)),
	BV_SETS("bitmap of 255 words that names nothing", "DRV-13",
		BV_TIMES(255, 0) BV_IS(1), 2048,
		BV_MAP(0x100, 30, 255), BV_WORD(0)),
	BV_SETS("bitmap between runs", "DRV-13 DRV-15",
		BV_NAMES(3, { 0x100, 1 }, { 0x102, 1 }, { 0x200, 1 }), 32,
		BV_RUN(0x100, 12, 1), BV_MAP(0x101, 12, 1), BV_WORD(2),
		BV_RUN(0x200, 12, 1)),
	BV_BADS("bitmap without its word", "DRV-13", BV_NONE, 8,
		BV_MAP(0x100, 12, 1)),
	BV_BADS("bitmap with one of two words", "DRV-13", BV_NONE, 16,
		BV_MAP(0x100, 12, 2), BV_WORD(1)),
	BV_BADS("bitmap with 254 of 255 words", "DRV-13", BV_TIMES(254, 0),
		2040, BV_MAP(0x100, 12, 255), BV_WORD(BV_ONES)),
	BV_BADS("good run, then a bitmap without its word", "DRV-13 DEV-12",
		BV_NONE, 16, BV_RUN(0x100, 12, 1), BV_MAP(0x200, 12, 1)),
	BV_BADS("cut in the word", "DRV-13", BV_NONE, 16,
		BV_MAP(0x100, 12, 1), BV_LE32(1), 0, 0, 0),

	/* Frame 2^48 */
	BV_SETS("run, the last frame", "DRV-14",
		BV_NAMES(1, { BV_END - 1, 1 }), 8,
		BV_RUN(BV_END - 1, 12, 1)),
	BV_BADS("run, a frame too high", "DRV-14", BV_NONE, 8,
		BV_RUN(BV_END - 1, 12, 2)),
	BV_BADS("run, half a unit too high", "DRV-14", BV_NONE, 8,
		BV_RUN(BV_END - 1, 13, 1)),
	BV_SETS("run of 255 GiB, the last frames", "DRV-14",
		BV_NAMES(1, { BV_END - 0x3fc0000, 0x3fc0000 }), 8,
		BV_RUN(BV_END - 0x3fc0000, 30, 255)),
	BV_BADS("run of 255 GiB, a frame too high", "DRV-14", BV_NONE, 8,
		BV_RUN(BV_END - 0x3fbffff, 30, 255)),
	BV_SETS("bitmap, the last frame", "DRV-14",
		BV_NAMES(1, { BV_END - 1, 1 }), 16,
		BV_MAP(BV_END - 64, 12, 1), BV_WORD(1ULL << 63)),
	BV_BADS("bitmap, a bit that is set too high", "DRV-14", BV_NONE, 16,
		BV_MAP(BV_END - 63, 12, 1), BV_WORD(1ULL << 63)),
	BV_BADS("bitmap, a bit that is not set too high", "DRV-14", BV_NONE, 16,
		BV_MAP(BV_END - 63, 12, 1), BV_WORD(1)),
	BV_BADS("bitmap that names nothing, a bit too high", "DRV-14", BV_NONE,
		16, BV_MAP(BV_END - 63, 12, 1), BV_WORD(0)),
	BV_BADS("bitmap, its second word too high", "DRV-14", BV_NONE, 24,
		BV_MAP(BV_END - 64, 12, 2), BV_WORD(1), BV_WORD(0)),
	BV_SETS("bitmap of 16320 GiB, the last frames", "DRV-14",
		BV_TIMES(255, 0)
		BV_NAMES(1, { BV_END - 0xff000000, 0xff000000 }), 2048,
		BV_MAP(BV_END - 0xff000000, 30, 255), BV_WORD(BV_ONES)),
	BV_BADS("bitmap of 16320 GiB, a frame too high", "DRV-14",
		BV_TIMES(255, 0), 2048,
		BV_MAP(BV_END - 0xfeffffff, 30, 255), BV_WORD(0)),
	BV_BADS("good run, then a frame too high", "DRV-14 DEV-12", BV_NONE, 16,
		BV_RUN(0x100, 12, 1), BV_RUN(BV_END - 1, 12, 2)),

	/* Order */
	BV_BADS("a run twice", "DRV-15", BV_NONE, 16,
		BV_RUN(0x100, 12, 1), BV_RUN(0x100, 12, 1)),
	BV_BADS("runs that overlap by a frame", "DRV-15", BV_NONE, 16,
		BV_RUN(0x100, 12, 8), BV_RUN(0x107, 12, 8)),
	BV_BADS("a run within a run", "DRV-15", BV_NONE, 16,
		BV_RUN(0x40000, 21, 1), BV_RUN(0x401ff, 12, 1)),
	BV_SETS("a run right behind a large unit", "DRV-15",
		BV_NAMES(2, { 0x40000, 513 }), 16,
		BV_RUN(0x40000, 21, 1), BV_RUN(0x40200, 12, 1)),
	BV_BADS("runs that descend", "DRV-15", BV_NONE, 16,
		BV_RUN(0x200, 12, 1), BV_RUN(0x100, 12, 1)),
	BV_BADS("runs that descend and touch", "DRV-15", BV_NONE, 16,
		BV_RUN(0x101, 12, 1), BV_RUN(0x100, 12, 1)),
	BV_BADS("third run between the others", "DRV-15", BV_NONE, 24,
		BV_RUN(0x100, 12, 1), BV_RUN(0x300, 12, 1),
		BV_RUN(0x200, 12, 1)),
	BV_BADS("frame 0 last", "DRV-15", BV_NONE, 16,
		BV_RUN(1, 12, 1), BV_RUN(0, 12, 1)),
	BV_BADS("frame 0 twice", "DRV-15", BV_NONE, 16,
		BV_RUN(0, 12, 1), BV_RUN(0, 12, 1)),
	BV_SETS("runs that ascend over 32 bits", "DRV-15",
		BV_NAMES(2, { 0x1ffffffff, 1 }, { 0x200000001, 1 }), 16,
		BV_RUN(0x1ffffffff, 12, 1), BV_RUN(0x200000001, 12, 1)),
	BV_BADS("runs that descend over 32 bits", "DRV-15", BV_NONE, 16,
		BV_RUN(0x200000001, 12, 1), BV_RUN(0x1ffffffff, 12, 1)),
	BV_SETS("run behind the named frames of a bitmap", "DRV-15",
		BV_NAMES(2, { 0x100, 2 }), 24,
		BV_MAP(0x100, 12, 1), BV_WORD(1), BV_RUN(0x101, 12, 1)),
	BV_BADS("run between the named frames of a bitmap", "DRV-15", BV_NONE,
		24, BV_MAP(0x100, 12, 1), BV_WORD(1ULL << 63 | 1),
		BV_RUN(0x110, 12, 1)),
	BV_BADS("run equal to the last frame of a bitmap", "DRV-15", BV_NONE,
		24, BV_MAP(0x100, 12, 1), BV_WORD(1ULL << 63 | 1),
		BV_RUN(0x13f, 12, 1)),
	BV_BADS("run in the unit that a bitmap names", "DRV-15", BV_NONE, 24,
		BV_MAP(0, 21, 1), BV_WORD(2), BV_RUN(0x3ff, 12, 1)),
	BV_BADS("run in a unit below that which a bitmap names", "DRV-15",
		BV_NONE, 24,
		BV_MAP(0, 21, 1), BV_WORD(2), BV_RUN(0x100, 12, 1)),
	BV_SETS("run right behind the unit that a bitmap names", "DRV-15",
		BV_NAMES(2, { 0x200, 513 }), 24,
		BV_MAP(0, 21, 1), BV_WORD(2), BV_RUN(0x400, 12, 1)),
	BV_SETS("bitmap begins below a run, names frames above", "DRV-15",
		BV_NAMES(2, { 0x110, 2 }), 24,
		BV_RUN(0x110, 12, 1), BV_MAP(0x100, 12, 1), BV_WORD(1 << 17)),
	BV_BADS("bitmap begins below a run, names its frame", "DRV-15", BV_NONE,
		24, BV_RUN(0x110, 12, 1), BV_MAP(0x100, 12, 1),
		BV_WORD(1 << 16)),
	BV_BADS("bitmap names the frame below a run", "DRV-15", BV_NONE, 24,
		BV_RUN(0x110, 12, 1), BV_MAP(0x100, 12, 1), BV_WORD(1 << 15)),
	BV_BADS("bitmap names frames on both sides of a run", "DRV-15", BV_NONE,
		24, BV_RUN(0x110, 12, 1), BV_MAP(0x100, 12, 1),
		BV_WORD(1 << 17 | 1)),
	BV_SETS("bitmaps that overlap, frames that ascend", "DRV-15",
		BV_NAMES(2, { 0x100, 3 }), 32,
		BV_MAP(0x100, 12, 1), BV_WORD(3),
		BV_MAP(0x101, 12, 1), BV_WORD(2)),
	BV_BADS("bitmaps of frames in turns", "DRV-15", BV_NONE, 32,
		BV_MAP(0x100, 12, 1), BV_WORD(5),
		BV_MAP(0x100, 12, 1), BV_WORD(2)),
	BV_BADS("a bitmap twice", "DRV-15", BV_NONE, 32,
		BV_MAP(0x100, 12, 1), BV_WORD(1),
		BV_MAP(0x100, 12, 1), BV_WORD(1)),
	BV_SETS("a bitmap that names nothing, below a run", "DRV-15",
		BV_NAMES(3, { 0x200, 2 }), 32,
		BV_RUN(0x200, 12, 1), BV_MAP(0x100, 12, 1), BV_WORD(0),
		BV_RUN(0x201, 12, 1)),
	BV_SETS("a bitmap that names nothing, above a run", "DRV-15",
		BV_NAMES(2, { 0x100, 1 }), 24,
		BV_MAP(0x1000, 12, 1), BV_WORD(0), BV_RUN(0x100, 12, 1)),
	BV_BADS("runs that descend around a bitmap that names nothing",
		"DRV-15", BV_NONE, 32,
		BV_RUN(0x200, 12, 1), BV_MAP(0, 12, 1), BV_WORD(0),
		BV_RUN(0x100, 12, 1)),

	/* The longest message */
	BV_SETS("65536 bytes of runs", "DRV-16",
		BV_TIMES(8191, 1) BV_NAMES(8191, { 0xfffff0, 8191 }), 65528,
		BV_RUN(0xfffff0, 12, 1)),
	BV_BADS("65544 bytes of runs", "DRV-16", BV_TIMES(8192, 1), 65536,
		BV_RUN(0xfffff0, 12, 1)),
	BV_BADS("65536 bytes of the same run", "DRV-15",
		BV_TIMES(8190, 0), 65528,
		BV_RUN(0xfff, 12, 1), BV_RUN(0x1000, 12, 1)),

	/* Statuses that a driver believes */
	BV_LINE(INFLATE_STATUS, "OK, 2 of 2", "DRV-18", OK, BV_OF(2) BV_IS(2),
		BV_REPLY(0, 2, 0)),
	BV_LINE(INFLATE_STATUS, "INHIBITED, 2 of 2", "DRV-18", INHIBITED,
		BV_OF(2) BV_IS(2), BV_REPLY(1, 2, 0)),
	BV_LINE(INFLATE_STATUS, "RANGE, 1 of 2", "DRV-18", RANGE,
		BV_OF(2) BV_IS(1), BV_REPLY(2, 1, 4096)),
	BV_LINE(INFLATE_STATUS, "OK, 8191 of 8191", "DRV-18", OK,
		BV_OF(8191) BV_IS(8191), BV_REPLY(0, 8191, 0)),
	BV_LINE(INFLATE_STATUS, "reserved[0]", "DRV-18", OK,
		BV_OF(1) BV_IS(1), BV_REPLY(0x10000, 1, 0)),
	BV_LINE(INFLATE_STATUS, "reserved[1]", "DRV-18", OK,
		BV_OF(1) BV_IS(1), BV_REPLY(0x80000000, 1, 0)),
	BV_LINE(INFLATE_STATUS, "freed more than there is", "DRV-28", OK,
		BV_OF(1) BV_IS(1), BV_REPLY(0, 1, BV_ONES)),
	BV_LINE(DEFLATE_STATUS, "OK, 1 of 1", "DRV-20", OK, BV_OF(1) BV_IS(1),
		BV_REPLY(0, 1, 0)),
	BV_LINE(DEFLATE_STATUS, "OK, 2 of 2", "DRV-20", OK, BV_OF(2) BV_IS(2),
		BV_REPLY(0, 2, 0)),
	BV_LINE(DEFLATE_STATUS, "NOT_BACKED, 1 of 2", "DRV-20", NOT_BACKED,
		BV_OF(2) BV_IS(1), BV_REPLY(4, 1, 0)),

	BV_LINE(INFLATE_STATUS, "used length 17", "DRV-25", OK, BV_OF(1)
		BV_IS(1), BV_REPLY(0, 1, 0), 0),
	BV_LINE(DEFLATE_STATUS, "used length 32", "DRV-25", NOT_BACKED,
		BV_OF(2) BV_IS(1), BV_REPLY(4, 1, 0), BV_REPLY(0, 2, 0)),

	/* Statuses of a device that needs a reset */
	BV_LINE(INFLATE_STATUS, "MALFORMED", "DRV-25", NEEDS_RESET, BV_OF(1),
		BV_REPLY(3, 0, 0)),
	BV_LINE(DEFLATE_STATUS, "MALFORMED", "DRV-25", NEEDS_RESET, BV_OF(1),
		BV_REPLY(3, 0, 0)),
	BV_LINE(INFLATE_STATUS, "NOT_BACKED", "DRV-25", NEEDS_RESET, BV_OF(1),
		BV_REPLY(4, 0, 0)),
	BV_LINE(DEFLATE_STATUS, "INHIBITED", "DRV-25", NEEDS_RESET, BV_OF(1),
		BV_REPLY(1, 1, 0)),
	BV_LINE(DEFLATE_STATUS, "RANGE", "DRV-25", NEEDS_RESET, BV_OF(1),
		BV_REPLY(2, 0, 0)),
	BV_LINE(INFLATE_STATUS, "status 5", "DRV-25", NEEDS_RESET, BV_OF(1),
		BV_REPLY(5, 1, 0)),
	BV_LINE(DEFLATE_STATUS, "status 5", "DRV-25", NEEDS_RESET, BV_OF(1),
		BV_REPLY(5, 1, 0)),
	BV_LINE(INFLATE_STATUS, "status, high byte", "DRV-25", NEEDS_RESET,
		BV_OF(1), BV_REPLY(0x100, 1, 0)),
	BV_LINE(DEFLATE_STATUS, "status, high byte", "DRV-25", NEEDS_RESET,
		BV_OF(1), BV_REPLY(0x8000, 1, 0)),
	BV_LINE(INFLATE_STATUS, "OK, 0 of 1", "DRV-25", NEEDS_RESET, BV_OF(1),
		BV_REPLY(0, 0, 0)),
	BV_LINE(INFLATE_STATUS, "OK, 2 of 1", "DRV-25", NEEDS_RESET, BV_OF(1),
		BV_REPLY(0, 2, 0)),
	BV_LINE(INFLATE_STATUS, "OK, records, high byte", "DRV-25", NEEDS_RESET,
		BV_OF(1), BV_REPLY(0, 0x80000001, 0)),
	BV_LINE(INFLATE_STATUS, "INHIBITED, 1 of 2", "DRV-25", NEEDS_RESET,
		BV_OF(2), BV_REPLY(1, 1, 0)),
	BV_LINE(INFLATE_STATUS, "INHIBITED, 3 of 2", "DRV-25", NEEDS_RESET,
		BV_OF(2), BV_REPLY(1, 3, 0)),
	BV_LINE(INFLATE_STATUS, "RANGE, 2 of 2", "DRV-25", NEEDS_RESET,
		BV_OF(2), BV_REPLY(2, 2, 0)),
	BV_LINE(INFLATE_STATUS, "RANGE, 3 of 2", "DRV-25", NEEDS_RESET,
		BV_OF(2), BV_REPLY(2, 3, 0)),
	BV_LINE(DEFLATE_STATUS, "OK, 0 of 1", "DRV-25", NEEDS_RESET, BV_OF(1),
		BV_REPLY(0, 0, 0)),
	BV_LINE(DEFLATE_STATUS, "NOT_BACKED, 1 of 1", "DRV-25", NEEDS_RESET,
		BV_OF(1), BV_REPLY(4, 1, 0)),
	BV_LINE(DEFLATE_STATUS, "NOT_BACKED, 2 of 1", "DRV-25", NEEDS_RESET,
		BV_OF(1), BV_REPLY(4, 2, 0)),
	BV_ZERO(INFLATE_STATUS, "used length 0", "DRV-25", NEEDS_RESET,
		BV_OF(1)),
	BV_ZERO(DEFLATE_STATUS, "used length 0", "DRV-25", NEEDS_RESET,
		BV_OF(1)),
	BV_LINE(INFLATE_STATUS, "used length 8", "DRV-25", NEEDS_RESET,
		BV_OF(1), BV_LE32(0), BV_LE32(1)),
	BV_LINE(INFLATE_STATUS, "used length 15", "DRV-25", NEEDS_RESET,
		BV_OF(1), BV_LE32(0), BV_LE32(1), BV_LE32(0), 0, 0, 0),

	/* Requests: used length */
	BV_ZERO(REQUEST, "used length 0", "DRV-34", RETURNED, BV_NONE),
	BV_LINE(REQUEST, "used length 1", "DRV-36", INVALID, BV_NONE, 1),
	BV_LINE(REQUEST, "used length 8", "DRV-36", INVALID, BV_NONE,
		BV_LE32(1), BV_LE32(3)),
	BV_LINE(REQUEST, "used length 23", "DRV-36", INVALID, BV_NONE,
		BV_LE32(1), BV_LE32(1), BV_LE64(0), BV_LE48(16), 0),
	BV_LINE(REQUEST, "used length 25", "DRV-36", INVALID, BV_NONE,
		BV_ASK(1, 1, 0, 16), 0),
	BV_LINE(REQUEST, "used length 48", "DRV-36", INVALID, BV_NONE,
		BV_ASK(1, 1, 0, 16), BV_ASK(2, 1, 0, 16)),

	/* Requests: id, reserved bytes, type */
	BV_LINE(REQUEST, "id 0", "DEV-32 DRV-36", INVALID, BV_NONE,
		BV_ASK(0, 1, 0, 16)),
	BV_LINE(REQUEST, "id 2^31", "DEV-32", OK, BV_NONE,
		BV_ASK(1U << 31, 1, 0, 16)),
	BV_LINE(REQUEST, "id 2^32 - 1", "DEV-32", OK, BV_NONE,
		BV_ASK(0xffffffff, 1, 0, 16)),
	BV_LINE(REQUEST, "reserved[0]", "DEV-32 DRV-36", INVALID, BV_NONE,
		BV_ASK(1, 0x10001, 0, 16)),
	BV_LINE(REQUEST, "reserved[1]", "DEV-32 DRV-36", INVALID, BV_NONE,
		BV_ASK(1, 0x80000001, 0, 16)),
	BV_LINE(REQUEST, "type 0", "DEV-32 DRV-36", UNSUPPORTED, BV_NONE,
		BV_ASK(1, 0, 0, 0)),
	BV_LINE(REQUEST, "type 5", "DEV-32 DRV-36", UNSUPPORTED, BV_NONE,
		BV_ASK(1, 5, 0, 0)),
	BV_LINE(REQUEST, "type, high byte", "DEV-32 DRV-36", UNSUPPORTED,
		BV_NONE, BV_ASK(1, 0x101, 0, 16)),
	BV_LINE(REQUEST, "type 65535", "DEV-32 DRV-36", UNSUPPORTED, BV_NONE,
		BV_ASK(1, 0xffff, 0, 0)),
	BV_LINE(REQUEST, "type 5, reserved[0]", "DRV-36", INVALID, BV_NONE,
		BV_ASK(1, 0x10005, 0, 0)),
	BV_LINE(REQUEST, "type 5, id 0", "DRV-36", INVALID, BV_NONE,
		BV_ASK(0, 5, 0, 0)),
	BV_LINE(REQUEST, "type 5, parameters", "DRV-36", UNSUPPORTED, BV_NONE,
		BV_ASK(1, 5, BV_ONES, BV_ONES)),

	/* Requests: window of UNUSED_PAGES */
	BV_LINE(REQUEST, "window of no frames", "DEV-32", OK, BV_NONE,
		BV_ASK(1, 1, 0x1000, 0)),
	BV_LINE(REQUEST, "window of all frames", "DEV-32", OK, BV_NONE,
		BV_ASK(1, 1, 0, BV_END)),
	BV_LINE(REQUEST, "window of the last frame", "DEV-32", OK, BV_NONE,
		BV_ASK(1, 1, BV_END - 1, 1)),
	BV_LINE(REQUEST, "window of no frames at the end", "DEV-32", OK,
		BV_NONE, BV_ASK(1, 1, BV_END, 0)),
	BV_LINE(REQUEST, "window of 2^48 + 1 frames", "DEV-32 DRV-36", INVALID,
		BV_NONE, BV_ASK(1, 1, 0, BV_END + 1)),
	BV_LINE(REQUEST, "window ends at 2^48 + 1, from 1", "DEV-32 DRV-36",
		INVALID, BV_NONE, BV_ASK(1, 1, 1, BV_END)),
	BV_LINE(REQUEST, "window ends at 2^48 + 1, of 2", "DEV-32 DRV-36",
		INVALID, BV_NONE, BV_ASK(1, 1, BV_END - 1, 2)),
	BV_LINE(REQUEST, "window of no frames at 2^48 + 1", "DEV-32 DRV-36",
		INVALID, BV_NONE, BV_ASK(1, 1, BV_END + 1, 0)),
	BV_LINE(REQUEST, "window of no frames at 2^64 - 1", "DEV-32 DRV-36",
		INVALID, BV_NONE, BV_ASK(1, 1, BV_ONES, 0)),
	BV_LINE(REQUEST, "window wraps around to 0", "DEV-32 DRV-36", INVALID,
		BV_NONE, BV_ASK(1, 1, BV_ONES, 1)),
	BV_LINE(REQUEST, "window wraps around to 0, long", "DEV-32 DRV-36",
		INVALID, BV_NONE, BV_ASK(1, 1, 1, BV_ONES)),
	BV_LINE(REQUEST, "window wraps around, halves", "DEV-32 DRV-36",
		INVALID, BV_NONE, BV_ASK(1, 1, 1ULL << 63, 1ULL << 63)),
	BV_LINE(REQUEST, "window wraps around to below 2^48", "DEV-32 DRV-36",
		INVALID, BV_NONE, BV_ASK(1, 1, -0x1000ULL, 0x2000)),

	/* Requests: parameters of the others */
	BV_LINE(REQUEST, "reclaim nothing", "DEV-32", OK, BV_NONE,
		BV_ASK(1, 2, 0, 0)),
	BV_LINE(REQUEST, "reclaim a byte", "DEV-32", OK, BV_NONE,
		BV_ASK(1, 2, 1, 0)),
	BV_LINE(REQUEST, "reclaim 2^64 - 2", "DEV-32", OK, BV_NONE,
		BV_ASK(1, 2, BV_ONES - 1, 0)),
	BV_LINE(REQUEST, "reclaim all", "DEV-32", OK, BV_NONE,
		BV_ASK(1, 2, BV_ONES, 0)),
	BV_LINE(REQUEST, "reclaim, param[1]", "DEV-32 DRV-36", INVALID, BV_NONE,
		BV_ASK(1, 2, 4096, 1)),
	BV_LINE(REQUEST, "reclaim, param[1], high byte", "DEV-32 DRV-36",
		INVALID, BV_NONE, BV_ASK(1, 2, 4096, 1ULL << 63)),
	BV_LINE(REQUEST, "sync", "DEV-32", OK, BV_NONE, BV_ASK(1, 3, 0, 0)),
	BV_LINE(REQUEST, "sync, param[0]", "DEV-32 DRV-36", INVALID, BV_NONE,
		BV_ASK(1, 3, 1, 0)),
	BV_LINE(REQUEST, "sync, param[0], high byte", "DEV-32 DRV-36", INVALID,
		BV_NONE, BV_ASK(1, 3, 1ULL << 63, 0)),
	BV_LINE(REQUEST, "sync, param[1]", "DEV-32 DRV-36", INVALID, BV_NONE,
		BV_ASK(1, 3, 0, 1)),
	BV_LINE(REQUEST, "sync, param[1], high byte", "DEV-32 DRV-36", INVALID,
		BV_NONE, BV_ASK(1, 3, 0, 1ULL << 63)),
	BV_LINE(REQUEST, "cancel id 2^32 - 1", "DEV-32", OK, BV_NONE,
		BV_ASK(8, 4, 0xffffffff, 0)),
	BV_LINE(REQUEST, "cancel id 0", "DEV-32", OK, BV_NONE,
		BV_ASK(8, 4, 0, 0)),
	BV_LINE(REQUEST, "cancel id 2^32", "DEV-32 DRV-36", INVALID, BV_NONE,
		BV_ASK(8, 4, 1ULL << 32, 0)),
	BV_LINE(REQUEST, "cancel id 2^32 + 7", "DEV-32 DRV-36", INVALID,
		BV_NONE, BV_ASK(8, 4, (1ULL << 32) + 7, 0)),
	BV_LINE(REQUEST, "cancel id, high byte", "DEV-32 DRV-36", INVALID,
		BV_NONE, BV_ASK(8, 4, (1ULL << 63) + 7, 0)),
	BV_LINE(REQUEST, "cancel, param[1]", "DEV-32 DRV-36", INVALID, BV_NONE,
		BV_ASK(8, 4, 7, 1)),
	BV_LINE(REQUEST, "cancel, param[1], high byte", "DEV-32 DRV-36",
		INVALID, BV_NONE, BV_ASK(8, 4, 7, 1ULL << 63)),

	/* Answers: header */
	BV_LINE(ANSWER, "type 0", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_ANS(1, 0, 0, 8, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "type 3", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_ANS(1, 3, 0, 0, 0)),
	BV_LINE(ANSWER, "type PAGES, high byte", "DEV-34", IGNORED,
		BV_TO(bv_unused),
		BV_ANS(1, 0x101, 0, 8, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "type DONE, high byte", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_ANS(1, 0x8002, 0, 0, 0x200000)),
	BV_LINE(ANSWER, "PAGES, id 0", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_ANS(0, 1, 0, 8, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, id 2", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_ANS(2, 1, 0, 8, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, id, high byte", "DEV-34", IGNORED,
		BV_TO(bv_unused),
		BV_ANS(0x80000001, 1, 0, 8, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "DONE, id 0", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_ANS(0, 2, 0, 0, 0x200000)),
	BV_LINE(ANSWER, "DONE, id 2", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_ANS(2, 2, 0, 0, 0x200000)),
	BV_LINE(ANSWER, "PAGES to RECLAIM", "DEV-34", IGNORED,
		BV_TO(bv_reclaim),
		BV_ANS(2, 1, 0, 8, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES to SYNC", "DEV-34", IGNORED, BV_TO(bv_sync),
		BV_ANS(3, 1, 0, 8, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES to CANCEL", "DEV-34", IGNORED, BV_TO(bv_cancel),
		BV_ANS(8, 1, 0, 8, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, status", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_ANS(1, 1, 1, 8, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, status, high byte", "DEV-34", IGNORED,
		BV_TO(bv_unused),
		BV_ANS(1, 1, 0x8000, 8, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, reserved[0]", "DEV-34", IGNORED,
		BV_TO(bv_unused),
		BV_ANS(1, 1, 0, 8 | 1ULL << 32, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, reserved[3]", "DEV-34", IGNORED,
		BV_TO(bv_unused),
		BV_ANS(1, 1, 0, 8 | 1ULL << 63, 0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "DONE, reserved[0]", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_ANS(1, 2, 0, 1ULL << 32, 0x200000)),
	BV_LINE(ANSWER, "DONE, reserved[3]", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_ANS(1, 2, 0, 1ULL << 63, 0x200000)),
	BV_LINE(ANSWER, "PAGES, value", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_ANS(1, 1, 0, 8, 1), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, value, high byte", "DEV-34", IGNORED,
		BV_TO(bv_unused),
		BV_ANS(1, 1, 0, 8, 1ULL << 63), BV_RUN(0x100, 12, 1)),

	/* Answers: len and size */
	BV_ZERO(ANSWER, "0 bytes", "DEV-34", IGNORED, BV_TO(bv_unused)),
	BV_LINE(ANSWER, "1 byte", "DEV-34", IGNORED, BV_TO(bv_unused), 1),
	BV_LINE(ANSWER, "16 bytes", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_LE32(1), BV_LE32(2), BV_LE64(0)),
	BV_LINE(ANSWER, "DONE of 23 bytes", "DEV-34", IGNORED,
		BV_TO(bv_unused),
		BV_LE32(1), BV_LE32(2), BV_LE64(0), BV_LE48(0x200000), 0),
	BV_LINE(ANSWER, "DONE and a byte", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_ANS(1, 2, 0, 0, 0x200000), 0),
	BV_LINE(ANSWER, "DONE, len 8", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_ANS(1, 2, 0, 8, 0x200000)),
	BV_LINE(ANSWER, "DONE with a record", "DEV-34", IGNORED,
		BV_TO(bv_unused),
		BV_ANS(1, 2, 0, 8, 0x200000), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES without a record", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_PAGES(0)),
	BV_LINE(ANSWER, "PAGES, its record missing", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_PAGES(8)),
	BV_LINE(ANSWER, "PAGES, len 0", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_PAGES(0), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, len 9", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_PAGES(9), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, a run and a byte", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_PAGES(9), BV_RUN(0x100, 12, 1), 0),
	BV_LINE(ANSWER, "PAGES, len a record short", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_PAGES(8),
		BV_RUN(0x100, 12, 1), BV_RUN(0x200, 12, 1)),
	BV_LINE(ANSWER, "PAGES, len a record long", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_PAGES(16), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, len with the header", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_PAGES(32), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, half a record", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_PAGES(4), BV_LE32(0x100)),
	BV_LINE(ANSWER, "PAGES of 65536 bytes", "DRV-40", OK,
		BV_TO(bv_unused) BV_TIMES(8189, 1)
		BV_NAMES(8189, { 0xff0, 8189 }),
		BV_PAGES(65512), BV_RUN(0xff0, 12, 1)),
	BV_LINE(ANSWER, "PAGES of 65544 bytes", "DRV-40 DEV-34", IGNORED,
		BV_TO(bv_unused) BV_TIMES(8190, 1),
		BV_PAGES(65520), BV_RUN(0xff0, 12, 1)),

	/* Answers: records */
	BV_LINE(ANSWER, "PAGES, shift 11", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_PAGES(8), BV_RUN(0x100, 11, 1)),
	BV_LINE(ANSWER, "PAGES, shift 30", "DEV-34", OK,
		BV_TO(bv_unused) BV_NAMES(1, { 0x40000, 0x40000 }),
		BV_PAGES(8), BV_RUN(0x40000, 30, 1)),
	BV_LINE(ANSWER, "PAGES, shift 31", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_PAGES(8), BV_RUN(0, 31, 1)),
	BV_LINE(ANSWER, "PAGES, bit 6", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_PAGES(8), BV_RUN(0x100, 0x4c, 1)),
	BV_LINE(ANSWER, "PAGES, count 0", "DEV-34", IGNORED, BV_TO(bv_unused),
		BV_PAGES(8), BV_RUN(0x100, 12, 0)),
	BV_LINE(ANSWER, "PAGES, good run, then count 0", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_PAGES(16),
		BV_RUN(0x100, 12, 1), BV_RUN(0x200, 12, 0)),
	BV_LINE(ANSWER, "PAGES, bitmap", "DEV-34", OK,
		BV_TO(bv_unused) BV_NAMES(1, { 0x100, 1 }, { 0x13f, 1 }),
		BV_PAGES(16), BV_MAP(0x100, 12, 1), BV_WORD(1ULL << 63 | 1)),
	BV_LINE(ANSWER, "PAGES, bitmap that names nothing", "DEV-34", OK,
		BV_TO(bv_unused) BV_IS(1),
		BV_PAGES(16), BV_MAP(0x100, 12, 1), BV_WORD(0)),
	BV_LINE(ANSWER, "PAGES, bitmap without its word", "DEV-34", IGNORED,
		BV_TO(bv_unused), BV_PAGES(8), BV_MAP(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, bitmap with one of two words", "DEV-34",
		IGNORED, BV_TO(bv_unused),
		BV_PAGES(16), BV_MAP(0x100, 12, 2), BV_WORD(1)),
	BV_LINE(ANSWER, "PAGES, the last frame", "DEV-34", OK,
		BV_TO(bv_all) BV_NAMES(1, { BV_END - 1, 1 }),
		BV_PAGES(8), BV_RUN(BV_END - 1, 12, 1)),
	BV_LINE(ANSWER, "PAGES, run, a frame too high", "DEV-34", IGNORED,
		BV_TO(bv_all), BV_PAGES(8), BV_RUN(BV_END - 1, 12, 2)),
	BV_LINE(ANSWER, "PAGES, bitmap, a bit not set too high", "DEV-34",
		IGNORED, BV_TO(bv_all),
		BV_PAGES(16), BV_MAP(BV_END - 63, 12, 1), BV_WORD(1)),

	/* Answers: order, within one and from one to the next */
	BV_LINE(ANSWER, "PAGES, a run twice", "DRV-39 DEV-36", OK,
		BV_TO(bv_unused) BV_FEWER BV_NAMES(2, { 0x100, 1 }),
		BV_PAGES(16), BV_RUN(0x100, 12, 1), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, runs that overlap", "DRV-39 DEV-36", OK,
		BV_TO(bv_unused) BV_FEWER BV_NAMES(2, { 0x100, 15 }),
		BV_PAGES(16), BV_RUN(0x100, 12, 8), BV_RUN(0x107, 12, 8)),
	BV_LINE(ANSWER, "PAGES, runs that descend", "DRV-39 DEV-36", OK,
		BV_TO(bv_unused) BV_FEWER BV_NAMES(2, { 0x200, 1 }),
		BV_PAGES(16), BV_RUN(0x200, 12, 1), BV_RUN(0x100, 12, 1)),
	BV_LINE(ANSWER, "PAGES, bitmap below a run", "DRV-39 DEV-36", OK,
		BV_TO(bv_unused) BV_FEWER BV_NAMES(2, { 0x110, 2 }),
		BV_PAGES(24), BV_RUN(0x110, 12, 1),
		BV_MAP(0x100, 12, 1), BV_WORD(1 << 17 | 1)),
	BV_LINE(ANSWER, "PAGES, bitmap begins below a run", "DRV-39", OK,
		BV_TO(bv_unused) BV_NAMES(2, { 0x110, 2 }),
		BV_PAGES(24), BV_RUN(0x110, 12, 1),
		BV_MAP(0x100, 12, 1), BV_WORD(1 << 17)),
	BV_LINE(ANSWER, "next PAGES goes on", "DRV-39", OK,
		BV_TO(bv_unused) BV_NEXT BV_NAMES(1, { 0x1010, 1 }),
		BV_PAGES(8), BV_RUN(0x1010, 12, 1)),
	BV_LINE(ANSWER, "next PAGES, bitmap goes on", "DRV-39", OK,
		BV_TO(bv_unused) BV_NEXT BV_NAMES(1, { 0x1010, 1 }),
		BV_PAGES(16), BV_MAP(0x1000, 12, 1), BV_WORD(1 << 16)),
	BV_LINE(ANSWER, "next PAGES, the last frame again", "DRV-39 DEV-36", OK,
		BV_TO(bv_unused) BV_NEXT BV_FEWER BV_IS(1),
		BV_PAGES(8), BV_RUN(0x100f, 12, 1)),
	BV_LINE(ANSWER, "next PAGES overlaps", "DRV-39 DEV-36", OK,
		BV_TO(bv_unused) BV_NEXT BV_FEWER BV_NAMES(1, { 0x1010, 8 }),
		BV_PAGES(8), BV_RUN(0x1008, 12, 16)),
	BV_LINE(ANSWER, "next PAGES descends", "DRV-39 DEV-36", OK,
		BV_TO(bv_unused) BV_NEXT BV_FEWER BV_IS(1),
		BV_PAGES(8), BV_RUN(0x100, 12, 16)),
	BV_LINE(ANSWER, "DONE after PAGES", "DRV-35", OK,
		BV_TO(bv_unused) BV_NEXT BV_IS(0x200000),
		BV_ANS(1, 2, 0, 0, 0x200000)),

	/* Answers: window, frames 0x1000 to 0x1fff */
	BV_LINE(ANSWER, "PAGES, both ends of the window", "DRV-39", OK,
		BV_TO(bv_window)
		BV_NAMES(2, { 0x1000, 1 }, { 0x1fff, 1 }),
		BV_PAGES(16), BV_RUN(0x1000, 12, 1), BV_RUN(0x1fff, 12, 1)),
	BV_LINE(ANSWER, "PAGES, bitmap begins below the window", "DRV-39", OK,
		BV_TO(bv_window) BV_NAMES(1, { 0x1000, 1 }),
		BV_PAGES(16), BV_MAP(0xff0, 12, 1), BV_WORD(1 << 16)),
	BV_LINE(ANSWER, "PAGES, below the window", "DRV-39 DEV-36", OK,
		BV_TO(bv_window) BV_FEWER BV_IS(1),
		BV_PAGES(8), BV_RUN(0xfff, 12, 1)),
	BV_LINE(ANSWER, "PAGES, above the window", "DRV-39 DEV-36", OK,
		BV_TO(bv_window) BV_FEWER BV_IS(1),
		BV_PAGES(8), BV_RUN(0x2000, 12, 1)),
	BV_LINE(ANSWER, "PAGES, over the start of the window", "DRV-39 DEV-36",
		OK, BV_TO(bv_window) BV_FEWER BV_NAMES(1, { 0x1000, 16 }),
		BV_PAGES(8), BV_RUN(0xff0, 12, 32)),
	BV_LINE(ANSWER, "PAGES, over the end of the window", "DRV-39 DEV-36",
		OK, BV_TO(bv_window) BV_FEWER BV_NAMES(1, { 0x1ff0, 16 }),
		BV_PAGES(8), BV_RUN(0x1ff0, 12, 32)),
	BV_LINE(ANSWER, "PAGES, around the window", "DRV-39 DEV-36",
		OK, BV_TO(bv_window) BV_FEWER BV_NAMES(1, { 0x1000, 0x1000 }),
		BV_PAGES(8), BV_RUN(0, 30, 1)),

	/* Answers: status and value of DONE */
	BV_LINE(ANSWER, "unused pages, CANCELLED at once", "DRV-35", CANCELLED,
		BV_TO(bv_window) BV_IS(0x1000), BV_ANS(1, 2, 1, 0, 0x1000)),
	BV_LINE(ANSWER, "unused pages, BUSY", "DRV-35", BUSY, BV_TO(bv_unused),
		BV_ANS(1, 2, 2, 0, 0)),
	BV_LINE(ANSWER, "unused pages, UNSUPPORTED", "DRV-35", UNSUPPORTED,
		BV_TO(bv_unused), BV_ANS(1, 2, 3, 0, 0)),
	BV_LINE(ANSWER, "unused pages, INVALID", "DRV-35", INVALID,
		BV_TO(bv_unused), BV_ANS(1, 2, 4, 0, 0)),
	BV_LINE(ANSWER, "unused pages, up to frame 2^48", "DRV-35", OK,
		BV_TO(bv_all) BV_IS(BV_END), BV_ANS(1, 2, 0, 0, BV_END)),
	BV_LINE(ANSWER, "reclaimed more", "DRV-35", OK,
		BV_TO(bv_reclaim) BV_IS(0x123456789abcdef0),
		BV_ANS(2, 2, 0, 0, 0x123456789abcdef0)),
	BV_LINE(ANSWER, "synced", "DRV-35", OK, BV_TO(bv_sync),
		BV_ANS(3, 2, 0, 0, 0)),
	BV_LINE(ANSWER, "cancel, OK", "DRV-38", OK, BV_TO(bv_cancel),
		BV_ANS(8, 2, 0, 0, 0)),
	BV_LINE(ANSWER, "unused pages, value above the window", "DEV-35", OK,
		BV_TO(bv_window) BV_IS(BV_END), BV_ANS(1, 2, 0, 0, BV_END)),
	BV_LINE(ANSWER, "unused pages, value below the window", "DEV-35", OK,
		BV_TO(bv_window), BV_ANS(1, 2, 0, 0, 0)),
	BV_LINE(ANSWER, "synced, value", "DEV-35", OK, BV_TO(bv_sync)
		BV_IS(BV_ONES), BV_ANS(3, 2, 0, 0, BV_ONES)),
	BV_LINE(ANSWER, "unused pages, NOT_FOUND", "DEV-35", NOT_FOUND,
		BV_TO(bv_unused), BV_ANS(1, 2, 6, 0, 0)),
	BV_LINE(ANSWER, "synced, PARTIAL", "DEV-35", PARTIAL, BV_TO(bv_sync),
		BV_ANS(3, 2, 5, 0, 0)),
	BV_LINE(ANSWER, "DONE, status 7", "DEV-35", ENDED, BV_TO(bv_unused),
		BV_ANS(1, 2, 7, 0, 0)),
	BV_LINE(ANSWER, "DONE, status, high byte", "DEV-35", ENDED,
		BV_TO(bv_unused), BV_ANS(1, 2, 0x100, 0, 0x200000)),
	BV_LINE(ANSWER, "DONE, status 65535", "DEV-35", ENDED,
		BV_TO(bv_unused), BV_ANS(1, 2, 0xffff, 0, 0x200000)),
};

#endif
