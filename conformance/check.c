// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Virtio balloon: checks a decoder against the table of vectors.h
 *
 * The decoder here is written from the protocol's page alone. README.md says how
 * another program is checked, and what the lines are that it reads and writes.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vectors.h"

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))
#define BYTES_MAX	(BALLOON_VECTOR_MAX + 64)
#define RANGES_MAX	64
/* Three buffers in hexadecimal */
#define LINE_MAX_BYTES	(6 * BYTES_MAX + 64)

struct buffer {
	size_t size;
	uint8_t bytes[BYTES_MAX];
};

/* The input to decode, as in struct balloon_vector */
struct input {
	enum balloon_kind kind;
	unsigned int sent;
	struct buffer message, asked, before;
};

struct result {
	unsigned int verdict;
	uint64_t number;
	unsigned int nranges;
	struct balloon_range ranges[RANGES_MAX];
};

static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("check: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

/* The decoder */

#define FRAMES_END	(1ULL << 48)
#define MESSAGE_MAX	65536
#define REQUEST_SIZE	24
#define ANSWER_SIZE	24
#define STATUS_SIZE	16
enum { INFLATE = 1, DEFLATE };
enum { UNUSED_PAGES = 1, RECLAIM, SYNC, CANCEL };
enum { PAGES = 1, DONE };

static uint64_t get(const uint8_t *bytes, unsigned int size)
{
	return size ? bytes[0] | get(bytes + 1, size - 1) << 8 : 0;
}

/* Frames that records name */
struct walk {
	/* Where it is told; NULL: only the order is looked at */
	struct result *result;
	/* Frames outside do not count. */
	uint64_t window, window_end;
	/* Frames below are named already, or passed over. */
	uint64_t next;
	bool disorder;
};

static void add_range(struct result *result, uint64_t first, uint64_t end)
{
	struct balloon_range *range = result->ranges + result->nranges;

	if (result->nranges && range[-1].first + range[-1].frames == first) {
		range[-1].frames += end - first;
		return;
	}
	if (result->nranges++ == RANGES_MAX)
		die("more than %d ranges", RANGES_MAX);
	range->first = first;
	range->frames = end - first;
}

static void name_frames(struct walk *walk, uint64_t first, uint64_t frames)
{
	uint64_t end = first + frames;

	if (first < walk->next) {
		walk->disorder = true;
		first = walk->next;
	}
	if (walk->next < end)
		walk->next = end;
	if (first < walk->window)
		first = walk->window;
	if (end > walk->window_end)
		end = walk->window_end;
	if (walk->result && first < end)
		add_range(walk->result, first, end);
}

/* Return the bytes of the record with its words; 0 if it is malformed. */
static size_t decode_record(const uint8_t *bytes, size_t left, struct walk *walk)
{
	uint64_t first = get(bytes, 6);
	unsigned int shift = bytes[6] & 0x3f, count = bytes[7];
	bool bitmap = bytes[6] & 0x80;
	uint64_t unit;
	unsigned int i;

	if (bytes[6] & 0x40 || shift < 12 || shift > 30 || !count)
		return 0;
	unit = 1ULL << (shift - 12);
	if (first + unit * count * (bitmap ? 64 : 1) > FRAMES_END)
		return 0;
	if (!bitmap) {
		name_frames(walk, first, unit * count);
		return 8;
	}
	if (left < 8 + 8 * count)
		return 0;
	for (i = 0; i < 64 * count; i++)
		if (bytes[8 + i / 8] >> i % 8 & 1)
			name_frames(walk, first + i * unit, unit);
	return 8 + 8 * count;
}

/* Return the number of records; 0 if one is malformed. */
static uint64_t decode_records(const uint8_t *bytes, size_t size,
			       struct walk *walk)
{
	uint64_t records = 0;
	size_t pos, used;

	for (pos = 0; pos < size; pos += used, records++) {
		used = decode_record(bytes + pos, size - pos, walk);
		if (!used)
			return 0;
	}
	return records;
}

/* Is this the length of data after a header, and are there records in it? */
static bool length_fits(uint64_t length, const struct buffer *buffer,
			size_t header)
{
	return buffer->size <= MESSAGE_MAX && length == buffer->size - header &&
	       length >= 8 && length % 8 == 0;
}

static void decode_message(const struct buffer *in, unsigned int type,
			   struct result *out)
{
	struct walk walk = { .result = out, .window_end = FRAMES_END };

	out->verdict = BV_MALFORMED;
	if (in->size < 8 || get(in->bytes, 2) != type || get(in->bytes + 2, 2) ||
	    !length_fits(get(in->bytes + 4, 4), in, 8))
		return;
	out->number = decode_records(in->bytes + 8, in->size - 8, &walk);
	if (out->number && !walk.disorder)
		out->verdict = BV_OK;
}

static void decode_status(const struct input *in, struct result *out)
{
	const struct buffer *status = &in->message;
	bool inflate = in->kind == BV_INFLATE_STATUS;
	uint64_t acted;
	bool good = false;

	out->verdict = BV_NEEDS_RESET;
	if (status->size < STATUS_SIZE)
		return;
	acted = get(status->bytes + 4, 4);
	switch (get(status->bytes, 2)) {
	case BV_OK:
		good = acted == in->sent;
		break;
	case BV_INHIBITED:
		good = inflate && acted == in->sent;
		break;
	case BV_RANGE:
		good = inflate && acted < in->sent;
		break;
	case BV_NOT_BACKED:
		good = !inflate && acted < in->sent;
		break;
	}
	if (good) {
		out->verdict = get(status->bytes, 2);
		out->number = acted;
	}
}

static bool parameters_legal(uint64_t type, uint64_t first, uint64_t second)
{
	switch (type) {
	case UNUSED_PAGES:
		return first <= FRAMES_END && second <= FRAMES_END - first;
	case RECLAIM:
		return !second;
	case SYNC:
		return !first && !second;
	default:
		return first <= UINT32_MAX && !second;
	}
}

static void decode_request(const struct buffer *in, struct result *out)
{
	uint64_t type = get(in->bytes + 4, 2);

	if (!in->size)
		out->verdict = BV_RETURNED;
	else if (in->size != REQUEST_SIZE || get(in->bytes + 6, 2) ||
		 !get(in->bytes, 4))
		out->verdict = BV_INVALID;
	else if (type < UNUSED_PAGES || type > CANCEL)
		out->verdict = BV_UNSUPPORTED;
	else if (!parameters_legal(type, get(in->bytes + 8, 8),
				   get(in->bytes + 16, 8)))
		out->verdict = BV_INVALID;
}

static void decode_done(const struct buffer *in, struct result *out)
{
	uint64_t status = get(in->bytes + 6, 2);

	if (in->size != ANSWER_SIZE || get(in->bytes + 8, 4))
		return;
	out->verdict = status <= BV_NOT_FOUND ? status : BV_ENDED;
	if (status <= BV_NOT_FOUND)
		out->number = get(in->bytes + 16, 8);
}

static void decode_pages(const struct input *in, struct result *out)
{
	const uint8_t *bytes = in->message.bytes, *asked = in->asked.bytes;
	struct walk walk = {
		.window = get(asked + 8, 8),
		.window_end = get(asked + 8, 8) + get(asked + 16, 8),
	};

	if (get(asked + 4, 2) != UNUSED_PAGES || get(bytes + 6, 2) ||
	    get(bytes + 16, 8) ||
	    !length_fits(get(bytes + 8, 4), &in->message, ANSWER_SIZE))
		return;
	if (in->before.size)
		decode_records(in->before.bytes + ANSWER_SIZE,
			       in->before.size - ANSWER_SIZE, &walk);
	walk.result = out;
	out->number = decode_records(bytes + ANSWER_SIZE,
				     in->message.size - ANSWER_SIZE, &walk);
	if (out->number)
		out->verdict = BV_OK;
}

static void decode_answer(const struct input *in, struct result *out)
{
	const uint8_t *bytes = in->message.bytes;

	out->verdict = BV_IGNORED;
	if (in->message.size < ANSWER_SIZE || get(bytes + 12, 4) ||
	    get(bytes, 4) != get(in->asked.bytes, 4))
		return;
	if (get(bytes + 4, 2) == PAGES)
		decode_pages(in, out);
	else if (get(bytes + 4, 2) == DONE)
		decode_done(&in->message, out);
}

static bool is_bad(const struct input *in, const struct result *out)
{
	return out->verdict >= BV_NEEDS_RESET ||
	       (in->kind <= BV_DEFLATE && out->verdict == BV_MALFORMED);
}

static void decode(const struct input *in, struct result *out)
{
	*out = (struct result){ .verdict = BV_OK };
	switch (in->kind) {
	case BV_INFLATE:
		decode_message(&in->message, INFLATE, out);
		break;
	case BV_DEFLATE:
		decode_message(&in->message, DEFLATE, out);
		break;
	case BV_INFLATE_STATUS:
	case BV_DEFLATE_STATUS:
		decode_status(in, out);
		break;
	case BV_REQUEST:
		decode_request(&in->message, out);
		break;
	case BV_ANSWER:
		decode_answer(in, out);
		break;
	}
	/* Frames that were named before the fault do not count. */
	if (is_bad(in, out))
		out->number = out->nranges = 0;
}

/* Lines: the input */

static const char *const kinds[] = {
	[BV_INFLATE] = "INFLATE",
	[BV_DEFLATE] = "DEFLATE",
	[BV_INFLATE_STATUS] = "INFLATE_STATUS",
	[BV_DEFLATE_STATUS] = "DEFLATE_STATUS",
	[BV_REQUEST] = "REQUEST",
	[BV_ANSWER] = "ANSWER",
};

static void put_bytes(FILE *file, const struct buffer *buffer)
{
	size_t i;

	for (i = 0; i < buffer->size; i++)
		fprintf(file, "%02x", buffer->bytes[i]);
	if (!buffer->size)
		fputc('-', file);
}

static void put_input(FILE *file, const struct input *in)
{
	fprintf(file, "%s ", kinds[in->kind]);
	put_bytes(file, &in->message);
	if (in->kind == BV_INFLATE_STATUS || in->kind == BV_DEFLATE_STATUS)
		fprintf(file, " %u", in->sent);
	if (in->kind == BV_ANSWER) {
		fputc(' ', file);
		put_bytes(file, &in->asked);
		fputc(' ', file);
		put_bytes(file, &in->before);
	}
}

static void read_bytes(const char *word, struct buffer *buffer)
{
	static const char digits[] = "0123456789abcdef";
	size_t size = strlen(word), i;

	if (!strcmp(word, "-"))
		return;
	if (size % 2 || size / 2 > BYTES_MAX || strspn(word, digits) != size)
		die("not an even number of hexadecimal digits: %.40s", word);
	for (i = 0; i < size; i += 2)
		buffer->bytes[buffer->size++] =
			(strchr(digits, word[i]) - digits) << 4 |
			(strchr(digits, word[i + 1]) - digits);
}

/* Return the next word of strtok(); there has to be one. */
static const char *next_word(const char *what)
{
	const char *word = strtok(NULL, " \n");

	if (!word)
		die("a line without %s", what);
	return word;
}

static void read_input(char *line, struct input *in)
{
	const char *word = strtok(line, " \n");
	unsigned int kind = 0;

	while (kind < COUNT(kinds) && word && strcmp(word, kinds[kind]))
		kind++;
	if (!word || kind == COUNT(kinds))
		die("not a kind: %.40s", word ? word : "an empty line");
	memset(in, 0, sizeof(*in));
	in->kind = kind;
	read_bytes(next_word("bytes"), &in->message);
	if (kind == BV_INFLATE_STATUS || kind == BV_DEFLATE_STATUS)
		in->sent = strtoul(next_word("a number of records"), NULL, 0);
	if (kind == BV_ANSWER) {
		read_bytes(next_word("a request"), &in->asked);
		if (in->asked.size != REQUEST_SIZE)
			die("a request that is not %d bytes", REQUEST_SIZE);
		read_bytes(next_word("an earlier answer"), &in->before);
		if (in->before.size && in->before.size < ANSWER_SIZE)
			die("an earlier answer that is too short");
	}
}

/* Lines: verdicts */

static const char *const pages_verdicts[] = {
	"OK", "INHIBITED", "RANGE", "MALFORMED", "NOT_BACKED"
};
static const char *const request_verdicts[] = {
	"OK", "CANCELLED", "BUSY", "UNSUPPORTED", "INVALID", "PARTIAL", "NOT_FOUND"
};
static const char *const other_verdicts[] = {
	"NEEDS_RESET", "RETURNED", "IGNORED", "ENDED"
};

static const char *verdict_name(enum balloon_kind kind, unsigned int verdict)
{
	if (verdict >= BV_NEEDS_RESET && verdict <= BV_ENDED)
		return other_verdicts[verdict - BV_NEEDS_RESET];
	if (kind <= BV_DEFLATE_STATUS && verdict < COUNT(pages_verdicts))
		return pages_verdicts[verdict];
	if (kind > BV_DEFLATE_STATUS && verdict < COUNT(request_verdicts))
		return request_verdicts[verdict];
	return NULL;
}

static void put_result(FILE *file, enum balloon_kind kind,
		       const struct result *result)
{
	unsigned int i;

	fprintf(file, "%s %llu", verdict_name(kind, result->verdict),
		(unsigned long long)result->number);
	for (i = 0; i < result->nranges; i++)
		fprintf(file, " 0x%llx+%llu", result->ranges[i].first,
			result->ranges[i].frames);
}

static bool read_verdict(const char *word, enum balloon_kind kind,
			 struct result *result)
{
	unsigned int verdict;
	const char *name;

	for (verdict = 0; word && verdict <= BV_ENDED; verdict++) {
		name = verdict_name(kind, verdict);
		if (name && !strcmp(word, name)) {
			result->verdict = verdict;
			return true;
		}
	}
	return false;
}

/* Return whether the line can be understood. */
static bool read_result(char *line, enum balloon_kind kind, struct result *result)
{
	struct balloon_range *range = result->ranges;
	char *word, *end;

	*result = (struct result){ 0 };
	if (!read_verdict(strtok(line, " \r\n"), kind, result))
		return false;
	word = strtok(NULL, " \r\n");
	if (!word)
		return true;
	result->number = strtoull(word, &end, 0);
	if (*end)
		return false;
	for (; (word = strtok(NULL, " \r\n")); range++) {
		if (result->nranges++ == RANGES_MAX)
			return false;
		range->first = strtoull(word, &end, 0);
		if (*end != '+')
			return false;
		range->frames = strtoull(end + 1, &end, 0);
		if (*end)
			return false;
	}
	return true;
}

/* The table against a decoder */

static void vector_input(const struct balloon_vector *v, struct input *in)
{
	memset(in, 0, sizeof(*in));
	in->kind = v->kind;
	in->sent = v->sent;
	in->message.size = balloon_vector_size(v);
	balloon_vector_copy(v, in->message.bytes);
	if (v->asked) {
		in->asked.size = REQUEST_SIZE;
		memcpy(in->asked.bytes, v->asked, REQUEST_SIZE);
	}
	if (v->before) {
		in->before.size = v->before_size;
		memcpy(in->before.bytes, v->before, v->before_size);
	}
}

static void vector_result(const struct balloon_vector *v, struct result *result)
{
	*result = (struct result){
		.verdict = v->verdict, .number = v->number, .nranges = v->nranges
	};
	if (v->nranges)
		memcpy(result->ranges, v->ranges, v->nranges * sizeof(*v->ranges));
}

static bool within(const struct balloon_range *range, const struct result *result)
{
	const struct balloon_range *other = result->ranges;
	unsigned int i;

	for (i = 0; i < result->nranges; i++, other++)
		if (range->first >= other->first &&
		    range->first - other->first <= other->frames &&
		    range->frames <= other->frames - (range->first - other->first))
			return true;
	return false;
}

static bool matches(const struct balloon_vector *v, const struct result *got)
{
	struct result wanted;
	unsigned int i;

	vector_result(v, &wanted);
	if (v->fewer && got->verdict == BV_IGNORED)
		return !got->number && !got->nranges;
	if (got->verdict != wanted.verdict || got->number != wanted.number)
		return false;
	for (i = 0; v->fewer && i < got->nranges; i++)
		if (!within(&got->ranges[i], &wanted))
			return false;
	return v->fewer || (got->nranges == wanted.nranges &&
			    !memcmp(got->ranges, wanted.ranges,
				    wanted.nranges * sizeof(*wanted.ranges)));
}

/* One line of TAP, and the mistake; got: NULL if the reply is no verdict. */
static bool report(unsigned int index, const struct result *got,
		   const char *said)
{
	const struct balloon_vector *v = &balloon_vectors[index];
	bool good = got && matches(v, got);
	struct result wanted;

	printf("%sok %u - %s: %s\n", good ? "" : "not ", index + 1,
	       kinds[v->kind], v->name);
	if (good)
		return true;
	vector_result(v, &wanted);
	printf("# line %u of check --list; sentences: %s\n# wanted: ",
	       index + 1, v->rules);
	put_result(stdout, v->kind, &wanted);
	printf("%s\n# got: ", v->fewer ? " (or fewer frames, or IGNORED)" : "");
	if (got)
		put_result(stdout, v->kind, got);
	else
		printf("%.99s", said);
	printf("\n");
	return false;
}

static int check_own(void)
{
	static struct input in;
	struct result got;
	unsigned int i;
	bool good = true;

	printf("TAP version 13\n1..%zu\n", COUNT(balloon_vectors));
	for (i = 0; i < COUNT(balloon_vectors); i++) {
		vector_input(&balloon_vectors[i], &in);
		decode(&in, &got);
		good &= report(i, &got, "");
	}
	return !good;
}

/* All lines, in a file: whenever the program reads and writes, none waits. */
static FILE *all_lines(void)
{
	static struct input in;
	FILE *file = tmpfile();
	unsigned int i;

	for (i = 0; file && i < COUNT(balloon_vectors); i++) {
		vector_input(&balloon_vectors[i], &in);
		put_input(file, &in);
		fputc('\n', file);
	}
	if (!file || fflush(file) || fseek(file, 0, SEEK_SET))
		die("a file for the lines: %s", strerror(errno));
	return file;
}

static FILE *start(char **argv, pid_t *child)
{
	FILE *lines = all_lines();
	int ends[2];

	if (pipe(ends) || (*child = fork()) < 0)
		die("a process for %s: %s", argv[0], strerror(errno));
	if (!*child) {
		dup2(fileno(lines), STDIN_FILENO);
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execvp(argv[0], argv);
		fprintf(stderr, "check: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	fclose(lines);
	close(ends[1]);
	return fdopen(ends[0], "r");
}

/* Does the program end, with no line too many and with status 0? */
static bool ends_well(FILE *from, pid_t child)
{
	static char rest[256];
	bool more = fgets(rest, sizeof(rest), from);
	int status = 0;

	/* A program that writes on is not waited for: it finds the pipe closed. */
	fclose(from);
	if (waitpid(child, &status, 0) < 0)
		die("waiting for the program: %s", strerror(errno));
	printf("%sok %zu - one line for each, then exit status 0\n",
	       more || status ? "not " : "", COUNT(balloon_vectors) + 1);
	if (more)
		printf("# a line too many: %.*s\n", (int)strcspn(rest, "\n"), rest);
	if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	else if (status)
		printf("# exit status %d\n", WEXITSTATUS(status));
	return !more && !status;
}

static int check_program(char **argv)
{
	static char line[LINE_MAX_BYTES], copy[LINE_MAX_BYTES];
	struct result got;
	bool good = true, known;
	unsigned int i;
	pid_t child;
	FILE *from;

	printf("TAP version 13\n1..%zu\n", COUNT(balloon_vectors) + 1);
	fflush(stdout);
	from = start(argv, &child);
	for (i = 0; i < COUNT(balloon_vectors); i++) {
		if (!from || !fgets(line, sizeof(line), from))
			strcpy(line, "(no line)");
		strcpy(copy, line);
		line[strcspn(line, "\r\n")] = '\0';
		known = read_result(copy, balloon_vectors[i].kind, &got);
		good &= report(i, known ? &got : NULL, line);
	}
	good &= ends_well(from, child);
	return !good;
}

static int serve(void)
{
	static char line[LINE_MAX_BYTES];
	static struct input in;
	struct result result;

	while (fgets(line, sizeof(line), stdin)) {
		read_input(line, &in);
		decode(&in, &result);
		put_result(stdout, in.kind, &result);
		putchar('\n');
	}
	return 0;
}

static int list(void)
{
	static struct input in;
	struct result result;
	unsigned int i;

	for (i = 0; i < COUNT(balloon_vectors); i++) {
		const struct balloon_vector *v = &balloon_vectors[i];

		vector_input(v, &in);
		vector_result(v, &result);
		put_input(stdout, &in);
		putchar('\t');
		put_result(stdout, v->kind, &result);
		printf("\t%s\t%s\t%s\n", v->fewer ? "fewer" : "", v->rules, v->name);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 1)
		return check_own();
	if (argc > 2 && !strcmp(argv[1], "--"))
		return check_program(argv + 2);
	if (argc == 2 && !strcmp(argv[1], "--serve"))
		return serve();
	if (argc == 2 && !strcmp(argv[1], "--list"))
		return list();
	fputs("usage: check                  the table against the decoder in here\n"
	      "       check -- PROGRAM...    the table against another decoder\n"
	      "       check --serve          be such a decoder\n"
	      "       check --list           print the table\n", stderr);
	return 2;
}
