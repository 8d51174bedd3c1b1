/* An answer of the token server: its header lines, its status, and its body as a token, an error or
 * the answer to a revocation. Parts: status, header lines ("name: value"), body. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ceilings.h"
#include "fuzz.h"
#include "json.h"
#include "oauth.h"
#include "upstream_call.h"

static void take_headers(struct call *call, char *lines)
{
	char *rest = lines;
	char *line;

	while ((line = strsep(&rest, "\n"))) {
		char *colon = strchr(line, ':');

		if (!colon)
			continue;
		*colon = '\0';
		upstream_call_take_header(call, line, colon + 1 + strspn(colon + 1, " "));
	}
}

/* The note goes into the log as it is: characters of a media type, and nothing of the body. */
static void hold_note(const struct upstream_answer *answer)
{
	HOLD(strlen(answer->note) < sizeof(answer->note) - 1);
	for (const char *c = answer->note; *c; c++)
		HOLD((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
		     (*c >= '0' && *c <= '9') || strchr("/+.-, ", *c));
	HOLD(answer->retry_after_s <= RETRY_AFTER_MAX_S);
}

/* The member if it is there and not null. */
static const cJSON *member(const cJSON *tree, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, name);

	return cJSON_IsNull(item) ? NULL : item;
}

/* A member of the token is the answer's, which may quote the number. */
static void hold_member(const cJSON *from, const cJSON *to, const char *name)
{
	const cJSON *before = member(from, name);
	const cJSON *after = member(to, name);

	HOLD(!before == !after);
	if (!before)
		return;
	if (cJSON_IsNumber(after))
		HOLD(after->valuedouble == (cJSON_IsNumber(before)
						    ? before->valuedouble
						    : strtod(before->valuestring, NULL)));
	else
		HOLD(cJSON_IsString(after) && strcmp(before->valuestring, after->valuestring) == 0);
}

/* The five documented members, as they came, and no other. */
static void hold_token(const struct secret *body, const struct secret *token)
{
	static const char *const names[] = {"access_token", "expires_in", "token_type", "scope",
					    "refresh_token"};
	cJSON *from = cJSON_ParseWithLength(secret_str(body), secret_len(body));
	cJSON *to = cJSON_ParseWithLength(secret_str(token), secret_len(token));
	int count = 0;

	HOLD(json_check(secret_str(token), secret_len(token)) == JSON_OK);
	HOLD(cJSON_IsObject(from) && cJSON_IsObject(to));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		hold_member(from, to, names[i]);
		count += member(to, names[i]) != NULL;
	}
	HOLD(cJSON_GetArraySize(to) == count);
	HOLD(*cJSON_GetStringValue(member(to, "access_token")));
	HOLD(strcasecmp(cJSON_GetStringValue(member(to, "token_type")), "Bearer") == 0);
	HOLD(!member(to, "expires_in") || cJSON_IsNumber(member(to, "expires_in")));
	cJSON_Delete(from);
	cJSON_Delete(to);
}

static bool is_of_an_answer(enum fault fault)
{
	switch (fault) {
	case FAULT_NONE:
	case FAULT_LOGIN_REFUSED:
	case FAULT_CLIENT_REJECTED:
	case FAULT_UPSTREAM_CONTRACT:
	case FAULT_UPSTREAM_WAF:
	case FAULT_UPSTREAM_DENIED:
	case FAULT_UPSTREAM_429:
	case FAULT_UPSTREAM_BUSY:
	case FAULT_UPSTREAM_5XX:
	case FAULT_UPSTREAM_REDIRECT:
	case FAULT_UPSTREAM_MALFORMED:
		return true;
	default:
		return false;
	}
}

static void hold_readings(const struct oauth_answer *answer)
{
	struct secret token;

	secret_init(&token, ANSWER_MAX_BYTES);
	struct oauth_verdict verdict = oauth_read_token(answer, &token);
	HOLD(is_of_an_answer(verdict.fault));
	HOLD(verdict.fault != FAULT_NONE || answer->status == 200);
	HOLD(!verdict.is_off_contract || verdict.fault != FAULT_NONE);
	if (verdict.fault == FAULT_NONE)
		hold_token(answer->body, &token);
	else
		HOLD(secret_len(&token) == 0);
	secret_clear(&token);

	verdict = oauth_read_revocation(answer);
	HOLD(is_of_an_answer(verdict.fault) && verdict.fault != FAULT_LOGIN_REFUSED);
	HOLD((answer->status != 200 && answer->status != 204) || verdict.fault == FAULT_NONE);
}

/* The body in pieces, as it comes. False: it is too large. */
static bool take_body(struct call *call, const struct fuzz_part *body)
{
	size_t half = body->len / 2;

	if (upstream_call_take_body(call, body->data, half) &&
	    upstream_call_take_body(call, body->data + half, body->len - half)) {
		HOLD(secret_len(&call->answer.body) == body->len);
		return true;
	}
	HOLD(body->len > ANSWER_MAX_BYTES && call->is_oversize);
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, data + size};
	uint32_t status = fuzz_next_number(&input) % 1000;
	struct fuzz_part lines = fuzz_next_text(&input);
	struct fuzz_part body = fuzz_next(&input);
	struct call call = {.answer = {.status = status}};

	secret_init(&call.answer.body, ANSWER_MAX_BYTES);
	take_headers(&call, lines.data);
	if (take_body(&call, &body)) {
		upstream_call_judge(&call, NULL, CURLE_OK);
		HOLD(call.answer.fault == FAULT_NONE);
		hold_note(&call.answer);
		const struct oauth_answer answer = {.status = call.answer.status,
						    .is_html = call.answer.is_html,
						    .retry_after_s = call.answer.retry_after_s,
						    .body = &call.answer.body};
		hold_readings(&answer);
	}
	secret_clear(&call.answer.body);
	free(lines.data);
	free(body.data);
	return 0;
}
