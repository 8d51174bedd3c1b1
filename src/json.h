/*
 * RFC 8259, strictly: what is checked here may be given to a lenient parser.
 *
 * Floor 0: pure, no allocation. cJSON accepts much that is not JSON and cuts strings at NUL; so
 * every text is checked here first, the body of a request as well as an answer from upstream.
 */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>

enum json_verdict {
	JSON_OK,
	JSON_SYNTAX, /* not JSON, a byte order mark, text after the end, or nested too deep */
	JSON_TEXT, /* JSON, but a string holds NUL, a lone surrogate or bytes that are not UTF-8 */
};

/* Checks one JSON value with white space around it. text is borrowed, len in bytes, and need not
 * end in NUL. Nesting above JSON_DEPTH_MAX (ceilings.h) counts as JSON_SYNTAX. A text that is both
 * is JSON_SYNTAX. */
enum json_verdict json_check(const char *text, size_t len);

#endif
