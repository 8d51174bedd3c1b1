#include "http1.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server.h"
#include "worker.h"

#define KEPT_MAX 16384 /* of a head, or of requests that come before the answer */
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

enum step {
	STEP_HEAD,
	STEP_BODY,       /* of a known length */
	STEP_CHUNK_SIZE, /* a line */
	STEP_CHUNK,
	STEP_CHUNK_END, /* an empty line */
	STEP_TRAILER,   /* lines, the last of them empty */
	STEP_ANSWER,    /* the request is whole */
};

struct http1 {
	enum step step;
	uint64_t left; /* of the body or chunk */
	struct exchange *exchange;
	bool is_last;       /* the connection ends with this answer */
	bool is_continuing; /* 100 is to be sent */
	bool is_answered;   /* the reply is to be sent */
	uint8_t *kept;      /* what has come and cannot be used yet */
	size_t kept_len;
};

static void http1_start(struct connection *connection)
{
	connection->state = allocate(1, sizeof(struct http1));
}

static void http1_stop(struct connection *connection)
{
	struct http1 *http1 = connection->state;

	exchange_free(http1->exchange);
	free(http1->kept);
	free(http1);
}

/* ---- the head ---- */

static const char *skip_blanks(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	return at;
}

/* Whether a value has a word in it; the values looked at here are lists of plain words. */
static bool has_word(const char *value, size_t len, const char *word)
{
	size_t word_len = strlen(word);

	for (size_t i = 0; i + word_len <= len; i++)
		if (strncasecmp(value + i, word, word_len) == 0)
			return true;
	return false;
}

/* Digits alone. */
static bool read_length(const char *value, size_t len, uint64_t *ret_length)
{
	uint64_t length = 0;

	if (len == 0 || len > 18)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return false;
		length = length * 10 + (uint64_t)(value[i] - '0');
	}
	*ret_length = length;
	return true;
}

/* One field. Sets step to what the body begins with. */
static bool read_field(struct http1 *http1, const char *line, size_t len)
{
	const char *end = line + len;
	const char *colon = memchr(line, ':', len);
	const char *value;
	size_t name_len, value_len;

	if (!colon)
		return false;
	name_len = (size_t)(colon - line);
	value = skip_blanks(colon + 1, end);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	value_len = (size_t)(end - value);
	if (name_len == 14 && strncasecmp(line, "content-length", 14) == 0) {
		if (http1->step == STEP_HEAD)
			http1->step = STEP_BODY;
		return read_length(value, value_len, &http1->left);
	}
	if (name_len == 17 && strncasecmp(line, "transfer-encoding", 17) == 0) {
		http1->step = STEP_CHUNK_SIZE;
		return has_word(value, value_len, "chunked");
	}
	if (name_len == 10 && strncasecmp(line, "connection", 10) == 0) {
		if (has_word(value, value_len, "close"))
			http1->is_last = true;
		else if (has_word(value, value_len, "keep-alive"))
			http1->is_last = false;
	} else if (name_len == 6 && strncasecmp(line, "expect", 6) == 0) {
		http1->is_continuing = has_word(value, value_len, "100-continue");
	}
	return true;
}

/* METHOD PATH HTTP/1.x */
static bool read_request_line(struct http1 *http1, const char *line, size_t len)
{
	const char *path = memchr(line, ' ', len);
	const char *version;

	if (!path)
		return false;
	path++;
	version = memchr(path, ' ', len - (size_t)(path - line));
	if (!version || line + len - version != 9 || memcmp(version, " HTTP/1.", 8) != 0)
		return false;
	http1->is_last = version[8] == '0';
	exchange_set_path(http1->exchange, path, (size_t)(version - path));
	return true;
}

/* All lines of a head, which ends in an empty one. */
static bool read_head(struct http1 *http1, const char *head, size_t len)
{
	const char *end = head + len;
	bool is_first = true;

	http1->is_continuing = false;
	while (head < end) {
		const char *line_end = memmem(head, (size_t)(end - head), "\r\n", 2);
		size_t line_len = line_end ? (size_t)(line_end - head) : 0;

		if (line_len == 0)
			break;
		if (is_first ? !read_request_line(http1, head, line_len)
			     : !read_field(http1, head, line_len))
			return false;
		is_first = false;
		head = line_end + 2;
	}
	return !is_first;
}

/* ---- the steps: each uses what it can of the data; 0 for "not enough yet", -1 for a fault ---- */

static void http1_finish(struct connection *connection)
{
	struct http1 *http1 = connection->state;

	http1->step = STEP_ANSWER;
	exchange_finish(http1->exchange, connection->delay, connection->worker->now_ns);
}

static ssize_t take_head(struct connection *connection, const char *data, size_t len)
{
	struct http1 *http1 = connection->state;
	const char *end;
	size_t head_len;

	if (len >= 2 && memcmp(data, "\r\n", 2) == 0) /* between requests: RFC 9112 section 2.2 */
		return 2;
	end = memmem(data, len, "\r\n\r\n", 4);
	if (!end)
		return 0;
	head_len = (size_t)(end - data) + 4;
	http1->exchange = exchange_new(connection);
	if (!read_head(http1, data, head_len))
		return -1;
	if (http1->step == STEP_HEAD || (http1->step == STEP_BODY && http1->left == 0))
		http1_finish(connection);
	else if (http1->is_continuing && len == head_len)
		connection_flush_later(connection);
	else
		http1->is_continuing = false;
	return (ssize_t)head_len;
}

/* Of a body, or of a chunk. */
static ssize_t take_data(struct connection *connection, const char *data, size_t len)
{
	struct http1 *http1 = connection->state;
	size_t part = len < http1->left ? len : (size_t)http1->left;

	finder_feed(&http1->exchange->finder, data, part);
	http1->left -= part;
	if (http1->left == 0 && http1->step == STEP_BODY)
		http1_finish(connection);
	else if (http1->left == 0)
		http1->step = STEP_CHUNK_END;
	return (ssize_t)part;
}

/* A line between chunks. */
static ssize_t take_line(struct connection *connection, const char *data, size_t len)
{
	struct http1 *http1 = connection->state;
	const char *end = memmem(data, len, "\r\n", 2);
	char size[17] = "";
	size_t line_len;
	char *rest;

	if (!end)
		return 0;
	line_len = (size_t)(end - data);
	if (http1->step == STEP_CHUNK_SIZE) {
		memcpy(size, data, line_len < sizeof(size) - 1 ? line_len : sizeof(size) - 1);
		http1->left = strtoull(size, &rest, 16);
		if (rest == size || (*rest && *rest != ';' && *rest != ' '))
			return -1;
		http1->step = http1->left > 0 ? STEP_CHUNK : STEP_TRAILER;
	} else if (http1->step == STEP_CHUNK_END) {
		if (line_len > 0)
			return -1;
		http1->step = STEP_CHUNK_SIZE;
	} else if (line_len == 0) {
		http1_finish(connection);
	}
	return (ssize_t)line_len + 2;
}

/* Uses what it can; returns how much that was, -1 for a fault. */
static ssize_t http1_take(struct connection *connection, const uint8_t *data, size_t len)
{
	struct http1 *http1 = connection->state;
	size_t at = 0;

	while (at < len && http1->step != STEP_ANSWER) {
		const char *rest = (const char *)data + at;
		ssize_t used;

		if (http1->step == STEP_HEAD)
			used = take_head(connection, rest, len - at);
		else if (http1->step == STEP_BODY || http1->step == STEP_CHUNK)
			used = take_data(connection, rest, len - at);
		else
			used = take_line(connection, rest, len - at);
		if (used < 0)
			return -1;
		if (used == 0)
			break;
		at += (size_t)used;
	}
	return (ssize_t)at;
}

/* ---- what the connection calls ---- */

static bool http1_keep(struct http1 *http1, const uint8_t *data, size_t len)
{
	if (len > KEPT_MAX - http1->kept_len)
		return false;
	if (!http1->kept)
		http1->kept = allocate(1, KEPT_MAX);
	memmove(http1->kept + http1->kept_len, data, len);
	http1->kept_len += len;
	return true;
}

/* As far as it goes with what was kept. */
static bool http1_use_kept(struct connection *connection)
{
	struct http1 *http1 = connection->state;
	ssize_t used = http1_take(connection, http1->kept, http1->kept_len);

	if (used < 0)
		return false;
	http1->kept_len -= (size_t)used;
	memmove(http1->kept, http1->kept + used, http1->kept_len);
	return true;
}

static bool http1_receive(struct connection *connection, const uint8_t *data, size_t len)
{
	struct http1 *http1 = connection->state;
	ssize_t used;

	if (http1->kept_len > 0)
		return http1_keep(http1, data, len) && http1_use_kept(connection);
	used = http1_take(connection, data, len);
	if (used < 0)
		return false;
	return (size_t)used == len || http1_keep(http1, data + used, len - (size_t)used);
}

static void http1_answer(struct exchange *exchange)
{
	struct http1 *http1 = exchange->connection->state;

	http1->is_answered = true;
	connection_flush_later(exchange->connection);
}

static size_t http1_fill(struct connection *connection, uint8_t *out, size_t room)
{
	struct http1 *http1 = connection->state;
	const struct reply_bytes *bytes;

	(void)room; /* a record's is always enough */
	if (http1->is_continuing && !http1->is_answered) {
		http1->is_continuing = false;
		memcpy(out, CONTINUE, strlen(CONTINUE));
		return strlen(CONTINUE);
	}
	if (!http1->is_answered)
		return 0;
	bytes = reply_http1(http1->exchange->reply, http1->is_last);
	memcpy(out, bytes->data, bytes->len);
	exchange_free(http1->exchange);
	http1->exchange = NULL;
	http1->is_answered = false;
	http1->step = STEP_HEAD;
	if (http1->is_last || (http1->kept_len > 0 && !http1_use_kept(connection)))
		connection->is_last = true;
	return bytes->len;
}

const struct protocol http1_protocol = {.start = http1_start,
					.receive = http1_receive,
					.answer = http1_answer,
					.fill = http1_fill,
					.stop = http1_stop};
