/* Which page a request comes from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ceilings.h"
#include "origin.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void test_an_origin_is_found_as_it_stands_alone(void **state)
{
	static const char list[] = "https://a.example https://b.example:8443 http://localhost:3000";
	static const struct {
		const char *origin;
		int at; /* in the list; -1: not there */
	} rows[] = {
		{"https://a.example", 0},
		{"https://b.example:8443", 18},
		{"http://localhost:3000", 41},
		{"https://b.example", -1},
		{"https://b.example:844", -1},
		{"https://b.example:84430", -1},
		{"http://a.example", -1},
		{"https://A.example", -1},
		{"https://a.example/", -1},
		{"https://a.example https://b.example:8443", -1},
		{"https://", -1},
		{"a.example", -1},
		{" ", -1},
		{"null", -1},
		{"*", -1},
		{"", -1},
		{NULL, -1},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct origin_text found = origin_find(list, rows[i].origin);

		if (rows[i].at < 0) {
			assert_null(found.text);
			continue;
		}
		assert_ptr_equal(found.text, list + rows[i].at);
		assert_int_equal(found.len, strlen(rows[i].origin));
	}
	assert_null(origin_find("", "").text);
	assert_null(origin_find("", "https://a.example").text);
	assert_null(origin_find(NULL, "https://a.example").text);
}

static void test_what_is_the_sites_own_and_what_is_no_browser(void **state)
{
	static const struct {
		const char *fetch_site;
		const char *origin;
		const char *host;
		bool is_own;
	} rows[] = {
		{NULL, NULL, "a.example", true},
		{"", "", "a.example", true},
		/* What the browser says of itself counts. */
		{"same-origin", "https://a.example", "a.example", true},
		{"same-origin", "https://a.example", "behind-a-proxy", true},
		{"none", NULL, "a.example", true},
		{"same-site", "https://b.example", "a.example", false},
		{"cross-site", "https://b.example", "a.example", false},
		{"cross-site", "https://a.example", "a.example", false},
		{"cross-site", NULL, "a.example", false},
		{"Same-Origin", NULL, "a.example", false},
		{"same-origin, cross-site", NULL, "a.example", false},
		/* Else Origin and Host. */
		{NULL, "https://a.example", "a.example", true},
		{NULL, "http://a.example", "a.example", true},
		{NULL, "https://a.example", "A.Example", true},
		{NULL, "https://a.example", "a.example:443", true},
		{NULL, "http://a.example", "a.example:80", true},
		{NULL, "https://a.example", "a.example:80", false},
		{NULL, "http://a.example", "a.example:443", false},
		{NULL, "https://a.example:8443", "a.example:8443", true},
		{NULL, "https://a.example:8443", "a.example", false},
		{NULL, "https://[::1]:3000", "[::1]:3000", true},
		{NULL, "https://a.example.evil.example", "a.example", false},
		{NULL, "https://a.exampl", "a.example", false},
		{NULL, "https://b.example", "a.example", false},
		{NULL, "https://a.example", NULL, false},
		{NULL, "https://", "", false},
		{NULL, "null", "null", false},
		{NULL, "ftp://a.example", "a.example", false},
		{NULL, "https:/", "a.example", false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_int_equal(origin_is_own(rows[i].fetch_site, rows[i].origin, rows[i].host),
				 rows[i].is_own);
}

static void test_an_origin_may_be_logged_and_nothing_else(void **state)
{
	static const struct {
		const char *text;
		bool is_printable;
	} rows[] = {
		{"https://a.example:8443", true},
		{"http://[::1]:80", true},
		{"chrome-extension://abcdefghijklmnop", true},
		{"null", true},
		{"", false},
		{"Kennwort", false},
		{"alice:Kennwort", false},
		{"nullx", false},
		{"https", false},
		{"https:", false},
		{"https:/", false},
		{"https://", false},
		{"://a.example", false},
		{"https://a.example/", false},
		{"https://a.example/Kennwort", false},
		{"https://a.example?password=x", false},
		{"https://a.example\n", false},
		{"https://user@a.example", false},
		{"https://a.example https://b.example", false},
	};
	char longest[ORIGIN_MAX_BYTES + 2] = "https://";
	size_t start_len = strlen(longest);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		if (origin_is_printable(rows[i].text) != rows[i].is_printable)
			fail_msg("%s", rows[i].text);
	}
	memset(longest + start_len, 'a', sizeof(longest) - start_len - 1);
	assert_false(origin_is_printable(longest));
	longest[ORIGIN_MAX_BYTES] = '\0';
	assert_true(origin_is_printable(longest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_origin_is_found_as_it_stands_alone),
		cmocka_unit_test(test_what_is_the_sites_own_and_what_is_no_browser),
		cmocka_unit_test(test_an_origin_may_be_logged_and_nothing_else),
	};

	return cmocka_run_group_tests_name("origin", tests, NULL, NULL);
}
