/*
 * UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
 *
 * Cellar: any room may include it.
 */
#ifndef UTF8_H
#define UTF8_H

#include <stddef.h>

/* The length in bytes (1 to 4) of the character that starts at text, or 0 if the bytes there, of
 * which len are readable, are no valid character. NUL is a character of length 1. */
size_t utf8_length(const char *text, size_t len);

#endif
