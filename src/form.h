/*
 * Percent-encoding (RFC 3986 section 2.1), and application/x-www-form-urlencoded on top of it (the
 * WHATWG URL standard).
 *
 * Floor 0: pure. Stricter than the standard, which passes a bad "%xx" through and repairs what is
 * not UTF-8: here both are refused, and NUL too.
 */
#ifndef FORM_H
#define FORM_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

/* The byte that text begins with, "%xx" decoded; end is the byte behind the text, which is not
 * empty. -1 for a bad "%xx", and for NUL in either form. */
int form_decode_byte(const char *text, const char *end);

/* How many bytes of text form_decode_byte() took, where it did not fail. */
size_t form_encoded_length(const char *text);

enum form_verdict {
	FORM_OK,
	FORM_END,
	FORM_BAD, /* bad %xx, %00 or NUL, not UTF-8, or a part over its buffer */
};

/* Reads the next name=value pair of an application/x-www-form-urlencoded text and moves *cursor
 * past it, a bad one too; end is the byte behind the text. Empty parts ("&&") are skipped, "+" is a
 * space. name and value are emptied first, and hold decoded bytes only after FORM_OK. Without
 * memory: FORM_BAD. */
enum form_verdict form_read_pair(const char **cursor, const char *end, struct secret *name,
				 struct secret *value);

/* Appends text percent-encoded for a form: letters, digits and "-._*" as they are, every other
 * byte as %XX, space as "+". False as secret_append. */
bool form_write_text(struct secret *out, const char *text, size_t len);

#endif
