// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs the vectors of conformance/ that a device receives, messages and answers,
 * through decode.c. Prints TAP; exit status 1 if a verdict, a number or a frame
 * differs.
 */
#include <stdio.h>
#include <string.h>

#include "../conformance/vectors.h"
#include "decode.h"

static uint8_t bytes[BALLOON_VECTOR_MAX];

/* The ranges found: adjacent ones are one. */
struct found {
	unsigned int verdict;
	uint64_t number;
	/* As many as the words of a message can have */
	struct balloon_range ranges[PAGES_MAX / 8 * 32];
	unsigned int nranges;
};

static bool collect(void *opaque, uint64_t first, uint64_t frames)
{
	struct found *found = opaque;
	struct balloon_range *last = found->ranges + found->nranges - 1;

	if (found->nranges && last->first + last->frames == first)
		last->frames += frames;
	else
		found->ranges[found->nranges++] =
			(struct balloon_range){ first, frames };
	return true;
}

static bool drop(void *opaque, uint64_t first, uint64_t frames)
{
	(void)opaque;
	(void)first;
	(void)frames;
	return true;
}

static void find_message(const struct balloon_vector *v, struct found *found)
{
	struct records recs;

	found->verdict = BV_MALFORMED;
	if (!message_check(bytes, balloon_vector_size(v),
			   v->kind == BV_INFLATE ? PAGES_INFLATE : PAGES_DEFLATE,
			   &recs))
		return;
	found->verdict = BV_OK;
	found->number = records_visit(&recs, recs.count, collect, found);
}

static void find_answer(const struct balloon_vector *v, struct found *found)
{
	struct request req = { get(v->asked, 4), get(v->asked + 4, 2),
			       { get(v->asked + 8, 8), get(v->asked + 16, 8) }, 0 };
	struct answer ans;

	if (v->before && answer_check(v->before, v->before_size, &req, &ans))
		answer_visit(&ans, &req, drop, NULL);
	found->verdict = BV_IGNORED;
	if (!answer_check(bytes, balloon_vector_size(v), &req, &ans))
		return;
	if (ans.type == ANSWER_PAGES) {
		found->verdict = BV_OK;
		found->number = ans.recs.count;
		answer_visit(&ans, &req, collect, found);
	} else if (ans.status <= REQ_S_NOT_FOUND) {
		found->verdict = ans.status;
		found->number = ans.value;
	} else {
		found->verdict = BV_ENDED;
	}
}

static bool same(const struct balloon_vector *v, const struct found *found)
{
	return found->verdict == v->verdict && found->number == v->number &&
	       found->nranges == v->nranges &&
	       (!v->nranges || !memcmp(found->ranges, v->ranges,
				       v->nranges * sizeof(*v->ranges)));
}

int main(void)
{
	static struct found found;
	unsigned int i, n = 0, bad = 0;

	for (i = 0; i < sizeof(balloon_vectors) / sizeof(*balloon_vectors); i++) {
		const struct balloon_vector *v = balloon_vectors + i;

		found.verdict = found.number = found.nranges = 0;
		balloon_vector_copy(v, bytes);
		if (v->kind == BV_INFLATE || v->kind == BV_DEFLATE)
			find_message(v, &found);
		else if (v->kind == BV_ANSWER)
			find_answer(v, &found);
		else
			continue;
		if (!same(v, &found))
			bad++;
		printf("%s %u - %d: %s\n", same(v, &found) ? "ok" : "not ok", ++n,
		       v->kind, v->name);
	}
	printf("1..%u\n", n);
	return bad || !n;
}
