#include "reply.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SERVER_NAME "token-server"

/* RFC 9113 section 6.2 */
#define FRAME_HEADER_LEN 9
#define FRAME_HEADERS 1
#define FLAG_END_STREAM 1
#define FLAG_END_HEADERS 4

/* RFC 7541 appendix A; the first two are whole fields */
#define FIELD_200 0x88
#define FIELD_400 0x8c
#define FIELD_CONTENT_LENGTH 28
#define FIELD_CONTENT_TYPE 31
#define FIELD_DATE 33
#define FIELD_SERVER 54

static struct {
	const char *prefix;
	size_t prefix_len;
	const char *bodies[REPLIES];
	time_t second;
	char date[40];
	struct reply_bytes http1[REPLIES][2];
	struct reply_http2 http2[REPLIES];
} r;

static const char *const statuses[REPLIES] = {"200", "200", "400"};
static const char *const reasons[REPLIES] = {"OK", "OK", "Bad Request"};

bool reply_init(const char *answer, const char *prefix)
{
	r.prefix = prefix;
	r.prefix_len = strlen(prefix);
	r.bodies[REPLY_TOKEN] = answer;
	r.bodies[REPLY_REVOKED] = r.bodies[REPLY_NO_LOGIN] = "";
	reply_refresh();
	return r.prefix_len > 0 && r.prefix_len <= PREFIX_MAX &&
	       strlen(answer) < REPLY_BYTES_MAX / 2;
}

static void render_http1(enum reply reply, bool is_last)
{
	struct reply_bytes *bytes = &r.http1[reply][is_last];
	const char *body = r.bodies[reply];

	bytes->len = (size_t)snprintf(
		(char *)bytes->data, sizeof(bytes->data),
		"HTTP/1.1 %s %s\r\nServer: " SERVER_NAME "\r\nDate: %s\r\n"
		"Content-Type: application/json\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n%s",
		statuses[reply], reasons[reply], r.date, strlen(body),
		is_last ? "close" : "keep-alive", body);
}

/* A literal field without indexing (RFC 7541 section 6.2.2), as nginx sends them: so the client
 * keeps nothing. name: a number of the static table, from 15. */
static void add_field(struct reply_http2 *http2, uint8_t name, const char *value)
{
	size_t len = strlen(value);

	http2->head[http2->head_len++] = 0x0f;
	http2->head[http2->head_len++] = (uint8_t)(name - 0x0f);
	http2->head[http2->head_len++] = (uint8_t)len;
	memcpy(http2->head + http2->head_len, value, len);
	http2->head_len += len;
}

static void render_http2(enum reply reply)
{
	struct reply_http2 *http2 = &r.http2[reply];
	char length[24];

	*http2 = (struct reply_http2){.body = r.bodies[reply],
				      .body_len = strlen(r.bodies[reply]),
				      .head_len = FRAME_HEADER_LEN};
	snprintf(length, sizeof(length), "%zu", http2->body_len);
	http2->head[http2->head_len++] = reply == REPLY_NO_LOGIN ? FIELD_400 : FIELD_200;
	add_field(http2, FIELD_SERVER, SERVER_NAME);
	add_field(http2, FIELD_DATE, r.date);
	add_field(http2, FIELD_CONTENT_TYPE, "application/json");
	add_field(http2, FIELD_CONTENT_LENGTH, length);
	http2->head[2] = (uint8_t)(http2->head_len - FRAME_HEADER_LEN);
	http2->head[3] = FRAME_HEADERS;
	http2->head[4] =
		http2->body_len > 0 ? FLAG_END_HEADERS : FLAG_END_HEADERS | FLAG_END_STREAM;
}

void reply_refresh(void)
{
	struct timespec now;
	struct tm parts;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (now.tv_sec == r.second)
		return;
	r.second = now.tv_sec;
	gmtime_r(&r.second, &parts);
	strftime(r.date, sizeof(r.date), "%a, %d %b %Y %H:%M:%S GMT", &parts);
	for (enum reply reply = 0; reply < REPLIES; reply++) {
		render_http1(reply, false);
		render_http1(reply, true);
		render_http2(reply);
	}
}

const struct reply_bytes *reply_http1(enum reply reply, bool is_last)
{
	return &r.http1[reply][is_last];
}

const struct reply_http2 *reply_http2(enum reply reply)
{
	return &r.http2[reply];
}

/* ---- the search ---- */

static bool has_prefix(const void *data, size_t len)
{
	return memmem(data, len, r.prefix, r.prefix_len) != NULL;
}

void finder_feed(struct finder *finder, const void *data, size_t len)
{
	char seam[2 * PREFIX_MAX];
	size_t keep = r.prefix_len - 1;
	size_t head = len < keep ? len : keep;
	size_t seam_len = finder->tail_len + head;

	if (finder->is_found)
		return;
	memcpy(seam, finder->tail, finder->tail_len);
	memcpy(seam + finder->tail_len, data, head);
	finder->is_found =
		has_prefix(data, len) || (finder->tail_len > 0 && has_prefix(seam, seam_len));
	if (len >= keep) {
		memcpy(finder->tail, (const char *)data + len - keep, keep);
		finder->tail_len = (uint8_t)keep;
	} else {
		finder->tail_len = (uint8_t)(seam_len < keep ? seam_len : keep);
		memcpy(finder->tail, seam + seam_len - finder->tail_len, finder->tail_len);
	}
}
