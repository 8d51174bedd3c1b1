#include "json.h"

#include <stdbool.h>
#include <string.h>

#include "ceilings.h"
#include "utf8.h"

/* Depth is counted, not recursed into: how deep a text nests must not decide how much stack is
 * used. */
struct reader {
	const char *at;
	const char *end;
	bool has_bad_text;
	size_t depth;
	bool is_object[JSON_DEPTH_MAX]; /* of every container that is open: { or [ */
};

/* The next byte, or -1 at the end. */
static int peek(const struct reader *r)
{
	return r->at < r->end ? (unsigned char)*r->at : -1;
}

static bool take(struct reader *r, char byte)
{
	if (r->at == r->end || *r->at != byte)
		return false;
	r->at++;
	return true;
}

static void skip_space(struct reader *r)
{
	while (r->at < r->end &&
	       (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

static bool read_word(struct reader *r, const char *word)
{
	size_t len = strlen(word);
	if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
		return false;
	r->at += len;
	return true;
}

/* At least one digit. */
static bool read_digits(struct reader *r)
{
	const char *start = r->at;
	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	return r->at > start;
}

static bool read_number(struct reader *r)
{
	take(r, '-');
	if (!take(r, '0') && !read_digits(r))
		return false;
	if (take(r, '.') && !read_digits(r))
		return false;
	if (take(r, 'e') || take(r, 'E')) {
		if (!take(r, '+'))
			take(r, '-');
		return read_digits(r);
	}
	return true;
}

/* The UTF-16 unit of four hexadecimal digits. */
static bool read_hex(struct reader *r, unsigned *ret_unit)
{
	unsigned unit = 0;

	if (r->end - r->at < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		char c = *r->at++;
		if (c >= '0' && c <= '9')
			unit = unit << 4 | (unsigned)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			unit = unit << 4 | (unsigned)((c | 0x20) - 'a' + 10);
		else
			return false;
	}
	*ret_unit = unit;
	return true;
}

/* Behind "\u". A high surrogate takes the low one with it; whatever else follows it stays, to be
 * read by itself. */
static bool read_unicode_escape(struct reader *r)
{
	unsigned unit;
	if (!read_hex(r, &unit))
		return false;
	if (unit == 0 || (unit >= 0xdc00 && unit <= 0xdfff))
		r->has_bad_text = true;
	if (unit < 0xd800 || unit > 0xdbff)
		return true;

	const char *behind = r->at;
	unsigned low;
	if (read_word(r, "\\u")) {
		if (!read_hex(r, &low))
			return false;
		if (low >= 0xdc00 && low <= 0xdfff)
			return true;
	}
	r->has_bad_text = true;
	r->at = behind;
	return true;
}

/* Behind the backslash. */
static bool read_escape(struct reader *r)
{
	switch (peek(r)) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		r->at++;
		return true;
	case 'u':
		r->at++;
		return read_unicode_escape(r);
	default:
		return false;
	}
}

/* One byte of ASCII that stands for itself. */
static bool is_plain(char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* What is not plain inside a string, the closing quote aside. */
static bool read_special(struct reader *r)
{
	if (take(r, '\\'))
		return read_escape(r);
	if ((unsigned char)*r->at < 0x20)
		return false;

	size_t len = utf8_length(r->at, (size_t)(r->end - r->at));
	if (!len)
		r->has_bad_text = true;
	r->at += len ? len : 1;
	return true;
}

static bool read_string(struct reader *r)
{
	if (!take(r, '"'))
		return false;
	for (;;) {
		while (r->at < r->end && is_plain(*r->at))
			r->at++;
		if (r->at == r->end)
			return false;
		if (take(r, '"'))
			return true;
		if (!read_special(r))
			return false;
	}
}

/* A member's name and its colon, with the white space around both. */
static bool read_name(struct reader *r)
{
	skip_space(r);
	if (!read_string(r))
		return false;
	skip_space(r);
	return take(r, ':');
}

static bool read_scalar(struct reader *r)
{
	switch (peek(r)) {
	case '"':
		return read_string(r);
	case 't':
		return read_word(r, "true");
	case 'f':
		return read_word(r, "false");
	case 'n':
		return read_word(r, "null");
	default:
		return read_number(r);
	}
}

/* The end of the innermost container, if that is what comes. */
static bool take_close(struct reader *r)
{
	if (!r->depth || !take(r, r->is_object[r->depth - 1] ? '}' : ']'))
		return false;
	r->depth--;
	return true;
}

/* Reads up to where the first value inside starts, or past the end of an empty container. */
static bool read_open(struct reader *r, bool *ret_wants_value)
{
	if (r->depth == JSON_DEPTH_MAX)
		return false;

	bool is_object = *r->at++ == '{';
	r->is_object[r->depth++] = is_object;
	skip_space(r);
	if (take_close(r)) {
		*ret_wants_value = false;
		return true;
	}
	*ret_wants_value = true;
	return !is_object || read_name(r);
}

/* Reads a scalar, or the start of a container. */
static bool read_value(struct reader *r, bool *ret_wants_value)
{
	skip_space(r);
	int next = peek(r);
	if (next == '{' || next == '[')
		return read_open(r, ret_wants_value);
	if (!read_scalar(r))
		return false;
	*ret_wants_value = false;
	return true;
}

/* Reads what may stand behind a value inside a container: its end, or a comma. */
static bool read_behind_value(struct reader *r, bool *ret_wants_value)
{
	if (take_close(r))
		return true;
	if (!take(r, ','))
		return false;
	*ret_wants_value = true;
	return !r->is_object[r->depth - 1] || read_name(r);
}

enum json_verdict json_check(const char *text, size_t len)
{
	if (!len)
		return JSON_SYNTAX;

	struct reader r = {.at = text, .end = text + len};
	bool wants_value = true;

	while (wants_value || r.depth) {
		bool is_good = wants_value ? read_value(&r, &wants_value)
					   : read_behind_value(&r, &wants_value);
		if (!is_good)
			return JSON_SYNTAX;
		skip_space(&r);
	}
	if (r.at != r.end)
		return JSON_SYNTAX;
	return r.has_bad_text ? JSON_TEXT : JSON_OK;
}
