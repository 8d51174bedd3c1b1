#include "http2.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "ceilings.h"

struct http2 {
	nghttp2_session *session;
	bool is_going; /* the server takes no new streams */
};

/* ---- what nghttp2 calls ---- */

static struct http2_stream *find_stream(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static ssize_t on_read_body(nghttp2_session *session, int32_t id, uint8_t *data, size_t size,
			    uint32_t *flags, nghttp2_data_source *source, void *context)
{
	struct http2_stream *stream = find_stream(session, id);
	size_t rest;
	size_t len;

	(void)source;
	(void)context;
	if (!stream) /* cancelled */
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	rest = secret_len(stream->body) - stream->body_at;
	len = size < rest ? size : rest;
	memcpy(data, secret_str(stream->body) + stream->body_at, len);
	stream->body_at += len;
	if (len == rest)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)len;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *context)
{
	struct http2_stream *stream = find_stream(session, frame->hd.stream_id);

	(void)name_len;
	(void)value_len;
	(void)flags;
	(void)context;
	if (!stream)
		return 0;
	stream->is_answered = true;
	if (!stream->on_header(stream, (const char *)name, (const char *)value))
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *context)
{
	struct http2_stream *stream = find_stream(session, id);

	(void)flags;
	(void)context;
	if (stream && !stream->on_data(stream, data, len))
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
	return 0;
}

static void end_stream(nghttp2_session *session, struct http2_stream *stream, enum http2_end end)
{
	nghttp2_session_set_stream_user_data(session, stream->id, NULL);
	stream->id = 0;
	stream->on_end(stream, end);
}

/* Before the answer was whole. Whoever has begun to answer has looked at the request, whatever is
 * said then. */
static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *context)
{
	struct http2_stream *stream = find_stream(session, id);

	(void)context;
	if (stream)
		end_stream(session, stream,
			   code == NGHTTP2_REFUSED_STREAM && !stream->is_answered ? HTTP2_REFUSED
										  : HTTP2_BROKEN);
	return 0;
}

/* A request that never went out, such as one behind the server's farewell. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error,
		       void *context)
{
	(void)error;
	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	return on_stream_close(session, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM, context);
}

/* The answer is whole. If the server has not let all of the request in, it does not need the rest
 * (RFC 9113 section 8.1). */
static void finish(nghttp2_session *session, struct http2_stream *stream)
{
	if (stream->body_at < secret_len(stream->body))
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
	end_stream(session, stream, HTTP2_ANSWERED);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct http2 *http2 = context;
	uint8_t type = frame->hd.type;
	struct http2_stream *stream;

	if (type == NGHTTP2_GOAWAY)
		http2->is_going = true;
	if ((type != NGHTTP2_DATA && type != NGHTTP2_HEADERS) ||
	    !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	stream = find_stream(session, frame->hd.stream_id);
	if (stream)
		finish(session, stream);
	return 0;
}

/* ---- the room's doors ---- */

static bool open_session(struct http2 *http2)
{
	static const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
	};
	nghttp2_session_callbacks *callbacks;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return false;
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	bool is_open = nghttp2_session_client_new(&http2->session, callbacks, http2) == 0;
	nghttp2_session_callbacks_del(callbacks);
	return is_open && nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, settings,
						  sizeof(settings) / sizeof(settings[0])) == 0;
}

struct http2 *http2_new(void)
{
	struct http2 *http2 = calloc(1, sizeof(*http2));

	if (http2 && open_session(http2))
		return http2;
	http2_free(http2);
	return NULL;
}

void http2_free(struct http2 *http2)
{
	if (!http2)
		return;
	nghttp2_session_del(http2->session);
	free(http2);
}

/* A name that is a constant, and a value that nghttp2 copies. */
static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
			    strlen(value), NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

bool http2_post(struct http2 *http2, struct http2_stream *stream, const struct http2_target *target)
{
	char length[24];
	char *end = length + sizeof(length) - 1;
	const nghttp2_data_provider provider = {.read_callback = on_read_body};

	*end = '\0';
	const nghttp2_nv headers[] = {
		header(":method", "POST"),
		header(":scheme", "https"),
		header(":authority", target->authority),
		header(":path", target->path),
		header("content-type", "application/x-www-form-urlencoded"),
		header("content-length", buf_digits(end, secret_len(stream->body))),
		header("accept", "application/json"),
		header("user-agent", "bakrypt-login/" VERSION),
	};

	stream->body_at = 0;
	stream->is_answered = false;
	stream->id =
		nghttp2_submit_request(http2->session, NULL, headers,
				       sizeof(headers) / sizeof(headers[0]), &provider, stream);
	return stream->id > 0;
}

void http2_cancel(struct http2 *http2, struct http2_stream *stream)
{
	if (stream->id <= 0)
		return;
	nghttp2_session_set_stream_user_data(http2->session, stream->id, NULL);
	nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
	stream->id = 0;
}

bool http2_receive(struct http2 *http2, const void *data, size_t len)
{
	return nghttp2_session_mem_recv(http2->session, data, len) == (ssize_t)len;
}

ssize_t http2_output(struct http2 *http2, const uint8_t **ret_data)
{
	ssize_t len = nghttp2_session_mem_send(http2->session, ret_data);

	return len < 0 ? -1 : len;
}

bool http2_is_over(const struct http2 *http2)
{
	return nghttp2_session_want_read(http2->session) == 0 &&
	       nghttp2_session_want_write(http2->session) == 0;
}

bool http2_takes_streams(const struct http2 *http2)
{
	return !http2->is_going && nghttp2_session_check_request_allowed(http2->session) != 0;
}

size_t http2_streams_max(const struct http2 *http2)
{
	size_t max = nghttp2_session_get_remote_settings(http2->session,
							 NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	return max < STREAMS_PER_CONNECTION ? max : STREAMS_PER_CONNECTION;
}
