/* RFC 8259, in the manner of the public JSON parsing test suites: what must be taken, what must be
 * refused, and what is JSON but no text that may travel on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "ceilings.h"
#include "json.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

struct row {
	const char *text;
	size_t len;
};

#define ROW(text) \
	{ \
		text, sizeof(text) - 1 \
	}

/* Checks a copy of exactly that length, so that AddressSanitizer sees a read behind it. */
static enum json_verdict check_copy(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);
	assert_non_null(copy);
	memcpy(copy, text, len);
	enum json_verdict verdict = json_check(copy, len);
	free(copy);
	return verdict;
}

static void check_rows(const struct row *rows, size_t count, enum json_verdict expected)
{
	for (size_t i = 0; i < count; i++) {
		enum json_verdict got = check_copy(rows[i].text, rows[i].len);
		if (got != expected)
			fail_msg("row %zu, %s: %d instead of %d", i, rows[i].text, (int)got,
				 (int)expected);
	}
}

#define CHECK(rows, expected) check_rows(rows, COUNT_OF(rows), expected)

static void test_values_of_every_kind(void **state)
{
	static const struct row rows[] = {
		ROW("{\"username\":\"a\",\"password\":\"b\"}"),
		ROW("{}"),
		ROW("[]"),
		ROW("\"\""),
		ROW("0"),
		ROW("true"),
		ROW("false"),
		ROW("null"),
		ROW("[[]   ]"),
		ROW("[{},[{}],{\"a\":[]}]"),
		ROW("{\"\":0}"),
		ROW("{\"a\":1,\"a\":2}"), /* names twice: JSON all the same */
		ROW("[null, 1, \"1\", {}]"),
		ROW("{\"a\":{\"b\":{\"c\":[1,2,3]}},\"d\":null}"),
	};

	(void)state;
	CHECK(rows, JSON_OK);
}

static void test_white_space_around_everything(void **state)
{
	static const struct row rows[] = {
		ROW(" \t\r\n0 \t\r\n"),
		ROW(" { \"a\" : [ 1 , 2 ] , \"b\" : { } } "),
		ROW("[\n]\n"),
		ROW("\"a\"\n"),
	};

	(void)state;
	CHECK(rows, JSON_OK);
}

static void test_other_white_space_is_none(void **state)
{
	static const struct row rows[] = {
		ROW(""),
		ROW(" "),
		ROW("\n\n"),
		ROW("\v0"),
		ROW("\f0"),
		ROW("0\f"),
		ROW("\xc2\xa0"
		    "0"),
		ROW("[\f]"),
		ROW("\0"),
		ROW("0\0"),
		ROW("\xe2\x80\xa8[]"),
		ROW("{}\0{}"),
		ROW("[\xe2\x81\xa0]"),
	};

	(void)state;
	CHECK(rows, JSON_SYNTAX);
}

static void test_numbers(void **state)
{
	static const struct row rows[] = {
		ROW("-0"),
		ROW("123"),
		ROW("-1"),
		ROW("0.5"),
		ROW("123.456789"),
		ROW("0e1"),
		ROW("0E+1"),
		ROW("1e-2"),
		ROW("-0.0e-0"),
		ROW("1E22"),
		ROW("[1e400]"),
		ROW("20e01"),
		ROW("-0.000000000000000000000000000000000000000000000000000000000001"),
		ROW("100000000000000000000000000000000000000000000000000000000000000"),
	};

	(void)state;
	CHECK(rows, JSON_OK);
}

static void test_what_is_no_number(void **state)
{
	static const struct row rows[] = {
		ROW("01"),    ROW("-01"),      ROW("00"),           ROW("+1"),
		ROW("++1"),   ROW("-"),        ROW("--1"),          ROW(".5"),
		ROW("-.5"),   ROW("1."),       ROW("-2."),          ROW("1.e1"),
		ROW("1e"),    ROW("1e+"),      ROW("1E-"),          ROW("1eE2"),
		ROW("1.5.2"), ROW("0x10"),     ROW("1 000"),        ROW("1,000"),
		ROW("1_000"), ROW("Infinity"), ROW("-Infinity"),    ROW("NaN"),
		ROW("-NaN"),  ROW("inf"),      ROW("1a"),           ROW("-a"),
		ROW("0.3e"),  ROW("1e1.5"),    ROW("\xef\xbc\x91"), /* a full-width digit */
		ROW("[-1x]"), ROW("[2.]"),     ROW("{\"a\":-}"),
	};

	(void)state;
	CHECK(rows, JSON_SYNTAX);
}

static void test_words_are_exact(void **state)
{
	static const struct row rows[] = {
		ROW("True"),      ROW("TRUE"), ROW("tru"),   ROW("truee"), ROW("nul"),
		ROW("nulll"),     ROW("fals"), ROW("False"), ROW("t"),     ROW("true false"),
		ROW("undefined"), ROW("nil"),  ROW("a"),     ROW("[nul]"), ROW("truenull"),
	};

	(void)state;
	CHECK(rows, JSON_SYNTAX);
}

static void test_strings(void **state)
{
	static const struct row rows[] = {
		ROW("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
		ROW("\"\\u0041\\u00e9\\uABCD\\uabcd\""),
		ROW("\"\\ud83d\\uDE00\""),
		ROW("\"\\uDBFF\\uDFFF\""),
		ROW("\"\\\\u0000\""), /* a backslash and five letters, no NUL */
		ROW("\"\\uFFFE\\uFFFF\""),
		ROW("\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\""),
		ROW("\"\x7f\""),
		ROW("\"\xe2\x80\xa8\xe2\x80\xa9\""),
		ROW("\"'/*no comment*/'\""),
		ROW("\"\xef\xbb\xbf\""), /* a byte order mark inside is a character */
		ROW("{\"\\u0061\":\"\xef\xbf\xbf\"}"),
	};

	(void)state;
	CHECK(rows, JSON_OK);
}

static void test_what_is_no_string(void **state)
{
	static const struct row rows[] = {
		ROW("\""),
		ROW("\"a"),
		ROW("\"\\\""),
		ROW("\"\\"),
		ROW("'a'"),
		ROW("a"),
		ROW("\"\\x41\""),
		ROW("\"\\a\""),
		ROW("\"\\v\""),
		ROW("\"\\0\""),
		ROW("\"\\'\""),
		ROW("\"\\U0041\""),
		ROW("\"\\u\""),
		ROW("\"\\u004\""),
		ROW("\"\\u00g0\""),
		ROW("\"\\u 041\""),
		ROW("\"\\u-041\""),
		ROW("\"\\u004"),
		ROW("\"\\u"),
		ROW("\"\\ \""),
		ROW("\"\\\xc3\xa9\""),
		ROW("\"a\"b\""),
		ROW("\"\"\""),
		ROW("\\\"a\\\""),
		ROW("\"\\ud83d\\u\""),
		ROW("\"\\ud83d\\uDE0\""),
		ROW("\"\\ud83d\\x\""),
		ROW("\"\\u{41}\""),
		ROW("\"\\\n\""),
	};

	(void)state;
	CHECK(rows, JSON_SYNTAX);
}

static void test_raw_control_characters_are_refused(void **state)
{
	(void)state;
	for (char c = 0; c < 0x20; c++) {
		char text[] = {'"', 'a', c, 'b', '"'};
		assert_int_equal(check_copy(text, sizeof(text)), JSON_SYNTAX);
	}
}

static void test_arrays_and_objects_must_be_whole(void **state)
{
	static const struct row rows[] = {
		ROW("["),
		ROW("]"),
		ROW("{"),
		ROW("}"),
		ROW("[1"),
		ROW("[1,"),
		ROW("[1,]"),
		ROW("[,1]"),
		ROW("[,]"),
		ROW("[1,,2]"),
		ROW("[1 2]"),
		ROW("[1;2]"),
		ROW("[1:2]"),
		ROW("[1}"),
		ROW("{]"),
		ROW("[\"a\"}"),
		ROW("{\"a\":1]"),
		ROW("{\"a\""),
		ROW("{\"a\":"),
		ROW("{\"a\":1"),
		ROW("{\"a\":1,"),
		ROW("{\"a\":1,}"),
		ROW("{,\"a\":1}"),
		ROW("{\"a\" 1}"),
		ROW("{\"a\"}"),
		ROW("{\"a\":}"),
		ROW("{\"a\"::1}"),
		ROW("{\"a\":1,,\"b\":2}"),
		ROW("{\"a\":1 \"b\":2}"),
		ROW("{a:1}"),
		ROW("{'a':1}"),
		ROW("{1:1}"),
		ROW("{null:1}"),
		ROW("{[]:1}"),
		ROW("{\"a\":1:2}"),
		ROW("{:1}"),
		ROW("{\"a\",\"b\"}"),
		ROW("{\"a\"=1}"),
		ROW("[[]"),
		ROW("[]]"),
		ROW("[{}"),
		ROW("{\"a\":{}"),
		ROW("[\"a\",\n4\n,1,"),
		ROW("<null>"),
	};

	(void)state;
	CHECK(rows, JSON_SYNTAX);
}

static void test_nothing_may_follow(void **state)
{
	static const struct row rows[] = {
		ROW("{}{}"),
		ROW("{} {}"),
		ROW("{},"),
		ROW("[]1"),
		ROW("1 1"),
		ROW("{}#"),
		ROW("{}//x"),
		ROW("{}/**/"),
		ROW("\"a\" \"b\""),
		ROW("{};"),
		ROW("{}\xef\xbb\xbf"),
		ROW("[] x"),
		ROW("null\xff"),
		ROW("{}}"),
	};

	(void)state;
	CHECK(rows, JSON_SYNTAX);
}

static void test_extensions_are_refused(void **state)
{
	static const struct row rows[] = {
		ROW("\xef\xbb\xbf{}"), /* a byte order mark */
		ROW("\xff\xfe{\0}\0"), /* UTF-16 */
		ROW("\xfe\xff\0{\0}"), ROW("{\0}\0"),    ROW("{\0\0\0}\0\0\0"), /* UTF-32 */
		ROW("// a\n{}"),       ROW("/* a */{}"), ROW("{/* a */}"),
		ROW("[1,/**/2]"),      ROW("# a\n{}"),   ROW("username=a&password=b"),
		ROW("\xc3\xa9"), /* UTF-8 outside a string */
		ROW("[\xff]"),   /* and what is not even that */
		ROW(")]}'\n{}"),
	};

	(void)state;
	CHECK(rows, JSON_SYNTAX);
}

static void test_nul_in_a_string_is_text(void **state)
{
	static const struct row rows[] = {
		ROW("\"\\u0000\""),
		ROW("{\"password\":\"abc\\u0000def\"}"),
		ROW("{\"a\\u0000\":1}"),
		ROW("[\"\\ud800\\u0000\"]"),
	};

	(void)state;
	CHECK(rows, JSON_TEXT);
}

static void test_lone_surrogates_are_text(void **state)
{
	static const struct row rows[] = {
		ROW("\"\\ud800\""),
		ROW("\"\\uDBFFx\""),
		ROW("\"\\udc00\""),
		ROW("\"\\uDFFF\""),
		ROW("\"\\ude00\\ud83d\""),        /* the wrong way round */
		ROW("\"\\ud800\\ud800\\udc00\""), /* a lone one before a pair */
		ROW("\"\\ud800\\n\""),
		ROW("\"\\ud800\\u0041\""),
		ROW("\"\\ud83d\xf0\x9f\x98\x80\""),
		ROW("{\"\\ud800\":1}"),
	};

	(void)state;
	CHECK(rows, JSON_TEXT);
}

static void test_invalid_utf8_in_a_string_is_text(void **state)
{
	static const struct row rows[] = {
		ROW("\"\xff\""),         ROW("\"\x80\""),
		ROW("\"\xc3\""), /* cut off by the quote, which still ends the string */
		ROW("\"\xc0\xaf\""),     ROW("\"\xe0\x80\xaf\""),
		ROW("\"\xed\xa0\x80\""), ROW("\"\xf4\x90\x80\x80\""),
		ROW("\"caf\xe9\""), /* Latin-1 */
		ROW("{\"\xff\":1}"),     ROW("[\"\xf0\x9f\x98\"]"),
	};

	(void)state;
	CHECK(rows, JSON_TEXT);
}

static void test_syntax_beats_text(void **state)
{
	static const struct row rows[] = {
		ROW("{\"a\":\"\\u0000\""), ROW("\"\\ud800\" x"),
		ROW("[\"\xff\",]"),        ROW("\"\xff"),
		ROW("\"\\u0000\n\""),      ROW("\"\\ud800\\u00\""),
	};

	(void)state;
	CHECK(rows, JSON_SYNTAX);
}

/* Text nested depth times, around a value. */
static enum json_verdict check_nested(size_t depth, const char *open, const char *close)
{
	size_t open_len = strlen(open);
	char *text = malloc(depth * (open_len + 1) + 1);
	char *at = text;

	assert_non_null(text);
	for (size_t i = 0; i < depth; i++, at += open_len)
		memcpy(at, open, open_len);
	*at++ = '1';
	for (size_t i = 0; i < depth && *close; i++)
		*at++ = *close;
	enum json_verdict verdict = json_check(text, (size_t)(at - text));
	free(text);
	return verdict;
}

static void test_nesting_has_a_ceiling(void **state)
{
	(void)state;
	assert_int_equal(check_nested(JSON_DEPTH_MAX, "[", "]"), JSON_OK);
	assert_int_equal(check_nested(JSON_DEPTH_MAX, "{\"a\":", "}"), JSON_OK);
	assert_int_equal(check_nested(JSON_DEPTH_MAX + 1, "[", "]"), JSON_SYNTAX);
	assert_int_equal(check_nested(JSON_DEPTH_MAX + 1, "{\"a\":", "}"), JSON_SYNTAX);
	assert_int_equal(check_nested(1000000, "[", "]"), JSON_SYNTAX);
	assert_int_equal(check_nested(1000000, "[", ""), JSON_SYNTAX);
}

static void test_depth_is_not_breadth(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, 1000);
	assert_true(buf_append_str(&text, "["));
	for (int i = 0; i < 3 * JSON_DEPTH_MAX; i++)
		assert_true(buf_append_str(&text, "[{}],"));
	assert_true(buf_append_str(&text, "0]"));
	assert_int_equal(json_check(buf_str(&text), text.len), JSON_OK);
	buf_clear(&text);
}

/* Every beginning of a good text is not JSON, and reads nothing behind it. */
static void test_every_cut_is_syntax(void **state)
{
	static const char text[] = "{\"n\":[-0.5e+1,true,false,null],\"s\":\"a\\u00e9\\ud83d\\ude00"
				   "\\n\xf0\x9f\x98\x80\",\"o\":{}}";

	(void)state;
	assert_int_equal(check_copy(text, sizeof(text) - 1), JSON_OK);
	for (size_t len = 0; len < sizeof(text) - 1; len++)
		assert_int_equal(check_copy(text, len), JSON_SYNTAX);
}

static void test_null_of_no_bytes(void **state)
{
	(void)state;
	assert_int_equal(json_check(NULL, 0), JSON_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_of_every_kind),
		cmocka_unit_test(test_white_space_around_everything),
		cmocka_unit_test(test_other_white_space_is_none),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_what_is_no_number),
		cmocka_unit_test(test_words_are_exact),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_what_is_no_string),
		cmocka_unit_test(test_raw_control_characters_are_refused),
		cmocka_unit_test(test_arrays_and_objects_must_be_whole),
		cmocka_unit_test(test_nothing_may_follow),
		cmocka_unit_test(test_extensions_are_refused),
		cmocka_unit_test(test_nul_in_a_string_is_text),
		cmocka_unit_test(test_lone_surrogates_are_text),
		cmocka_unit_test(test_invalid_utf8_in_a_string_is_text),
		cmocka_unit_test(test_syntax_beats_text),
		cmocka_unit_test(test_nesting_has_a_ceiling),
		cmocka_unit_test(test_depth_is_not_breadth),
		cmocka_unit_test(test_every_cut_is_syntax),
		cmocka_unit_test(test_null_of_no_bytes),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
