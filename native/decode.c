// SPDX-License-Identifier: GPL-2.0-or-later
/* See decode.h. */
#include "decode.h"

#define SHIFT_MIN	12
#define SHIFT_MAX	30
#define UNIT_SHIFT	0x3f
#define UNIT_RESERVED	0x40
#define UNIT_BITMAP	0x80

struct record {
	uint64_t first;
	/* Frames of a unit */
	uint64_t unit;
	unsigned int count;
	/* Bitmap words, or NULL */
	const uint8_t *words;
	/* Bytes, with its words */
	size_t size;
};

static void put(uint8_t *to, uint64_t value, unsigned int bytes)
{
	for (; bytes--; value >>= 8)
		*to++ = value;
}

/* Read the record at the beginning of @left bytes; false if it is malformed. */
static bool record_read(const uint8_t *at, size_t left, struct record *rec)
{
	uint64_t units;
	unsigned int shift;

	if (left < 8)
		return false;
	shift = at[6] & UNIT_SHIFT;
	if (shift < SHIFT_MIN || shift > SHIFT_MAX || at[6] & UNIT_RESERVED ||
	    !at[7])
		return false;
	rec->first = get(at, 6);
	rec->unit = 1ULL << (shift - SHIFT_MIN);
	rec->count = at[7];
	rec->words = at[6] & UNIT_BITMAP ? at + 8 : NULL;
	rec->size = rec->words ? 8 + 8 * (size_t)rec->count : 8;
	units = rec->words ? 64 * rec->count : rec->count;
	return left >= rec->size && rec->first + units * rec->unit <= FRAME_END;
}

/* Visit the frames of a record; false if @visit returned false. */
static bool record_visit(const struct record *rec, frames_fn visit, void *opaque)
{
	uint64_t bits, others;
	unsigned int w, from, length;

	if (!rec->words)
		return visit(opaque, rec->first, rec->count * rec->unit);
	for (w = 0; w < rec->count; w++) {
		bits = get(rec->words + 8 * w, 8);
		while (bits) {
			from = __builtin_ctzll(bits);
			others = ~(bits >> from);
			length = others ? __builtin_ctzll(others) : 64;
			if (!visit(opaque,
				   rec->first + (64 * w + from) * rec->unit,
				   length * rec->unit))
				return false;
			bits &= from + length < 64 ? ~0ULL << (from + length) : 0;
		}
	}
	return true;
}

/* The frames come in ascending order; *@opaque: the end of those before. */
static bool ascends(void *opaque, uint64_t first, uint64_t frames)
{
	uint64_t *end = opaque;

	if (first < *end)
		return false;
	*end = first + frames;
	return true;
}

/*
 * Check @size bytes of records, and whether their frames ascend if @ordered;
 * @recs is set if they are good.
 */
static bool records_check(const uint8_t *at, size_t size, bool ordered,
			  struct records *recs)
{
	struct record rec;
	uint64_t end = 0;

	*recs = (struct records){ .at = at, .end = at + size };
	while (at < recs->end) {
		if (!record_read(at, recs->end - at, &rec) ||
		    (ordered && !record_visit(&rec, ascends, &end)))
			return false;
		at += rec.size;
		recs->count++;
	}
	return recs->count;
}

uint32_t records_visit(const struct records *recs, uint32_t count,
		       frames_fn visit, void *opaque)
{
	const uint8_t *at = recs->at;
	struct record rec;
	uint32_t n;

	for (n = 0; n < count && n < recs->count; n++) {
		if (!record_read(at, recs->end - at, &rec) ||
		    !record_visit(&rec, visit, opaque))
			break;
		at += rec.size;
	}
	return n;
}

bool message_check(const uint8_t *msg, size_t size, unsigned int type,
		   struct records *recs)
{
	if (size < PAGES_HEADER || size > PAGES_MAX)
		return false;
	if (get(msg, 2) != type || get(msg + 2, 2) ||
	    get(msg + 4, 4) != size - PAGES_HEADER || size % 8)
		return false;
	return records_check(msg + PAGES_HEADER, size - PAGES_HEADER, true,
			     recs);
}

void request_write(const struct request *req, uint8_t *to)
{
	put(to, req->id, 4);
	put(to + 4, req->type, 4);
	put(to + 8, req->param[0], 8);
	put(to + 16, req->param[1], 8);
}

bool answer_check(const uint8_t *bytes, size_t size, const struct request *req,
		  struct answer *ans)
{
	size_t len;

	if (size < ANSWER_SIZE || size > PAGES_MAX || get(bytes, 4) != req->id)
		return false;
	ans->type = get(bytes + 4, 2);
	ans->status = get(bytes + 6, 2);
	ans->value = get(bytes + 16, 8);
	len = get(bytes + 8, 4);
	if (len != size - ANSWER_SIZE || get(bytes + 12, 4))
		return false;
	if (ans->type == ANSWER_DONE)
		return !len;
	return ans->type == ANSWER_PAGES && req->type == REQ_UNUSED_PAGES &&
	       !ans->status && !ans->value && !(len % 8) &&
	       records_check(bytes + ANSWER_SIZE, len, false, &ans->recs);
}

struct window {
	struct request *req;
	frames_fn visit;
	void *opaque;
};

static bool in_window(void *opaque, uint64_t first, uint64_t frames)
{
	struct window *window = opaque;
	struct request *req = window->req;
	uint64_t end = first + frames, from = req->param[0];
	uint64_t to = req->param[0] + req->param[1];

	from = from > req->above ? from : req->above;
	first = first > from ? first : from;
	req->above = end > req->above ? end : req->above;
	end = end < to ? end : to;
	return first >= end || window->visit(window->opaque, first, end - first);
}

void answer_visit(const struct answer *ans, struct request *req, frames_fn visit,
		  void *opaque)
{
	struct window window = { req, visit, opaque };

	records_visit(&ans->recs, ans->recs.count, in_window, &window);
}
