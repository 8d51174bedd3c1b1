/* The messages of OAuth: credentials in, the grant out, and what an answer means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "oauth.h"

static void set(struct secret *s, const char *text)
{
	secret_init(s, ANSWER_MAX_BYTES);
	assert_true(secret_set(s, text, strlen(text)));
}

/* ---- credentials ---- */

struct body_row {
	const char *body;
	enum fault fault;
	const char *username; /* after FAULT_NONE */
	const char *password;
	unsigned ignored;
};

static const struct body_row json_rows[] = {
	{"{\"username\":\"a\",\"password\":\"b\"}", FAULT_NONE, "a", "b", 0},
	{" {\"password\" : \" b \", \"x\":[1,{}], \"username\":\"\\u00e4\\/\"} ", FAULT_NONE,
	 "\xc3\xa4/", " b ", 0},
	{"{\"username\":\"a\",\"password\":\"b\",\"scope\":\"all\",\"client_id\":1,"
	 "\"client_secret\":null,\"grant_type\":\"x\"}",
	 FAULT_NONE, "a", "b", 4},
	{"{\"username\":\"a\",\"password\":\"b\",\"Username\":\"c\"}", FAULT_NONE, "a", "b", 0},
	{"", FAULT_BODY_SYNTAX, NULL, NULL, 0},
	{"[]", FAULT_BODY_SYNTAX, NULL, NULL, 0},
	{"\"username\"", FAULT_BODY_SYNTAX, NULL, NULL, 0},
	{"{\"username\":\"a\",\"password\":\"b\"}x", FAULT_BODY_SYNTAX, NULL, NULL, 0},
	{"{\"username\":\"a\",\"password\":\"b\",}", FAULT_BODY_SYNTAX, NULL, NULL, 0},
	{"{}", FAULT_FIELD_MISSING, NULL, NULL, 0},
	{"{\"username\":\"a\"}", FAULT_FIELD_MISSING, NULL, NULL, 0},
	{"{\"username\":\"\",\"password\":\"b\"}", FAULT_FIELD_MISSING, NULL, NULL, 0},
	{"{\"username\":7,\"password\":\"b\"}", FAULT_FIELD_MISSING, NULL, NULL, 0},
	{"{\"username\":\"a\",\"password\":null}", FAULT_FIELD_MISSING, NULL, NULL, 0},
	{"{\"username\":\"a\\u0000\",\"password\":\"b\"}", FAULT_FIELD_TEXT, NULL, NULL, 0},
	{"{\"username\":\"\\ud800\",\"password\":\"b\"}", FAULT_FIELD_TEXT, NULL, NULL, 0},
	{"{\"username\":\"\xff\",\"password\":\"b\"}", FAULT_FIELD_TEXT, NULL, NULL, 0},
	{"{\"username\":\"a\",\"password\":\"b\",\"password\":\"c\"}", FAULT_FIELD_REPEATED, NULL,
	 NULL, 0},
	{"{\"username\":\"a\",\"user\\u006eame\":\"a\",\"password\":\"b\"}", FAULT_FIELD_REPEATED,
	 NULL, NULL, 0},
};

static const struct body_row form_rows[] = {
	{"username=a&password=b", FAULT_NONE, "a", "b", 0},
	{"&&password=b+c%2B&x&username=%c3%a4&", FAULT_NONE, "\xc3\xa4", "b c+", 0},
	{"user%6eame=a&password=b&grant_type=x&scope=", FAULT_NONE, "a", "b", 2},
	{"username=a&password=b=c", FAULT_NONE, "a", "b=c", 0},
	{"", FAULT_FIELD_MISSING, NULL, NULL, 0},
	{"username=a&password", FAULT_FIELD_MISSING, NULL, NULL, 0},
	{"username=a&password=b%0", FAULT_FIELD_TEXT, NULL, NULL, 0},
	{"username=a&password=b%00", FAULT_FIELD_TEXT, NULL, NULL, 0},
	{"username=a&password=b&x=%ff", FAULT_FIELD_TEXT, NULL, NULL, 0},
	{"username=a&password=b&username=a", FAULT_FIELD_REPEATED, NULL, NULL, 0},
};

static void check_body(const struct body_row *row, enum http_media_type type)
{
	struct oauth_fields read;
	struct secret body;

	set(&body, row->body);
	oauth_fields_init(&read);
	if (oauth_read_login(&body, type, &read) != row->fault)
		fail_msg("%s", row->body);
	if (row->fault == FAULT_NONE) {
		assert_string_equal(secret_str(&read.username), row->username);
		assert_string_equal(secret_str(&read.password), row->password);
	} else {
		assert_int_equal(secret_len(&read.username), 0);
		assert_int_equal(secret_len(&read.password), 0);
	}
	assert_int_equal(read.ignored, row->ignored);
	oauth_fields_clear(&read);
	secret_clear(&body);
}

static void test_json_credentials(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(json_rows) / sizeof(json_rows[0]); i++)
		check_body(&json_rows[i], HTTP_MEDIA_JSON);
}

static void test_form_credentials(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(form_rows) / sizeof(form_rows[0]); i++)
		check_body(&form_rows[i], HTTP_MEDIA_FORM);
}

static void test_field_ceiling(void **state)
{
	static const char head[] = "username=a&password=";
	char text[sizeof(head) + FIELD_MAX_BYTES + 1];

	(void)state;
	memset(text, 'p', sizeof(text));
	memcpy(text, head, sizeof(head) - 1);
	text[sizeof(head) - 1 + FIELD_MAX_BYTES] = '\0';
	check_body(&(struct body_row){text, FAULT_NONE, "a", text + sizeof(head) - 1, 0},
		   HTTP_MEDIA_FORM);
	text[sizeof(head) - 1 + FIELD_MAX_BYTES] = 'p';
	text[sizeof(head) + FIELD_MAX_BYTES] = '\0';
	check_body(&(struct body_row){text, FAULT_FIELD_TEXT, NULL, NULL, 0}, HTTP_MEDIA_FORM);
}

static void test_credentials_in_a_query(void **state)
{
	static const struct {
		const char *query;
		bool has;
	} rows[] = {
		{"", false},
		{"a=b&c", false},
		{"next=password", false},
		{"passwords=x", false},
		{"username=x", true},
		{"a&password", true},
		{"%70assword=x", true},
		{"a=%zz&password=%", true},
		{"=password&&x=1", false},
		{"token=x", false},
		{"refresh_token=x", true},
		{"a&refreshToken", true},
		{"access%5ftoken=", true},
		{"accessToken=x", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (oauth_has_credentials(rows[i].query, strlen(rows[i].query)) != rows[i].has)
			fail_msg("%s", rows[i].query);
	}
}

/* ---- tokens in a body ---- */

typedef enum fault reader(const struct secret *body, enum http_media_type type,
			  struct oauth_fields *ret_fields);

static const struct token_body_row {
	reader *read;
	enum http_media_type type;
	const char *body;
	enum fault fault;
	const char *refresh_token; /* after FAULT_NONE */
	const char *access_token;
} token_body_rows[] = {
	{oauth_read_refresh, HTTP_MEDIA_JSON, "{\"refresh_token\":\"r\"}", FAULT_NONE, "r", ""},
	{oauth_read_refresh, HTTP_MEDIA_JSON, "{\"refreshToken\":\" r \"}", FAULT_NONE, " r ", ""},
	{oauth_read_refresh, HTTP_MEDIA_FORM, "refresh_token=r%2B+", FAULT_NONE, "r+ ", ""},
	{oauth_read_refresh, HTTP_MEDIA_FORM, "refreshToken=r", FAULT_NONE, "r", ""},
	/* Its access token is none of this route's. */
	{oauth_read_refresh, HTTP_MEDIA_JSON, "{\"refreshToken\":\"r\",\"access_token\":1}",
	 FAULT_NONE, "r", ""},
	{oauth_read_refresh, HTTP_MEDIA_JSON, "{\"access_token\":\"a\"}", FAULT_TOKEN_MISSING, NULL,
	 NULL},
	{oauth_read_refresh, HTTP_MEDIA_JSON, "{\"refresh_token\":null}", FAULT_TOKEN_MISSING, NULL,
	 NULL},
	{oauth_read_refresh, HTTP_MEDIA_JSON, "{\"username\":\"a\",\"password\":\"b\"}",
	 FAULT_TOKEN_MISSING, NULL, NULL},
	{oauth_read_refresh, HTTP_MEDIA_FORM, "refresh_token=", FAULT_TOKEN_MISSING, NULL, NULL},
	{oauth_read_refresh, HTTP_MEDIA_FORM, "refresh_token=a&refreshToken=a",
	 FAULT_FIELD_REPEATED, NULL, NULL},
	{oauth_read_refresh, HTTP_MEDIA_JSON, "{\"refreshToken\":\"a\",\"refresh_token\":\"b\"}",
	 FAULT_FIELD_REPEATED, NULL, NULL},
	{oauth_read_refresh, HTTP_MEDIA_FORM, "refresh_token=%00", FAULT_FIELD_TEXT, NULL, NULL},
	{oauth_read_refresh, HTTP_MEDIA_JSON, "[]", FAULT_BODY_SYNTAX, NULL, NULL},
	{oauth_read_logout, HTTP_MEDIA_JSON, "{\"access_token\":\"a\"}", FAULT_NONE, "", "a"},
	{oauth_read_logout, HTTP_MEDIA_FORM, "accessToken=a", FAULT_NONE, "", "a"},
	{oauth_read_logout, HTTP_MEDIA_JSON, "{\"refreshToken\":\"r\",\"accessToken\":\"a\"}",
	 FAULT_NONE, "r", "a"},
	{oauth_read_logout, HTTP_MEDIA_FORM, "refresh_token=r&access_token=a", FAULT_NONE, "r",
	 "a"},
	{oauth_read_logout, HTTP_MEDIA_FORM, "", FAULT_TOKEN_MISSING, NULL, NULL},
	{oauth_read_logout, HTTP_MEDIA_JSON, "{\"token\":\"a\"}", FAULT_TOKEN_MISSING, NULL, NULL},
	{oauth_read_logout, HTTP_MEDIA_FORM, "access_token=a&accessToken=a", FAULT_FIELD_REPEATED,
	 NULL, NULL},
};

static void test_token_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(token_body_rows) / sizeof(token_body_rows[0]); i++) {
		const struct token_body_row *row = &token_body_rows[i];
		struct oauth_fields read;
		struct secret body;

		set(&body, row->body);
		oauth_fields_init(&read);
		if (row->read(&body, row->type, &read) != row->fault)
			fail_msg("%s", row->body);
		assert_string_equal(secret_str(&read.refresh_token),
				    row->refresh_token ? row->refresh_token : "");
		assert_string_equal(secret_str(&read.access_token),
				    row->access_token ? row->access_token : "");
		assert_int_equal(secret_len(&read.username), 0);
		oauth_fields_clear(&read);
		secret_clear(&body);
	}
}

/* ---- what is sent ---- */

static void check_grant(char *scope, const char *expected)
{
	struct config config = {.client_id = (char[]){"id 1"}, .scope = scope};
	struct oauth_fields credentials;
	struct secret body;

	set(&config.client_secret, "s&=%");
	oauth_fields_init(&credentials);
	secret_set(&credentials.username, "zo\xc3\xab", 4);
	secret_set(&credentials.password, "a+b c*-._~", 10);
	secret_init(&body, 0);
	assert_int_equal(oauth_write_password_grant(&config, &credentials, &body), FAULT_NONE);
	assert_string_equal(secret_str(&body), expected);
	secret_clear(&body);
	oauth_fields_clear(&credentials);
	secret_clear(&config.client_secret);
}

static void test_grant(void **state)
{
	(void)state;
	check_grant((char[]){""}, "client_id=id+1&client_secret=s%26%3D%25&username=zo%C3%AB&"
				  "password=a%2Bb+c*-._%7E&grant_type=password");
	check_grant((char[]){"read write"},
		    "client_id=id+1&client_secret=s%26%3D%25&username=zo%C3%AB&"
		    "password=a%2Bb+c*-._%7E&grant_type=password&scope=read+write");
}

typedef enum fault writer(const struct config *config, const struct oauth_fields *fields,
			  struct secret *ret_body);

static void check_written(writer *write, const char *refresh_token, const char *access_token,
			  const char *expected)
{
	struct config config = {.client_id = (char[]){"id"}, .scope = (char[]){"read"}};
	struct oauth_fields fields;
	struct secret body;

	set(&config.client_secret, "s");
	oauth_fields_init(&fields);
	secret_set(&fields.refresh_token, refresh_token, strlen(refresh_token));
	secret_set(&fields.access_token, access_token, strlen(access_token));
	secret_init(&body, 0);
	assert_int_equal(write(&config, &fields, &body), FAULT_NONE);
	assert_string_equal(secret_str(&body), expected);
	secret_clear(&body);
	oauth_fields_clear(&fields);
	secret_clear(&config.client_secret);
}

static void test_refresh_and_revocation(void **state)
{
	(void)state;
	check_written(oauth_write_refresh_grant, "r&=+", "",
		      "client_id=id&client_secret=s&refresh_token=r%26%3D%2B&"
		      "grant_type=refresh_token");
	check_written(oauth_write_revocation, "r", "",
		      "client_id=id&client_secret=s&token=r&token_type_hint=refresh_token");
	check_written(oauth_write_revocation, "", "a%",
		      "client_id=id&client_secret=s&token=a%25&token_type_hint=access_token");
	check_written(oauth_write_revocation, "r", "a",
		      "client_id=id&client_secret=s&token=r&token_type_hint=refresh_token");
	check_written(oauth_write_second_revocation, "r", "a",
		      "client_id=id&client_secret=s&token=a&token_type_hint=access_token");
	check_written(oauth_write_second_revocation, "r", "", "");
	check_written(oauth_write_second_revocation, "", "a", "");
}

/* ---- answers ---- */

#define TOKEN "\"access_token\":\"t\",\"token_type\":\"Bearer\""

static const struct {
	const char *body;
	const char *token; /* NULL: UPSTREAM_MALFORMED */
} token_rows[] = {
	{"{" TOKEN ",\"expires_in\":36000,\"scope\":\"read write\",\"refresh_token\":\"r\"}",
	 "{\"access_token\":\"t\",\"expires_in\":36000,\"token_type\":\"Bearer\","
	 "\"scope\":\"read write\",\"refresh_token\":\"r\"}"},
	{"{" TOKEN "}", "{" TOKEN "}"},
	{"{" TOKEN ",\"id_token\":\"x\",\"scope\":null,\"error\":null}", "{" TOKEN "}"},
	{"{\"access_token\":\"t\",\"token_type\":\"bEARER\"}",
	 "{\"access_token\":\"t\",\"token_type\":\"bEARER\"}"},
	{"{" TOKEN ",\"expires_in\":\"36000\"}",
	 "{\"access_token\":\"t\",\"expires_in\":36000,\"token_type\":\"Bearer\"}"},
	{"{" TOKEN ",\"expires_in\":4294967296}",
	 "{\"access_token\":\"t\",\"expires_in\":4294967296,\"token_type\":\"Bearer\"}"},
	{"{" TOKEN ",\"expires_in\":-1}", NULL},
	{"{" TOKEN ",\"expires_in\":1.5}", NULL},
	{"{" TOKEN ",\"expires_in\":1e300}", NULL},
	{"{" TOKEN ",\"expires_in\":\"soon\"}", NULL},
	{"{" TOKEN ",\"expires_in\":\"\"}", NULL},
	{"{" TOKEN ",\"expires_in\":true}", NULL},
	{"{" TOKEN ",\"refresh_token\":7}", NULL},
	{"{\"access_token\":\"t\"}", NULL},
	{"{\"access_token\":\"\",\"token_type\":\"Bearer\"}", NULL},
	{"{\"access_token\":1,\"token_type\":\"Bearer\"}", NULL},
	{"{\"Access_Token\":\"t\",\"token_type\":\"Bearer\"}", NULL},
	{"{\"access_token\":\"t\",\"token_type\":\"mac\"}", NULL},
	{"{" TOKEN "} x", NULL},
	{"{" TOKEN ",\"scope\":\"\\u0000\"}", NULL},
	{"[]", NULL},
	{"", NULL},
};

static void test_tokens(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(token_rows) / sizeof(token_rows[0]); i++) {
		struct secret body;
		struct secret token;

		set(&body, token_rows[i].body);
		secret_init(&token, ANSWER_MAX_BYTES);
		struct oauth_verdict verdict = oauth_read_token(
			&(struct oauth_answer){.status = 200, .body = &body}, &token);
		if (verdict.fault != (token_rows[i].token ? FAULT_NONE : FAULT_UPSTREAM_MALFORMED))
			fail_msg("%s", token_rows[i].body);
		assert_string_equal(secret_str(&token),
				    token_rows[i].token ? token_rows[i].token : "");
		secret_clear(&token);
		secret_clear(&body);
	}
}

#define ERROR(code) "{\"error\":\"" code "\"}"
#define PAGE "<html></html>"

static const struct {
	long status;
	const char *body;
	bool is_html;
	unsigned retry_after_s;
	enum fault fault;
	const char *error;
	bool is_off_contract;
} error_rows[] = {
	{400, ERROR("invalid_grant"), false, 0, FAULT_LOGIN_REFUSED, "invalid_grant", false},
	{401, ERROR("invalid_grant"), false, 0, FAULT_LOGIN_REFUSED, "invalid_grant", false},
	{500, ERROR("invalid_grant"), false, 0, FAULT_LOGIN_REFUSED, "invalid_grant", false},
	{200, ERROR("invalid_grant"), false, 0, FAULT_LOGIN_REFUSED, "invalid_grant", true},
	{400, ERROR("invalid_request"), false, 0, FAULT_UPSTREAM_CONTRACT, "invalid_request",
	 false},
	{401, ERROR("invalid_client"), false, 0, FAULT_CLIENT_REJECTED, "invalid_client", false},
	{400, ERROR("unauthorized_client"), false, 0, FAULT_CLIENT_REJECTED, "unauthorized_client",
	 false},
	{400, ERROR("unsupported_grant_type"), false, 0, FAULT_CLIENT_REJECTED,
	 "unsupported_grant_type", false},
	{400, ERROR("invalid_scope"), false, 0, FAULT_CLIENT_REJECTED, "invalid_scope", false},
	{400, ERROR("something_new"), false, 0, FAULT_UPSTREAM_CONTRACT, NULL, false},
	{200, ERROR("something_new"), false, 0, FAULT_UPSTREAM_CONTRACT, NULL, true},
	{403, PAGE, true, 0, FAULT_UPSTREAM_WAF, NULL, false},
	{503, PAGE, true, 0, FAULT_UPSTREAM_WAF, NULL, false},
	{503, PAGE, true, 7, FAULT_UPSTREAM_BUSY, NULL, false},
	{403, "{}", false, 0, FAULT_UPSTREAM_DENIED, NULL, false},
	{403, ERROR("locked"), false, 0, FAULT_UPSTREAM_DENIED, NULL, false},
	{429, "", false, 0, FAULT_UPSTREAM_429, NULL, false},
	{429, PAGE, true, 9, FAULT_UPSTREAM_429, NULL, false},
	{503, "", false, 0, FAULT_UPSTREAM_5XX, NULL, false},
	{500, PAGE, true, 0, FAULT_UPSTREAM_5XX, NULL, false},
	{502, "", false, 5, FAULT_UPSTREAM_5XX, NULL, false},
	{301, ERROR("invalid_grant"), false, 0, FAULT_UPSTREAM_REDIRECT, NULL, false},
	{400, PAGE, true, 0, FAULT_UPSTREAM_MALFORMED, NULL, false},
	{404, "{}", false, 0, FAULT_UPSTREAM_MALFORMED, NULL, false},
	{201, "{" TOKEN "}", false, 0, FAULT_UPSTREAM_MALFORMED, NULL, false},
};

static void test_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(error_rows) / sizeof(error_rows[0]); i++) {
		struct secret body;
		struct secret token;

		set(&body, error_rows[i].body);
		secret_init(&token, ANSWER_MAX_BYTES);
		struct oauth_verdict verdict = oauth_read_token(
			&(struct oauth_answer){error_rows[i].status, error_rows[i].is_html,
					       error_rows[i].retry_after_s, &body},
			&token);
		if (verdict.fault != error_rows[i].fault ||
		    verdict.is_off_contract != error_rows[i].is_off_contract)
			fail_msg("%ld %s", error_rows[i].status, error_rows[i].body);
		if (error_rows[i].error)
			assert_string_equal(verdict.error, error_rows[i].error);
		else
			assert_null(verdict.error);
		assert_int_equal(secret_len(&token), 0);
		secret_clear(&body);
	}
}

static const struct {
	long status;
	const char *body;
	bool is_html;
	unsigned retry_after_s;
	enum fault fault;
	bool has_hint;
} revocation_rows[] = {
	{200, "", true, 0, FAULT_NONE, false},
	{200, PAGE, true, 0, FAULT_NONE, false},
	{204, "", false, 0, FAULT_NONE, false},
	/* The token is dead, whatever the server calls that. */
	{400, ERROR("invalid_grant"), false, 0, FAULT_NONE, false},
	{401, ERROR("invalid_client"), false, 0, FAULT_CLIENT_REJECTED, true},
	{400, ERROR("unsupported_token_type"), false, 0, FAULT_UPSTREAM_CONTRACT, false},
	{400, ERROR("invalid_request"), false, 0, FAULT_UPSTREAM_CONTRACT, true},
	{301, "", true, 0, FAULT_UPSTREAM_REDIRECT, true},
	{404, PAGE, true, 0, FAULT_UPSTREAM_MALFORMED, true},
	{404, "{}", false, 0, FAULT_UPSTREAM_MALFORMED, true},
	{403, PAGE, true, 0, FAULT_UPSTREAM_WAF, false},
	{429, "", false, 7, FAULT_UPSTREAM_429, false},
	{503, "", false, 7, FAULT_UPSTREAM_BUSY, false},
	{500, PAGE, true, 0, FAULT_UPSTREAM_5XX, false},
};

static void test_revocations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(revocation_rows) / sizeof(revocation_rows[0]); i++) {
		struct secret body;

		set(&body, revocation_rows[i].body);
		struct oauth_verdict verdict = oauth_read_revocation(&(struct oauth_answer){
			revocation_rows[i].status, revocation_rows[i].is_html,
			revocation_rows[i].retry_after_s, &body});
		if (verdict.fault != revocation_rows[i].fault ||
		    (verdict.hint != NULL) != revocation_rows[i].has_hint)
			fail_msg("%ld %s", revocation_rows[i].status, revocation_rows[i].body);
		secret_clear(&body);
	}
}

static void test_error_of_our_own(void **state)
{
	struct secret body;

	(void)state;
	set(&body, "what was there");
	assert_true(oauth_write_error("a", "b c", "id-1", &body));
	assert_string_equal(secret_str(&body), "{\"error\":\"a\",\"error_description\":\"b c\","
					       "\"request_id\":\"id-1\"}");
	secret_clear(&body);
}

/* ---- the table of faults ---- */

static void check_fault(int status, const char *error, unsigned retry_after_s,
			const char *description)
{
	assert_true(status >= 400 && status < 600);
	assert_true(*error || status == 499);
	assert_true(*description);
	/* RFC 6749 section 5.2, and nothing that means anything in HTML or JSON. */
	for (const char *c = description; *c; c++)
		assert_true(*c >= 0x20 && *c < 0x7f && !strchr("\"\\<>&'", *c));
	/* Whoever is told to try again is told when. */
	if (status == 503 || status == 429)
		assert_true(retry_after_s > 0);
}

static void test_fault_table(void **state)
{
	(void)state;
#define CHECK(symbol, status, error, retry_after_s, event, level, description) \
	check_fault(status, error, retry_after_s, description);
	FAULT_TABLE(CHECK)
#undef CHECK
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_credentials),
		cmocka_unit_test(test_form_credentials),
		cmocka_unit_test(test_field_ceiling),
		cmocka_unit_test(test_credentials_in_a_query),
		cmocka_unit_test(test_token_bodies),
		cmocka_unit_test(test_grant),
		cmocka_unit_test(test_refresh_and_revocation),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_revocations),
		cmocka_unit_test(test_error_of_our_own),
		cmocka_unit_test(test_fault_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
