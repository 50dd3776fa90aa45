/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load at a fixed rate that does not omit waiting time: request i is due at i / rate, and its latency
 * counts from then, whether or not a connection was free to send it. (A closed loop such as wrk's
 * sends later when answers are late, and so hides how long users would have waited.)
 *
 * usage: pace HOST PORT PATH RATE CONNECTIONS SECONDS [new]  -> one line of JSON, microseconds
 *
 * With `new` every request opens a connection of its own, CONNECTIONS at most at a time. What is not
 * answered within SECONDS and a grace of 2 s is an error, with its latency until then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL
#define REPLY_BYTES 16384
#define GRACE_NS (2 * NS)

enum state { CLOSED, OPENING, OPEN };

struct connection {
	int fd;
	enum state state;
	int busy;
	long long due;
	size_t used;
	char data[REPLY_BYTES];
};

static struct addrinfo *target;
static struct connection *connections;
static int count, busy, poll_fd, renew;
static char request[2048];
static long long *latencies;
static long answered, errors;

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

static void finish(struct connection *c, long *kind)
{
	if (!c->busy)
		return;
	latencies[answered + errors] = now() - c->due;
	(*kind)++;
	c->busy = 0;
	busy--;
}

static void hang_up(struct connection *c)
{
	if (c->state != CLOSED)
		close(c->fd);
	c->state = CLOSED;
	c->used = 0;
}

static void failed(struct connection *c)
{
	finish(c, &errors);
	hang_up(c);
}

static void put(struct connection *c)
{
	if (send(c->fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
		failed(c);
}

/* The connection is made, or is not. */
static void opened(struct connection *c)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	socklen_t size = sizeof(int);
	int error = 0, one = 1;

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error || epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event)) {
		failed(c);
		return;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->state = OPEN;
	if (c->busy)
		put(c);
}

static void dial(struct connection *c)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0) {
		failed(c);
		return;
	}
	c->state = OPENING;
	c->used = 0;
	if ((connect(c->fd, target->ai_addr, target->ai_addrlen) && errno != EINPROGRESS) ||
	    epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event))
		failed(c);
}

static void ask(struct connection *c, long long due)
{
	c->busy = 1;
	c->due = due;
	busy++;
	if (c->state == CLOSED)
		dial(c);
	else if (c->state == OPEN)
		put(c);
}

/* Bytes of a whole reply in the buffer, 0 for not yet, -1 for none that is understood. */
static long whole(struct connection *c)
{
	char *end = memmem(c->data, c->used, "\r\n\r\n", 4), *length;
	long total;

	if (!end)
		return c->used < REPLY_BYTES ? 0 : -1;
	*end = 0;
	length = strcasestr(c->data, "\r\ncontent-length:");
	total = length ? end + 4 - c->data + atol(length + 17) : -1;
	*end = '\r';
	return total < 0 || total > REPLY_BYTES ? -1 : (size_t)total <= c->used ? total : 0;
}

static void hear(struct connection *c)
{
	ssize_t got = recv(c->fd, c->data + c->used, REPLY_BYTES - c->used, 0);
	long total;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0 || !c->busy) {
		failed(c);
		return;
	}
	c->used += got;
	total = whole(c);
	if (total < 0 || (total > 0 && strncmp(c->data + 8, " 200", 4))) {
		failed(c);
	} else if (total > 0) {
		finish(c, &answered);
		c->used = 0;
		if (renew)
			hang_up(c);
	}
}

static struct connection *idle(void)
{
	static int next;

	while (busy < count) {
		struct connection *c = &connections[next];

		next = (next + 1) % count;
		if (!c->busy)
			return c;
	}
	return NULL;
}

/* Until something arrives, but for so long at most. */
static void wait_until(long long when)
{
	long long left = when - now();
	struct timespec pause = {0};
	struct epoll_event events[256];
	int ready;

	if (left > 0) {
		pause.tv_sec = left / NS;
		pause.tv_nsec = left % NS;
	}
	ready = epoll_pwait2(poll_fd, events, 256, &pause, NULL);
	for (int i = 0; i < ready; i++) {
		struct connection *c = events[i].data.ptr;

		if (c->state == OPENING)
			opened(c);
		else if (c->state == OPEN)
			hear(c);
	}
}

static int by_size(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return (x > y) - (x < y);
}

static double at(double share)
{
	return latencies[(long)(share * (answered + errors - 1))] / 1000.0;
}

static void run(long size, long long step)
{
	long long start = now(), end = start + size * step + GRACE_NS;
	long sent = 0;

	while ((sent < size || busy) && now() < end) {
		while (sent < size && start + sent * step <= now() && busy < count) {
			ask(idle(), start + sent * step);
			sent++;
		}
		/* With all connections busy only an answer helps. */
		wait_until(sent < size && busy < count ? start + sent * step : end);
	}
	for (int i = 0; i < count; i++)
		failed(&connections[i]);
	for (; sent < size; sent++) {
		latencies[answered + errors] = now() - (start + sent * step);
		errors++;
	}
}

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	long rate = argc > 4 ? atol(argv[4]) : 0, size;

	renew = argc == 8 && !strcmp(argv[7], "new");
	count = argc > 5 ? atoi(argv[5]) : 0;
	size = argc > 6 ? (long)(atof(argv[6]) * rate) : 0;
	if (argc != 7 + renew || rate < 1 || count < 1 || size < 1) {
		fprintf(stderr, "usage: pace HOST PORT PATH RATE CONNECTIONS SECONDS [new]\n");
		return 2;
	}
	if (getaddrinfo(argv[1], argv[2], &hints, &target)) {
		fprintf(stderr, "pace: cannot resolve %s\n", argv[1]);
		return 2;
	}
	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s:%s\r\n%s\r\n", argv[3], argv[1],
		 argv[2], renew ? "Connection: close\r\n" : "");
	/* The kernel may otherwise wake us 50 us late, which would count as latency. */
	prctl(PR_SET_TIMERSLACK, 1);
	connections = calloc(count, sizeof(*connections));
	latencies = calloc(size, sizeof(*latencies));
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!connections || !latencies || poll_fd < 0) {
		perror("pace");
		return 3;
	}
	for (int i = 0; !renew && i < count; i++)
		dial(&connections[i]);
	run(size, NS / rate);
	qsort(latencies, size, sizeof(*latencies), by_size);
	printf("{\"sent\": %ld, \"answered\": %ld, \"errors\": %ld, \"p50_us\": %.1f, \"p90_us\": %.1f, "
	       "\"p99_us\": %.1f, \"max_us\": %.1f}\n",
	       size, answered, errors, at(0.5), at(0.9), at(0.99), at(1));
	return 0;
}
