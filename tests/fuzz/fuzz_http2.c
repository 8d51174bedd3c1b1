/*
 * What a token server sends over HTTP/2. The first byte says what the client does, the second in
 * pieces of how many bytes the rest arrives (0: in one).
 */
#include <string.h>

#include "ceilings.h"
#include "fuzz.h"
#include "http2.h"
#include "loop.h"

#define POSTS_MAX 4

/* Of the first byte. */
enum {
	POSTS = 3,         /* one more than these bits say */
	CANCELS = 4,       /* the first post, after the first piece */
	REFUSES_HEAD = 8,  /* a header line of the second post */
	REFUSES_DATA = 16, /* a piece of its answer */
	IS_LONG = 32,      /* the third post is above the window that a server starts with */
	POSTS_LATER = 64,  /* one more after the first piece */
};

struct post {
	struct http2_stream stream;
	struct secret body;
	bool is_under_way;
	bool is_answered;
	bool refuses_head;
	bool refuses_data;
	bool has_refused;
	unsigned ends;
};

static char authority[] = "tokens.test:8443";
static char path[] = "/auth/token/";
static const struct http2_target target = {authority, path};

static bool on_header(struct http2_stream *stream, const char *name, const char *value)
{
	struct post *post = CONTAINER(stream, struct post, stream);

	HOLD(post->is_under_way && stream->is_answered);
	HOLD(strlen(name) > 0 && !strpbrk(name, "\r\n") && !strpbrk(value, "\r\n"));
	HOLD(!post->has_refused);
	post->is_answered = true;
	post->has_refused = post->refuses_head;
	return !post->has_refused;
}

static bool on_data(struct http2_stream *stream, const void *data, size_t len)
{
	struct post *post = CONTAINER(stream, struct post, stream);

	(void)data;
	/* RFC 9113 section 8.1: nothing of a body comes before its head. */
	HOLD(post->is_under_way && post->is_answered && len > 0);
	HOLD(!post->has_refused);
	post->has_refused = post->refuses_data;
	return !post->has_refused;
}

static void on_end(struct http2_stream *stream, enum http2_end end)
{
	struct post *post = CONTAINER(stream, struct post, stream);

	HOLD(post->is_under_way && stream->id == 0);
	/* A form may be sent again only if nobody can have acted on it. */
	HOLD(end != HTTP2_REFUSED || !post->is_answered);
	/* An answer of which something was refused is not whole. */
	HOLD(end != HTTP2_ANSWERED || (post->is_answered && !post->has_refused));
	post->is_under_way = false;
	post->ends++;
}

static void post(struct http2 *http2, struct post *post, size_t body_bytes)
{
	static char form[96 * 1024];

	memset(form, 'p', sizeof(form));
	*post = (struct post){
		.stream = {.on_header = on_header, .on_data = on_data, .on_end = on_end}};
	fuzz_fill(&post->body, sizeof(form), form, body_bytes);
	post->stream.body = &post->body;
	post->is_under_way = true;
	HOLD(http2_post(http2, &post->stream, &target));
}

/* All that the client has to say, as a sequence of frames. False: the connection is of no more use.
 */
static bool drain(struct http2 *http2, const struct post *posts)
{
	const uint8_t *data;
	size_t total = 0;
	ssize_t len;

	while ((len = http2_output(http2, &data)) > 0) {
		total += (size_t)len;
		HOLD(total < 4 * 1024 * 1024);
	}
	for (size_t i = 0; i <= POSTS_MAX; i++)
		HOLD(posts[i].stream.body_at <= secret_len(&posts[i].body));
	return len == 0;
}

/* The server's bytes, piece by piece. */
static void talk(struct http2 *http2, struct post *posts, const uint8_t *data, size_t size)
{
	unsigned what = data[0];
	size_t piece = data[1] ? data[1] : size;

	for (size_t at = 2; at < size; at += piece) {
		size_t len = size - at < piece ? size - at : piece;

		if (!http2_receive(http2, data + at, len) || !drain(http2, posts))
			return;
		HOLD(http2_streams_max(http2) <= STREAMS_PER_CONNECTION);
		if (http2_is_over(http2))
			return;
		if (at > 2)
			continue;
		if (what & CANCELS) {
			http2_cancel(http2, &posts[0].stream);
			posts[0].is_under_way = false;
		}
		if ((what & POSTS_LATER) && http2_takes_streams(http2))
			post(http2, &posts[POSTS_MAX], 50);
		if (!drain(http2, posts))
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct post posts[POSTS_MAX + 1] = {0};
	struct http2 *http2;

	if (size < 2)
		return 0;
	http2 = http2_new();
	HOLD(http2);
	for (unsigned i = 0; i <= (data[0] & POSTS); i++)
		post(http2, &posts[i], i == 2 && (data[0] & IS_LONG) ? 80000 : 200);
	posts[1].refuses_head = data[0] & REFUSES_HEAD;
	posts[1].refuses_data = data[0] & REFUSES_DATA;
	HOLD(drain(http2, posts));
	talk(http2, posts, data, size);
	/* A broken connection is freed under the posts that it has; none hears of it. */
	for (size_t i = 0; i <= POSTS_MAX; i++) {
		HOLD(posts[i].ends + posts[i].is_under_way <= 1);
		posts[i].is_under_way = false;
	}
	http2_free(http2);
	for (size_t i = 0; i <= POSTS_MAX; i++)
		secret_clear(&posts[i].body);
	return 0;
}
