/*
 * The HTTP/2 connections to one server, and the calls on them.
 *
 * Floor 1. No other room includes it; they include upstream.h. libcurl makes the connections:
 * names, proxy, TLS and its verification. From then on nghttp2 (http2.h) and OpenSSL (tls.h) do the
 * rest without it. A connection carries as many calls as the server allows, up to
 * STREAMS_PER_CONNECTION; new ones are opened only for calls that find no room, and their number
 * has a limit. What was written in one turn of the loop goes out in one piece.
 */
#ifndef UPSTREAM_POOL_H
#define UPSTREAM_POOL_H

#include <curl/curl.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "http2.h"
#include "loop.h"
#include "upstream_call.h"

LIST_HEAD(connection_list, connection);
TAILQ_HEAD(connection_queue, connection);
TAILQ_HEAD(call_queue, call);

struct upstream_pool {
	struct upstream *upstream;
	struct loop *loop;
	const char *url;           /* of the server; borrowed */
	size_t connections_max;    /* of these */
	bool is_http1;             /* the server is known not to speak HTTP/2: no calls for here */
	struct call_queue waiting; /* for room on a connection */
	size_t waiting_count;
	struct connection_list connecting; /* those being made */
	size_t connecting_count;
	struct connection_list roomy;   /* those that take more calls; the last used first */
	struct connection_list busy;    /* those that do not */
	size_t connection_count;        /* that take calls, or will; the others end with theirs */
	struct connection_queue unsent; /* those with something to send */
	struct loop_turn turn;
};

/* url and the rest are borrowed until upstream_pool_close(). Sets up to connections_max timers, and
 * each connection takes up to UPSTREAM_CONNECTION_FDS descriptors. */
void upstream_pool_open(struct upstream_pool *pool, struct upstream *upstream, struct loop *loop,
			const char *url, size_t connections_max);

/* Takes a call, which ends by upstream_end(), perhaps before this returns. call->pool and
 * call->target are set. */
void upstream_pool_post(struct upstream_pool *pool, struct call *call);

/* Takes a call out, wherever it is. is_late: it got no answer in time. */
void upstream_pool_forget(struct call *call, bool is_late);

/* The first call that waits, taken out; NULL for none. */
struct call *upstream_pool_take_waiting(struct upstream_pool *pool);

/* A transfer that makes a connection for a call that waits; NULL for none. */
CURL *upstream_pool_connector(const struct upstream_pool *pool);

/* Ends all connections. No call is on them. */
void upstream_pool_drop(struct upstream_pool *pool);

void upstream_pool_close(struct upstream_pool *pool);

#endif
