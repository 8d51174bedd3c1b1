/*
 * What config.c and the files it is split into share: the rows of the table of settings, and one
 * reading of them.
 *
 * Floor 0. No other room includes it; they include config.h.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include "config.h"
#include "settings_file.h"

enum setting_id {
	NETWORK,
	TOKEN_URL,
	REVOKE_URL,
	CLIENT_ID,
	CLIENT_SECRET,
	CLIENT_SECRET_FILE,
	SCOPE,
	CA_FILE,
	PROXY,
	ALLOWED_ORIGINS,
	CONNECT_TIMEOUT_MS,
	TIMEOUT_MS,
	MAX_IN_FLIGHT,
	THRESHOLD,
	SANDBOX,
	SETTINGS_FILE,
	SETTING_COUNT
};

/* Up to TYPE_ORIGINS the member is a char *. */
enum setting_type {
	TYPE_NETWORK,
	TYPE_URL,
	TYPE_CLIENT_ID,
	TYPE_SCOPE,
	TYPE_PATH,
	TYPE_PROXY,
	TYPE_ORIGINS,
	TYPE_INTEGER,       /* long */
	TYPE_LOG_LEVEL,     /* enum log_level */
	TYPE_SWITCH,        /* bool: "on" or "off" */
	TYPE_SECRET,        /* struct secret, filled last */
	TYPE_SETTINGS_FILE, /* char *, filled last */
};

/* UNQUOTED: may hold a password by mistake, so that no message repeats it. */
enum { REQUIRED = 1, UNQUOTED = 2 };

struct setting {
	const char *name;
	enum setting_type type;
	unsigned flags;
	size_t member;        /* offset in struct config */
	const char *fallback; /* the default as text, or NULL */
	long min, max;        /* of TYPE_INTEGER */
	const char *form;     /* completes "set it to "; NULL where the type alone tells */
	const char *help;
};

extern const struct setting settings[SETTING_COUNT]; /* config.c */

/* What was found for a setting. */
struct source {
	struct secret text; /* empty: not set */
	bool is_from_environment;
	unsigned line; /* where the settings file has it, or 0 */
};

struct settings_reading {
	struct config *config;
	config_finding *report;
	void *context;
	const char *file;        /* path of the settings file, or NULL */
	char *found_file;        /* the same, where it was looked for; else NULL */
	const char *file_before; /* where an earlier reading found one; or NULL */
	bool has_fault;
	bool is_incomplete; /* something could not be taken: nothing is called missing */
	struct source sources[SETTING_COUNT];
};

enum severity { REMARK, FAULT };

struct quoted_path {
	char text[256 + 1];
};

/* Copies a path, with what cannot be printed escaped, for a message. Returns quoted->text. */
const char *settings_quote_path(struct quoted_path *quoted, const char *path);

/* Reports one finding. line: in the settings file, where that is what it is about; else 0. */
void settings_say(struct settings_reading *r, enum severity severity, unsigned line,
		  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Faults that several settings share. name is the setting's. */
void settings_say_no_memory(struct settings_reading *r);
void settings_say_unreadable(struct settings_reading *r, const struct settings_file *file,
			     const char *name);

/* Reads the sources from the environment, and wipes the secret there. */
void settings_read_environment(struct settings_reading *r);

/* Takes the secret of an earlier reading for the environment's. */
void settings_take_secret(struct settings_reading *r, const struct secret *secret);

/* Whether a file that holds the secret is kept from others: from those on the machine, and, if a
 * web server says in DOCUMENT_ROOT what it publishes, from the whole world. False after a fault. */
bool settings_is_kept(struct settings_reading *r, const struct settings_file *file,
		      const char *name);

/* The path of a settings file that nobody named, to be freed; NULL: there is none. */
char *settings_find_file(void);

/* Finds the settings file, if r->file names none, and reads from it the sources that the
 * environment left open. */
void settings_read_file(struct settings_reading *r);

/* Of two settings that stand for the same, leaves the one that counts. False after a fault. */
bool settings_settle_pair(struct settings_reading *r, enum setting_id a, enum setting_id b);

bool settings_has(const struct settings_reading *r, enum setting_id id);

/* The line that a message about the setting's value belongs to. */
unsigned settings_line_of(const struct settings_reading *r, enum setting_id id);

#endif
