/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load at a fixed rate that does not omit waiting time: request i is due at i / rate, and its latency
 * counts from then, whether or not a connection was free to send it. (A closed loop such as wrk's
 * sends later when answers are late, and so hides how long users would have waited.)
 *
 * usage: pace HOST PORT PATH RATE CONNECTIONS SECONDS   -> one line of JSON, microseconds
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL
#define REPLY_BYTES 16384
#define GRACE_NS (2 * NS)

struct connection {
	int fd;
	int busy;
	long long due;
	size_t used;
	char data[REPLY_BYTES];
};

static struct addrinfo *target;
static struct connection *connections;
static int count, poll_fd;
static char request[2048];
static long long *latencies;
static long answered, errors, size;

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

static void record(long long due)
{
	if (answered + errors < size)
		latencies[answered + errors] = now() - due;
}

static int dial(struct connection *c)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, target->ai_addr, target->ai_addrlen))
		return -1;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

static void failed(struct connection *c)
{
	if (c->busy) {
		record(c->due);
		errors++;
	}
	close(c->fd);
	c->busy = 0;
	c->used = 0;
	if (dial(c))
		exit(3);
}

static void ask(struct connection *c, long long due)
{
	c->busy = 1;
	c->due = due;
	c->used = 0;
	if (send(c->fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		failed(c);
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
	ssize_t got = recv(c->fd, c->data + c->used, REPLY_BYTES - c->used, MSG_DONTWAIT);
	long total;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		failed(c);
		return;
	}
	c->used += got;
	total = whole(c);
	if (total < 0 || (total > 0 && strncmp(c->data + 8, " 200", 4))) {
		failed(c);
	} else if (total > 0) {
		record(c->due);
		answered++;
		c->busy = 0;
	}
}

static struct connection *idle(void)
{
	static int next;

	for (int i = 0; i < count; i++) {
		struct connection *c = &connections[(next + i) % count];

		if (!c->busy) {
			next = (next + i + 1) % count;
			return c;
		}
	}
	return NULL;
}

static int outstanding(void)
{
	int busy = 0;

	for (int i = 0; i < count; i++)
		busy += connections[i].busy;
	return busy;
}

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
	for (int i = 0; i < ready; i++)
		hear(events[i].data.ptr);
}

static int by_size(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return (x > y) - (x < y);
}

static double at(double share)
{
	long last = answered + errors - 1;

	return last < 0 ? 0 : latencies[(long)(share * last)] / 1000.0;
}

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	long long start, end, step;
	long sent = 0;

	if (argc != 7 || getaddrinfo(argv[1], argv[2], &hints, &target)) {
		fprintf(stderr, "pace: cannot resolve, or usage: HOST PORT PATH RATE CONNECTIONS SECONDS\n");
		return 2;
	}
	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s:%s\r\n\r\n", argv[3], argv[1],
		 argv[2]);
	step = NS / atol(argv[4]);
	count = atoi(argv[5]);
	size = atof(argv[6]) * NS / step;
	connections = calloc(count, sizeof(*connections));
	latencies = calloc(size + 1, sizeof(*latencies));
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < count; i++) {
		if (dial(&connections[i])) {
			perror("pace: connect");
			return 3;
		}
	}
	start = now();
	while (sent < size) {
		struct connection *c;

		while (sent < size && start + sent * step <= now() && (c = idle()))
			ask(c, start + sent++ * step);
		/* With all connections busy only an answer helps; look again soon. */
		wait_until(start + sent * step > now() ? start + sent * step : now() + NS / 10000);
	}
	end = now() + GRACE_NS;
	while (outstanding() && now() < end)
		wait_until(end);
	for (int i = 0; i < count; i++) {
		if (connections[i].busy) {
			record(connections[i].due);
			errors++;
		}
	}
	qsort(latencies, answered + errors, sizeof(*latencies), by_size);
	printf("{\"sent\": %ld, \"answered\": %ld, \"errors\": %ld, \"p50_us\": %.1f, \"p90_us\": %.1f, "
	       "\"p99_us\": %.1f, \"max_us\": %.1f}\n",
	       sent, answered, errors, at(0.5), at(0.9), at(0.99), at(1));
	return 0;
}
