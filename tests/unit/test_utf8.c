/* UTF-8, by the table of RFC 3629 section 4 and the bytes just outside of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "utf8.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

struct row {
	const char *text;
	size_t len;
	size_t expected;
};

#define ROW(text, expected) \
	{ \
		text, sizeof(text) - 1, expected \
	}

static void check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t got = utf8_length(rows[i].text, rows[i].len);
		if (got != rows[i].expected)
			fail_msg("row %zu: %zu instead of %zu", i, got, rows[i].expected);
	}
}

static void test_every_length_from_first_to_last(void **state)
{
	static const struct row rows[] = {
		ROW("\0", 1),                /* U+0000 */
		ROW("A", 1),                 /* ASCII */
		ROW("\x7f", 1),              /* U+007F */
		ROW("\xc2\x80", 2),          /* U+0080 */
		ROW("\xdf\xbf", 2),          /* U+07FF */
		ROW("\xe0\xa0\x80", 3),      /* U+0800 */
		ROW("\xed\x9f\xbf", 3),      /* U+D7FF */
		ROW("\xee\x80\x80", 3),      /* U+E000 */
		ROW("\xef\xbf\xbf", 3),      /* U+FFFF, no character but valid */
		ROW("\xf0\x90\x80\x80", 4),  /* U+10000 */
		ROW("\xf4\x8f\xbf\xbf", 4),  /* U+10FFFF */
		ROW("\xc3\xa9t\xc3\xa9", 2), /* only the first one counts */
		ROW("\xe2\x82\xac\xff\xff", 3),
	};

	(void)state;
	check_rows(rows, COUNT_OF(rows));
}

static void test_overlong_forms_are_none(void **state)
{
	static const struct row rows[] = {
		ROW("\xc0\x80", 0),         /* NUL in two bytes */
		ROW("\xc0\xaf", 0),         /* slash in two bytes */
		ROW("\xc1\xbf", 0),         /* U+007F in two bytes */
		ROW("\xe0\x80\xaf", 0),     /* slash in three bytes */
		ROW("\xe0\x9f\xbf", 0),     /* U+07FF in three bytes */
		ROW("\xf0\x80\x80\xaf", 0), /* slash in four bytes */
		ROW("\xf0\x8f\xbf\xbf", 0), /* U+FFFF in four bytes */
	};

	(void)state;
	check_rows(rows, COUNT_OF(rows));
}

static void test_surrogates_are_none(void **state)
{
	static const struct row rows[] = {
		ROW("\xed\xa0\x80", 0),             /* U+D800 */
		ROW("\xed\xaf\xbf", 0),             /* U+DBFF */
		ROW("\xed\xb0\x80", 0),             /* U+DC00 */
		ROW("\xed\xbf\xbf", 0),             /* U+DFFF */
		ROW("\xed\xa0\xbd\xed\xb8\x80", 0), /* a pair, as CESU-8 has it */
	};

	(void)state;
	check_rows(rows, COUNT_OF(rows));
}

static void test_above_the_last_code_point_is_none(void **state)
{
	static const struct row rows[] = {
		ROW("\xf4\x90\x80\x80", 0), /* U+110000 */
		ROW("\xf5\x80\x80\x80", 0), /* first bytes beyond */
		ROW("\xf7\xbf\xbf\xbf", 0),
		ROW("\xf8\x88\x80\x80\x80", 0),
		ROW("\xfc\x84\x80\x80\x80\x80", 0),
		ROW("\xfe", 0),
		ROW("\xff", 0),
	};

	(void)state;
	check_rows(rows, COUNT_OF(rows));
}

static void test_cut_off_is_none(void **state)
{
	static const struct row rows[] = {
		ROW("", 0),
		ROW("\xc3", 0),
		ROW("\xe2\x82", 0),
		ROW("\xe2", 0),
		ROW("\xf0\x9f\x98", 0),
		{"\xf0\x9f\x98\x80", 3, 0}, /* the last byte is there, but not ours to read */
		{"\xc3\xa9", 1, 0},
	};

	(void)state;
	check_rows(rows, COUNT_OF(rows));
}

static void test_bad_continuation_is_none(void **state)
{
	static const struct row rows[] = {
		ROW("\x80", 0),
		ROW("\xbf", 0),
		ROW("\xc3\x28", 0),
		ROW("\xc3\xc3", 0),
		ROW("\xe2\x28\xa1", 0),
		ROW("\xe2\x82\x28", 0),
		ROW("\xe2\x82\xc0", 0),
		ROW("\xf0\x28\x8c\xbc", 0),
		ROW("\xf0\x90\x28\xbc", 0),
		ROW("\xf0\x90\x8c\x28", 0),
	};

	(void)state;
	check_rows(rows, COUNT_OF(rows));
}

/* Against a decoder written the other way round: assemble the number, then judge it. */
static size_t slow_length(const unsigned char *b)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = b[0] < 0x80             ? 1
		     : (b[0] & 0xe0) == 0xc0 ? 2
		     : (b[0] & 0xf0) == 0xe0 ? 3
		     : (b[0] & 0xf8) == 0xf0 ? 4
					     : 0;
	uint32_t code = len == 1 ? b[0] : len ? b[0] & (0x7fu >> len) : 0;

	for (size_t i = 1; i < len; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (b[i] & 0x3fu);
	}
	if (!len || code < smallest[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return len;
}

static void test_every_pair_of_first_bytes(void **state)
{
	static const char *const tails[] = {"\x80\x80", "\xbf\xbf", "\x7f\x80", "\x80\xc0"};

	(void)state;
	for (unsigned pair = 0; pair < 0x10000; pair++) {
		for (size_t i = 0; i < COUNT_OF(tails); i++) {
			char text[4] = {(char)(pair >> 8), (char)pair, tails[i][0], tails[i][1]};
			size_t expected = slow_length((const unsigned char *)text);
			if (utf8_length(text, sizeof(text)) != expected)
				fail_msg("%04x, tail %zu", pair, i);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_length_from_first_to_last),
		cmocka_unit_test(test_overlong_forms_are_none),
		cmocka_unit_test(test_surrogates_are_none),
		cmocka_unit_test(test_above_the_last_code_point_is_none),
		cmocka_unit_test(test_cut_off_is_none),
		cmocka_unit_test(test_bad_continuation_is_none),
		cmocka_unit_test(test_every_pair_of_first_bytes),
	};

	return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
