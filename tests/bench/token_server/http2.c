#include "http2.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"
#include "worker.h"

#define PREFACE NGHTTP2_CLIENT_MAGIC
#define PREFACE_LEN NGHTTP2_CLIENT_MAGIC_LEN
#define HEADER_LEN 9 /* of a frame */
#define FRAME_MAX 16384
#define HEAD_MAX 65536 /* all of a header block, packed */
#define STREAMS_MAX 128
#define WINDOW_MAX 0x7fffffff
#define WINDOW_BEGIN 65535
/* Of acknowledgements and such that wait to be sent. Those for 16 KiB, which is read at one time,
 * are 22 KiB at most, and not more than 6 are left of those before. */
#define CONTROL_MAX 32768

struct http2 {
	nghttp2_hd_inflater *inflater;
	bool is_begun; /* the preface has come */
	uint8_t *kept; /* the beginning of a frame, or of the preface */
	size_t kept_len;
	/* Streams */
	struct exchange *slots[STREAMS_MAX]; /* by identifier */
	size_t open;
	uint32_t last;          /* the highest that the client has opened */
	bool is_going;          /* it opens no more */
	struct exchanges ready; /* to be answered */
	/* The header block that is being read */
	uint32_t head_stream; /* 0: none */
	size_t head_len;
	bool head_ends_stream;
	/* Windows */
	int64_t window;       /* what may be sent on the connection */
	int64_t begin_window; /* and on each stream at first */
	uint32_t unconfirmed; /* what came since the connection's window was opened */
	uint8_t control[CONTROL_MAX];
	size_t control_len;
};

/* ---- streams ---- */

static struct exchange **find_slot(struct http2 *http2, uint32_t id)
{
	struct exchange **slot = &http2->slots[id / 2 % STREAMS_MAX];

	while (*slot && (*slot)->stream != id)
		slot = &(*slot)->next;
	return slot;
}

static struct exchange *open_stream(struct connection *connection, uint32_t id)
{
	struct http2 *http2 = connection->state;
	struct exchange *exchange = exchange_new(connection);

	exchange->stream = id;
	*find_slot(http2, id) = exchange;
	http2->open++;
	return exchange;
}

static void close_stream(struct http2 *http2, struct exchange *exchange)
{
	*find_slot(http2, exchange->stream) = exchange->next;
	http2->open--;
	if (exchange->is_ready)
		TAILQ_REMOVE(&http2->ready, exchange, place);
	exchange_free(exchange);
}

/* ---- frames that are for no answer ---- */

static void put32(uint8_t *out, uint32_t number)
{
	out[0] = (uint8_t)(number >> 24);
	out[1] = (uint8_t)(number >> 16);
	out[2] = (uint8_t)(number >> 8);
	out[3] = (uint8_t)number;
}

static uint32_t get32(const uint8_t *in)
{
	return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static void put_header(uint8_t *out, size_t len, uint8_t type, uint8_t flags, uint32_t stream)
{
	put32(out, (uint32_t)len << 8 | type);
	out[4] = flags;
	put32(out + 5, stream);
}

/* False: there is no room, which a client cannot bring about. */
static bool control(struct connection *connection, uint8_t type, uint8_t flags, uint32_t stream,
		    const uint8_t *payload, size_t len)
{
	struct http2 *http2 = connection->state;
	uint8_t *out = http2->control + http2->control_len;

	if (len + HEADER_LEN > sizeof(http2->control) - http2->control_len)
		return false;
	put_header(out, len, type, flags, stream);
	if (len > 0)
		memcpy(out + HEADER_LEN, payload, len);
	http2->control_len += HEADER_LEN + len;
	connection_flush_later(connection);
	return true;
}

static bool control32(struct connection *connection, uint8_t type, uint32_t stream, uint32_t number)
{
	uint8_t payload[4];

	put32(payload, number);
	return control(connection, type, NGHTTP2_FLAG_NONE, stream, payload, sizeof(payload));
}

/* An error of the connection: it ends with a farewell. */
static bool break_off(struct connection *connection, uint32_t code)
{
	struct http2 *http2 = connection->state;
	uint8_t payload[8];

	put32(payload, http2->last);
	put32(payload + 4, code);
	if (!control(connection, NGHTTP2_GOAWAY, NGHTTP2_FLAG_NONE, 0, payload, sizeof(payload)))
		return false;
	connection->is_last = true;
	return true;
}

/* ---- frames that come; false: hang up ---- */

struct frame {
	uint8_t type;
	uint8_t flags;
	uint32_t stream;
	const uint8_t *payload;
	size_t len;
};

/* Takes the padding off. */
static bool strip_padding(struct frame *frame)
{
	size_t padding;

	if (!(frame->flags & NGHTTP2_FLAG_PADDED))
		return true;
	if (frame->len < 1 || (size_t)frame->payload[0] + 1 > frame->len)
		return false;
	padding = frame->payload[0];
	frame->payload++;
	frame->len -= 1 + padding;
	return true;
}

static void finish_request(struct connection *connection, struct exchange *exchange)
{
	exchange->is_whole = true;
	exchange_finish(exchange, connection->delay, connection->worker->now_ns);
}

static bool confirm_data(struct connection *connection, size_t len)
{
	struct http2 *http2 = connection->state;
	uint32_t step;

	http2->unconfirmed += (uint32_t)len;
	if (http2->unconfirmed < WINDOW_MAX / 2)
		return true;
	step = http2->unconfirmed;
	http2->unconfirmed = 0;
	return control32(connection, NGHTTP2_WINDOW_UPDATE, 0, step);
}

static bool on_data(struct connection *connection, struct frame *frame)
{
	struct http2 *http2 = connection->state;
	struct exchange *exchange;

	if (!confirm_data(connection, frame->len))
		return false;
	exchange = *find_slot(http2, frame->stream);
	if (frame->stream == 0 || frame->stream > http2->last || !strip_padding(frame))
		return break_off(connection, NGHTTP2_PROTOCOL_ERROR);
	if (!exchange) /* cancelled, or refused */
		return true;
	if (exchange->is_whole)
		return break_off(connection, NGHTTP2_STREAM_CLOSED);
	finder_feed(&exchange->finder, frame->payload, frame->len);
	if (frame->flags & NGHTTP2_FLAG_END_STREAM)
		finish_request(connection, exchange);
	return true;
}

/* A piece of a header block; of a request's, the path is what counts. */
static bool inflate(struct http2 *http2, struct exchange *exchange, const struct frame *frame)
{
	const uint8_t *at = frame->payload;
	const uint8_t *end = at + frame->len;
	bool is_final = frame->flags & NGHTTP2_FLAG_END_HEADERS;
	int flags;

	do {
		nghttp2_nv field;
		ssize_t used;

		flags = 0;
		used = nghttp2_hd_inflate_hd2(http2->inflater, &field, &flags, at,
					      (size_t)(end - at), is_final);
		if (used < 0)
			return false;
		at += used;
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) && exchange && field.namelen == 5 &&
		    memcmp(field.name, ":path", 5) == 0)
			exchange_set_path(exchange, field.value, field.valuelen);
	} while ((flags & NGHTTP2_HD_INFLATE_EMIT) || at < end);
	if (is_final)
		nghttp2_hd_inflate_end_headers(http2->inflater);
	return true;
}

/* What HEADERS and CONTINUATION have in common. */
static bool on_head_piece(struct connection *connection, const struct frame *frame)
{
	struct http2 *http2 = connection->state;
	struct exchange *exchange = *find_slot(http2, frame->stream);

	http2->head_len += frame->len;
	if (http2->head_len > HEAD_MAX)
		return break_off(connection, NGHTTP2_ENHANCE_YOUR_CALM);
	if (!inflate(http2, exchange, frame))
		return break_off(connection, NGHTTP2_COMPRESSION_ERROR);
	if (!(frame->flags & NGHTTP2_FLAG_END_HEADERS))
		return true;
	http2->head_stream = 0;
	if (exchange && http2->head_ends_stream)
		finish_request(connection, exchange);
	return true;
}

/* Of a new stream, or behind a body. */
static bool on_headers(struct connection *connection, struct frame *frame)
{
	struct http2 *http2 = connection->state;
	const struct exchange *exchange = *find_slot(http2, frame->stream);

	if (frame->stream % 2 == 0 || !strip_padding(frame))
		return break_off(connection, NGHTTP2_PROTOCOL_ERROR);
	if (frame->flags & NGHTTP2_FLAG_PRIORITY) {
		if (frame->len < 5)
			return break_off(connection, NGHTTP2_FRAME_SIZE_ERROR);
		frame->payload += 5;
		frame->len -= 5;
	}
	http2->head_stream = frame->stream;
	http2->head_len = 0;
	http2->head_ends_stream = frame->flags & NGHTTP2_FLAG_END_STREAM;
	if (exchange && (exchange->is_whole || !http2->head_ends_stream))
		return break_off(connection, NGHTTP2_PROTOCOL_ERROR);
	if (frame->stream > http2->last) {
		http2->last = frame->stream;
		if (http2->open < STREAMS_MAX)
			open_stream(connection, frame->stream);
		else if (!control32(connection, NGHTTP2_RST_STREAM, frame->stream,
				    NGHTTP2_REFUSED_STREAM))
			return false;
	}
	return on_head_piece(connection, frame);
}

static bool on_settings(struct connection *connection, const struct frame *frame)
{
	struct http2 *http2 = connection->state;

	if (frame->stream != 0)
		return break_off(connection, NGHTTP2_PROTOCOL_ERROR);
	if (frame->flags & NGHTTP2_FLAG_ACK)
		return true;
	if (frame->len % 6 != 0)
		return break_off(connection, NGHTTP2_FRAME_SIZE_ERROR);
	for (size_t at = 0; at < frame->len; at += 6) {
		const uint8_t *entry = frame->payload + at;

		if ((entry[0] << 8 | entry[1]) != NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE)
			continue;
		http2->begin_window = get32(entry + 2);
		if (http2->begin_window > WINDOW_MAX)
			return break_off(connection, NGHTTP2_FLOW_CONTROL_ERROR);
	}
	return control(connection, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
}

static bool on_window_update(struct connection *connection, const struct frame *frame)
{
	struct http2 *http2 = connection->state;
	struct exchange *exchange = *find_slot(http2, frame->stream);
	uint32_t step;

	if (frame->len != 4)
		return break_off(connection, NGHTTP2_FRAME_SIZE_ERROR);
	step = get32(frame->payload) & WINDOW_MAX;
	if (step == 0 || frame->stream > http2->last)
		return break_off(connection, NGHTTP2_PROTOCOL_ERROR);
	if (frame->stream == 0)
		http2->window += step;
	else if (exchange)
		exchange->credit += step;
	if (http2->window > WINDOW_MAX ||
	    (exchange && http2->begin_window + exchange->credit > WINDOW_MAX))
		return break_off(connection, NGHTTP2_FLOW_CONTROL_ERROR);
	connection_flush_later(connection);
	return true;
}

static bool on_rst_stream(struct connection *connection, const struct frame *frame)
{
	struct http2 *http2 = connection->state;
	struct exchange *exchange = *find_slot(http2, frame->stream);

	if (frame->len != 4)
		return break_off(connection, NGHTTP2_FRAME_SIZE_ERROR);
	if (frame->stream == 0 || frame->stream > http2->last)
		return break_off(connection, NGHTTP2_PROTOCOL_ERROR);
	if (exchange)
		close_stream(http2, exchange);
	return true;
}

static bool on_ping(struct connection *connection, const struct frame *frame)
{
	if (frame->len != 8)
		return break_off(connection, NGHTTP2_FRAME_SIZE_ERROR);
	if (frame->stream != 0)
		return break_off(connection, NGHTTP2_PROTOCOL_ERROR);
	if (frame->flags & NGHTTP2_FLAG_ACK)
		return true;
	return control(connection, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, frame->payload, frame->len);
}

static bool on_frame(struct connection *connection, struct frame *frame)
{
	struct http2 *http2 = connection->state;

	/* Nothing may come between the pieces of a header block. */
	if (http2->head_stream > 0
		    ? frame->type != NGHTTP2_CONTINUATION || frame->stream != http2->head_stream
		    : frame->type == NGHTTP2_CONTINUATION)
		return break_off(connection, NGHTTP2_PROTOCOL_ERROR);
	switch (frame->type) {
	case NGHTTP2_DATA:
		return on_data(connection, frame);
	case NGHTTP2_HEADERS:
		return on_headers(connection, frame);
	case NGHTTP2_CONTINUATION:
		return on_head_piece(connection, frame);
	case NGHTTP2_RST_STREAM:
		return on_rst_stream(connection, frame);
	case NGHTTP2_SETTINGS:
		return on_settings(connection, frame);
	case NGHTTP2_PING:
		return on_ping(connection, frame);
	case NGHTTP2_WINDOW_UPDATE:
		return on_window_update(connection, frame);
	case NGHTTP2_GOAWAY:
		http2->is_going = true;
		connection_flush_later(connection);
		return true;
	case NGHTTP2_PUSH_PROMISE:
		return break_off(connection, NGHTTP2_PROTOCOL_ERROR);
	default: /* PRIORITY, and what is not known */
		return true;
	}
}

/* ---- bytes in ---- */

/* How long what begins here is; of a frame, as soon as its header is there. */
static size_t whole_len(const struct http2 *http2, const uint8_t *data, size_t len)
{
	if (!http2->is_begun)
		return PREFACE_LEN;
	return HEADER_LEN + (len < HEADER_LEN ? 0 : get32(data) >> 8);
}

/* The preface or a frame, in whole. */
static bool take_whole(struct connection *connection, const uint8_t *data, size_t len)
{
	struct http2 *http2 = connection->state;
	struct frame frame;

	if (!http2->is_begun) {
		http2->is_begun = true;
		return memcmp(data, PREFACE, PREFACE_LEN) == 0;
	}
	frame = (struct frame){.type = data[3],
			       .flags = data[4],
			       .stream = get32(data + 5) & WINDOW_MAX,
			       .payload = data + HEADER_LEN,
			       .len = len - HEADER_LEN};
	return on_frame(connection, &frame);
}

/* Adds to what was kept, and takes that when it is whole. Returns how much was used. */
static size_t complete_kept(struct connection *connection, const uint8_t *data, size_t len,
			    bool *ret_is_well)
{
	struct http2 *http2 = connection->state;
	size_t need = whole_len(http2, http2->kept, http2->kept_len);
	size_t part = need - http2->kept_len < len ? need - http2->kept_len : len;

	memcpy(http2->kept + http2->kept_len, data, part);
	http2->kept_len += part;
	need = whole_len(http2, http2->kept, http2->kept_len);
	if (need > HEADER_LEN + FRAME_MAX) {
		*ret_is_well = break_off(connection, NGHTTP2_FRAME_SIZE_ERROR);
	} else if (http2->kept_len >= HEADER_LEN && http2->kept_len == need) {
		http2->kept_len = 0;
		*ret_is_well = take_whole(connection, http2->kept, need);
	}
	return part;
}

static bool http2_receive(struct connection *connection, const uint8_t *data, size_t len)
{
	struct http2 *http2 = connection->state;
	bool is_well = true;

	if (http2->control_len > 0)
		connection_flush(connection);
	if (connection->is_closed)
		return false;
	while (len > 0 && is_well && !connection->is_last) {
		size_t need = whole_len(http2, data, len);
		size_t used = need;

		if (http2->kept_len > 0 || len < HEADER_LEN || len < need)
			used = complete_kept(connection, data, len, &is_well);
		else
			is_well = take_whole(connection, data, need);
		data += used;
		len -= used;
	}
	return is_well;
}

/* ---- answers ---- */

static void http2_answer(struct exchange *exchange)
{
	struct http2 *http2 = exchange->connection->state;

	exchange->is_ready = true;
	TAILQ_INSERT_TAIL(&http2->ready, exchange, place);
	connection_flush_later(exchange->connection);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How much of a body may be sent now. */
static size_t allowed(const struct http2 *http2, const struct exchange *exchange)
{
	int64_t of_stream = http2->begin_window + exchange->credit;
	int64_t most = http2->window < of_stream ? http2->window : of_stream;

	return most > 0 ? (size_t)most : 0;
}

/* As much of an answer as there is room for, and as the windows let through. A head and the first
 * piece of a body go together, all of both in nearly every case. Returns the length; sets
 * *ret_is_done when nothing is left. */
static size_t put_answer(struct http2 *http2, struct exchange *exchange, uint8_t *out, size_t room,
			 bool *ret_is_done)
{
	const struct reply_http2 *reply = reply_http2(exchange->reply);
	size_t head_len = exchange->is_head_sent ? 0 : reply->head_len;
	size_t left = reply->body_len - exchange->body_sent;
	size_t part, len = 0;

	*ret_is_done = false;
	if (head_len + HEADER_LEN + 1 > room)
		return 0;
	if (head_len > 0) {
		memcpy(out, reply->head, head_len);
		put32(out + 5, exchange->stream);
		exchange->is_head_sent = true;
		len = head_len;
	}
	part = least(least(left, allowed(http2, exchange)), room - len - HEADER_LEN);
	*ret_is_done = part == left;
	if (part == 0)
		return len;
	put_header(out + len, part, NGHTTP2_DATA,
		   part == left ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE, exchange->stream);
	memcpy(out + len + HEADER_LEN, reply->body + exchange->body_sent, part);
	exchange->body_sent += part;
	exchange->credit -= (int64_t)part;
	http2->window -= (int64_t)part;
	return len + HEADER_LEN + part;
}

static size_t http2_fill(struct connection *connection, uint8_t *out, size_t room)
{
	struct http2 *http2 = connection->state;
	struct exchange *exchange = TAILQ_FIRST(&http2->ready);
	size_t len = least(http2->control_len, room);

	memcpy(out, http2->control, len);
	http2->control_len -= len;
	memmove(http2->control, http2->control + len, http2->control_len);
	while (exchange && http2->control_len == 0) {
		struct exchange *next = TAILQ_NEXT(exchange, place);
		bool is_done;

		len += put_answer(http2, exchange, out + len, room - len, &is_done);
		if (is_done)
			close_stream(http2, exchange);
		exchange = next;
	}
	if (len == 0 && http2->is_going && http2->open == 0)
		connection->is_last = true;
	return len;
}

/* ---- its life ---- */

static void http2_start(struct connection *connection)
{
	struct http2 *http2 = allocate(1, sizeof(*http2));
	uint8_t settings[12] = {0, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0, 0, 0, STREAMS_MAX,
				0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE};

	if (nghttp2_hd_inflate_new(&http2->inflater) != 0)
		fail("take", "a connection", "no memory");
	http2->kept = allocate(1, HEADER_LEN + FRAME_MAX);
	http2->window = http2->begin_window = WINDOW_BEGIN;
	TAILQ_INIT(&http2->ready);
	connection->state = http2;
	put32(settings + 8, WINDOW_MAX);
	control(connection, NGHTTP2_SETTINGS, NGHTTP2_FLAG_NONE, 0, settings, sizeof(settings));
	control32(connection, NGHTTP2_WINDOW_UPDATE, 0, WINDOW_MAX - WINDOW_BEGIN);
}

static void http2_stop(struct connection *connection)
{
	struct http2 *http2 = connection->state;

	for (size_t i = 0; i < STREAMS_MAX; i++)
		while (http2->slots[i])
			close_stream(http2, http2->slots[i]);
	nghttp2_hd_inflate_del(http2->inflater);
	free(http2->kept);
	free(http2);
}

const struct protocol http2_protocol = {.start = http2_start,
					.receive = http2_receive,
					.answer = http2_answer,
					.fill = http2_fill,
					.stop = http2_stop};
