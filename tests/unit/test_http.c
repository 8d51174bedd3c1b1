/* The syntax of a request's parts, and the head of a reply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void finish_nothing(struct http_exchange *x)
{
	(void)x;
}

static void test_a_new_exchange_is_empty(void **state)
{
	struct http_exchange x;

	(void)state;
	memset(&x, 0xff, sizeof(x));
	http_init(&x, finish_nothing);
	assert_null(x.request.method);
	assert_null(x.route);
	assert_int_equal(x.reply.status, 0);
	assert_string_equal(x.request_id, "");
	assert_string_equal(x.note, "");
	assert_false(x.is_abandoned);
	assert_ptr_equal(x.finish, finish_nothing);
	assert_int_equal(x.request.body.buf.max, BODY_MAX_BYTES);
	assert_int_equal(x.reply.body.buf.max, ANSWER_MAX_BYTES);
	assert_true(secret_append_str(&x.request.body, "a"));
	assert_true(secret_append_str(&x.reply.body, "b"));
	http_clear(&x);
	assert_int_equal(secret_len(&x.request.body), 0);
	assert_int_equal(secret_len(&x.reply.body), 0);
	http_clear(NULL);
}

/* The head of x, in head. */
static void write_head(struct http_exchange *x, struct buf *head)
{
	buf_init(head, 2000);
	assert_true(http_write_head(x, head));
}

static void test_head_of_a_success(void **state)
{
	struct http_exchange x;
	struct buf head;

	(void)state;
	http_init(&x, finish_nothing);
	http_make_request_id(x.request_id, "abc");
	x.reply.status = 200;
	assert_true(secret_append_str(&x.reply.body, "{\"a\":1}"));
	write_head(&x, &head);
	assert_string_equal(buf_str(&head), "Status: 200 OK\r\n"
					    "Content-Type: application/json\r\n"
					    "Content-Length: 7\r\n"
					    "Cache-Control: no-store\r\n"
					    "Pragma: no-cache\r\n"
					    "X-Content-Type-Options: nosniff\r\n"
					    "Vary: Origin\r\n"
					    "X-Request-Id: abc\r\n"
					    "\r\n");
	buf_clear(&head);
	http_clear(&x);
}

static void test_head_of_a_204_says_nothing_of_a_body(void **state)
{
	struct http_exchange x;
	struct buf head;

	(void)state;
	http_init(&x, finish_nothing);
	x.reply.status = 204;
	x.reply.allow = "POST, OPTIONS";
	write_head(&x, &head);
	assert_string_equal(buf_str(&head), "Status: 204 No Content\r\n"
					    "Cache-Control: no-store\r\n"
					    "Pragma: no-cache\r\n"
					    "X-Content-Type-Options: nosniff\r\n"
					    "Vary: Origin\r\n"
					    "Allow: POST, OPTIONS\r\n"
					    "\r\n");
	buf_clear(&head);
	http_clear(&x);
}

static void test_head_without_a_body_has_length_zero(void **state)
{
	struct http_exchange x;
	struct buf head;

	(void)state;
	http_init(&x, finish_nothing);
	x.reply.status = 500;
	write_head(&x, &head);
	assert_non_null(strstr(buf_str(&head), "\r\nContent-Length: 0\r\n"));
	assert_null(strstr(buf_str(&head), "\nContent-Type:"));
	buf_clear(&head);
	http_clear(&x);
}

static void test_head_has_what_the_reply_sets(void **state)
{
	static const char *const lines[] = {
		"Status: 429 Too Many Requests\r\n",
		"\r\nAllow: POST, OPTIONS\r\n",
		"\r\nAccept: application/json\r\n",
		"\r\nWWW-Authenticate: Bearer realm=\"bakrypt\"\r\n",
		"\r\nRetry-After: 30\r\n",
	};
	struct http_exchange x;
	struct buf head;

	(void)state;
	http_init(&x, finish_nothing);
	x.reply.status = 429;
	x.reply.allow = "POST, OPTIONS";
	x.reply.accept = "application/json";
	x.reply.challenge = "Bearer realm=\"bakrypt\"";
	x.reply.retry_after_s = 30;
	write_head(&x, &head);
	for (size_t i = 0; i < COUNT_OF(lines); i++)
		assert_non_null(strstr(buf_str(&head), lines[i]));
	assert_string_equal(buf_str(&head) + head.len - 4, "\r\n\r\n");
	assert_ptr_equal(strstr(buf_str(&head), "\r\n\r\n"), buf_str(&head) + head.len - 4);
	buf_clear(&head);
	http_clear(&x);
}

static void test_head_for_a_page_of_another_site(void **state)
{
	static const char list[] = "https://a.example https://b.example";
	static const char shared[] = "Access-Control-Allow-Origin: https://b.example\r\n"
				     "Access-Control-Expose-Headers: Retry-After, X-Request-Id\r\n";
	static const char preflight[] = "Access-Control-Allow-Methods: POST\r\n"
					"Access-Control-Allow-Headers: Content-Type\r\n"
					"Access-Control-Max-Age: 600\r\n";
	struct http_exchange x;
	struct buf head;

	(void)state;
	http_init(&x, finish_nothing);
	x.reply.status = 204;
	x.reply.allow_methods = "POST";
	write_head(&x, &head);
	assert_null(strstr(buf_str(&head), "Access-Control"));
	buf_clear(&head);
	x.reply.allow_origin = origin_find(list, "https://b.example");
	write_head(&x, &head);
	assert_non_null(strstr(buf_str(&head), shared));
	assert_non_null(strstr(buf_str(&head), preflight));
	buf_clear(&head);
	x.reply.allow_methods = NULL;
	write_head(&x, &head);
	assert_non_null(strstr(buf_str(&head), shared));
	assert_null(strstr(buf_str(&head), "Allow-Methods"));
	buf_clear(&head);
	http_clear(&x);
}

static void test_head_above_its_ceiling_is_refused(void **state)
{
	struct http_exchange x;
	struct buf whole;

	(void)state;
	http_init(&x, finish_nothing);
	http_make_request_id(x.request_id, "abc");
	x.reply.status = 415;
	x.reply.accept = "application/json";
	x.reply.retry_after_s = 1;
	write_head(&x, &whole);
	for (size_t max = 0; max <= whole.len; max++) {
		struct buf head;
		buf_init(&head, max);
		assert_int_equal(http_write_head(&x, &head), max == whole.len);
		buf_clear(&head);
	}
	buf_clear(&whole);
	http_clear(&x);
}

static void test_every_status_sent_has_a_reason(void **state)
{
	static const struct {
		int status;
		const char *reason;
	} rows[] = {
		{200, "OK"},
		{204, "No Content"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{413, "Content Too Large"},
		{415, "Unsupported Media Type"},
		{429, "Too Many Requests"},
		{500, "Internal Server Error"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{0, "Unknown"},
		{-1, "Unknown"},
		{299, "Unknown"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_string_equal(http_reason(rows[i].status), rows[i].reason);
}

static void test_length_is_a_plain_number(void **state)
{
	static const struct {
		const char *text;
		size_t expected;
	} rows[] = {
		{"0", 0},
		{"7", 7},
		{"16384", 16384},
		{"007", 7},
		{"000000000000000000000000000000", 0},
		{"18446744073709551614", SIZE_MAX - 1},
		{"18446744073709551615", SIZE_MAX},
		{"18446744073709551616", SIZE_MAX}, /* 2 to the 64 must not become 0 */
		{"18446744073709551620", SIZE_MAX},
		{"36893488147419103232", SIZE_MAX},
		{"99999999999999999999999999999999999999999999", SIZE_MAX},
		{"184467440737095516150000000000000000000000000", SIZE_MAX},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		size_t got = 42;
		assert_true(http_read_length(rows[i].text, &got));
		if (got != rows[i].expected)
			fail_msg("%s: %zu", rows[i].text, got);
	}
}

static void test_length_that_says_nothing(void **state)
{
	static const char *const rows[] = {
		NULL,
		"",
		"-1",
		"-0",
		"+5",
		" 5",
		"5 ",
		"\t5",
		"5\n",
		"0x10",
		"1e3",
		"1.0",
		"5, 5",
		"five",
		"5;x",
		"5\r\n",
		"-",
		"\xd9\xa5",
		"1844674407370955161x",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		size_t got = 42;
		if (http_read_length(rows[i], &got))
			fail_msg("%s", rows[i]);
		assert_int_equal(got, 42);
	}
}

/* 64 characters, and 65. */
#define ID_64 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._"
#define ID_65 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._x"

static void test_good_request_id_is_taken_over(void **state)
{
	static const char *const rows[] = {
		"a", "-", ".", "_", "A-b.c_9", ID_64, "6fd9ae2c-93f8-4b4a-8a8f-2f3cf1a6f3c1"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char id[REQUEST_ID_MAX_BYTES + 1];
		http_make_request_id(id, rows[i]);
		assert_string_equal(id, rows[i]);
	}
}

static void test_bad_request_id_is_replaced(void **state)
{
	static const char *const rows[] = {
		NULL,
		"",
		ID_65,
		"a b",
		"a\r\nSet-Cookie: x=1",
		"a\n",
		"\r\n\r\n<html>",
		"a\"b",
		"a\\b",
		"a/b",
		"a:b",
		"a,b",
		"<script>",
		"a\x7f",
		"a\x1b[31m",
		"\xc3\xa9",
		"a\xff",
		"%0d%0a",
		"${jndi:ldap://x}",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char id[REQUEST_ID_MAX_BYTES + 1];
		http_make_request_id(id, rows[i]);
		assert_int_equal(strlen(id), 32);
		assert_int_equal(strspn(id, "0123456789abcdef"), 32);
	}
}

static void test_made_request_ids_differ(void **state)
{
	char ids[100][REQUEST_ID_MAX_BYTES + 1];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ids); i++) {
		http_make_request_id(ids[i], NULL);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(ids[i], ids[j]);
	}
}

struct route_row {
	const char *target, *segment;
};

static void check_routes(const struct route_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char segment[16] = "before";
		if (!http_read_route(rows[i].target, segment, sizeof(segment)))
			fail_msg("%s: none", rows[i].target);
		if (strcmp(segment, rows[i].segment) != 0)
			fail_msg("%s: %s", rows[i].target, segment);
	}
}

static void test_route_is_the_last_segment(void **state)
{
	static const struct route_row rows[] = {
		{"/login", "login"}, {"/api/v1/login", "login"},
		{"/", ""},           {"/login/", ""},
		{"/login/x", "x"},   {"/loginx", "loginx"},
		{"/LOGIN", "LOGIN"}, {"/login;a=b", "login;a=b"},
		{"/a+b", "a+b"},     {"/login.cgi", "login.cgi"},
	};

	(void)state;
	check_routes(rows, COUNT_OF(rows));
}

static void test_route_ends_at_query_and_fragment(void **state)
{
	static const struct route_row rows[] = {
		{"/login?a=b", "login"},
		{"/login?", "login"},
		{"/login?a/b/logout", "login"},
		{"/login#x", "login"},
		{"/x?/login", "x"},
		{"/?/login", ""},
		{"/login?%zz%00", "login"},
		{"/login#a?b", "login"},
		{"/x%3f/login", "login"},
		{"/login%3fa", "login?a"},
		{"/login%23a", "login#a"},
	};

	(void)state;
	check_routes(rows, COUNT_OF(rows));
}

static void test_route_is_decoded(void **state)
{
	static const struct route_row rows[] = {
		{"/logi%6e", "login"},
		{"/%6C%6f%67%69%6E", "login"},
		{"/logi%256e", "logi%6e"}, /* once only */
		{"/a%20b", "a b"},
		{"/%c3%a9", "\xc3\xa9"},
		{"//x/../logi%6e?a", "login"},
		{"/%ff", "\xff"},
	};

	(void)state;
	check_routes(rows, COUNT_OF(rows));
}

static void test_route_is_normalised(void **state)
{
	static const struct route_row rows[] = {
		{"//login", "login"},
		{"///a////login", "login"},
		{"/login//", ""},
		{"/./login", "login"},
		{"/a/../login", "login"},
		{"/../../../login", "login"},
		{"/login/.", ""},
		{"/login/..", ""},
		{"/login/./", ""},
		{"/login/x/..", ""},
		{"/login/../x", "x"},
		{"/.../login", "login"},
		{"/...", "..."},
		{"/..login", "..login"},
		{"/.login", ".login"},
		{"/login.", "login."},
		{"/a/%2e%2e/login", "login"},
		{"/%2E/login", "login"},
		{"/login/%2e", ""},
		{"/login/.%2e", ""},
		{"/login/%2e%2E", ""},
		{"/%2e%2e", ""},
	};

	(void)state;
	check_routes(rows, COUNT_OF(rows));
}

static void test_encoded_slash_does_not_separate(void **state)
{
	static const struct route_row rows[] = {
		{"/a%2fb/login", "login"},     {"/..%2f/login", "login"},
		{"/login/..%2f..", NULL},      {"/a%2flogin", NULL},
		{"/a%2Flogin", NULL},          {"/%2flogin", NULL},
		{"/login%2f", NULL},           {"/x/..%2flogin", NULL},
		{"/a%252flogin", "a%2flogin"}, {"/a%5clogin", "a\\login"},
		{"/a\\login", "a\\login"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char segment[16] = "before";
		bool is_found = http_read_route(rows[i].target, segment, sizeof(segment));
		assert_int_equal(is_found, rows[i].segment != NULL);
		assert_string_equal(segment, is_found ? rows[i].segment : "before");
	}
}

static void test_route_of_an_absolute_target(void **state)
{
	static const struct route_row rows[] = {
		{"https://host/api/login", "login"},
		{"http://host:8080/login?a", "login"},
		{"HTTP://HOST/login", "login"},
		{"http://[::1]:80/login", "login"},
		{"http://user@host/login", "login"},
		{"http://login", ""}, /* the host is no segment */
		{"http://host?/login", ""},
		{"http://host/", ""},
		{"http://host//x/../logi%6e", "login"},
		{"/x/http://host/login", "login"},
		{"//host/login", "login"},
		{"//login", "login"},
	};

	(void)state;
	check_routes(rows, COUNT_OF(rows));
}

static void test_targets_without_a_route(void **state)
{
	static const char *const rows[] = {
		NULL,
		"",
		"*",
		"login",
		"host:443",
		"?login",
		"#login",
		":///login",
		"://login",
		"ht/tp://h/login",
		"http:/login",
		"http:",
		"./login",
		"../login",
		" /login",
		"/%",
		"/%4",
		"/%zz",
		"/login%",
		"/login%6",
		"/%zz/login",
		"/%/login",
		"/login%00",
		"/%00/login",
		"/log%00in",
		"/x%gg/../login",
		"/%u006cogin",
		"\\login",
		"/a234567890123456",
		"/%61234567890123456",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char segment[16] = "before";
		if (http_read_route(rows[i], segment, sizeof(segment)))
			fail_msg("%s: %s", rows[i], segment);
		assert_string_equal(segment, "before");
	}
}

static void test_segment_fits_with_its_nul(void **state)
{
	char segment[6] = "";

	(void)state;
	assert_true(http_read_route("/login", segment, 6));
	assert_string_equal(segment, "login");
	assert_true(http_read_route("/logi%6e", segment, 6));
	assert_false(http_read_route("/login", segment, 5));
	assert_false(http_read_route("/", segment, 0));
	assert_true(http_read_route("/much-longer-than-that/", segment, 1));
	assert_string_equal(segment, "");
}

struct type_row {
	const char *text;
	enum http_media_type expected;
};

static void check_types(const struct type_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (http_read_media_type(rows[i].text) != rows[i].expected)
			fail_msg("%s", rows[i].text);
	}
}

static void test_media_types(void **state)
{
	static const struct type_row rows[] = {
		{"application/json", HTTP_MEDIA_JSON},
		{"Application/JSON", HTTP_MEDIA_JSON},
		{" \tapplication/json \t", HTTP_MEDIA_JSON},
		{"application/x-www-form-urlencoded", HTTP_MEDIA_FORM},
		{"APPLICATION/X-WWW-FORM-URLENCODED", HTTP_MEDIA_FORM},
		{NULL, HTTP_MEDIA_OTHER},
		{"", HTTP_MEDIA_OTHER},
		{" ", HTTP_MEDIA_OTHER},
		{";", HTTP_MEDIA_OTHER},
		{"json", HTTP_MEDIA_OTHER},
		{"text/plain", HTTP_MEDIA_OTHER},
		{"text/json", HTTP_MEDIA_OTHER},
		{"multipart/form-data; boundary=x", HTTP_MEDIA_OTHER},
		{"application/jsonx", HTTP_MEDIA_OTHER},
		{"application/json5", HTTP_MEDIA_OTHER},
		{"application/json/x", HTTP_MEDIA_OTHER},
		{"application/ld+json", HTTP_MEDIA_OTHER},
		{"application/jso", HTTP_MEDIA_OTHER},
		{"application /json", HTTP_MEDIA_OTHER},
		{"application/json, text/plain", HTTP_MEDIA_OTHER},
		{"application/json,application/json", HTTP_MEDIA_OTHER},
		{"text/plain; a=application/json", HTTP_MEDIA_OTHER},
		{"xapplication/json", HTTP_MEDIA_OTHER},
	};

	(void)state;
	check_types(rows, COUNT_OF(rows));
}

static void test_charset_must_be_utf8(void **state)
{
	static const struct type_row rows[] = {
		{"application/json; charset=utf-8", HTTP_MEDIA_JSON},
		{"application/json;charset=UTF-8", HTTP_MEDIA_JSON},
		{"application/json; CharSet=\"Utf-8\"", HTTP_MEDIA_JSON},
		{"application/json ; charset=utf-8 ;", HTTP_MEDIA_JSON},
		{"application/x-www-form-urlencoded; charset=utf-8", HTTP_MEDIA_FORM},
		{"application/json; charset=utf-16", HTTP_MEDIA_OTHER},
		{"application/json; charset=iso-8859-1", HTTP_MEDIA_OTHER},
		{"application/json; charset=utf8", HTTP_MEDIA_OTHER},
		{"application/json; charset=utf-8x", HTTP_MEDIA_OTHER},
		{"application/json; charset=utf-", HTTP_MEDIA_OTHER},
		{"application/json; charset=\"\"", HTTP_MEDIA_OTHER},
		{"application/json; charset=\" utf-8\"", HTTP_MEDIA_OTHER},
		{"application/json; charset='utf-8'", HTTP_MEDIA_OTHER},
		{"application/json; charset=utf-8; charset=utf-7", HTTP_MEDIA_OTHER},
		{"application/x-www-form-urlencoded; charset=windows-1252", HTTP_MEDIA_OTHER},
	};

	(void)state;
	check_types(rows, COUNT_OF(rows));
}

static void test_other_parameters_are_allowed(void **state)
{
	static const struct type_row rows[] = {
		{"application/json;", HTTP_MEDIA_JSON},
		{"application/json;;; ; a=b", HTTP_MEDIA_JSON},
		{"application/json; a=b; c=\"d;charset=x\"", HTTP_MEDIA_JSON},
		{"application/json; a=\"\\\"; charset=x\"; charset=utf-8", HTTP_MEDIA_JSON},
		{"application/json; a=\"\"", HTTP_MEDIA_JSON},
		{"application/json; xcharset=latin1", HTTP_MEDIA_JSON},
		{"application/json; charsets=latin1", HTTP_MEDIA_JSON},
	};

	(void)state;
	check_types(rows, COUNT_OF(rows));
}

static void test_broken_parameters_are_refused(void **state)
{
	static const struct type_row rows[] = {
		{"application/json; charset", HTTP_MEDIA_OTHER},
		{"application/json; charset=", HTTP_MEDIA_OTHER},
		{"application/json; charset =utf-8", HTTP_MEDIA_OTHER},
		{"application/json; charset= utf-8", HTTP_MEDIA_OTHER},
		{"application/json; =utf-8", HTTP_MEDIA_OTHER},
		{"application/json charset=utf-8", HTTP_MEDIA_OTHER},
		{"application/json; a=\"b", HTTP_MEDIA_OTHER},
		{"application/json; a=\"b\\", HTTP_MEDIA_OTHER},
		{"application/json; a=\"b\\\"", HTTP_MEDIA_OTHER},
		{"application/json; a=\"", HTTP_MEDIA_OTHER},
		{"application/json; a=b c", HTTP_MEDIA_OTHER},
		{"application/json; a=\"b\"c", HTTP_MEDIA_OTHER},
		{"application/json; a=b, text/plain", HTTP_MEDIA_OTHER},
		{"application/json; a=\xc3\xa9", HTTP_MEDIA_OTHER},
		{"application/json\r\n", HTTP_MEDIA_OTHER},
	};

	(void)state;
	check_types(rows, COUNT_OF(rows));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_new_exchange_is_empty),
		cmocka_unit_test(test_head_of_a_success),
		cmocka_unit_test(test_head_of_a_204_says_nothing_of_a_body),
		cmocka_unit_test(test_head_without_a_body_has_length_zero),
		cmocka_unit_test(test_head_has_what_the_reply_sets),
		cmocka_unit_test(test_head_for_a_page_of_another_site),
		cmocka_unit_test(test_head_above_its_ceiling_is_refused),
		cmocka_unit_test(test_every_status_sent_has_a_reason),
		cmocka_unit_test(test_length_is_a_plain_number),
		cmocka_unit_test(test_length_that_says_nothing),
		cmocka_unit_test(test_good_request_id_is_taken_over),
		cmocka_unit_test(test_bad_request_id_is_replaced),
		cmocka_unit_test(test_made_request_ids_differ),
		cmocka_unit_test(test_route_is_the_last_segment),
		cmocka_unit_test(test_route_ends_at_query_and_fragment),
		cmocka_unit_test(test_route_is_decoded),
		cmocka_unit_test(test_route_is_normalised),
		cmocka_unit_test(test_encoded_slash_does_not_separate),
		cmocka_unit_test(test_route_of_an_absolute_target),
		cmocka_unit_test(test_targets_without_a_route),
		cmocka_unit_test(test_segment_fits_with_its_nul),
		cmocka_unit_test(test_media_types),
		cmocka_unit_test(test_charset_must_be_utf8),
		cmocka_unit_test(test_other_parameters_are_allowed),
		cmocka_unit_test(test_broken_parameters_are_refused),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
