#include "upstream_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "ceilings.h"
#include "tls.h"
#include "upstream_drive.h"

enum connection_state {
	CONNECTING, /* libcurl is at it: in pool->connecting */
	ROOMY,      /* in pool->roomy */
	BUSY,       /* full, or the server takes no more: in pool->busy */
};

struct connection {
	LIST_ENTRY(connection) entry;
	struct upstream_pool *pool;
	enum connection_state state;
	struct upstream_drive drive; /* while CONNECTING */
	CURLM *multi; /* with this connection alone: libcurl closes those that it takes
		       * for idle whenever it makes another */
	CURL *easy;   /* the connection is libcurl's to close */
	struct tls tls;
	struct http2 *http2; /* NULL while CONNECTING */
	struct loop_io io;
	uint32_t watched; /* epoll events */
	struct call_queue calls;
	size_t call_count;
	bool is_leaving; /* takes no more calls, and ends with its last */
	bool is_lost;    /* has ended: to be freed at the turn's end */
	bool is_unsent;  /* in pool->unsent */
	TAILQ_ENTRY(connection) unsent_entry;
	struct secret out; /* what is to be written, from out_at on */
	size_t out_at;
	uint64_t heard_us;  /* when the server last said anything */
	size_t heard_bytes; /* since a login on it last ended by what it said */
	char error[CURL_ERROR_SIZE];
};

static void pump(struct upstream_pool *pool);

/* ---- a connection's place ---- */

static struct connection_list *list_of(struct upstream_pool *pool, enum connection_state state)
{
	return state == CONNECTING ? &pool->connecting
	       : state == ROOMY    ? &pool->roomy
				   : &pool->busy;
}

static void enter(struct connection *connection, enum connection_state state)
{
	struct upstream_pool *pool = connection->pool;

	pool->connecting_count -= connection->state == CONNECTING;
	LIST_REMOVE(connection, entry);
	connection->state = state;
	LIST_INSERT_HEAD(list_of(pool, state), connection, entry);
}

/* It takes no more calls, and another may be made in its place. */
static void retire(struct connection *connection)
{
	if (connection->is_leaving)
		return;
	connection->is_leaving = true;
	connection->pool->connection_count--;
}

/* Puts it where it belongs after calls have come or gone. */
static void settle(struct connection *connection)
{
	bool has_room;

	if (!http2_takes_streams(connection->http2))
		retire(connection);
	has_room = !connection->is_leaving &&
		   connection->call_count < http2_streams_max(connection->http2);
	if (has_room != (connection->state == ROOMY))
		enter(connection, has_room ? ROOMY : BUSY);
}

/* It is looked after at the turn's end. */
static void note_unsent(struct connection *connection)
{
	if (connection->is_unsent)
		return;
	connection->is_unsent = true;
	TAILQ_INSERT_TAIL(&connection->pool->unsent, connection, unsent_entry);
}

static void connection_free(struct connection *connection)
{
	struct upstream_pool *pool = connection->pool;

	if (connection->is_unsent)
		TAILQ_REMOVE(&pool->unsent, connection, unsent_entry);
	if (connection->watched)
		loop_remove(pool->loop, &connection->io);
	pool->connecting_count -= connection->state == CONNECTING;
	retire(connection);
	LIST_REMOVE(connection, entry);
	http2_free(connection->http2);
	secret_clear(&connection->out);
	if (connection->easy && connection->multi)
		curl_multi_remove_handle(connection->multi, connection->easy);
	curl_easy_cleanup(connection->easy);
	curl_multi_cleanup(connection->multi);
	upstream_drive_rest(&connection->drive);
	free(connection);
}

/* ---- calls that end, or begin anew ---- */

/* Before those that came later: otherwise some would be refused again and again. */
static void wait_again(struct call *call)
{
	struct upstream_pool *pool = call->pool;
	struct call *earlier = TAILQ_LAST(&pool->waiting, call_queue);

	call->connection = NULL;
	call->stream.body_at = 0;
	call->sent_us = 0;
	call->head_bytes = 0;
	call->is_oversize = false;
	call->headers = (struct call_headers){0};
	call->answer.status = 0;
	call->answer.phases = (struct http_phases){0};
	call->error[0] = '\0';
	secret_truncate(&call->answer.body, 0);
	while (earlier && earlier->posted_us > call->posted_us)
		earlier = TAILQ_PREV(earlier, call_queue, pool_entry);
	if (earlier)
		TAILQ_INSERT_AFTER(&pool->waiting, earlier, call, pool_entry);
	else
		TAILQ_INSERT_HEAD(&pool->waiting, call, pool_entry);
	pool->waiting_count++;
}

static void leave(struct call *call)
{
	struct connection *connection = call->connection;

	TAILQ_REMOVE(&connection->calls, call, pool_entry);
	connection->call_count--;
	call->connection = NULL;
}

/* The end of a call that got no answer. What was never looked at may be sent again. */
static void fail(struct call *call, CURL *easy, CURLcode code, const char *reason, unsigned tries)
{
	snprintf(call->error, sizeof(call->error), "%s", reason);
	upstream_call_judge(call, easy, code);
	if (call->answer.fault == FAULT_UPSTREAM_UNREACHABLE && call->tries < tries) {
		call->tries++;
		wait_again(call);
	} else {
		upstream_end(call);
	}
}

/* A connection is of no more use: it is freed at the turn's end. */
static void discard(struct connection *connection)
{
	connection->is_lost = true;
	retire(connection);
	note_unsent(connection);
	settle(connection);
}

/* And with it go the calls on it. */
static void lose(struct connection *connection, const char *reason)
{
	struct call *call;

	if (connection->is_lost)
		return;
	discard(connection);
	while ((call = TAILQ_FIRST(&connection->calls))) {
		leave(call);
		fail(call, NULL, CURLE_RECV_ERROR, reason, CONNECT_TRIES_MAX);
	}
	pump(connection->pool);
}

/* ---- what comes of a stream ---- */

static bool on_header(struct http2_stream *stream, const char *name, const char *value)
{
	struct call *call = CONTAINER(stream, struct call, stream);

	if (call->head_bytes == 0)
		call->answer.phases.first_byte_us = loop_clock_us() - call->sent_us;
	call->head_bytes += strlen(name) + strlen(value);
	call->is_oversize = call->head_bytes > ANSWER_HEAD_MAX_BYTES;
	if (strcmp(name, ":status") == 0)
		call->answer.status = strtol(value, NULL, 10);
	else
		upstream_call_take_header(call, name, value);
	return !call->is_oversize;
}

static bool on_data(struct http2_stream *stream, const void *data, size_t len)
{
	return upstream_call_take_body(CONTAINER(stream, struct call, stream), data, len);
}

static void on_end(struct http2_stream *stream, enum http2_end end)
{
	struct call *call = CONTAINER(stream, struct call, stream);
	struct connection *connection = call->connection;

	leave(call);
	settle(connection);
	connection->heard_bytes = 0;
	if (end == HTTP2_ANSWERED && call->answer.status >= 200) {
		upstream_call_judge(call, NULL, CURLE_OK);
		upstream_end(call);
	} else if (end == HTTP2_REFUSED) {
		stream->body_at = 0;
		fail(call, NULL, CURLE_HTTP2_STREAM, "the server refuses every request",
		     REFUSED_TRIES_MAX);
	} else {
		fail(call, NULL, CURLE_HTTP2_STREAM, "the stream was broken off",
		     CONNECT_TRIES_MAX);
	}
	if (connection->is_leaving && connection->call_count == 0)
		lose(connection, "");
	pump(connection->pool);
}

/* ---- reading and writing ---- */

/* Whether the server goes on and on, and answers nothing. */
static bool is_babbling(const struct connection *connection)
{
	return connection->heard_bytes / HEARD_PER_LOGIN_BYTES > connection->call_count;
}

/* NULL, or why the connection is of no more use. */
static const char *hear(struct connection *connection, unsigned char *input, size_t len)
{
	bool is_http2 = http2_receive(connection->http2, input, len);

	wipe(input, len);
	connection->heard_us = loop_clock_us();
	connection->heard_bytes += len;
	if (!is_http2)
		return "what came is not HTTP/2";
	return is_babbling(connection) ? "what came is no answer, without end" : NULL;
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	static unsigned char input[INPUT_BYTES];
	struct connection *connection = CONTAINER(io, struct connection, io);
	ssize_t len;

	(void)events;
	note_unsent(connection);
	connection->tls.room = HEARD_AT_ONCE_BYTES;
	while (!connection->is_lost &&
	       (len = tls_read(&connection->tls, input, sizeof(input))) != TLS_LATER) {
		const char *reason = len > 0 ? hear(connection, input, (size_t)len)
					     : "the connection was closed";

		if (reason)
			lose(connection, reason);
	}
	if (connection->is_lost)
		return;
	settle(connection);
	if (connection->is_leaving && connection->call_count == 0)
		lose(connection, "");
	/* It may take more now than before. */
	pump(connection->pool);
}

/* Collects what nghttp2 has to say, up to a TLS record. False: nothing is left. */
static bool gather(struct connection *connection)
{
	struct secret *out = &connection->out;
	const uint8_t *data;
	ssize_t len = 0;

	while (secret_len(out) < TLS_RECORD_BYTES &&
	       (len = http2_output(connection->http2, &data)) > 0) {
		if (!secret_append(out, data, (size_t)len))
			len = -1;
		if (len < 0)
			break;
	}
	if (len < 0)
		lose(connection, "no memory to send");
	return !connection->is_lost && secret_len(out) > 0;
}

/* Sends what there is, as far as the socket takes it. */
static void send_out(struct connection *connection)
{
	struct secret *out = &connection->out;
	ssize_t sent = 0;
	uint32_t events;

	while (gather(connection)) {
		sent = tls_write(&connection->tls, secret_str(out) + connection->out_at,
				 secret_len(out) - connection->out_at);
		if (sent <= 0)
			break;
		connection->out_at += (size_t)sent;
		if (connection->out_at == secret_len(out)) {
			secret_truncate(out, 0);
			connection->out_at = 0;
		}
	}
	if (sent == TLS_FAULT || (sent == TLS_END && secret_len(out) > 0))
		lose(connection, "the connection was closed");
	else if (!connection->is_lost && http2_is_over(connection->http2))
		lose(connection, "what came is not HTTP/2");
	if (connection->is_lost)
		return;
	events = EPOLLIN | (secret_len(out) > 0 ? EPOLLOUT : 0u);
	if (events != connection->watched &&
	    loop_change(connection->pool->loop, &connection->io, events))
		connection->watched = events;
}

static void on_turn_end(struct loop_turn *turn)
{
	struct upstream_pool *pool = CONTAINER(turn, struct upstream_pool, turn);
	struct connection *connection;

	/* New ones may come meanwhile. */
	while ((connection = TAILQ_FIRST(&pool->unsent))) {
		if (!connection->is_lost)
			send_out(connection);
		TAILQ_REMOVE(&pool->unsent, connection, unsent_entry);
		connection->is_unsent = false;
		if (connection->is_lost)
			connection_free(connection);
	}
}

/* ---- a connection's beginning ---- */

static CURLcode on_context(CURL *easy, void *context, void *tls)
{
	(void)easy;
	return tls_offer(context, tls) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

/* libcurl has made it. False without memory. */
static bool begin(struct connection *connection)
{
	struct upstream_pool *pool = connection->pool;
	curl_socket_t fd = CURL_SOCKET_BAD;

	connection->http2 = http2_new();
	curl_easy_getinfo(connection->easy, CURLINFO_ACTIVESOCKET, &fd);
	if (!connection->http2 || fd == CURL_SOCKET_BAD || !tls_take(&connection->tls, fd))
		return false;
	connection->io = (struct loop_io){.fd = fd, .on_ready = on_ready};
	if (!loop_add(pool->loop, &connection->io, EPOLLIN))
		return false;
	connection->watched = EPOLLIN;
	connection->heard_us = loop_clock_us();
	return true;
}

/* It could not be made. Those that waited for it are told: as many as it would have carried, or all
 * where no other is being made. If there are connections, they wait for room on these: another
 * attempt at once would fail as well, and the next, as long as that lasts. */
static void give_up(struct connection *connection, CURLcode code)
{
	struct upstream_pool *pool = connection->pool;
	bool has_others = pool->connection_count > pool->connecting_count;
	size_t count = has_others ? 0 : pool->waiting_count;
	struct call_queue told = TAILQ_HEAD_INITIALIZER(told);
	struct call *call;

	if (pool->connecting_count > 1 && count > STREAMS_PER_CONNECTION)
		count = STREAMS_PER_CONNECTION;
	while (count-- > 0 && (call = upstream_pool_take_waiting(pool)))
		TAILQ_INSERT_TAIL(&told, call, pool_entry);
	while ((call = TAILQ_FIRST(&told))) {
		TAILQ_REMOVE(&told, call, pool_entry);
		fail(call, connection->easy, code, connection->error, CONNECT_TRIES_MAX);
	}
	connection_free(connection);
	if (!has_others)
		pump(pool);
}

static void on_connected(struct connection *connection, CURLcode code)
{
	struct upstream_pool *pool = connection->pool;
	time_t certificate_end;
	struct call *call;

	if (code == CURLE_OK && !tls_is_http2(&connection->tls)) {
		connection_free(connection);
		upstream_fall_back(pool);
		return;
	}
	if (code == CURLE_OK && !begin(connection))
		code = CURLE_OUT_OF_MEMORY;
	if (code != CURLE_OK) {
		give_up(connection, code);
		return;
	}
	/* Those that it was made for have waited for it. */
	certificate_end = upstream_call_certificate_end(connection->easy);
	for (call = TAILQ_FIRST(&pool->waiting); call; call = TAILQ_NEXT(call, pool_entry)) {
		upstream_call_take_phases(call, connection->easy);
		call->answer.certificate_end = certificate_end;
	}
	enter(connection, BUSY);
	settle(connection);
	pump(pool);
}

static void on_progress(struct upstream_drive *drive)
{
	struct connection *connection = CONTAINER(drive, struct connection, drive);
	int rest;
	const CURLMsg *message = curl_multi_info_read(connection->multi, &rest);

	if (message && message->msg == CURLMSG_DONE)
		on_connected(connection, message->data.result);
	else if (drive->has_failed && connection->state == CONNECTING)
		give_up(connection, CURLE_OUT_OF_MEMORY);
}

static bool set_up(struct connection *connection)
{
	CURL *easy = connection->easy;

	/* Version and ALPN: libcurl would set up HTTP/2 of its own. */
	return !curl_easy_setopt(easy, CURLOPT_URL, connection->pool->url) &&
	       !curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
	       !curl_easy_setopt(easy, CURLOPT_SSL_ENABLE_ALPN, 0L) &&
	       !curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_context) &&
	       !curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, &connection->tls) &&
	       !curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, connection->error);
}

/* Has libcurl make one more. False without memory. */
static bool connect_one(struct upstream_pool *pool)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		return false;
	connection->pool = pool;
	connection->state = CONNECTING;
	TAILQ_INIT(&connection->calls);
	secret_init(&connection->out, TLS_RECORD_BYTES + HTTP2_FRAME_BYTES);
	LIST_INSERT_HEAD(&pool->connecting, connection, entry);
	pool->connecting_count++;
	pool->connection_count++;
	upstream_drive_open(&connection->drive, pool->loop, on_progress);
	connection->multi = curl_multi_init();
	connection->easy = upstream_make_transfer(pool->upstream);
	if (connection->multi && connection->easy && set_up(connection)) {
		upstream_drive_use(&connection->drive, connection->multi);
		if (curl_multi_add_handle(connection->multi, connection->easy) == CURLM_OK)
			return true;
	}
	connection_free(connection);
	return false;
}

/* ---- calls and connections come together ---- */

/* How long it has waited for room, apart from the time of a connection that was made for it. */
static void note_wait(struct call *call)
{
	struct http_phases *phases = &call->answer.phases;
	uint64_t made_us = phases->connect_us + phases->tls_us;
	uint64_t waited_us = call->sent_us - call->posted_us;

	phases->queue_us = waited_us > made_us ? waited_us - made_us : 0;
}

static void post_on(struct connection *connection, struct call *call)
{
	struct http2_stream *stream = &call->stream;

	*stream = (struct http2_stream){
		.body = &call->body, .on_header = on_header, .on_data = on_data, .on_end = on_end};
	call->connection = connection;
	TAILQ_INSERT_TAIL(&connection->calls, call, pool_entry);
	connection->call_count++;
	note_unsent(connection);
	if (!http2_post(connection->http2, stream, call->target)) {
		leave(call);
		call->answer.fault = FAULT_NO_MEMORY;
		upstream_end(call);
		return;
	}
	call->sent_us = loop_clock_us();
	note_wait(call);
	settle(connection);
}

/* One with room, the last used first; NULL for none. One that was idle for long is not used. */
static struct connection *find_room(struct upstream_pool *pool)
{
	uint64_t now_us = loop_clock_us();
	struct connection *connection;

	while ((connection = LIST_FIRST(&pool->roomy)) && connection->call_count == 0 &&
	       now_us > connection->heard_us + UPSTREAM_IDLE_MS * UINT64_C(1000))
		discard(connection);
	return connection;
}

/* Ends when nothing waits, or nothing can be done for it now. */
static void pump(struct upstream_pool *pool)
{
	struct connection *connection;
	struct call *call;

	while (pool->waiting_count > 0 && (connection = find_room(pool)))
		post_on(connection, upstream_pool_take_waiting(pool));
	while (pool->waiting_count > pool->connecting_count * STREAMS_PER_CONNECTION &&
	       pool->connection_count < pool->connections_max) {
		if (connect_one(pool))
			continue;
		if (pool->connection_count > 0)
			return;
		while ((call = upstream_pool_take_waiting(pool))) {
			call->answer.fault = FAULT_NO_MEMORY;
			upstream_end(call);
		}
	}
}

/* ---- the room's doors ---- */

void upstream_pool_open(struct upstream_pool *pool, struct upstream *upstream, struct loop *loop,
			const char *url, size_t connections_max)
{
	*pool = (struct upstream_pool){
		.upstream = upstream,
		.loop = loop,
		.url = url,
		.connections_max = connections_max,
	};
	TAILQ_INIT(&pool->waiting);
	TAILQ_INIT(&pool->unsent);
	LIST_INIT(&pool->connecting);
	LIST_INIT(&pool->roomy);
	LIST_INIT(&pool->busy);
	pool->turn.on_end = on_turn_end;
	loop_turn_add(loop, &pool->turn);
}

void upstream_pool_post(struct upstream_pool *pool, struct call *call)
{
	TAILQ_INSERT_TAIL(&pool->waiting, call, pool_entry);
	pool->waiting_count++;
	pump(pool);
}

struct call *upstream_pool_take_waiting(struct upstream_pool *pool)
{
	struct call *call = TAILQ_FIRST(&pool->waiting);

	if (!call)
		return NULL;
	TAILQ_REMOVE(&pool->waiting, call, pool_entry);
	pool->waiting_count--;
	return call;
}

CURL *upstream_pool_connector(const struct upstream_pool *pool)
{
	const struct connection *connection = LIST_FIRST(&pool->connecting);

	return connection ? connection->easy : NULL;
}

void upstream_pool_forget(struct call *call, bool is_late)
{
	struct upstream_pool *pool = call->pool;
	struct connection *connection = call->connection;

	if (!connection) {
		TAILQ_REMOVE(&pool->waiting, call, pool_entry);
		pool->waiting_count--;
		return;
	}
	http2_cancel(connection->http2, &call->stream);
	leave(call);
	/* Nothing at all was heard since: it may be dead, and say so only much later. */
	if (is_late && connection->heard_us < call->sent_us)
		retire(connection);
	settle(connection);
	note_unsent(connection);
	if (connection->is_leaving && connection->call_count == 0)
		lose(connection, "");
	if (is_late)
		pump(pool);
}

void upstream_pool_drop(struct upstream_pool *pool)
{
	struct connection_list *const lists[] = {&pool->connecting, &pool->roomy, &pool->busy};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct connection *connection;

		/* The analyzer does not follow LIST_REMOVE(): it takes the list for unchanged. */
		while ((connection = LIST_FIRST(lists[i])))
			connection_free(connection); /* NOLINT(clang-analyzer-unix.Malloc) */
	}
}

void upstream_pool_close(struct upstream_pool *pool)
{
	upstream_pool_drop(pool);
	if (pool->loop)
		loop_turn_remove(pool->loop, &pool->turn);
}
