/*
 * What the program reads in a body, told to whoever compares it with others: for each line "json
 * HEX" or "form HEX" one line of words. They are the verdict of json_check(), or for a form its
 * pairs (NAME=VALUE, or "bad") and whether it would be a query with credentials; then for login,
 * refresh and logout the fault and the fields. For "200: HEX" and "400: HEX", an answer of the
 * token server with status 200 or 400, they are the fault and the token. Bytes are in hexadecimal
 * digits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ceilings.h"
#include "form.h"
#include "json.h"
#include "oauth.h"

static const char *const fault_names[FAULT_COUNT] = {[FAULT_NONE] = "NONE",
#define NAME(symbol, ...) [FAULT_##symbol] = #symbol,
						     FAULT_TABLE(NAME)
#undef NAME
};

/* The value of a lower-case digit. */
static unsigned digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void read_hex(const char *text, struct secret *ret_bytes)
{
	secret_init(ret_bytes, BODY_MAX_BYTES);
	for (; text[0] > ' ' && text[1] > ' '; text += 2) {
		char byte = (char)(digit(text[0]) << 4 | digit(text[1]));

		if (!secret_append(ret_bytes, &byte, 1))
			exit(EXIT_FAILURE);
	}
}

static void write_hex(const struct secret *bytes)
{
	for (size_t i = 0; i < secret_len(bytes); i++)
		printf("%02x", (unsigned char)secret_str(bytes)[i]);
}

static void write_field(const struct secret *field)
{
	putchar(' ');
	write_hex(field);
	putchar('.');
}

static void write_readings(const struct secret *body, enum http_media_type type)
{
	struct oauth_fields fields;

	oauth_fields_init(&fields);
	printf(" %s", fault_names[oauth_read_login(body, type, &fields)]);
	write_field(&fields.username);
	write_field(&fields.password);
	oauth_fields_clear(&fields);
	printf(" %s", fault_names[oauth_read_refresh(body, type, &fields)]);
	write_field(&fields.refresh_token);
	oauth_fields_clear(&fields);
	printf(" %s", fault_names[oauth_read_logout(body, type, &fields)]);
	write_field(&fields.refresh_token);
	write_field(&fields.access_token);
	oauth_fields_clear(&fields);
}

static void write_json(const struct secret *body)
{
	static const char *const names[] = {
		[JSON_OK] = "OK", [JSON_SYNTAX] = "SYNTAX", [JSON_TEXT] = "TEXT"};

	printf("%s", names[json_check(secret_str(body), secret_len(body))]);
	write_readings(body, HTTP_MEDIA_JSON);
}

static void write_pairs(const struct secret *body)
{
	const char *cursor = secret_str(body);
	const char *end = cursor + secret_len(body);
	struct secret name;
	struct secret value;
	enum form_verdict verdict;

	secret_init(&name, BODY_MAX_BYTES);
	secret_init(&value, BODY_MAX_BYTES);
	while ((verdict = form_read_pair(&cursor, end, &name, &value)) != FORM_END) {
		if (verdict == FORM_BAD) {
			printf("bad,");
			continue;
		}
		write_hex(&name);
		putchar('=');
		write_hex(&value);
		putchar(',');
	}
	printf(" %d", oauth_has_credentials(secret_str(body), secret_len(body)));
	secret_clear(&name);
	secret_clear(&value);
}

static void write_answer(const struct secret *body, long status)
{
	const struct oauth_answer answer = {.status = status, .body = body};
	struct secret token;

	secret_init(&token, ANSWER_MAX_BYTES);
	struct oauth_verdict verdict = oauth_read_token(&answer, &token);
	printf("%s", fault_names[verdict.fault]);
	write_field(&token);
	secret_clear(&token);
}

static void write_line(char kind, const struct secret *body)
{
	switch (kind) {
	case 'j':
		write_json(body);
		break;
	case 'f':
		write_pairs(body);
		write_readings(body, HTTP_MEDIA_FORM);
		break;
	case '2':
		write_answer(body, 200);
		break;
	default:
		write_answer(body, 400);
	}
	putchar('\n');
	fflush(stdout);
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 5) {
		struct secret body;

		read_hex(line + 5, &body);
		write_line(line[0], &body);
		secret_clear(&body);
	}
	free(line);
	return EXIT_SUCCESS;
}
