/*
 * The settings: one table of name, type, default and help drives reading, --help and --check.
 *
 * Floor 0. Settings come from the environment and from a file of NAME=value lines; the environment
 * wins. A fault is one sentence that names the setting and the fix.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "buf.h"
#include "log.h"

/* Made by config_load(), then read only. Texts are never NULL: "" stands for not set. */
struct config {
	char *network;    /* "mainnet", "testnet", or "" where token_url was set */
	char *token_url;  /* https; never "" */
	char *revoke_url; /* https; never "" */
	char *client_id;
	struct secret client_secret; /* kept, see buf.h */
	char *client_secret_file;
	char *scope;
	char *ca_file;
	char *proxy;
	char *allowed_origins; /* with one space between */
	char *settings_file;   /* where the settings were read from */
	long connect_timeout_ms;
	long timeout_ms;
	long max_in_flight;
	enum log_level log_level;
	bool is_sandboxed;
	bool is_secret_from_environment;
};

/* Called once per finding. is_fault: the program cannot start. text is one line without newline,
 * e.g. "BAKRYPT_CLIENT_ID is not set; set it to the client id that Bakrypt gave you". */
typedef void config_finding(void *context, bool is_fault, const char *text);

/*
 * Reads the settings from the environment, from a file and from the secret's file or systemd
 * credential ($CREDENTIALS_DIRECTORY/client_secret), and checks them, reporting every finding.
 * False after a fault; the config is then empty.
 *
 * file: the settings file; NULL: $BAKRYPT_CONFIG, or else the first that is there of
 * $HOME/.config/bakrypt-login.conf and bakrypt-login.conf beside the program; or else none. A
 * variable may carry Apache's prefix REDIRECT_. The value of BAKRYPT_CLIENT_SECRET in the
 * environment is overwritten and the variable removed; so on a later reading `previous`, what an
 * earlier one made, stands for it; and a file that was found then is not looked for again. NULL:
 * there is none. config is the caller's memory, to be released by config_clear() in either case.
 */
bool config_load(struct config *config, const char *file, const struct config *previous,
		 config_finding *report, void *context);

/* The token URL of a network, by its name. A constant; NULL: there is no such network. */
const char *config_network_url(const char *network);

/* Wipes and releases. NULL is allowed. */
void config_clear(struct config *config);

/* The settings with their defaults and meaning, as --help prints them. */
void config_print_help(FILE *out);

/* The effective settings as --check prints them; of a secret only that it is set. */
void config_print(const struct config *config, FILE *out);

#endif
