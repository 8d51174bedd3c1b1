/*
 * Clients that send JSON logins over kept HTTP/1.1 connections, and the tally of their answers.
 *
 * One thread, one epoll loop. They come from eight loopback addresses, since the ports of one are
 * few.
 */
#ifndef CLIENTS_H
#define CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECOND_NS 1000000000ULL
#define STATUS_MAX 599

enum client_state { CLOSED, CONNECTING, IDLE, BUSY };

struct client {
	int fd;
	enum client_state state;
	bool is_served;  /* has had an answer */
	uint64_t due_ns; /* of the login under way */
	size_t have;
	char in[4096];
};

struct tally {
	unsigned long sent;
	unsigned long by_status[STATUS_MAX + 1]; /* answers that are not 200; others in 0 */
	unsigned long bad_body;                  /* 200 without an access token */
	unsigned long socket; /* connections refused, or lost in the middle of a login */
	size_t ended;         /* all of these, and the good ones */
	uint32_t *took_us;    /* of each good answer */
	size_t good;
	size_t room;
};

struct clients {
	struct client *all;
	size_t count;
	size_t live;         /* connected */
	size_t served;       /* have had an answer, whatever it said */
	size_t next;         /* where the search for an idle one begins */
	bool is_closed_loop; /* the next login is sent when the last is answered */
	uint64_t from_ns;    /* answers before do not count */
	uint16_t port;       /* of 127.0.0.1 */
	int epoll;
	struct tally tally;
};

uint64_t clock_ns(void);

/* Ends the program with a message and errno's text. */
void fail(const char *what);

/* count clients for a port, none of them connected. */
void clients_init(struct clients *clients, uint16_t port, size_t count);

/* Opens all, a few at a time, so that no queue of the server's, or of those behind it, overflows.
 */
void clients_connect(struct clients *clients);

/* Until each has had an answer, for half a minute at most: a TLS handshake behind the server may
 * take longer than all that follows. */
void clients_await_answers(struct clients *clients);

/* Begins to open those that the server closed. */
void clients_reopen(struct clients *clients);

/* Handles what there is, after waiting until the moment if there is nothing. */
void clients_turn(struct clients *clients, uint64_t until_ns);

/* One that is connected and has nothing to do; NULL if there is none. */
struct client *clients_find_idle(struct clients *clients);

/* Sends a login. due_ns: when it should have been sent, which its time counts from. */
void client_send(struct clients *clients, struct client *client, uint64_t due_ns);

#endif
