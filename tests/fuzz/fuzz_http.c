/* The syntax of a request's parts. Parts: target, content type, request id, content length. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "http.h"

#define SEGMENT_BYTES 32

/* The segment is the same with a query behind it, and with a folder before it. */
static void hold_route(const char *target)
{
	char segment[SEGMENT_BYTES];
	char again[SEGMENT_BYTES];
	char *longer;

	memset(segment, '#', sizeof(segment));
	bool is_route = http_read_route(target, segment, sizeof(segment));
	if (!is_route) {
		HOLD(segment[0] == '#'); /* untouched */
		return;
	}
	HOLD(memchr(segment, '\0', sizeof(segment)) && !strchr(segment, '/'));
	HOLD(strcmp(segment, ".") != 0 && strcmp(segment, "..") != 0);
	HOLD(asprintf(&longer, "%.*s?a/b%%zz", (int)strcspn(target, "?#"), target) > 0);
	HOLD(http_read_route(longer, again, sizeof(again)) && strcmp(segment, again) == 0);
	free(longer);
	if (target[0] != '/')
		return;
	HOLD(asprintf(&longer, "/%%41/..%s", target) > 0);
	HOLD(http_read_route(longer, again, sizeof(again)) && strcmp(segment, again) == 0);
	free(longer);
	HOLD(asprintf(&longer, "https://host%s", target) > 0);
	HOLD(http_read_route(longer, again, sizeof(again)) && strcmp(segment, again) == 0);
	free(longer);
}

/* A segment that is encoded in full is read as it was. */
static void hold_encoded_route(const char *text)
{
	char target[1 + 3 * SEGMENT_BYTES + 1] = "/";
	char segment[SEGMENT_BYTES];
	size_t len = strnlen(text, SEGMENT_BYTES - 1);

	for (size_t i = 0; i < len; i++)
		snprintf(target + 1 + 3 * i, 4, "%%%02x", (unsigned char)text[i]);
	bool is_route = http_read_route(target, segment, sizeof(segment));
	HOLD(is_route == !memchr(text, '/', len));
	if (is_route && strncmp(text, ".", len) != 0 && strncmp(text, "..", len) != 0)
		HOLD(strlen(segment) == len && memcmp(segment, text, len) == 0);
}

/* Letters of any case mean the same, except inside of a quoted string, where it makes no
 * difference to us either. */
static void hold_media_type(const struct fuzz_part *text)
{
	enum http_media_type type = http_read_media_type(text->data);
	char *other;

	for (size_t i = 0; i < text->len; i++) {
		unsigned char c = (unsigned char)text->data[i];

		text->data[i] = (char)(isupper(c) ? tolower(c) : toupper(c));
	}
	HOLD(http_read_media_type(text->data) == type);
	HOLD(asprintf(&other, "\t%s ; Charset=\"UTF-8\";", text->data) > 0);
	HOLD(http_read_media_type(other) == type);
	free(other);
	HOLD(asprintf(&other, "%s;charset=latin1", text->data) > 0);
	HOLD(http_read_media_type(other) == HTTP_MEDIA_OTHER);
	free(other);
}

static void hold_request_id(const char *offered)
{
	char id[REQUEST_ID_MAX_BYTES + 1];
	char same[REQUEST_ID_MAX_BYTES + 1];

	http_make_request_id(id, offered);
	HOLD(*id && strlen(id) <= REQUEST_ID_MAX_BYTES);
	HOLD(strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
	     strlen(id));
	if (strcmp(id, offered) != 0)
		HOLD(strlen(id) == 32);
	http_make_request_id(same, id);
	HOLD(strcmp(same, id) == 0);
}

static void hold_length(const char *text)
{
	size_t bytes = 4711;
	bool is_length = http_read_length(text, &bytes);
	enum http_body_state state = http_check_length(text, 5);

	HOLD(is_length == (*text && strspn(text, "0123456789") == strlen(text)));
	if (!is_length)
		HOLD(bytes == 4711 && state == HTTP_BODY_WHOLE);
	else if (bytes > BODY_MAX_BYTES)
		HOLD(state == HTTP_BODY_TOO_LARGE);
	else
		HOLD(state == (bytes == 5 ? HTTP_BODY_WHOLE : HTTP_BODY_CUT));
	if (is_length && strlen(text) < 19)
		HOLD(bytes == strtoull(text, NULL, 10));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, data + size};
	struct fuzz_part target = fuzz_next_text(&input);
	struct fuzz_part type = fuzz_next_text(&input);
	struct fuzz_part id = fuzz_next_text(&input);
	struct fuzz_part length = fuzz_next_text(&input);

	hold_route(target.data);
	hold_encoded_route(target.data);
	hold_media_type(&type);
	hold_request_id(id.data);
	hold_length(length.data);
	free(target.data);
	free(type.data);
	free(id.data);
	free(length.data);
	return 0;
}
