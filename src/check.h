/*
 * `bakrypt-login --check`: what is wrong, and what to do about it.
 *
 * Floor 4. Reads the settings, then asks the token server in ways that touch no account.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>

struct check_options {
	const char *config_file; /* or NULL */
	bool is_offline;         /* the settings alone */
	bool is_json;            /* one JSON object instead of lines */
};

/* Prints one line per finding, "ok", "warn" or "fail" first. Returns EX_OK unless one of them is a
 * failure: EX_CONFIG if settings are to be mended, EX_UNAVAILABLE if it is the token server or the
 * way to it; EX_OSERR if nothing could be tried. */
int check_run(const struct check_options *options);

#endif
