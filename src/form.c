#include "form.h"

#include <ctype.h>
#include <string.h>

#include "utf8.h"

/* The value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int form_decode_byte(const char *text, const char *end)
{
	if (*text != '%')
		return *text ? (unsigned char)*text : -1;
	if (end - text < 3)
		return -1;

	int high = hex_value(text[1]);
	int low = hex_value(text[2]);
	if (high < 0 || low < 0 || (high | low) == 0)
		return -1;
	return high << 4 | low;
}

size_t form_encoded_length(const char *text)
{
	return *text == '%' ? 3 : 1;
}

static bool is_utf8(const char *text, size_t len)
{
	while (len) {
		size_t step = utf8_length(text, len);
		if (!step)
			return false;
		text += step;
		len -= step;
	}
	return true;
}

static bool decode_form_part(const char *text, const char *end, struct secret *out)
{
	for (; text < end; text += form_encoded_length(text)) {
		int byte = *text == '+' ? ' ' : form_decode_byte(text, end);
		char c = (char)byte;
		if (byte < 0 || !secret_append(out, &c, 1))
			return false;
	}
	return is_utf8(secret_str(out), secret_len(out));
}

/* Where byte is found first; end if nowhere. */
static const char *find_byte(const char *text, const char *end, char byte)
{
	const char *found = text < end ? memchr(text, byte, (size_t)(end - text)) : NULL;
	return found ? found : end;
}

enum form_verdict form_read_pair(const char **cursor, const char *end, struct secret *name,
				 struct secret *value)
{
	const char *pair = *cursor;

	secret_truncate(name, 0);
	secret_truncate(value, 0);
	while (pair < end && *pair == '&')
		pair++;
	const char *pair_end = find_byte(pair, end, '&');
	*cursor = pair_end;
	if (pair == end)
		return FORM_END;

	const char *name_end = find_byte(pair, pair_end, '=');
	const char *value_start = name_end < pair_end ? name_end + 1 : pair_end;
	if (decode_form_part(pair, name_end, name) &&
	    decode_form_part(value_start, pair_end, value))
		return FORM_OK;
	secret_truncate(name, 0);
	secret_truncate(value, 0);
	return FORM_BAD;
}

/* Bytes that stand for themselves in a form. */
static bool is_unreserved(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("-._*", c));
}

bool form_write_text(struct secret *out, const char *text, size_t len)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t encoded_len = len;
	char *to;

	for (size_t i = 0; i < len; i++)
		encoded_len += text[i] == ' ' || is_unreserved(text[i]) ? 0 : 2;
	if (!secret_reserve(out, encoded_len))
		return false;
	to = secret_end(out);
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)text[i];

		if (is_unreserved(text[i])) {
			*to++ = text[i];
		} else if (text[i] == ' ') {
			*to++ = '+';
		} else {
			*to++ = '%';
			*to++ = digits[byte >> 4];
			*to++ = digits[byte & 0x0f];
		}
	}
	secret_added(out, encoded_len);
	return true;
}
