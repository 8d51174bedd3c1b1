#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ceilings.h"
#include "form.h"
#include "utf8.h"

#define SEPARATOR 0xff

void fuzz_fail(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

/* With room for `more` bytes behind it. */
static struct fuzz_part next_part(struct fuzz_input *input, size_t more)
{
	size_t left = (size_t)(input->end - input->at);
	const uint8_t *found = left ? memchr(input->at, SEPARATOR, left) : NULL;
	struct fuzz_part part = {.len = found ? (size_t)(found - input->at) : left};

	part.data = malloc(part.len + more > 0 ? part.len + more : 1);
	HOLD(part.data);
	if (part.len)
		memcpy(part.data, input->at, part.len);
	input->at = found ? found + 1 : input->end;
	return part;
}

struct fuzz_part fuzz_next(struct fuzz_input *input)
{
	return next_part(input, 0);
}

struct fuzz_part fuzz_next_text(struct fuzz_input *input)
{
	struct fuzz_part part = next_part(input, 1);

	part.data[part.len] = '\0';
	part.len = strlen(part.data);
	return part;
}

uint32_t fuzz_next_number(struct fuzz_input *input)
{
	struct fuzz_part part = fuzz_next_text(input);
	uint32_t number = 0;

	for (size_t i = 0; i < part.len && part.data[i] >= '0' && part.data[i] <= '9'; i++)
		number = number * 10 + (uint32_t)(part.data[i] - '0');
	free(part.data);
	return number;
}

bool fuzz_has(const void *data, size_t len, const char *words)
{
	return len && memmem(data, len, words, strlen(words));
}

void fuzz_fill(struct secret *secret, size_t max_bytes, const void *data, size_t len)
{
	secret_init(secret, max_bytes);
	HOLD(secret_set(secret, data, len));
}

bool fuzz_is_text(const struct secret *secret)
{
	const char *text = secret_str(secret);
	size_t len = secret_len(secret);

	while (len) {
		size_t step = *text ? utf8_length(text, len) : 0;

		if (!step)
			return false;
		text += step;
		len -= step;
	}
	return true;
}

void fuzz_hold_pair(const char **cursor, const char *end, const char *name, const char *value,
		    size_t value_len)
{
	struct secret read_name;
	struct secret read_value;

	secret_init(&read_name, GRANT_MAX_BYTES);
	secret_init(&read_value, GRANT_MAX_BYTES);
	HOLD(form_read_pair(cursor, end, &read_name, &read_value) == FORM_OK);
	HOLD(strcmp(secret_str(&read_name), name) == 0);
	HOLD(secret_len(&read_value) == value_len);
	HOLD(memcmp(secret_str(&read_value), value, value_len) == 0);
	secret_clear(&read_name);
	secret_clear(&read_value);
}
