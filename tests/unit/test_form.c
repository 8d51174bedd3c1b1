/* application/x-www-form-urlencoded, read strictly and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "form.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define PART_MAX_BYTES 20

struct reader {
	char *text; /* of just its length, so that AddressSanitizer sees a read behind it */
	const char *cursor;
	const char *end;
	struct secret name;
	struct secret value;
};

static void open_reader(struct reader *r, const char *text, size_t len)
{
	r->text = malloc(len ? len : 1);
	assert_non_null(r->text);
	memcpy(r->text, text, len);
	r->cursor = r->text;
	r->end = r->text + len;
	secret_init(&r->name, PART_MAX_BYTES);
	secret_init(&r->value, PART_MAX_BYTES);
	assert_true(secret_append_str(&r->name, "from before"));
	assert_true(secret_append_str(&r->value, "from before"));
}

static enum form_verdict read_pair(struct reader *r)
{
	return form_read_pair(&r->cursor, r->end, &r->name, &r->value);
}

static void close_reader(struct reader *r)
{
	secret_clear(&r->name);
	secret_clear(&r->value);
	free(r->text);
}

static void assert_empty(const struct reader *r)
{
	assert_int_equal(secret_len(&r->name), 0);
	assert_int_equal(secret_len(&r->value), 0);
}

struct pair_row {
	const char *text, *name, *value;
};

/* Each text holds one pair and nothing else. */
static void check_pairs(const struct pair_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct reader r;
		open_reader(&r, rows[i].text, strlen(rows[i].text));
		if (read_pair(&r) != FORM_OK)
			fail_msg("%s", rows[i].text);
		assert_string_equal(secret_str(&r.name), rows[i].name);
		assert_string_equal(secret_str(&r.value), rows[i].value);
		assert_int_equal(read_pair(&r), FORM_END);
		assert_empty(&r);
		assert_ptr_equal(r.cursor, r.end);
		close_reader(&r);
	}
}

static void test_name_and_value_are_split_at_the_first_equals_sign(void **state)
{
	static const struct pair_row rows[] = {
		{"a=b", "a", "b"},     {"a", "a", ""},
		{"a=", "a", ""},       {"=b", "", "b"},
		{"=", "", ""},         {"a=b=c", "a", "b=c"},
		{"a==", "a", "="},     {"a=b;c=d", "a", "b;c=d"},
		{"a=?#/", "a", "?#/"},
	};

	(void)state;
	check_pairs(rows, COUNT_OF(rows));
}

static void test_plus_and_percent_are_decoded(void **state)
{
	static const struct pair_row rows[] = {
		{"a+b=c+d", "a b", "c d"},
		{"a=%2B", "a", "+"},
		{"a=%2b", "a", "+"},
		{"%61=%62", "a", "b"},
		{"a=%26%3D", "a", "&="},
		{"a%3Db=c", "a=b", "c"},
		{"a=%25", "a", "%"},
		{"a=%2541", "a", "%41"},
		{"a=%20", "a", " "},
		{"a=++", "a", "  "},
		{"a=%0d%0a", "a", "\r\n"},
		{"a=%7F", "a", "\x7f"},
		{"a=%c3%a9", "a", "\xc3\xa9"},
		{"a=\xc3\xa9", "a", "\xc3\xa9"},
		{"a=\xc3%a9", "a", "\xc3\xa9"},
		{"a=%F0%9F%98%80", "a", "\xf0\x9f\x98\x80"},
	};

	(void)state;
	check_pairs(rows, COUNT_OF(rows));
}

static void test_empty_parts_are_skipped(void **state)
{
	static const struct pair_row rows[] = {
		{"&a=b", "a", "b"},
		{"a=b&", "a", "b"},
		{"&&&a=b&&&", "a", "b"},
	};

	(void)state;
	check_pairs(rows, COUNT_OF(rows));
}

static void test_nothing_is_the_end(void **state)
{
	static const char *const rows[] = {"", "&", "&&&&"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct reader r;
		open_reader(&r, rows[i], strlen(rows[i]));
		assert_int_equal(read_pair(&r), FORM_END);
		assert_empty(&r);
		assert_int_equal(read_pair(&r), FORM_END);
		close_reader(&r);
	}
}

static void test_pairs_come_in_their_order(void **state)
{
	static const char text[] = "username=a&password=b&username=c";
	static const char *const values[] = {"a", "b", "c"};
	struct reader r;

	(void)state;
	open_reader(&r, text, sizeof(text) - 1);
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		assert_int_equal(read_pair(&r), FORM_OK);
		assert_string_equal(secret_str(&r.name), i == 1 ? "password" : "username");
		assert_string_equal(secret_str(&r.value), values[i]);
	}
	assert_int_equal(read_pair(&r), FORM_END);
	close_reader(&r);
}

struct text_row {
	const char *text;
	size_t len;
};

#define ROW(text) \
	{ \
		text, sizeof(text) - 1 \
	}

/* Each text is one bad pair, behind which a good one is still found. */
static void check_bad(const struct text_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct reader r;
		struct buf text;
		buf_init(&text, 200);
		assert_true(buf_append(&text, rows[i].text, rows[i].len));
		assert_true(buf_append_str(&text, "&a=b"));
		open_reader(&r, buf_str(&text), text.len);
		buf_clear(&text);
		if (read_pair(&r) != FORM_BAD)
			fail_msg("row %zu, %s", i, rows[i].text);
		assert_empty(&r);
		assert_int_equal(read_pair(&r), FORM_OK);
		assert_string_equal(secret_str(&r.value), "b");
		close_reader(&r);
	}
}

static void test_bad_percent_encoding_is_refused(void **state)
{
	static const struct text_row rows[] = {
		ROW("a=%"),      ROW("a=%4"),   ROW("a=%4g"), ROW("a=%g4"), ROW("a=%%41"),
		ROW("a=%zz"),    ROW("a=% 41"), ROW("a=%-1"), ROW("a=%+1"), ROW("a=%0x41"),
		ROW("a=%u0041"), ROW("%=b"),    ROW("%4=b"),  ROW("a%zz"),  ROW("a=b%"),
	};

	(void)state;
	check_bad(rows, COUNT_OF(rows));
}

static void test_percent_at_the_very_end_is_refused(void **state)
{
	static const char *const rows[] = {"a=%", "a=%4", "%", "%4"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct reader r;
		open_reader(&r, rows[i], strlen(rows[i]));
		assert_int_equal(read_pair(&r), FORM_BAD);
		assert_empty(&r);
		assert_int_equal(read_pair(&r), FORM_END);
		close_reader(&r);
	}
}

static void test_nul_is_refused(void **state)
{
	static const struct text_row rows[] = {
		ROW("a=%00"), ROW("a=b%00c"), ROW("%00=b"),  ROW("a=\0"),
		ROW("\0"),    ROW("a\0=b"),   ROW("a=b\0c"), ROW("password%00=b"),
	};

	(void)state;
	check_bad(rows, COUNT_OF(rows));
}

static void test_what_is_not_utf8_is_refused(void **state)
{
	static const struct text_row rows[] = {
		ROW("a=%ff"),          ROW("a=\xff"),
		ROW("%ff=b"),          ROW("a=%c0%af"),
		ROW("a=%c0%80"),       ROW("a=%e0%80%af"),
		ROW("a=%ed%a0%80"),    ROW("a=%ed%a0%bd%ed%b8%80"),
		ROW("a=%f4%90%80%80"), ROW("a=%c3"),
		ROW("a=caf%e9"),       ROW("%c3=%a9"), /* not joined across "=" */
		ROW("a=%c3+"),
	};

	(void)state;
	check_bad(rows, COUNT_OF(rows));
}

static void test_a_part_over_its_ceiling_is_refused(void **state)
{
	static const struct text_row bad[] = {
		ROW("a=123456789012345678901"),
		ROW("123456789012345678901=b"),
		ROW("a=1234567890%31%32%33%34%35%36%37%38%39%30x"),
	};
	static const struct pair_row good[] = {
		{"a=12345678901234567890", "a", "12345678901234567890"},
		/* the decoded length counts, not the encoded one */
		{"a=%31%32%33%34%35%36%37%38%39%30%31%32%33%34%35%36%37%38%39%30", "a",
		 "12345678901234567890"},
	};

	(void)state;
	check_bad(bad, COUNT_OF(bad));
	check_pairs(good, COUNT_OF(good));
}

static void test_text_is_percent_encoded(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *expected;
	} rows[] = {
		{"", 0, ""},
		{"azAZ09-._*", 10, "azAZ09-._*"},
		{"a b+c", 5, "a+b%2Bc"},
		{"&=%?#/;~!'()", 12, "%26%3D%25%3F%23%2F%3B%7E%21%27%28%29"},
		{"\r\n\t", 3, "%0D%0A%09"},
		{"a\0b", 3, "a%00b"},
		{"\xc3\xa9\xff", 3, "%C3%A9%FF"},
		{"\x7f", 1, "%7F"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct secret out;
		secret_init(&out, 100);
		assert_true(form_write_text(&out, rows[i].text, rows[i].len));
		assert_string_equal(secret_str(&out), rows[i].expected);
		secret_clear(&out);
	}
}

static void test_what_does_not_fit_is_not_begun(void **state)
{
	struct secret out;

	(void)state;
	secret_init(&out, 6);
	assert_true(secret_append_str(&out, "a="));
	assert_false(form_write_text(&out, "xy&", 3));
	assert_string_equal(secret_str(&out), "a=");
	assert_true(form_write_text(&out, "x&", 2));
	assert_string_equal(secret_str(&out), "a=x%26");
	secret_clear(&out);
}

static void test_what_is_written_is_read_again(void **state)
{
	struct secret out;
	struct reader r;

	(void)state;
	secret_init(&out, 100);
	for (unsigned char c = 1; c < 0x80; c++) {
		char text[] = {'a', (char)c, 'b'};
		assert_true(secret_set(&out, "p=", 2));
		assert_true(form_write_text(&out, text, sizeof(text)));
		open_reader(&r, secret_str(&out), secret_len(&out));
		assert_int_equal(read_pair(&r), FORM_OK);
		assert_int_equal(secret_len(&r.value), 3);
		assert_memory_equal(secret_str(&r.value), text, 3);
		close_reader(&r);
	}
	secret_clear(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name_and_value_are_split_at_the_first_equals_sign),
		cmocka_unit_test(test_plus_and_percent_are_decoded),
		cmocka_unit_test(test_empty_parts_are_skipped),
		cmocka_unit_test(test_nothing_is_the_end),
		cmocka_unit_test(test_pairs_come_in_their_order),
		cmocka_unit_test(test_bad_percent_encoding_is_refused),
		cmocka_unit_test(test_percent_at_the_very_end_is_refused),
		cmocka_unit_test(test_nul_is_refused),
		cmocka_unit_test(test_what_is_not_utf8_is_refused),
		cmocka_unit_test(test_a_part_over_its_ceiling_is_refused),
		cmocka_unit_test(test_text_is_percent_encoded),
		cmocka_unit_test(test_what_does_not_fit_is_not_begun),
		cmocka_unit_test(test_what_is_written_is_read_again),
	};

	return cmocka_run_group_tests_name("form", tests, NULL, NULL);
}
