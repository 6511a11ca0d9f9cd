// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs the host's commands inside the guest.
 *
 * Usage: agent PORT    (process 1 of the guest, or its child)
 *
 * The host writes requests to the port, virtio-serial or serial; each is a line,
 * for RUN followed by that many bytes of shell text:
 *
 *	RUN <id> <length>\n<text>	run "sh -c text" in a process group
 *	SIGNAL <id> <number>\n		send a signal to that group
 *
 * The agent answers when a command has ended and closed its output, in the
 * order in which commands end:
 *
 *	EXIT <id> <status> <length>\n<output>
 *
 * status is the exit status, or 128 plus the signal's number. Output is
 * standard output and error together, at most OUTPUT_MAX bytes; the rest is
 * dropped. A line "READY" comes first of all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define JOBS_MAX	64
#define TEXT_MAX	65536
#define OUTPUT_MAX	(1 << 20)

/* One command that runs or whose output is still open. */
struct job {
	/* The host's name for it. */
	long id;
	/* Leader of its process group; 0: this slot is free. */
	pid_t pid;
	/* Read end of its output; -1: closed. */
	int fd;
	/* From waitpid(), valid once reaped. */
	int status;
	int reaped;
	/* Its output so far: length bytes in a buffer of room bytes. */
	char *output;
	size_t length;
	size_t room;
};

static struct job jobs[JOBS_MAX];
static int port;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void write_all(const char *data, size_t length)
{
	while (length) {
		ssize_t n = write(port, data, length);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			die("agent: write");
		data += n;
		length -= n;
	}
}

/* Read exactly @length bytes; the port may have no reader on the other side. */
static void read_all(char *data, size_t length)
{
	while (length) {
		ssize_t n = read(port, data, length);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			die("agent: read");
		if (n == 0) {
			usleep(10000);
			continue;
		}
		data += n;
		length -= n;
	}
}

static void read_line(char *line, size_t size)
{
	size_t n = 0;

	do {
		read_all(line + n, 1);
	} while (line[n] != '\n' && ++n < size - 1);
	line[n] = '\0';
}

static void answer(long id, int status, const char *output, size_t length)
{
	char head[64];

	snprintf(head, sizeof(head), "EXIT %ld %d %zu\n", id, status, length);
	write_all(head, strlen(head));
	write_all(output, length);
}

static void child(const char *text, int out)
{
	int null = open("/dev/null", O_RDONLY);
	int score = open("/proc/self/oom_score_adj", O_WRONLY);

	/* The agent is exempt from the OOM killer, its commands are not. */
	if (score >= 0 && write(score, "0", 1) < 0)
		perror("oom_score_adj");
	setpgid(0, 0);
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	signal(SIGPIPE, SIG_DFL);
	execl("/bin/sh", "sh", "-c", text, NULL);
	_exit(127);
}

static void run(long id, const char *text)
{
	static const char busy[] = "agent: cannot start another command\n";
	struct job *job = jobs;
	int fds[2];

	while (job < jobs + JOBS_MAX && job->pid)
		job++;
	if (job == jobs + JOBS_MAX || pipe2(fds, O_CLOEXEC)) {
		answer(id, 126, busy, sizeof(busy) - 1);
		return;
	}
	memset(job, 0, sizeof(*job));
	job->id = id;
	job->fd = fds[0];
	job->pid = fork();
	if (job->pid == 0)
		child(text, fds[1]);
	close(fds[1]);
	if (job->pid < 0) {
		close(fds[0]);
		job->pid = 0;
		answer(id, 126, busy, sizeof(busy) - 1);
		return;
	}
	setpgid(job->pid, job->pid);
}

static void request(void)
{
	static char text[TEXT_MAX + 1];
	char line[64];
	long id;
	unsigned long value;

	read_line(line, sizeof(line));
	if (sscanf(line, "RUN %ld %lu", &id, &value) == 2 &&
	    value <= TEXT_MAX) {
		read_all(text, value);
		text[value] = '\0';
		run(id, text);
	} else if (sscanf(line, "SIGNAL %ld %lu", &id, &value) == 2) {
		for (struct job *job = jobs; job < jobs + JOBS_MAX; job++)
			if (job->pid && job->id == id && !job->reaped)
				kill(-job->pid, value);
	} else {
		fprintf(stderr, "agent: bad request \"%s\"\n", line);
	}
}

static void collect(struct job *job)
{
	char data[4096];
	ssize_t n = read(job->fd, data, sizeof(data));

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		close(job->fd);
		job->fd = -1;
		return;
	}
	if (job->length + n > OUTPUT_MAX)
		n = OUTPUT_MAX - job->length;
	if (job->length + n > job->room) {
		size_t room = job->room ? 2 * job->room : 2 * sizeof(data);
		char *more = realloc(job->output, room);

		if (!more)
			return;
		job->output = more;
		job->room = room;
	}
	memcpy(job->output + job->length, data, n);
	job->length += n;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (struct job *job = jobs; job < jobs + JOBS_MAX; job++)
			if (job->pid == pid && !job->reaped) {
				job->status = status;
				job->reaped = 1;
			}
}

static void finish(void)
{
	for (struct job *job = jobs; job < jobs + JOBS_MAX; job++) {
		if (!job->pid || job->fd >= 0 || !job->reaped)
			continue;
		answer(job->id, WIFEXITED(job->status) ?
		       WEXITSTATUS(job->status) : 128 + WTERMSIG(job->status),
		       job->output, job->length);
		free(job->output);
		job->pid = 0;
	}
}

static void serve(void)
{
	struct pollfd fds[JOBS_MAX + 1];
	struct job *of[JOBS_MAX + 1];
	int ended = 0, n = 1;

	fds[0] = (struct pollfd){ .fd = port, .events = POLLIN };
	for (struct job *job = jobs; job < jobs + JOBS_MAX; job++) {
		if (!job->pid)
			continue;
		if (job->fd < 0) {
			ended = 1;
			continue;
		}
		fds[n] = (struct pollfd){ .fd = job->fd, .events = POLLIN };
		of[n++] = job;
	}
	/* A command may close its output before it exits: check again soon. */
	if (poll(fds, n, ended ? 10 : 1000) > 0) {
		for (int i = 1; i < n; i++)
			if (fds[i].revents)
				collect(of[i]);
		if (fds[0].revents & POLLIN)
			request();
		else if (fds[0].revents)
			usleep(10000);
	}
	reap();
	finish();
}

int main(int argc, char **argv)
{
	struct termios tty;
	int score;

	if (argc != 2) {
		fprintf(stderr, "usage: agent PORT\n");
		return 2;
	}
	port = open(argv[1], O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (port < 0)
		die(argv[1]);
	if (!tcgetattr(port, &tty)) {
		cfmakeraw(&tty);
		tcsetattr(port, TCSANOW, &tty);
	}
	score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (score < 0 || write(score, "-1000", 5) < 0)
		perror("agent: oom_score_adj");
	signal(SIGPIPE, SIG_IGN);
	write_all("READY\n", 6);
	for (;;)
		serve();
}
