#include "oauth.h"

#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "json.h"

/* Above 2^53 a JSON number is no exact integer to most readers (RFC 8259 section 6), and from 10^15
 * on cJSON writes an exponent. */
#define EXPIRES_IN_MAX_S 999999999999999.0

/* The names of a token's members and what stands around them, and expires_in. */
#define TOKEN_NAMES_BYTES 128

/* No token server gives out one like this. */
#define MADE_UP_TOKEN "bakrypt-login-asks-whether-its-client-is-accepted"

/* ---- memory for cJSON ---- */

/* A tree lives for one call, and most are small: they are cut from here, wiped in one piece, and
 * cost no malloc(3), of which a login took about thirty. Larger ones overflow into the heap. */
static struct {
	_Alignas(max_align_t) char bytes[TREE_MEMORY_BYTES];
	size_t used;
} trees;

static void *tree_malloc(size_t size)
{
	size_t aligned = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
	char *block = trees.bytes + trees.used;

	if (size > sizeof(trees.bytes) || aligned > sizeof(trees.bytes) - trees.used)
		return malloc(size);
	trees.used += aligned;
	return block;
}

static void tree_free(void *block)
{
	uintptr_t at = (uintptr_t)block - (uintptr_t)trees.bytes;

	if (at >= sizeof(trees.bytes))
		free(block);
}

/* NULL without memory; the text is checked. */
static cJSON *tree_parse(const struct secret *text)
{
	static cJSON_Hooks hooks = {tree_malloc, tree_free};

	cJSON_InitHooks(&hooks);
	return cJSON_ParseWithLength(secret_str(text), secret_len(text));
}

/* With the last tree. NULL is allowed. */
static void tree_end(cJSON *tree)
{
	cJSON_Delete(tree);
	wipe(trees.bytes, trees.used);
	trees.used = 0;
}

/* ---- fields ---- */

void oauth_fields_init(struct oauth_fields *fields)
{
	secret_init(&fields->username, FIELD_MAX_BYTES);
	secret_init(&fields->password, FIELD_MAX_BYTES);
	secret_init(&fields->refresh_token, FIELD_MAX_BYTES);
	secret_init(&fields->access_token, FIELD_MAX_BYTES);
	fields->ignored = 0;
}

void oauth_fields_clear(struct oauth_fields *fields)
{
	secret_clear(&fields->username);
	secret_clear(&fields->password);
	secret_clear(&fields->refresh_token);
	secret_clear(&fields->access_token);
}

bool oauth_fields_make_up(struct oauth_fields *fields)
{
	return secret_set(&fields->refresh_token, MADE_UP_TOKEN, strlen(MADE_UP_TOKEN));
}

/* Which fields a route takes. */
enum { LOGIN = 1, REFRESH = 2, LOGOUT = 4 };

static const struct {
	const char *name;
	unsigned routes;
	size_t member; /* offset in struct oauth_fields */
} field_names[] = {
	{"username", LOGIN, offsetof(struct oauth_fields, username)},
	{"password", LOGIN, offsetof(struct oauth_fields, password)},
	{"refresh_token", REFRESH | LOGOUT, offsetof(struct oauth_fields, refresh_token)},
	{"refreshToken", REFRESH | LOGOUT, offsetof(struct oauth_fields, refresh_token)},
	{"access_token", LOGOUT, offsetof(struct oauth_fields, access_token)},
	{"accessToken", LOGOUT, offsetof(struct oauth_fields, access_token)},
};

#define FIELD_COUNT (sizeof(field_names) / sizeof(field_names[0]))

/* Fields being read for a route. */
struct fields_reading {
	struct oauth_fields *fields;
	unsigned route;
};

/* Where a field goes; NULL if the route does not take it. */
static struct secret *find_field(const struct fields_reading *r, const char *name)
{
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		if ((field_names[i].routes & r->route) && strcmp(name, field_names[i].name) == 0)
			return (struct secret *)(void *)((char *)r->fields + field_names[i].member);
	}
	return NULL;
}

/* Fields of the grant that only the configuration may fill. */
static bool is_ours_alone(const char *name)
{
	return strcmp(name, "client_id") == 0 || strcmp(name, "client_secret") == 0 ||
	       strcmp(name, "grant_type") == 0 || strcmp(name, "scope") == 0;
}

static enum fault missing(unsigned route)
{
	return route == LOGIN ? FAULT_FIELD_MISSING : FAULT_TOKEN_MISSING;
}

static enum fault take_field(const struct fields_reading *r, const char *name, const char *value,
			     size_t len)
{
	struct secret *field = find_field(r, name);

	if (!field) {
		r->fields->ignored += is_ours_alone(name);
		return FAULT_NONE;
	}
	if (secret_len(field) > 0)
		return FAULT_FIELD_REPEATED;
	if (len == 0)
		return missing(r->route);
	if (len > FIELD_MAX_BYTES)
		return FAULT_FIELD_TEXT;
	return secret_set(field, value, len) ? FAULT_NONE : FAULT_NO_MEMORY;
}

static enum fault read_json(const struct secret *body, const struct fields_reading *r)
{
	enum fault fault = FAULT_NONE;

	switch (json_check(secret_str(body), secret_len(body))) {
	case JSON_OK:
		break;
	case JSON_TEXT:
		return FAULT_FIELD_TEXT;
	case JSON_SYNTAX:
		return FAULT_BODY_SYNTAX;
	}
	cJSON *tree = tree_parse(body);
	if (!tree)
		fault = FAULT_NO_MEMORY;
	else if (!cJSON_IsObject(tree))
		fault = FAULT_BODY_SYNTAX;
	for (cJSON *item = tree ? tree->child : NULL; item && fault == FAULT_NONE;
	     item = item->next) {
		const char *text = cJSON_IsString(item) ? item->valuestring : "";
		fault = take_field(r, item->string, text, strlen(text));
	}
	tree_end(tree);
	return fault;
}

static enum fault read_form(const struct secret *body, const struct fields_reading *r)
{
	const char *cursor = secret_str(body);
	const char *end = cursor + secret_len(body);
	struct secret name;
	struct secret value;
	enum form_verdict verdict;
	enum fault fault = FAULT_NONE;

	secret_init(&name, BODY_MAX_BYTES);
	secret_init(&value, BODY_MAX_BYTES);
	while (fault == FAULT_NONE &&
	       (verdict = form_read_pair(&cursor, end, &name, &value)) != FORM_END) {
		fault = verdict == FORM_BAD ? FAULT_FIELD_TEXT
					    : take_field(r, secret_str(&name), secret_str(&value),
							 secret_len(&value));
	}
	secret_clear(&name);
	secret_clear(&value);
	return fault;
}

static void move_fields(struct oauth_fields *to, struct oauth_fields *from)
{
	secret_move(&to->username, &from->username);
	secret_move(&to->password, &from->password);
	secret_move(&to->refresh_token, &from->refresh_token);
	secret_move(&to->access_token, &from->access_token);
	to->ignored = from->ignored;
}

static bool is_complete(const struct oauth_fields *fields, unsigned route)
{
	if (route == LOGIN)
		return secret_len(&fields->username) > 0 && secret_len(&fields->password) > 0;
	return secret_len(&fields->refresh_token) > 0 || secret_len(&fields->access_token) > 0;
}

static enum fault read_fields(const struct secret *body, enum http_media_type type, unsigned route,
			      struct oauth_fields *ret_fields)
{
	struct oauth_fields fields;
	const struct fields_reading r = {&fields, route};
	enum fault fault;

	oauth_fields_init(&fields);
	fault = type == HTTP_MEDIA_JSON ? read_json(body, &r) : read_form(body, &r);
	if (fault == FAULT_NONE && !is_complete(&fields, route))
		fault = missing(route);
	if (fault == FAULT_NONE)
		move_fields(ret_fields, &fields);
	oauth_fields_clear(&fields);
	return fault;
}

enum fault oauth_read_login(const struct secret *body, enum http_media_type type,
			    struct oauth_fields *ret_fields)
{
	return read_fields(body, type, LOGIN, ret_fields);
}

enum fault oauth_read_refresh(const struct secret *body, enum http_media_type type,
			      struct oauth_fields *ret_fields)
{
	return read_fields(body, type, REFRESH, ret_fields);
}

enum fault oauth_read_logout(const struct secret *body, enum http_media_type type,
			     struct oauth_fields *ret_fields)
{
	return read_fields(body, type, LOGOUT, ret_fields);
}

static bool is_credential(const char *name)
{
	size_t i = 0;

	while (i < FIELD_COUNT && strcmp(name, field_names[i].name) != 0)
		i++;
	return i < FIELD_COUNT;
}

bool oauth_has_credentials(const char *query, size_t len)
{
	const char *end = query + len;
	struct secret name;
	struct secret value;
	bool found = false;

	secret_init(&name, PARAMS_MAX_BYTES);
	secret_init(&value, 0);
	/* The names alone: a password whose value is badly encoded is in the logs all the same. */
	while (!found && query < end) {
		const char *pair_end = memchr(query, '&', (size_t)(end - query));
		const char *name_end;

		pair_end = pair_end ? pair_end : end;
		name_end = memchr(query, '=', (size_t)(pair_end - query));
		name_end = name_end ? name_end : pair_end;
		found = form_read_pair(&query, name_end, &name, &value) == FORM_OK &&
			is_credential(secret_str(&name));
		query = pair_end < end ? pair_end + 1 : end;
	}
	secret_clear(&name);
	secret_clear(&value);
	return found;
}

/* ---- the grant ---- */

static bool write_field(struct secret *out, const char *name, const char *text, size_t len)
{
	return (secret_len(out) == 0 || secret_append_str(out, "&")) &&
	       secret_append_str(out, name) && secret_append_str(out, "=") &&
	       form_write_text(out, text, len);
}

static bool write_secret(struct secret *out, const char *name, const struct secret *value)
{
	return write_field(out, name, secret_str(value), secret_len(value));
}

static bool write_text(struct secret *out, const char *name, const char *text)
{
	return write_field(out, name, text, strlen(text));
}

/* What every request begins with. */
static bool write_client(const struct config *config, struct secret *out)
{
	secret_init(out, GRANT_MAX_BYTES);
	return write_text(out, "client_id", config->client_id) &&
	       write_secret(out, "client_secret", &config->client_secret);
}

static enum fault give(bool is_done, struct secret *body, struct secret *ret_body)
{
	if (is_done)
		secret_move(ret_body, body);
	secret_clear(body);
	return is_done ? FAULT_NONE : FAULT_NO_MEMORY;
}

enum fault oauth_write_password_grant(const struct config *config,
				      const struct oauth_fields *fields, struct secret *ret_body)
{
	struct secret body;
	bool is_done = write_client(config, &body) &&
		       write_secret(&body, "username", &fields->username) &&
		       write_secret(&body, "password", &fields->password) &&
		       write_text(&body, "grant_type", "password") &&
		       (!*config->scope || write_text(&body, "scope", config->scope));

	return give(is_done, &body, ret_body);
}

enum fault oauth_write_refresh_grant(const struct config *config, const struct oauth_fields *fields,
				     struct secret *ret_body)
{
	struct secret body;
	/* No scope: that of the login stays. */
	bool is_done = write_client(config, &body) &&
		       write_secret(&body, "refresh_token", &fields->refresh_token) &&
		       write_text(&body, "grant_type", "refresh_token");

	return give(is_done, &body, ret_body);
}

static enum fault write_revocation(const struct config *config, const struct secret *token,
				   const char *hint, struct secret *ret_body)
{
	struct secret body;
	bool is_done = write_client(config, &body) && write_secret(&body, "token", token) &&
		       write_text(&body, "token_type_hint", hint);

	return give(is_done, &body, ret_body);
}

enum fault oauth_write_revocation(const struct config *config, const struct oauth_fields *fields,
				  struct secret *ret_body)
{
	if (secret_len(&fields->refresh_token) > 0)
		return write_revocation(config, &fields->refresh_token, "refresh_token", ret_body);
	return write_revocation(config, &fields->access_token, "access_token", ret_body);
}

enum fault oauth_write_second_revocation(const struct config *config,
					 const struct oauth_fields *fields, struct secret *ret_body)
{
	if (secret_len(&fields->refresh_token) == 0 || secret_len(&fields->access_token) == 0)
		return FAULT_NONE;
	return write_revocation(config, &fields->access_token, "access_token", ret_body);
}

/* ---- the answer ---- */

/* RFC 6749 section 5.2, and who is to blame for each. */
static const struct {
	const char *error;
	enum fault fault;
	const char *hint;
} error_codes[] = {
	{"invalid_grant", FAULT_LOGIN_REFUSED, NULL},
	{"invalid_request", FAULT_UPSTREAM_CONTRACT,
	 "the token server no longer takes the request that it documents"},
	{"invalid_client", FAULT_CLIENT_REJECTED,
	 "check BAKRYPT_CLIENT_ID and the client secret, and that they belong to this network"},
	{"unauthorized_client", FAULT_CLIENT_REJECTED,
	 "the client may not use the password grant; the token server may have switched it off"},
	{"unsupported_grant_type", FAULT_CLIENT_REJECTED,
	 "the token server has switched the password grant off"},
	{"invalid_scope", FAULT_CLIENT_REJECTED, "check BAKRYPT_SCOPE"},
};

/* A text member, or NULL. */
static const char *text_member(const cJSON *tree, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(tree, name));
}

static bool has_error(const cJSON *tree)
{
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(tree, "error");

	return error && !cJSON_IsNull(error);
}

static struct oauth_verdict verdict_by_code(const cJSON *tree)
{
	const char *error = text_member(tree, "error");

	for (size_t i = 0; error && i < sizeof(error_codes) / sizeof(error_codes[0]); i++) {
		if (strcmp(error, error_codes[i].error) == 0)
			return (struct oauth_verdict){.fault = error_codes[i].fault,
						      .error = error_codes[i].error,
						      .hint = error_codes[i].hint};
	}
	return (struct oauth_verdict){.fault = FAULT_NONE};
}

static enum fault fault_by_status(const struct oauth_answer *answer, const cJSON *tree)
{
	if (answer->status == 429)
		return FAULT_UPSTREAM_429;
	if (answer->status == 503 && answer->retry_after_s > 0)
		return FAULT_UPSTREAM_BUSY;
	if ((answer->status == 403 && !tree) || (answer->status == 503 && answer->is_html))
		return FAULT_UPSTREAM_WAF;
	if (answer->status >= 500)
		return FAULT_UPSTREAM_5XX;
	if (answer->status == 403)
		return FAULT_UPSTREAM_DENIED;
	return has_error(tree) ? FAULT_UPSTREAM_CONTRACT : FAULT_UPSTREAM_MALFORMED;
}

/* Moves a member over if it is there, as it should be. A member that is null counts as not there.
 */
static bool move_member(cJSON *from, cJSON *to, const char *name, bool (*is_good)(cJSON *item))
{
	cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(from, name);

	if (item && !cJSON_IsNull(item) && is_good(item))
		return cJSON_AddItemToObject(to, name, item);
	bool is_absent = !item || cJSON_IsNull(item);
	cJSON_Delete(item);
	return is_absent;
}

static bool is_text(cJSON *item)
{
	return cJSON_IsString(item);
}

/* A whole number of seconds. Some servers quote it; what leaves here is a number. */
static bool read_seconds(const cJSON *item, uint64_t *ret_seconds)
{
	double seconds;

	if (cJSON_IsString(item)) {
		size_t digits = strspn(item->valuestring, "0123456789");
		if (digits == 0 || digits > 15 || item->valuestring[digits] != '\0')
			return false;
		*ret_seconds = strtoull(item->valuestring, NULL, 10);
		return true;
	}
	seconds = cJSON_GetNumberValue(item);
	if (!(seconds >= 0 && seconds <= EXPIRES_IN_MAX_S) || seconds != (double)(uint64_t)seconds)
		return false;
	*ret_seconds = (uint64_t)seconds;
	return true;
}

/* cJSON prints numbers by way of sprintf() and sscanf(), so it gets the digits. */
static bool make_seconds(cJSON *item)
{
	char text[24];
	char *end = text + sizeof(text) - 1;
	uint64_t seconds;

	if (!read_seconds(item, &seconds))
		return false;
	*end = '\0';
	cJSON *raw = cJSON_CreateRaw(buf_digits(end, seconds));
	if (!raw)
		return false;
	cJSON_free(item->valuestring);
	item->valuestring = raw->valuestring;
	item->type = cJSON_Raw;
	raw->valuestring = NULL;
	cJSON_Delete(raw);
	return true;
}

/* What is printed is never longer than what was read, names and punctuation aside: both escape what
 * must be escaped alone. */
static bool print_tree(const cJSON *tree, size_t read_bytes, struct secret *ret_text)
{
	size_t room = read_bytes + TOKEN_NAMES_BYTES;

	if (room > ANSWER_MAX_BYTES)
		room = ANSWER_MAX_BYTES;
	secret_truncate(ret_text, 0);
	if (!secret_reserve(ret_text, room) ||
	    !cJSON_PrintPreallocated((cJSON *)(uintptr_t)tree, secret_end(ret_text), (int)room,
				     false))
		return false;
	secret_added(ret_text, strlen(secret_end(ret_text)));
	return true;
}

static enum fault write_token(cJSON *tree, size_t read_bytes, struct secret *ret_token)
{
	enum fault fault = FAULT_UPSTREAM_MALFORMED;
	const char *type = text_member(tree, "token_type");
	const char *token = text_member(tree, "access_token");
	cJSON *out = cJSON_CreateObject();

	if (!out)
		return FAULT_NO_MEMORY;
	if (!token || !*token || !type || strcasecmp(type, "Bearer") != 0)
		goto out;
	if (!move_member(tree, out, "access_token", is_text) ||
	    !move_member(tree, out, "expires_in", make_seconds) ||
	    !move_member(tree, out, "token_type", is_text) ||
	    !move_member(tree, out, "scope", is_text) ||
	    !move_member(tree, out, "refresh_token", is_text))
		goto out;
	fault = print_tree(out, read_bytes, ret_token) ? FAULT_NONE : FAULT_NO_MEMORY;
out:
	cJSON_Delete(out);
	return fault;
}

/* NULL if the body is no JSON object, or without memory. */
static cJSON *parse_object(const struct secret *body)
{
	if (json_check(secret_str(body), secret_len(body)) != JSON_OK)
		return NULL;
	cJSON *tree = tree_parse(body);
	if (cJSON_IsObject(tree))
		return tree;
	tree_end(tree);
	return NULL;
}

struct oauth_verdict oauth_read_token(const struct oauth_answer *answer, struct secret *ret_token)
{
	struct oauth_verdict verdict;

	if (answer->status >= 300 && answer->status < 400)
		return (struct oauth_verdict){
			.fault = FAULT_UPSTREAM_REDIRECT,
			.hint = "does the token URL lack its trailing slash?"};
	cJSON *tree = parse_object(answer->body);
	verdict = verdict_by_code(tree);
	verdict.is_off_contract = answer->status == 200 && has_error(tree);
	if (verdict.fault == FAULT_NONE) {
		if (answer->status == 200 && tree && !verdict.is_off_contract)
			verdict.fault = write_token(tree, secret_len(answer->body), ret_token);
		else
			verdict.fault = fault_by_status(answer, tree);
	}
	tree_end(tree);
	return verdict;
}

struct oauth_verdict oauth_read_revocation(const struct oauth_answer *answer)
{
	struct oauth_verdict verdict = {.fault = FAULT_NONE};

	if (answer->status == 200 || answer->status == 204)
		return verdict;
	if (answer->status >= 300 && answer->status < 400)
		return (struct oauth_verdict){
			.fault = FAULT_UPSTREAM_REDIRECT,
			.hint = "does the revocation URL lack its trailing slash?"};
	cJSON *tree = parse_object(answer->body);
	verdict = verdict_by_code(tree);
	if (verdict.fault == FAULT_NONE)
		verdict.fault = fault_by_status(answer, tree);
	/* The token is dead: what was asked for. */
	else if (verdict.fault == FAULT_LOGIN_REFUSED)
		verdict.fault = FAULT_NONE;
	if (answer->status == 404)
		verdict.hint = "check BAKRYPT_REVOKE_URL";
	tree_end(tree);
	return verdict;
}

/* ---- errors of our own ---- */

bool oauth_write_error(const char *error, const char *description, const char *request_id,
		       struct secret *ret_body)
{
	/* All three are of characters that need no escape in JSON. */
	secret_truncate(ret_body, 0);
	return secret_append_str(ret_body, "{\"error\":\"") && secret_append_str(ret_body, error) &&
	       secret_append_str(ret_body, "\",\"error_description\":\"") &&
	       secret_append_str(ret_body, description) &&
	       secret_append_str(ret_body, "\",\"request_id\":\"") &&
	       secret_append_str(ret_body, request_id) && secret_append_str(ret_body, "\"}");
}
