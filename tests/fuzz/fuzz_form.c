/* The form body of a request, and the query of its URL. */
#include <string.h>

#include "ceilings.h"
#include "form.h"
#include "fuzz.h"
#include "oauth.h"

/* Appends a pair that was read, to read it again. */
static void write_pair(struct secret *out, const struct secret *name, const struct secret *value)
{
	HOLD(secret_len(out) == 0 || secret_append_str(out, "&"));
	HOLD(form_write_text(out, secret_str(name), secret_len(name)));
	HOLD(secret_append_str(out, "="));
	HOLD(form_write_text(out, secret_str(value), secret_len(value)));
}

/* Every pair that is taken says the same when it is written and read again. True if none was
 * refused. */
static bool hold_pairs(const char *text, size_t len)
{
	const char *cursor = text;
	const char *end = text + len;
	struct secret name;
	struct secret value;
	bool is_good = true;
	enum form_verdict verdict;

	secret_init(&name, BODY_MAX_BYTES);
	secret_init(&value, BODY_MAX_BYTES);
	for (const char *before = text;
	     (verdict = form_read_pair(&cursor, end, &name, &value)) != FORM_END; before = cursor) {
		HOLD(cursor > before && cursor <= end);
		HOLD(cursor == end || *cursor == '&');
		is_good = is_good && verdict == FORM_OK;
		if (verdict == FORM_BAD) {
			HOLD(secret_len(&name) == 0 && secret_len(&value) == 0);
			continue;
		}
		struct secret pair;
		HOLD(fuzz_is_text(&name) && fuzz_is_text(&value));
		secret_init(&pair, 8 * BODY_MAX_BYTES);
		write_pair(&pair, &name, &value);
		const char *again = secret_str(&pair);
		fuzz_hold_pair(&again, again + secret_len(&pair), secret_str(&name),
			       secret_str(&value), secret_len(&value));
		secret_clear(&pair);
	}
	HOLD(cursor == end);
	secret_clear(&name);
	secret_clear(&value);
	return is_good;
}

/* A pair stands for itself: a form that is cut at a "&" is as good as its two parts. */
static void hold_apart(const char *text, size_t len, bool is_good)
{
	const char *mark = len ? memchr(text, '&', len) : NULL;

	if (!mark)
		return;
	size_t head = (size_t)(mark - text);
	bool is_head_good = hold_pairs(text, head);
	HOLD(is_good == (is_head_good && hold_pairs(mark, len - head)));
}

/* What a login takes from a body, the guard finds in a query. */
static void hold_query(const char *text, size_t len, enum fault fault)
{
	bool has_credentials = oauth_has_credentials(text, len);

	if (fault == FAULT_NONE)
		HOLD(has_credentials);
	if (!has_credentials)
		HOLD(fault == FAULT_FIELD_MISSING || fault == FAULT_FIELD_TEXT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct oauth_fields fields;
	struct secret body;

	if (size > BODY_MAX_BYTES)
		return 0;
	bool is_good = hold_pairs(text, size);
	hold_apart(text, size, is_good);
	fuzz_fill(&body, BODY_MAX_BYTES, data, size);
	oauth_fields_init(&fields);
	enum fault fault = oauth_read_login(&body, HTTP_MEDIA_FORM, &fields);
	HOLD(fault == FAULT_NONE || fault == FAULT_FIELD_MISSING || fault == FAULT_FIELD_TEXT ||
	     fault == FAULT_FIELD_REPEATED);
	HOLD(fault != FAULT_NONE || is_good);
	HOLD(secret_len(&fields.username) <= FIELD_MAX_BYTES && fuzz_is_text(&fields.username));
	HOLD(secret_len(&fields.password) <= FIELD_MAX_BYTES && fuzz_is_text(&fields.password));
	hold_query(text, size, fault);
	oauth_fields_clear(&fields);
	secret_clear(&body);
	return 0;
}
