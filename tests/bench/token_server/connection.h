/*
 * One TLS connection: its handshake, its bytes in and out, and the protocol that was agreed on.
 *
 * What is to be sent is asked of the protocol at the end of each turn of the loop, so that many
 * answers go out in one TLS record.
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "exchange.h"

struct worker;

/* Something that epoll watches. */
struct source {
	void (*on_event)(struct source *source);
};

struct protocol {
	/* Makes connection->state. */
	void (*start)(struct connection *connection);
	/* Takes bytes. False: nothing can come of the connection any more, or it is closed. */
	bool (*receive)(struct connection *connection, const uint8_t *data, size_t len);
	/* An exchange is to be answered; it is the protocol's to free. */
	void (*answer)(struct exchange *exchange);
	/* The next bytes to be sent, at most so many; returns their number, 0 for none. */
	size_t (*fill)(struct connection *connection, uint8_t *out, size_t room);
	/* Frees state, and the exchanges under way. */
	void (*stop)(struct connection *connection);
};

struct connection {
	struct source source;
	struct worker *worker;
	struct delay *delay;             /* of its port */
	const struct protocol *protocol; /* NULL during the handshake */
	void *state;
	int fd;
	SSL *ssl;
	bool is_http2_offered;
	bool is_flush_due;
	bool is_last; /* hang up when all is sent */
	bool is_closed;
	uint32_t events;
	uint8_t *unsent; /* a record that the socket did not take */
	size_t unsent_len;
	STAILQ_ENTRY(connection) flush; /* in its worker's list */
	STAILQ_ENTRY(connection) grave; /* likewise */
};

STAILQ_HEAD(connections, connection);

/* Takes a descriptor that was accepted. */
void connection_open(struct worker *worker, struct delay *delay, bool is_http2_offered, int fd);

/* There may be something to send: at the end of the turn it is. */
void connection_flush_later(struct connection *connection);

/* Sends what there is; may close the connection. */
void connection_flush(struct connection *connection);

/* Of one that is closed. */
void connection_free(struct connection *connection);

/* Ends the process if one of the files cannot be used. */
SSL_CTX *connection_make_context(const char *certificate, const char *key);

#endif
