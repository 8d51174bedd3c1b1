/*
 * The three answers, made ready for each protocol, and the search for what makes a body a login.
 *
 * The headers are those of nginx: Server, Date, Content-Type and Content-Length.
 */
#ifndef REPLY_H
#define REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLY_BYTES_MAX 4096
#define REPLY_HEAD_MAX 256
#define PREFIX_MAX 16

enum reply {
	REPLY_TOKEN,
	REPLY_REVOKED,  /* 200 without a body */
	REPLY_NO_LOGIN, /* 400 without a body */
	REPLIES,
};

struct reply_bytes {
	uint8_t data[REPLY_BYTES_MAX];
	size_t len;
};

/* answer and prefix are borrowed. False: one of them is too long. */
bool reply_init(const char *answer, const char *prefix);

/* To be called at every turn of a loop: the date changes once in a second. */
void reply_refresh(void);

/* The whole of an HTTP/1.1 answer. */
const struct reply_bytes *reply_http1(enum reply reply, bool is_last);

/* An HTTP/2 answer: the HEADERS frame, in which the stream's identifier is to be filled in at the
 * fifth byte, and the body, for DATA. Without a body, the frame ends the stream. */
struct reply_http2 {
	uint8_t head[REPLY_HEAD_MAX];
	size_t head_len;
	const char *body;
	size_t body_len;
};

const struct reply_http2 *reply_http2(enum reply reply);

/* Looks for the prefix in a body that comes in pieces. Zeroed to begin with. */
struct finder {
	bool is_found;
	uint8_t tail_len;
	char tail[PREFIX_MAX]; /* the end of what came, where a prefix may begin */
};

void finder_feed(struct finder *finder, const void *data, size_t len);

#endif
