#include "utf8.h"

#include <stdbool.h>

static bool is_continuation(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

/* The length that a first byte announces; 0 for one that can start no character: a continuation,
 * C0 and C1 (always overlong), F5 and above (over U+10FFFF). */
static size_t announced_length(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	if (first < 0xe0)
		return 2;
	return first < 0xf0 ? 3 : 4;
}

/* Whether the second byte keeps the character clear of overlong forms, surrogates and what is
 * above U+10FFFF (the table in RFC 3629 section 4). */
static bool is_second(unsigned char first, unsigned char second)
{
	switch (first) {
	case 0xe0:
		return second >= 0xa0 && second <= 0xbf;
	case 0xed:
		return second >= 0x80 && second <= 0x9f;
	case 0xf0:
		return second >= 0x90 && second <= 0xbf;
	case 0xf4:
		return second >= 0x80 && second <= 0x8f;
	default:
		return is_continuation(second);
	}
}

size_t utf8_length(const char *text, size_t len)
{
	if (!len)
		return 0;

	const unsigned char *bytes = (const unsigned char *)text;
	size_t announced = announced_length(bytes[0]);
	if (announced > len)
		return 0;
	if (announced > 1 && !is_second(bytes[0], bytes[1]))
		return 0;
	for (size_t i = 2; i < announced; i++) {
		if (!is_continuation(bytes[i]))
			return 0;
	}
	return announced;
}
