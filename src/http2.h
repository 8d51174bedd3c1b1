/*
 * The client's side of one HTTP/2 connection (RFC 9113): forms are posted, answers come. No I/O.
 *
 * Floor 0. The only room that knows nghttp2. Bytes that came from the server go in by
 * http2_receive(), bytes for it come out by http2_output().
 */
#ifndef HTTP2_H
#define HTTP2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"

struct http2;

/* How a stream ended. */
enum http2_end {
	HTTP2_ANSWERED, /* whole */
	HTTP2_REFUSED,  /* the server has not looked at the request (section 8.7): it may be sent
			   again */
	HTTP2_BROKEN,   /* none of these: an error of the stream */
};

/* One request, and the answer to it. The owner embeds it in its own, zeroes it, and keeps it in
 * place from http2_post() until on_end. The functions get the stream; none may call back into the
 * connection, but for on_end. */
struct http2_stream {
	int32_t id;
	const struct secret *body;
	size_t body_at;   /* bytes of it that were given to the connection */
	bool is_answered; /* some of an answer has come */
	/* One header line. The texts end in NUL. False ends the stream. */
	bool (*on_header)(struct http2_stream *stream, const char *name, const char *value);
	/* A piece of the answer's body. False ends the stream. */
	bool (*on_data)(struct http2_stream *stream, const void *data, size_t len);
	/* Once, unless the stream is cancelled or its connection freed. */
	void (*on_end)(struct http2_stream *stream, enum http2_end end);
};

/* What a form is posted to. */
struct http2_target {
	char *authority; /* host, and port if it is not 443 */
	char *path;
};

/* NULL without memory. */
struct http2 *http2_new(void);

/* Calls nothing back. NULL is allowed. */
void http2_free(struct http2 *http2);

/* Posts a form. target and stream->body are borrowed until the stream's end. False, with nothing
 * done, without memory. */
bool http2_post(struct http2 *http2, struct http2_stream *stream,
		const struct http2_target *target);

/* Ends a stream; on_end is not called. */
void http2_cancel(struct http2 *http2, struct http2_stream *stream);

/* Takes bytes from the server. False: it breaks the protocol, or there is no memory; the connection
 * is of no more use. */
bool http2_receive(struct http2 *http2, const void *data, size_t len);

/* The next bytes for the server, borrowed until the next call; 0 for none. -1 as for false. */
ssize_t http2_output(struct http2 *http2, const uint8_t **ret_data);

/* Whether nothing will come of it any more: what the server sent broke the protocol, and it was
 * told so, or there was a farewell and nothing is left to do. */
bool http2_is_over(const struct http2 *http2);

/* Whether it takes new streams: there was no farewell (GOAWAY), from either side. */
bool http2_takes_streams(const struct http2 *http2);

/* How many streams the server takes at one time; 0 may be for a while. */
size_t http2_streams_max(const struct http2 *http2);

#endif
