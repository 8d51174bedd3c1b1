/*
 * What the fuzz targets share.
 *
 * A target is one tests/fuzz/fuzz_NAME.c: it takes any bytes, gives them to the real code of src/,
 * and holds what must be true of every input, not only that nothing crashes. libFuzzer calls it
 * with bytes of its own making (`make fuzz`); replay.c calls it with the files of corpus/NAME/ (the
 * ordinary tests).
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* libFuzzer's names. Every target defines the first, which returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process, after a line that says where, unless the condition is true. */
#define HOLD(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))

_Noreturn void fuzz_fail(const char *file, int line, const char *condition);

/* An input that is made of parts. FF stands between two: it is in no UTF-8 text, and what it would
 * test each other byte above F4 tests as well. */
struct fuzz_input {
	const uint8_t *at;
	const uint8_t *end;
};

/* One part. Exactly as long, so that AddressSanitizer sees a read behind it; but for the NUL of a
 * text. To be freed. */
struct fuzz_part {
	char *data;
	size_t len;
};

/* The next part; an empty one behind the last. */
struct fuzz_part fuzz_next(struct fuzz_input *input);

/* The same with a NUL behind it; len counts up to the first NUL. */
struct fuzz_part fuzz_next_text(struct fuzz_input *input);

/* The next part as a number, modulo 2^32; 0 for none. */
uint32_t fuzz_next_number(struct fuzz_input *input);

/* Whether the words are anywhere in the bytes. */
bool fuzz_has(const void *data, size_t len, const char *words);

/* A secret with a ceiling and exactly these bytes, to be cleared. Holds that they fit. */
void fuzz_fill(struct secret *secret, size_t max_bytes, const void *data, size_t len);

/* Whether the secret is UTF-8 without NUL. */
bool fuzz_is_text(const struct secret *secret);

/* Holds that a form's next pair is this one, and moves *cursor past it. */
void fuzz_hold_pair(const char **cursor, const char *end, const char *name, const char *value,
		    size_t value_len);

#endif
