#include "clients.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTS_AT_ONCE 200
#define CONNECTS_PER_SECOND 2000 /* each may lead to a TLS handshake behind the server */
#define CONNECT_NS (30 * SECOND_NS)
#define ANSWER_NS (30 * SECOND_NS)
#define SOURCES 8
#define EVENTS 512

uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

void fail(const char *what)
{
	fprintf(stderr, "logins: %s: %s\n", what, strerror(errno));
	exit(1);
}

void clients_init(struct clients *clients, uint16_t port, size_t count)
{
	*clients = (struct clients){.port = port, .count = count};
	clients->all = calloc(count, sizeof(*clients->all));
	clients->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!clients->all || clients->epoll < 0)
		fail("start");
}

/* ---- one client ---- */

static void client_open(struct clients *clients, struct client *client)
{
	uint32_t number = (uint32_t)(client - clients->all);
	struct sockaddr_in source = {.sin_family = AF_INET};
	struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(clients->port)};
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
	int yes = 1;

	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		fail("socket");
	source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number % SOURCES);
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
	if (bind(client->fd, (struct sockaddr *)&source, sizeof(source)) < 0)
		fail("bind");
	if (connect(client->fd, (struct sockaddr *)&server, sizeof(server)) < 0 &&
	    errno != EINPROGRESS)
		fail("connect");
	client->state = CONNECTING;
	client->have = 0;
	if (epoll_ctl(clients->epoll, EPOLL_CTL_ADD, client->fd, &event) < 0)
		fail("epoll");
}

static void client_close(struct clients *clients, struct client *client)
{
	if (client->state != CONNECTING)
		clients->live--;
	if (client->state != IDLE) {
		clients->tally.socket++;
		clients->tally.ended++;
	}
	close(client->fd);
	client->state = CLOSED;
}

void client_send(struct clients *clients, struct client *client, uint64_t due_ns)
{
	char body[128], request[512];
	int body_len = snprintf(
		body, sizeof(body),
		"{\"username\":\"user-%lu\",\"password\":\"correct horse battery staple\"}",
		++clients->tally.sent);
	int len = snprintf(request, sizeof(request),
			   "POST /login HTTP/1.1\r\nHost: localhost\r\n"
			   "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			   body_len, body);

	client->state = BUSY;
	client->due_ns = due_ns;
	client->have = 0;
	if (send(client->fd, request, (size_t)len, MSG_NOSIGNAL) != len)
		client_close(clients, client);
}

/* Whether all of the answer is there: as long as it says, or its last chunk. */
static bool is_whole(const struct client *client)
{
	const char *end = strstr(client->in, "\r\n\r\n");
	const char *length = strcasestr(client->in, "\r\ncontent-length:");

	if (!end)
		return false;
	if (length && length < end)
		return client->have >=
		       (size_t)(end + 4 - client->in) + strtoul(length + 17, NULL, 10);
	return strcmp(client->in + client->have - 5, "0\r\n\r\n") == 0;
}

static void count_answer(struct tally *tally, const struct client *client, uint64_t now)
{
	unsigned long status = strtoul(client->in + strlen("HTTP/1.1 "), NULL, 10);

	tally->ended++;
	if (status != 200) {
		tally->by_status[status <= STATUS_MAX ? status : 0]++;
	} else if (!strstr(client->in, "\"access_token\"")) {
		tally->bad_body++;
	} else {
		if (tally->good == tally->room) {
			tally->room = tally->room ? 2 * tally->room : 1 << 16;
			tally->took_us =
				realloc(tally->took_us, tally->room * sizeof(*tally->took_us));
			if (!tally->took_us)
				fail("memory");
		}
		tally->took_us[tally->good++] = (uint32_t)((now - client->due_ns) / 1000);
	}
}

static void on_answer(struct clients *clients, struct client *client)
{
	uint64_t now = clock_ns();
	bool is_last = strcasestr(client->in, "\r\nconnection: close\r\n") != NULL;

	if (!client->is_served) {
		client->is_served = true;
		clients->served++;
	}
	if (now >= clients->from_ns)
		count_answer(&clients->tally, client, now);
	client->state = IDLE;
	client->have = 0;
	if (is_last)
		client_close(clients, client);
	else if (clients->is_closed_loop)
		client_send(clients, client, now);
}

static void client_read(struct clients *clients, struct client *client)
{
	while (client->state != CLOSED) {
		ssize_t got = recv(client->fd, client->in + client->have,
				   sizeof(client->in) - 1 - client->have, 0);

		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			client_close(clients, client);
			return;
		}
		client->have += (size_t)got;
		client->in[client->have] = '\0';
		if (client->state == BUSY && is_whole(client))
			on_answer(clients, client);
	}
}

static void client_event(struct clients *clients, struct client *client, uint32_t events)
{
	if (client->state == CONNECTING && (events & EPOLLOUT) && !(events & EPOLLERR)) {
		client->state = IDLE;
		clients->live++;
		if (clients->is_closed_loop)
			client_send(clients, client, clock_ns());
	} else if (client->state != CLOSED && (events & (EPOLLIN | EPOLLERR | EPOLLHUP))) {
		client_read(clients, client);
	}
}

/* ---- all of them ---- */

void clients_turn(struct clients *clients, uint64_t until_ns)
{
	struct epoll_event events[EVENTS];
	uint64_t now = clock_ns();
	uint64_t wait_ns = until_ns > now ? until_ns - now : 0;
	struct timespec wait = {.tv_sec = (time_t)(wait_ns / SECOND_NS),
				.tv_nsec = (long)(wait_ns % SECOND_NS)};
	int count = epoll_pwait2(clients->epoll, events, EVENTS, &wait, NULL);

	if (count < 0 && errno != EINTR)
		fail("epoll");
	for (int i = 0; i < count; i++)
		client_event(clients, events[i].data.ptr, events[i].events);
}

/* How many may be open so long after the start. */
static size_t ramp(const struct clients *clients, uint64_t passed_ns)
{
	size_t by_rate = 1 + (size_t)(passed_ns * CONNECTS_PER_SECOND / SECOND_NS);
	size_t by_queue = clients->live + CONNECTS_AT_ONCE;
	size_t most = by_rate < by_queue ? by_rate : by_queue;

	return most < clients->count ? most : clients->count;
}

void clients_connect(struct clients *clients)
{
	uint64_t start = clock_ns();
	size_t opened = 0;

	while (clients->live < clients->count && clock_ns() < start + CONNECT_NS) {
		for (; opened < ramp(clients, clock_ns() - start); opened++)
			client_open(clients, &clients->all[opened]);
		clients_turn(clients, clock_ns() + SECOND_NS / 1000);
	}
}

void clients_await_answers(struct clients *clients)
{
	uint64_t end = clock_ns() + ANSWER_NS;

	while (clients->served < clients->count && clock_ns() < end) {
		clients_turn(clients, clock_ns() + SECOND_NS / 1000);
		clients_reopen(clients);
	}
}

void clients_reopen(struct clients *clients)
{
	if (clients->live == clients->count)
		return;
	for (size_t i = 0; i < clients->count; i++)
		if (clients->all[i].state == CLOSED)
			client_open(clients, &clients->all[i]);
}

struct client *clients_find_idle(struct clients *clients)
{
	for (size_t i = 0; i < clients->count; i++) {
		struct client *client = &clients->all[clients->next++ % clients->count];

		if (client->state == IDLE)
			return client;
	}
	return NULL;
}
