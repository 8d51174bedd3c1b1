/* The JSON body of a request: json_check(), cJSON behind it, and the reading of fields. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "ceilings.h"
#include "fuzz.h"
#include "json.h"
#include "oauth.h"

/* What was checked, a lenient parser reads as JSON again. */
static void hold_that_cjson_agrees(const char *text, size_t len)
{
	cJSON *tree = cJSON_ParseWithLength(text, len);
	char *printed = tree ? cJSON_PrintUnformatted(tree) : NULL;

	HOLD(tree);
	HOLD(printed);
	/* cJSON writes "null" for a number that is too large for it. */
	HOLD(json_check(printed, strlen(printed)) == JSON_OK);
	cJSON_free(printed);
	cJSON_Delete(tree);
}

/* White space around a text changes nothing, and what a container lacks its end is none. */
static void hold_at_the_edges(const char *text, size_t len, enum json_verdict verdict)
{
	char *longer = malloc(len + 2);

	HOLD(longer);
	longer[0] = '\n';
	memcpy(longer + 1, text, len);
	longer[len + 1] = ' ';
	HOLD(json_check(longer, len + 2) == verdict);
	longer[len + 1] = ',';
	HOLD(json_check(longer + 1, len + 1) == JSON_SYNTAX);
	free(longer);
	if (verdict == JSON_OK && (text[len - 1] == '}' || text[len - 1] == ']'))
		HOLD(json_check(text, len - 1) == JSON_SYNTAX);
}

/* The grant says what the fields say. */
static void hold_grant(const struct oauth_fields *fields)
{
	static char client_id[] = "the id";
	static char scope[] = "";
	struct config config = {.client_id = client_id, .scope = scope};
	struct secret grant;

	fuzz_fill(&config.client_secret, SECRET_MAX_BYTES, "the=secret", 10);
	secret_init(&grant, 0);
	HOLD(oauth_write_password_grant(&config, fields, &grant) == FAULT_NONE);
	const char *cursor = secret_str(&grant);
	const char *end = cursor + secret_len(&grant);
	fuzz_hold_pair(&cursor, end, "client_id", "the id", 6);
	fuzz_hold_pair(&cursor, end, "client_secret", "the=secret", 10);
	fuzz_hold_pair(&cursor, end, "username", secret_str(&fields->username),
		       secret_len(&fields->username));
	fuzz_hold_pair(&cursor, end, "password", secret_str(&fields->password),
		       secret_len(&fields->password));
	fuzz_hold_pair(&cursor, end, "grant_type", "password", 8);
	HOLD(cursor == end);
	secret_clear(&grant);
	secret_clear(&config.client_secret);
}

static void hold_field(const struct secret *field)
{
	HOLD(secret_len(field) <= FIELD_MAX_BYTES);
	HOLD(fuzz_is_text(field));
}

typedef enum fault reader(const struct secret *body, enum http_media_type type,
			  struct oauth_fields *ret_fields);

static void hold_reading(reader *read, const struct secret *body, enum json_verdict verdict)
{
	struct oauth_fields fields;

	oauth_fields_init(&fields);
	enum fault fault = read(body, HTTP_MEDIA_JSON, &fields);
	if (verdict == JSON_SYNTAX)
		HOLD(fault == FAULT_BODY_SYNTAX);
	else if (verdict == JSON_TEXT)
		HOLD(fault == FAULT_FIELD_TEXT);
	else
		HOLD(fault == FAULT_NONE || fault == FAULT_BODY_SYNTAX ||
		     fault == FAULT_FIELD_MISSING || fault == FAULT_TOKEN_MISSING ||
		     fault == FAULT_FIELD_REPEATED || fault == FAULT_FIELD_TEXT);
	hold_field(&fields.username);
	hold_field(&fields.password);
	hold_field(&fields.refresh_token);
	hold_field(&fields.access_token);
	if (fault == FAULT_NONE && read == oauth_read_login) {
		HOLD(secret_len(&fields.username) > 0 && secret_len(&fields.password) > 0);
		hold_grant(&fields);
	}
	oauth_fields_clear(&fields);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct secret body;

	if (size > BODY_MAX_BYTES)
		return 0;
	enum json_verdict verdict = json_check(text, size);
	if (verdict == JSON_OK)
		hold_that_cjson_agrees(text, size);
	if (size)
		hold_at_the_edges(text, size, verdict);
	fuzz_fill(&body, BODY_MAX_BYTES, data, size);
	hold_reading(oauth_read_login, &body, verdict);
	hold_reading(oauth_read_refresh, &body, verdict);
	hold_reading(oauth_read_logout, &body, verdict);
	secret_clear(&body);
	return 0;
}
