/*
 * The command line door: a token for whoever runs `bakrypt-login token`.
 *
 * Floor 4. One exchange, from the terminal, standard input or a file to standard output.
 */
#ifndef TOKEN_H
#define TOKEN_H

#include <stdbool.h>

struct token_options {
	const char *config_file;        /* or NULL; so with the others */
	const char *user;               /* NULL: asked for on the terminal */
	const char *password_file;      /* "-": standard input. NULL: that, or the terminal */
	const char *refresh_token_file; /* a refresh instead of a login. "-": standard input */
	bool is_revocation;             /* of what is in refresh_token_file */
};

/* Writes the token's JSON and a newline to standard output, or one or two lines to standard error.
 * Returns EX_OK; 1 if the token server refuses the user; or a status of sysexits.h: EX_USAGE,
 * EX_CONFIG for settings and files, EX_UNAVAILABLE if the token server gives no token for another
 * reason, EX_OSERR for want of memory or where the token cannot be written. May end the program by
 * a signal. */
int token_run(const struct token_options *options);

#endif
