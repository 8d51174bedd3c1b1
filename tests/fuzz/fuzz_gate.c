/* The gate in front of libfcgi, libfcgi behind it, and the reply's records: the bytes of one
 * connection. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ceilings.h"
#include "fuzz.h"
#include "gate.h"
#include "responder.h"

/* So that one input does not take seconds. */
#define INPUT_MAX_BYTES (REQUEST_MAX_BYTES + 1024)
#define EVERY_CUT_MAX_BYTES 512

#define HEADER_BYTES 8

static void hold_same(const struct gate *a, const struct gate *b)
{
	HOLD(a->params_begin == b->params_begin && a->params_end == b->params_end);
	HOLD(a->params_count == b->params_count && a->stdin_begin == b->stdin_begin);
	HOLD(a->stdin_end == b->stdin_end && a->request_bytes == b->request_bytes);
	HOLD(a->need_bytes == b->need_bytes && a->complaint == b->complaint);
}

/* Goes on with a gate at a copy that ends where the bytes do. */
static enum gate_verdict look_on(struct gate *gate, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	HOLD(copy);
	if (len)
		memcpy(copy, data, len);
	enum gate_verdict verdict = gate_look(gate, copy, len);
	free(copy);
	return verdict;
}

static enum gate_verdict look_anew(struct gate *gate, const uint8_t *data, size_t len)
{
	*gate = (struct gate){0};
	return look_on(gate, data, len);
}

/* Before the bytes that are needed are there, no look tells more, and whoever waits for them comes
 * to the same end. */
static void hold_by_steps(const uint8_t *data, size_t size, enum gate_verdict whole)
{
	struct gate gate = {0};
	size_t len = 0;
	enum gate_verdict verdict;

	while ((verdict = look_on(&gate, data, len)) == GATE_MORE) {
		struct gate other;

		HOLD(gate.need_bytes > len && gate.need_bytes <= REQUEST_MAX_BYTES);
		HOLD(look_anew(&other, data, len) == GATE_MORE);
		hold_same(&gate, &other);
		if (gate.need_bytes > size)
			break;
		HOLD(look_anew(&other, data, gate.need_bytes - 1) == GATE_MORE);
		hold_same(&gate, &other);
		len = gate.need_bytes;
	}
	HOLD(verdict == whole);
}

/* However the bytes arrive, here one by one, what is learned is the same as at one look at all that
 * are there. */
static void hold_at_every_cut(const uint8_t *data, size_t size, enum gate_verdict whole)
{
	struct gate gate = {0};
	enum gate_verdict verdict = GATE_MORE;

	if (size > EVERY_CUT_MAX_BYTES)
		return;
	for (size_t len = 0; len <= size && verdict == GATE_MORE; len++) {
		struct gate anew;

		verdict = look_on(&gate, data, len);
		HOLD(look_anew(&anew, data, len) == verdict);
		hold_same(&gate, &anew);
	}
	HOLD(verdict == whole);
}

static void hold_positions(const struct gate *gate, size_t size)
{
	HOLD(gate->params_begin >= GATE_BEGIN_BYTES);
	HOLD(gate->params_end >= gate->params_begin + HEADER_BYTES);
	HOLD(gate->stdin_begin >= gate->params_end);
	HOLD(gate->stdin_end >= gate->stdin_begin + HEADER_BYTES);
	HOLD(gate->request_bytes >= gate->stdin_end);
	HOLD(gate->request_bytes <= size && gate->request_bytes <= REQUEST_MAX_BYTES);
	HOLD(gate->params_count <= PARAMS_MAX_COUNT);
	HOLD(gate->need_bytes == 0 && !gate->complaint);
}

/* The contents of the records between two positions, in one piece. */
static void collect(const uint8_t *data, size_t begin, size_t end, struct secret *out)
{
	secret_init(out, REQUEST_MAX_BYTES);
	for (size_t at = begin; at < end;) {
		size_t len = (size_t)data[at + 4] << 8 | data[at + 5];

		HOLD(secret_append(out, data + at + HEADER_BYTES, len));
		at += HEADER_BYTES + len + data[at + 6];
	}
}

/* A length of the FastCGI specification, section 3.4. */
static size_t read_length(const uint8_t **at)
{
	size_t length = *(*at)++;

	if (length & 0x80) {
		length = (length & 0x7f) << 24 | (size_t)(*at)[0] << 16 | (size_t)(*at)[1] << 8 |
			 (*at)[2];
		*at += 3;
	}
	return length;
}

/* The first parameter of a name, read by hand: libfcgi gives it without the bytes behind a NUL.
 * NULL: there is none. To be freed. */
static char *find_param(const struct secret *params, const char *name)
{
	const uint8_t *at = (const uint8_t *)secret_str(params);
	const uint8_t *end = at + secret_len(params);

	while (at < end) {
		size_t name_len = read_length(&at);
		size_t value_len = read_length(&at);
		const uint8_t *value = at + name_len;

		if (name_len == strlen(name) && memcmp(at, name, name_len) == 0)
			return strndup((const char *)value, value_len);
		at = value + value_len;
	}
	return NULL;
}

static void hold_text(const struct secret *params, const char *name, const char *got)
{
	char *expected = find_param(params, name);

	HOLD(!expected == !got);
	HOLD(!got || strcmp(got, expected) == 0);
	free(expected);
}

/* The reply is records of this request alone, with the head, the body and the end. */
static void hold_reply(const struct responder *responder, struct http_exchange *x, int fd,
		       unsigned id)
{
	static uint8_t bytes[REQUEST_MAX_BYTES];
	struct buf head;
	size_t at = 0;

	buf_init(&head, HEAD_MAX_BYTES);
	x->reply.status = 400;
	HOLD(secret_append_str(&x->reply.body, "{}"));
	HOLD(responder_write(responder, x, &head));
	ssize_t len = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	HOLD(len > 0);
	while (at < (size_t)len) {
		HOLD(at + HEADER_BYTES <= (size_t)len && bytes[at] == 1);
		HOLD(((unsigned)bytes[at + 2] << 8 | bytes[at + 3]) == id);
		at += HEADER_BYTES + ((size_t)bytes[at + 4] << 8 | bytes[at + 5]) + bytes[at + 6];
	}
	HOLD(at == (size_t)len);
	HOLD(bytes[len - 2 * HEADER_BYTES + 1] == 3); /* FCGI_END_REQUEST */
	buf_clear(&head);
}

/* What the gate lets through, libfcgi reads whole, without waiting, and as it was sent. */
static void hold_libfcgi(uint8_t *data, const struct gate *gate)
{
	static struct responder_feed feed;
	static int ends[2];
	static bool is_open;
	struct http_exchange x;
	struct secret params;
	struct secret body;
	unsigned id = (unsigned)data[2] << 8 | data[3];

	if (!is_open)
		HOLD(responder_feed_open(&feed) && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	is_open = true;
	collect(data, gate->params_begin, gate->params_end - HEADER_BYTES, &params);
	collect(data, gate->stdin_begin, gate->stdin_end - HEADER_BYTES, &body);
	http_init(&x, NULL);
	struct responder *responder = responder_open(&feed, data, gate, ends[0], &x.request);
	HOLD(responder);
	HOLD(secret_equals(&x.request.body, &body));
	hold_text(&params, "REQUEST_METHOD", x.request.method);
	hold_text(&params, "CONTENT_TYPE", x.request.content_type);
	hold_text(&params, "QUERY_STRING", x.request.query);
	hold_text(&params, "REMOTE_ADDR", x.request.client);
	hold_text(&params, "HTTP_X_REQUEST_ID", x.request.request_id);
	HOLD(responder_is_kept(responder) == (data[HEADER_BYTES + 2] & 1));
	hold_reply(responder, &x, ends[1], id);
	char left;
	HOLD(read(feed.fds[0], &left, 1) < 0); /* nothing is left for the next request */
	responder_close(responder);
	http_clear(&x);
	secret_clear(&params);
	secret_clear(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size ? size : 1);
	size_t begin = 0;
	struct gate gate;
	enum gate_verdict verdict;

	HOLD(bytes);
	if (size == 0 || size > INPUT_MAX_BYTES)
		goto out;
	memcpy(bytes, data, size);
	HOLD(!gate_is_abort(bytes, size) || bytes[1] == 2);
	do {
		verdict = look_anew(&gate, bytes + begin, size - begin);
		HOLD((verdict == GATE_BAD) == (gate.complaint != NULL));
		HOLD(verdict != GATE_READY || size - begin >= GATE_BEGIN_BYTES);
		HOLD(verdict != GATE_TOO_LARGE || gate.params_end > 0);
		hold_by_steps(bytes + begin, size - begin, verdict);
		hold_at_every_cut(bytes + begin, size - begin, verdict);
		if (verdict == GATE_READY) {
			hold_positions(&gate, size - begin);
			hold_libfcgi(bytes + begin, &gate);
			begin += gate.request_bytes;
		}
	} while (verdict == GATE_READY);
out:
	free(bytes);
	return 0;
}
