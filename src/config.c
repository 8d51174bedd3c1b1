#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ceilings.h"
#include "settings.h"
#include "settings_file.h"
#include "settings_text.h"

#define TOKEN_URL_MAINNET "https://bakrypt.io/auth/token/"
#define TOKEN_URL_TESTNET "https://testnet.bakrypt.io/auth/token/"
#define REVOKE_PATH "/auth/revoke_token/"
#define CREDENTIAL "client_secret"

const struct setting settings[SETTING_COUNT] = {
	[NETWORK] = {.name = "BAKRYPT_NETWORK",
		     .type = TYPE_NETWORK,
		     .member = offsetof(struct config, network),
		     .form = "mainnet or testnet",
		     .help = "mainnet or testnet; this or BAKRYPT_TOKEN_URL is required"},
	[TOKEN_URL] = {.name = "BAKRYPT_TOKEN_URL",
		       .type = TYPE_URL,
		       .flags = UNQUOTED,
		       .member = offsetof(struct config, token_url),
		       .form = "https://HOST/PATH/ without user name, query, fragment and spaces",
		       .help = "address of another token server, https only"},
	[REVOKE_URL] = {.name = "BAKRYPT_REVOKE_URL",
			.type = TYPE_URL,
			.flags = UNQUOTED,
			.member = offsetof(struct config, revoke_url),
			.form = "https://HOST/PATH/ without user name, query, fragment and spaces",
			.help = "where tokens are revoked; else " REVOKE_PATH " there"},
	[CLIENT_ID] = {.name = "BAKRYPT_CLIENT_ID",
		       .type = TYPE_CLIENT_ID,
		       .flags = REQUIRED | UNQUOTED,
		       .member = offsetof(struct config, client_id),
		       .form = "the client id that Bakrypt gave you, in printable ASCII",
		       .help = "client id that Bakrypt gave you; required"},
	[CLIENT_SECRET] = {.name = "BAKRYPT_CLIENT_SECRET",
			   .type = TYPE_SECRET,
			   .member = offsetof(struct config, client_secret),
			   .help = "client secret; required, here or as in the next line"},
	[CLIENT_SECRET_FILE] =
		{.name = "BAKRYPT_CLIENT_SECRET_FILE",
		 .type = TYPE_PATH,
		 .member = offsetof(struct config, client_secret_file),
		 .help = "file that holds it; else systemd credential client_secret"},
	[SCOPE] = {.name = "BAKRYPT_SCOPE",
		   .type = TYPE_SCOPE,
		   .member = offsetof(struct config, scope),
		   .form = "words in printable ASCII without quotes and backslashes, one space "
			   "between them",
		   .help = "scope to ask for, words with one space between"},
	[CA_FILE] = {.name = "BAKRYPT_CA_FILE",
		     .type = TYPE_PATH,
		     .member = offsetof(struct config, ca_file),
		     .form = "the path of a file of PEM certificates",
		     .help = "PEM certificates to trust, instead of the system's"},
	[PROXY] = {.name = "BAKRYPT_PROXY",
		   .type = TYPE_PROXY,
		   .flags = UNQUOTED,
		   .member = offsetof(struct config, proxy),
		   .form = "http://HOST:PORT without user name and path",
		   .help = "http://HOST:PORT of a proxy; no other variable sets one"},
	[ALLOWED_ORIGINS] = {.name = "BAKRYPT_ALLOWED_ORIGINS",
			     .type = TYPE_ORIGINS,
			     .member = offsetof(struct config, allowed_origins),
			     .help = "other sites whose pages may ask, one space between"},
	[CONNECT_TIMEOUT_MS] = {.name = "BAKRYPT_CONNECT_TIMEOUT_MS",
				.type = TYPE_INTEGER,
				.member = offsetof(struct config, connect_timeout_ms),
				.fallback = "3000",
				.min = 10,
				.max = 60000,
				.help = "to connect to the token server"},
	[TIMEOUT_MS] = {.name = "BAKRYPT_TIMEOUT_MS",
			.type = TYPE_INTEGER,
			.member = offsetof(struct config, timeout_ms),
			.fallback = "12000",
			.min = 50,
			.max = 120000,
			.help = "for the token server's answer, connecting too"},
	[MAX_IN_FLIGHT] = {.name = "BAKRYPT_MAX_IN_FLIGHT",
			   .type = TYPE_INTEGER,
			   .member = offsetof(struct config, max_in_flight),
			   .fallback = "4096",
			   .min = 1,
			   .max = 65536,
			   .help = "logins at one time, of each worker"},
	[THRESHOLD] = {.name = "BAKRYPT_LOG_LEVEL",
		       .type = TYPE_LOG_LEVEL,
		       .member = offsetof(struct config, log_level),
		       .fallback = "info",
		       .form = "debug, info, warn, error or crit",
		       .help = "debug, info, warn, error or crit"},
	[SANDBOX] = {.name = "BAKRYPT_SANDBOX",
		     .type = TYPE_SWITCH,
		     .member = offsetof(struct config, is_sandboxed),
		     .fallback = "on",
		     .form = "on or off",
		     .help = "on or off: give up what is not needed, once started"},
	[SETTINGS_FILE] = {.name = "BAKRYPT_CONFIG",
			   .type = TYPE_SETTINGS_FILE,
			   .member = offsetof(struct config, settings_file),
			   .help = "file of NAME=value lines, where no --config names one"},
};

struct quoted_value {
	char text[60 + 1];
};

static bool is_text(const struct setting *setting)
{
	return setting->type <= TYPE_ORIGINS || setting->type == TYPE_SETTINGS_FILE;
}

static void text_set(struct settings_reading *r, char **member, const char *text)
{
	char *copy = strdup(text);

	if (!copy) {
		settings_say_no_memory(r);
		return;
	}
	free(*member);
	*member = copy;
}

static bool is_origins(const char *text)
{
	const char *entry;
	size_t len;

	return !settings_text_blame_origins(text, &entry, &len);
}

static bool text_is_valid(enum setting_type type, const char *text)
{
	switch (type) {
	case TYPE_NETWORK:
		return config_network_url(text) != NULL;
	case TYPE_URL:
		return settings_text_is_https_url(text);
	case TYPE_CLIENT_ID:
		return settings_text_is_vschar(text, strlen(text));
	case TYPE_SCOPE:
		return settings_text_is_scope(text);
	case TYPE_PROXY:
		return settings_text_is_proxy_url(text);
	case TYPE_ORIGINS:
		return is_origins(text);
	default:
		return true;
	}
}

static void *member_of(struct config *config, const struct setting *setting)
{
	return (char *)config + setting->member;
}

/* False if the text is not what the setting can be. */
static bool value_take(struct settings_reading *r, const struct setting *setting, const char *text)
{
	void *member = member_of(r->config, setting);

	if (setting->type == TYPE_INTEGER)
		return settings_text_read_number(text, setting->min, setting->max, member);
	if (setting->type == TYPE_SWITCH) {
		*(bool *)member = strcmp(text, "on") == 0;
		return *(bool *)member || strcmp(text, "off") == 0;
	}
	if (setting->type == TYPE_LOG_LEVEL) {
		int level = log_level_by_name(text);

		if (level >= 0)
			*(enum log_level *)member = (enum log_level)level;
		return level >= 0;
	}
	if (!text_is_valid(setting->type, text))
		return false;
	if (is_text(setting))
		text_set(r, member, text);
	return true;
}

static void say_bad_origins(struct settings_reading *r, const char *text)
{
	const char *name = settings[ALLOWED_ORIGINS].name;
	unsigned line = settings_line_of(r, ALLOWED_ORIGINS);
	char known[ORIGIN_MAX_BYTES + 1];
	struct quoted_value quoted;
	const char *entry;
	size_t len;
	const char *fix = settings_text_blame_origins(text, &entry, &len);

	if (len == 0) {
		settings_say(r, FAULT, line, "%s cannot be used as it is; %s", name, fix);
		return;
	}
	snprintf(known, sizeof(known), "%.*s", (int)len, entry);
	settings_text_quote(quoted.text, sizeof(quoted.text), known);
	settings_say(r, FAULT, line, "%s has \"%s\" in it; %s", name, quoted.text, fix);
}

static void say_bad_value(struct settings_reading *r, enum setting_id id, const char *text)
{
	const struct setting *setting = &settings[id];
	struct quoted_value quoted;
	char range[64];

	if (setting->type == TYPE_ORIGINS) {
		say_bad_origins(r, text);
		return;
	}
	if (setting->flags & UNQUOTED) {
		settings_say(r, FAULT, settings_line_of(r, id),
			     "%s cannot be used as it is; set it to %s", setting->name,
			     setting->form);
		return;
	}
	settings_text_quote(quoted.text, sizeof(quoted.text), text);
	snprintf(range, sizeof(range), "a whole number from %ld to %ld", setting->min,
		 setting->max);
	settings_say(r, FAULT, settings_line_of(r, id), "%s is \"%s\"; set it to %s", setting->name,
		     quoted.text, setting->form ? setting->form : range);
}

static void setting_settle(struct settings_reading *r, enum setting_id id)
{
	const struct setting *setting = &settings[id];
	const char *text =
		settings_has(r, id) ? secret_str(&r->sources[id].text) : setting->fallback;

	if (text && !value_take(r, setting, text))
		say_bad_value(r, id, text);
	if (!text && (setting->flags & REQUIRED) && !r->is_incomplete)
		settings_say(r, FAULT, 0, "%s is not set; set it to %s", setting->name,
			     setting->form);
}

const char *config_network_url(const char *network)
{
	if (strcmp(network, "mainnet") == 0)
		return TOKEN_URL_MAINNET;
	return strcmp(network, "testnet") == 0 ? TOKEN_URL_TESTNET : NULL;
}

static void network_settle(struct settings_reading *r)
{
	struct config *config = r->config;
	const char *url = config_network_url(config->network);
	size_t len = strlen(config->token_url);

	if (url)
		text_set(r, &config->token_url, url);
	else if (!settings_has(r, NETWORK) && !settings_has(r, TOKEN_URL) && !r->is_incomplete)
		settings_say(r, FAULT, 0, "%s is not set; set it to %s, or set %s to %s",
			     settings[NETWORK].name, settings[NETWORK].form,
			     settings[TOKEN_URL].name, settings[TOKEN_URL].form);
	else if (len > 0 && config->token_url[len - 1] != '/')
		settings_say(
			r, REMARK, settings_line_of(r, TOKEN_URL),
			"%s does not end in a slash; add one if the server answers with a redirect",
			settings[TOKEN_URL].name);
}

/* On the token server's host, where nothing else is set. */
static void revoke_url_settle(struct settings_reading *r)
{
	const char *url = r->config->token_url;
	size_t scheme = strlen("https://");
	char *made;

	if (*r->config->revoke_url != '\0' || strlen(url) < scheme)
		return;
	if (asprintf(&made, "%.*s%s", (int)(scheme + strcspn(url + scheme, "/")), url,
		     REVOKE_PATH) < 0) {
		settings_say_no_memory(r);
		return;
	}
	free(r->config->revoke_url);
	r->config->revoke_url = made;
}

static void timeouts_check(struct settings_reading *r)
{
	const struct config *config = r->config;

	if (config->connect_timeout_ms > config->timeout_ms && config->timeout_ms > 0)
		settings_say(r, FAULT, 0, "%s (%ld) is above %s (%ld); lower it or raise the other",
			     settings[CONNECT_TIMEOUT_MS].name, config->connect_timeout_ms,
			     settings[TIMEOUT_MS].name, config->timeout_ms);
}

static bool has_certificate(FILE *stream)
{
	char *line = NULL;
	size_t size = 0;
	bool is_found = false;

	while (!is_found && getline(&line, &size, stream) >= 0)
		is_found = strstr(line, "-----BEGIN CERTIFICATE-----") != NULL;
	free(line);
	return is_found;
}

static void ca_file_check(struct settings_reading *r)
{
	struct settings_file file = {.path = r->config->ca_file};
	struct quoted_path quoted;
	FILE *stream;
	int fd;

	if (*file.path == '\0')
		return;
	fd = settings_file_open(&file);
	if (fd < 0) {
		settings_say_unreadable(r, &file, settings[CA_FILE].name);
		return;
	}
	stream = fdopen(fd, "r");
	if (!stream) {
		settings_say_no_memory(r);
		close(fd);
		return;
	}
	if (!has_certificate(stream))
		settings_say(r, FAULT, 0, "%s: there is no certificate in %s; set it to %s",
			     settings[CA_FILE].name, settings_quote_path(&quoted, file.path),
			     settings[CA_FILE].form);
	fclose(stream);
}

/* Checks what is in config->client_secret. name says where it is from. */
static void secret_check(struct settings_reading *r, unsigned line, const char *name)
{
	struct secret *secret = &r->config->client_secret;
	const char *text = secret_str(secret);
	size_t len = secret_len(secret);

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	if (len == 0) {
		settings_say(r, FAULT, line,
			     "%s holds no secret; put the one that Bakrypt gave you there", name);
		return;
	}
	/* An editor ends every file in one. */
	if (len < secret_len(secret) && name == settings[CLIENT_SECRET].name)
		settings_say(r, REMARK, line,
			     "%s ends in a newline, which is not taken for a part of it", name);
	secret_truncate(secret, len);
	if (!settings_text_is_vschar(text, len))
		settings_say(r, FAULT, line,
			     "%s holds bytes other than printable ASCII; put the secret there as "
			     "Bakrypt gave it",
			     name);
}

static void secret_read(struct settings_reading *r, const char *path, const char *name)
{
	struct settings_file file = {.path = path};

	secret_clear(&r->config->client_secret);
	if (!settings_file_read(&file, &r->config->client_secret, SECRET_MAX_BYTES))
		settings_say_unreadable(r, &file, name);
	else if (settings_is_kept(r, &file, name))
		secret_check(r, 0, name);
}

/* False: systemd gave no such credential. */
static bool credential_read(struct settings_reading *r)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	struct secret path; /* no secret, but it grows */
	bool is_there = false;

	secret_init(&path, SECRET_MAX_BYTES);
	if (directory && secret_append_str(&path, directory) &&
	    secret_append_str(&path, "/" CREDENTIAL))
		is_there = access(secret_str(&path), F_OK) == 0;
	if (is_there)
		secret_read(r, secret_str(&path), "the credential " CREDENTIAL);
	secret_clear(&path);
	return is_there;
}

static void secret_settle(struct settings_reading *r)
{
	struct config *config = r->config;

	if (settings_has(r, CLIENT_SECRET)) {
		secret_move(&config->client_secret, &r->sources[CLIENT_SECRET].text);
		secret_check(r, settings_line_of(r, CLIENT_SECRET), settings[CLIENT_SECRET].name);
	} else if (*config->client_secret_file != '\0') {
		secret_read(r, config->client_secret_file, settings[CLIENT_SECRET_FILE].name);
	} else if (!credential_read(r) && !r->is_incomplete) {
		settings_say(
			r, FAULT, 0,
			"%s is not set; set it or %s, or give the systemd credential " CREDENTIAL,
			settings[CLIENT_SECRET].name, settings[CLIENT_SECRET_FILE].name);
	}
}

/* Makes every text "". False without memory. */
static bool config_init(struct settings_reading *r)
{
	*r->config = (struct config){.log_level = LOG_INFO};
	secret_init(&r->config->client_secret, SECRET_MAX_BYTES);
	for (enum setting_id id = 0; id < SETTING_COUNT; id++) {
		secret_init(&r->sources[id].text, SECRET_MAX_BYTES);
		if (is_text(&settings[id]))
			text_set(r, member_of(r->config, &settings[id]), "");
	}
	return !r->has_fault;
}

static void config_settle(struct settings_reading *r)
{
	bool is_one_secret = settings_settle_pair(r, CLIENT_SECRET, CLIENT_SECRET_FILE);

	settings_settle_pair(r, NETWORK, TOKEN_URL);
	for (enum setting_id id = 0; id < SETTING_COUNT; id++)
		setting_settle(r, id);
	if (r->file)
		text_set(r, &r->config->settings_file, r->file);
	network_settle(r);
	revoke_url_settle(r);
	timeouts_check(r);
	ca_file_check(r);
	if (is_one_secret)
		secret_settle(r);
}

bool config_load(struct config *config, const char *file, const struct config *previous,
		 config_finding *report, void *context)
{
	struct settings_reading r = {
		.config = config, .report = report, .context = context, .file = file};
	bool has_memory = config_init(&r);

	settings_read_environment(&r);
	if (previous && *previous->settings_file)
		r.file_before = previous->settings_file;
	if (previous && previous->is_secret_from_environment)
		settings_take_secret(&r, &previous->client_secret);
	settings_read_file(&r);
	config->is_secret_from_environment = r.sources[CLIENT_SECRET].is_from_environment;
	if (has_memory)
		config_settle(&r);
	if (!r.has_fault && !secret_keep(&config->client_secret))
		settings_say_no_memory(&r);
	for (enum setting_id id = 0; id < SETTING_COUNT; id++)
		secret_clear(&r.sources[id].text);
	free(r.found_file);
	if (r.has_fault)
		config_clear(config);
	return !r.has_fault;
}

void config_clear(struct config *config)
{
	if (!config)
		return;
	for (enum setting_id id = 0; id < SETTING_COUNT; id++) {
		if (is_text(&settings[id]))
			free(*(char **)member_of(config, &settings[id]));
	}
	secret_clear(&config->client_secret);
	*config = (struct config){0};
}

#define NAME_COLUMN 26 /* the longest name */
#define DEFAULT_COLUMN 5

void config_print_help(FILE *out)
{
	for (enum setting_id id = 0; id < SETTING_COUNT; id++) {
		const struct setting *s = &settings[id];

		fprintf(out, "  %-*s  %-*s  %s", NAME_COLUMN, s->name, DEFAULT_COLUMN,
			s->fallback ? s->fallback : "-", s->help);
		if (s->type == TYPE_INTEGER)
			fprintf(out, " (%ld to %ld)", s->min, s->max);
		fputc('\n', out);
	}
}

static void setting_print(const struct config *config, const struct setting *setting, FILE *out)
{
	const void *member = (const char *)config + setting->member;
	struct quoted_path quoted;
	const char *text = "";

	fprintf(out, "  %-*s  ", NAME_COLUMN, setting->name);
	if (setting->type == TYPE_INTEGER) {
		fprintf(out, "%ld\n", *(const long *)member);
		return;
	}
	if (is_text(setting))
		text = *(char *const *)member;
	else if (setting->type == TYPE_LOG_LEVEL)
		text = log_level_name(*(const enum log_level *)member);
	else if (setting->type == TYPE_SWITCH)
		text = *(const bool *)member ? "on" : "off";
	else if (secret_len(&config->client_secret) > 0)
		text = "(set)";
	fprintf(out, "%s\n", *text != '\0' ? settings_quote_path(&quoted, text) : "(not set)");
}

void config_print(const struct config *config, FILE *out)
{
	for (enum setting_id id = 0; id < SETTING_COUNT; id++) {
		if (settings[id].type != TYPE_SETTINGS_FILE)
			setting_print(config, &settings[id], out);
	}
}
