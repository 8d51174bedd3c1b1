/*
 * One request and its answer, and the queues of those that wait to be answered.
 *
 * All that wait in a queue wait equally long: the first to come is the first to be answered.
 * Nothing is allocated for a request once there have been as many at one time.
 */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "reply.h"

struct connection;

TAILQ_HEAD(exchanges, exchange);

struct exchange {
	struct connection *connection;
	struct delay *delay; /* whose queue it is in; NULL if in none */
	TAILQ_ENTRY(exchange) place;
	uint64_t due_ns;
	struct finder finder;
	bool is_revocation;
	enum reply reply;
	/* HTTP/2 alone */
	uint32_t stream;
	struct exchange *next; /* of those whose streams share a slot */
	bool is_whole;         /* the request */
	bool is_ready;         /* waits to be sent */
	bool is_head_sent;
	size_t body_sent;
	int64_t credit; /* what may be sent, beyond the window that every stream begins with */
};

/* A time to wait, and who waits. */
struct delay {
	uint64_t ns;
	struct exchanges waiting;
};

/* A zeroed one for a connection; ends the process without memory. */
struct exchange *exchange_new(struct connection *connection);

/* Also if it waits: then it is not answered. NULL is allowed. */
void exchange_free(struct exchange *exchange);

/* What it is about. */
void exchange_set_path(struct exchange *exchange, const void *path, size_t len);

/* The request is whole, at this moment: it is answered now or after the delay, by its connection's
 * protocol. */
void exchange_finish(struct exchange *exchange, struct delay *delay, uint64_t now_ns);

/* Answers those that are due. */
void delay_run(struct delay *delay, uint64_t now_ns);

/* When the next is due; UINT64_MAX for never. */
uint64_t delay_next_ns(const struct delay *delay);

#endif
