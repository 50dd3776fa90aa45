/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that costs next to nothing, so that what is measured is the way to it: answers every
 * HTTP/1.1 request on $PORT with 200 and two bytes, by one epoll loop. Requests without a body only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_FDS 65536
#define REQUEST_BYTES 8192

static const char KEEP[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";
static const char CLOSE[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
			    "Connection: close\r\n\r\nok\n";

struct connection {
	size_t used;
	char data[REQUEST_BYTES];
};

static struct connection *connections[MOST_FDS];

static void hang_up(int fd)
{
	free(connections[fd]);
	connections[fd] = NULL;
	close(fd);
}

/* Answer every whole request in the buffer; 0 when the connection is to be closed. */
static int answer(int fd, struct connection *c)
{
	char *end;

	while ((end = memmem(c->data, c->used, "\r\n\r\n", 4))) {
		size_t size = end + 4 - c->data;
		int last;

		*end = 0;
		last = strcasestr(c->data, "\r\nconnection: close") != NULL;
		if (last ? send(fd, CLOSE, sizeof(CLOSE) - 1, MSG_NOSIGNAL) < 0 :
			   send(fd, KEEP, sizeof(KEEP) - 1, MSG_NOSIGNAL) < 0)
			return 0;
		if (last)
			return 0;
		c->used -= size;
		memmove(c->data, c->data + size, c->used);
	}
	return c->used < REQUEST_BYTES;
}

static void serve(int fd)
{
	struct connection *c = connections[fd];
	ssize_t size = recv(fd, c->data + c->used, REQUEST_BYTES - c->used, 0);

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size <= 0) {
		hang_up(fd);
		return;
	}
	c->used += size;
	if (!answer(fd, c))
		hang_up(fd);
}

static void welcome(int poll_fd, int listener)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd, one = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (fd >= MOST_FDS || !(connections[fd] = calloc(1, sizeof(struct connection)))) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		event.data.fd = fd;
		epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
	}
}

int main(void)
{
	const char *port = getenv("PORT");
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port ? atoi(port) : 8080),
	};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	int poll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 4096)) {
		perror("answer");
		return 1;
	}
	epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int count = epoll_wait(poll_fd, events, 256, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == listener)
				welcome(poll_fd, listener);
			else
				serve(events[i].data.fd);
		}
	}
}
