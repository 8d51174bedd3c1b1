#include "settings.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "ceilings.h"
#include "settings_file.h"
#include "settings_text.h"

#define FINDING_MAX_BYTES 1024
#define PREFIX "BAKRYPT_"
#define REDIRECTED "REDIRECT_"

const char *settings_quote_path(struct quoted_path *quoted, const char *path)
{
	return settings_text_quote(quoted->text, sizeof(quoted->text), path);
}

void settings_say(struct settings_reading *r, enum severity severity, unsigned line,
		  const char *format, ...)
{
	char text[FINDING_MAX_BYTES] = "";
	struct quoted_path path;
	size_t used = 0;
	va_list args;

	if (line > 0) {
		snprintf(text, sizeof(text), "%s line %u: ", settings_quote_path(&path, r->file),
			 line);
		used = strlen(text);
	}
	va_start(args, format);
	vsnprintf(text + used, sizeof(text) - used, format, args);
	va_end(args);
	if (severity == FAULT)
		r->has_fault = true;
	r->report(r->context, severity == FAULT, text);
}

void settings_say_no_memory(struct settings_reading *r)
{
	settings_say(r, FAULT, 0, "the settings do not fit into memory; free some and start again");
}

void settings_say_unreadable(struct settings_reading *r, const struct settings_file *file,
			     const char *name)
{
	struct quoted_path quoted;

	settings_say(r, FAULT, 0,
		     "%s: %s cannot be used (%s); name a file that this program can read", name,
		     settings_quote_path(&quoted, file->path), file->complaint);
}

bool settings_has(const struct settings_reading *r, enum setting_id id)
{
	return secret_len(&r->sources[id].text) > 0;
}

unsigned settings_line_of(const struct settings_reading *r, enum setting_id id)
{
	return r->sources[id].is_from_environment ? 0 : r->sources[id].line;
}

static void source_take(struct settings_reading *r, enum setting_id id, const char *value,
			size_t len)
{
	if (len > SECRET_MAX_BYTES) {
		r->is_incomplete = true;
		settings_say(r, FAULT, settings_line_of(r, id),
			     "%s is longer than %d bytes; shorten it", settings[id].name,
			     SECRET_MAX_BYTES);
	} else if (!secret_set(&r->sources[id].text, value, len)) {
		settings_say_no_memory(r);
	}
}

/* SETTING_COUNT for a name that is none. */
static enum setting_id setting_find(const char *name, size_t len)
{
	enum setting_id id = 0;

	while (id < SETTING_COUNT &&
	       (strlen(settings[id].name) != len || memcmp(settings[id].name, name, len) != 0))
		id++;
	return id;
}

/* A known name that continues the given one, or differs from it in a letter or two; or NULL. */
static const char *name_suggest(const char *name)
{
	size_t len = strlen(name);

	for (enum setting_id id = 0; id < SETTING_COUNT && len > strlen(PREFIX); id++) {
		if (strncasecmp(settings[id].name, name, len) == 0)
			return settings[id].name;
	}
	for (enum setting_id id = 0; id < SETTING_COUNT; id++) {
		if (settings_text_distance(name, settings[id].name) <= 2)
			return settings[id].name;
	}
	return NULL;
}

/* Whether it looks like a setting's name, and not like the secret's with the secret behind it. */
static bool may_be_repeated(const char *name)
{
	const char *secret = settings[CLIENT_SECRET].name;
	size_t len = strlen(secret);

	for (const char *c = name; *c != '\0'; c++) {
		if (!isalnum((unsigned char)*c) && *c != '_')
			return false;
	}
	return strncasecmp(name, PREFIX, strlen(PREFIX)) == 0 &&
	       (strncasecmp(name, secret, len) != 0 || name[len] == '_' || name[len] == '\0');
}

/* What stands before a "=" may be a piece of a secret that lost its way. */
static void say_unknown(struct settings_reading *r, enum severity severity, unsigned line,
			const char *text, size_t len)
{
	char name[SETTINGS_TEXT_NAME_MAX + 1] = "this name";
	char copy[sizeof(name)];
	const char *suggestion = NULL;

	if (len < sizeof(copy)) {
		memcpy(copy, text, len);
		copy[len] = '\0';
		suggestion = name_suggest(copy);
		if (may_be_repeated(copy))
			settings_text_quote(name, sizeof(name), copy);
		wipe(copy, sizeof(copy));
	}
	if (suggestion)
		settings_say(r, severity, line, "%s is no setting; did you mean %s?", name,
			     suggestion);
	else
		settings_say(r, severity, line, "%s is no setting; --help lists all there are",
			     name);
}

/* Everybody who may look into /proc/PID/environ could read the secret there. */
static void environment_wipe(const char *name)
{
	size_t len = strlen(name);

	for (char **entry = environ; *entry; entry++) {
		if (strncmp(*entry, name, len) == 0 && (*entry)[len] == '=')
			wipe(*entry + len + 1, strlen(*entry + len + 1));
	}
	unsetenv(name);
}

/* Takes a variable with this prefix, unless one without it was there. An empty value counts as not
 * set. */
static void variable_take(struct settings_reading *r, enum setting_id id, const char *prefix)
{
	char name[sizeof(REDIRECTED REDIRECTED) + SETTINGS_TEXT_NAME_MAX];
	const char *value;

	snprintf(name, sizeof(name), "%s%s", prefix, settings[id].name);
	value = getenv(name);
	if (value && *value != '\0' && !r->sources[id].is_from_environment) {
		r->sources[id].is_from_environment = true;
		source_take(r, id, value, strlen(value));
	}
	if (value && settings[id].type == TYPE_SECRET)
		environment_wipe(name);
}

void settings_read_environment(struct settings_reading *r)
{
	for (enum setting_id id = 0; id < SETTING_COUNT; id++) {
		variable_take(r, id, "");
		/* Of a request that Apache rewrote, once or twice. */
		variable_take(r, id, REDIRECTED);
		variable_take(r, id, REDIRECTED REDIRECTED);
	}
	for (size_t i = 0; environ && environ[i]; i++) {
		const char *entry = environ[i];
		size_t len = strcspn(entry, "=");

		if (strncmp(entry, PREFIX, strlen(PREFIX)) == 0 &&
		    setting_find(entry, len) == SETTING_COUNT)
			say_unknown(r, REMARK, 0, entry, len);
	}
}

static void line_take(struct settings_reading *r, const struct settings_line *line, unsigned number)
{
	enum setting_id id;
	struct source *source;

	if (line->complaint) {
		settings_say(r, FAULT, number, "%s", line->complaint);
		return;
	}
	id = setting_find(line->name, line->name_len);
	if (id == SETTING_COUNT) {
		say_unknown(r, FAULT, number, line->name, line->name_len);
		return;
	}
	source = &r->sources[id];
	if (settings[id].type == TYPE_SETTINGS_FILE) {
		settings_say(r, FAULT, number, "%s has no place in a settings file; remove it",
			     settings[id].name);
	} else if (source->line > 0) {
		settings_say(r, FAULT, number, "%s is in line %u already; remove one of the two",
			     settings[id].name, source->line);
	} else {
		source->line = number;
		if (!source->is_from_environment)
			source_take(r, id, line->value, line->value_len);
	}
}

void settings_take_secret(struct settings_reading *r, const struct secret *secret)
{
	r->sources[CLIENT_SECRET].is_from_environment = true;
	source_take(r, CLIENT_SECRET, secret_str(secret), secret_len(secret));
}

/* What named the settings file, for messages. */
static const char *file_name(struct settings_reading *r)
{
	if (r->file)
		return "--config";
	if (settings_has(r, SETTINGS_FILE)) {
		r->file = secret_str(&r->sources[SETTINGS_FILE].text);
		return settings[SETTINGS_FILE].name;
	}
	if (r->file_before)
		r->file = r->file_before;
	else
		r->file = r->found_file = settings_find_file();
	return "the settings file";
}

void settings_read_file(struct settings_reading *r)
{
	const char *name = file_name(r);
	struct settings_file file = {.path = r->file};
	struct settings_line line;
	struct settings_cursor cursor = {0};
	struct secret text;

	if (!r->file)
		return;
	if (!settings_file_read(&file, &text, (size_t)SETTINGS_FILE_MAX_BYTES)) {
		r->is_incomplete = true;
		settings_say_unreadable(r, &file, name);
	} else {
		cursor.at = secret_str(&text);
		cursor.end = cursor.at + secret_len(&text);
	}
	while (settings_file_next(&cursor, &line))
		line_take(r, &line, cursor.line_number);
	if (r->sources[CLIENT_SECRET].line > 0)
		settings_is_kept(r, &file, settings[CLIENT_SECRET].name);
	secret_clear(&text);
}

bool settings_settle_pair(struct settings_reading *r, enum setting_id a, enum setting_id b)
{
	if (!settings_has(r, a) || !settings_has(r, b))
		return true;
	/* The environment wins here as well: with one of the two there, the file's other one counts
	 * no more. */
	if (r->sources[a].is_from_environment != r->sources[b].is_from_environment) {
		secret_clear(&r->sources[r->sources[a].is_from_environment ? b : a].text);
		return true;
	}
	settings_say(r, FAULT, settings_line_of(r, b),
		     "%s and %s are both set; remove one of the two", settings[a].name,
		     settings[b].name);
	return false;
}
