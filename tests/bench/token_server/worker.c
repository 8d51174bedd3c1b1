#include "worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 8192
#define EVENTS 512
#define MILLISECOND_NS 1000000ULL

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

void worker_look_at_clock(struct worker *worker)
{
	worker->now_ns = clock_ns();
}

/* ---- who connects ---- */

static void listener_on_event(struct source *source);

/* -1: this machine has no such address. */
static int open_socket(const struct endpoint *endpoint, int family)
{
	struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = htons(endpoint->port)};
	struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6, .sin6_port = htons(endpoint->port)};
	bool is_ip4 = family == AF_INET;
	const struct sockaddr *address = is_ip4 ? (struct sockaddr *)&ip4 : (struct sockaddr *)&ip6;
	socklen_t len = is_ip4 ? sizeof(ip4) : sizeof(ip6);
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char name[32];
	int yes = 1;

	ip4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ip6.sin6_addr = in6addr_loopback;
	snprintf(name, sizeof(name), "port %u", endpoint->port);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) == 0 &&
	    bind(fd, address, len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	if (is_ip4 || (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT))
		fail("listen on", name, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

void worker_listen(struct worker *worker, const struct options *options)
{
	static const int families[HOSTS] = {AF_INET, AF_INET6};

	*worker = (struct worker){.options = options};
	for (size_t i = 0; i < options->endpoint_count * HOSTS; i++) {
		const struct endpoint *endpoint = &options->endpoints[i / HOSTS];

		worker->listeners[i] =
			(struct listener){.source = {.on_event = listener_on_event},
					  .worker = worker,
					  .endpoint = endpoint,
					  .delay = &worker->delays[i / HOSTS],
					  .fd = open_socket(endpoint, families[i % HOSTS])};
	}
}

void worker_close(struct worker *worker)
{
	for (size_t i = 0; i < worker->options->endpoint_count * HOSTS; i++)
		if (worker->listeners[i].fd >= 0)
			close(worker->listeners[i].fd);
}

static void watch_listeners(struct worker *worker, uint32_t events)
{
	for (size_t i = 0; i < worker->options->endpoint_count * HOSTS; i++) {
		struct listener *listener = &worker->listeners[i];
		struct epoll_event event = {.events = events, .data.ptr = &listener->source};

		if (listener->fd < 0)
			continue;
		if (epoll_ctl(worker->epoll, EPOLL_CTL_MOD, listener->fd, &event) < 0)
			epoll_ctl(worker->epoll, EPOLL_CTL_ADD, listener->fd, &event);
	}
}

static void listener_on_event(struct source *source)
{
	struct listener *listener = (struct listener *)source;
	struct worker *worker = listener->worker;

	for (;;) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			connection_open(worker, listener->delay, listener->endpoint->is_http2, fd);
		} else if (errno == EMFILE || errno == ENFILE) {
			worker->is_full = true;
			watch_listeners(worker, 0);
			return;
		} else if (errno != ECONNABORTED && errno != EINTR) {
			return;
		}
	}
}

void worker_accept_again(struct worker *worker)
{
	if (!worker->is_full)
		return;
	worker->is_full = false;
	watch_listeners(worker, EPOLLIN);
}

/* ---- the loop ---- */

/* In whole milliseconds, rounded up: those that are due within one are answered together. */
static int wait_ms(const struct worker *worker)
{
	uint64_t next_ns = UINT64_MAX;
	uint64_t now_ns = clock_ns();

	for (size_t i = 0; i < worker->options->endpoint_count; i++) {
		uint64_t due_ns = delay_next_ns(&worker->delays[i]);

		if (due_ns < next_ns)
			next_ns = due_ns;
	}
	if (next_ns == UINT64_MAX)
		return -1;
	if (next_ns <= now_ns)
		return 0;
	return (int)((next_ns - now_ns + MILLISECOND_NS - 1) / MILLISECOND_NS);
}

static void flush_all(struct worker *worker)
{
	struct connection *connection;

	while ((connection = STAILQ_FIRST(&worker->flushes))) {
		STAILQ_REMOVE_HEAD(&worker->flushes, flush);
		connection->is_flush_due = false;
		connection_flush(connection);
	}
}

/* Not before all events of the turn were looked at: one of them may be theirs. */
static void bury_all(struct worker *worker)
{
	struct connection *connection;

	while ((connection = STAILQ_FIRST(&worker->graves))) {
		STAILQ_REMOVE_HEAD(&worker->graves, grave);
		connection_free(connection);
	}
}

static void turn(struct worker *worker)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(worker->epoll, events, EVENTS, wait_ms(worker));

	reply_refresh();
	for (int i = 0; i < count; i++) {
		struct source *source = events[i].data.ptr;

		source->on_event(source);
	}
	worker_look_at_clock(worker);
	for (size_t i = 0; i < worker->options->endpoint_count; i++)
		delay_run(&worker->delays[i], worker->now_ns);
	flush_all(worker);
	bury_all(worker);
}

void worker_run(struct worker *worker, SSL_CTX *tls, struct counts *counts)
{
	worker->tls = tls;
	worker->counts = counts;
	worker->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (worker->epoll < 0)
		fail("start", "epoll", strerror(errno));
	STAILQ_INIT(&worker->flushes);
	STAILQ_INIT(&worker->graves);
	for (size_t i = 0; i < worker->options->endpoint_count; i++) {
		worker->delays[i].ns = worker->options->endpoints[i].delay_ns;
		TAILQ_INIT(&worker->delays[i].waiting);
	}
	watch_listeners(worker, EPOLLIN);
	for (;;)
		turn(worker);
}
