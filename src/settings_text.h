/*
 * What the text of a setting may look like, and how a message repeats it.
 *
 * Floor 0: pure. Knows no setting by name; config.c is the only caller.
 */
#ifndef SETTINGS_TEXT_H
#define SETTINGS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* A client id or secret: printable ASCII and spaces (RFC 6749 appendix A.1 and A.2). */
bool settings_text_is_vschar(const char *text, size_t len);

/* Scope tokens with one space between (RFC 6749 section 3.3). */
bool settings_text_is_scope(const char *text);

/* https://HOST[:PORT][/PATH], without user name, query and fragment. */
bool settings_text_is_https_url(const char *text);

/* http://HOST:PORT and nothing else. */
bool settings_text_is_proxy_url(const char *text);

/* What keeps a text from being a list of origins as a browser writes them (RFC 6454 section 6.2),
 * none twice, with one space between, of https, or of http on this machine. NULL: nothing. Else the
 * fix, a constant to follow a semicolon; and the entry, a part of text, whose length is 0 where it
 * is empty, or may hold a password. */
const char *settings_text_blame_origins(const char *text, const char **ret_entry, size_t *ret_len);

/* Digits alone, within the range. *ret_number is untouched otherwise. */
bool settings_text_read_number(const char *text, long min, long max, long *ret_number);

/* Copies text to out, escapes what cannot be printed, and ends a text that does not fit in "...".
 * Returns out. size is at least 4. */
const char *settings_text_quote(char *out, size_t size, const char *text);

/* How many letters have to be put in, taken out or replaced to make one name of the other. Only
 * the first SETTINGS_TEXT_NAME_MAX letters count. */
#define SETTINGS_TEXT_NAME_MAX 48
size_t settings_text_distance(const char *a, const char *b);

#endif
