/* The settings. Parts: the settings file, the environment as lines of NAME=value, the secret's file
 * (which the first two may name by its path, SECRET_PATH). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ceilings.h"
#include "config.h"
#include "fuzz.h"
#include "settings.h"
#include "settings_text.h"

/* A word that the seeds have in secrets, and that nobody may see. */
#define SECRET_MARK "S3CR3TS3"

/* Descriptors far from those that others open. */
#define FILE_FD 200
#define FILE_PATH "/proc/self/fd/200"
#define SECRET_FD 201

#define ENTRIES_MAX 64

struct findings {
	size_t count;
	size_t faults;
	bool is_mark_allowed;
};

static void on_finding(void *context, bool is_fault, const char *text)
{
	struct findings *findings = context;

	findings->count++;
	findings->faults += is_fault;
	HOLD(strlen(text) > 10 && strlen(text) < 1024);
	for (const char *c = text; *c; c++)
		HOLD(*c >= 0x20 && *c < 0x7f);
	if (!findings->is_mark_allowed)
		HOLD(!strstr(text, SECRET_MARK));
}

/* Files in memory. */
static void put_file(int fd, const void *data, size_t len)
{
	if (fcntl(fd, F_GETFD) < 0) {
		int made = memfd_create("fuzz", MFD_CLOEXEC);

		HOLD(made >= 0 && dup2(made, fd) == fd && fchmod(fd, 0600) == 0);
		close(made);
	}
	HOLD(ftruncate(fd, 0) == 0 && pwrite(fd, data, len, 0) == (ssize_t)len);
}

/* A piece of the input. */
struct span {
	const char *at;
	size_t len;
};

static bool is(struct span span, const char *text)
{
	return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

static bool begins(struct span span, const char *text)
{
	return span.len >= strlen(text) && strncasecmp(span.at, text, strlen(text)) == 0;
}

static struct span without(struct span span, size_t len)
{
	return (struct span){span.at + len, span.len - len};
}

static bool is_setting(struct span name)
{
	for (enum setting_id id = 0; id < SETTING_COUNT; id++) {
		if (is(name, settings[id].name))
			return true;
	}
	return is(name, "DOCUMENT_ROOT") || is(name, "CREDENTIALS_DIRECTORY");
}

/* Whether a message may repeat the value of a setting of this name. These few may hold a password
 * by mistake, and so may a name that is none. */
static bool is_value_repeated(struct span name)
{
	static const char *const kept[] = {"BAKRYPT_CLIENT_SECRET", "BAKRYPT_CLIENT_ID",
					   "BAKRYPT_TOKEN_URL", "BAKRYPT_REVOKE_URL",
					   "BAKRYPT_PROXY"};

	while (begins(name, "REDIRECT_"))
		name = without(name, strlen("REDIRECT_"));
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (is(name, kept[i]))
			return false;
	}
	return is_setting(name);
}

/* Whether a message may repeat a name that is none: not if it looks like that of the secret with
 * the secret behind it. */
static bool is_name_repeated(struct span name)
{
	if (!begins(name, "BAKRYPT_"))
		return false;
	if (!begins(name, "BAKRYPT_CLIENT_SECRET"))
		return true;
	name = without(name, strlen("BAKRYPT_CLIENT_SECRET"));
	return name.len > 0 && *name.at == '_';
}

static struct span trim(struct span span)
{
	while (span.len && strchr(" \t\r", *span.at) && *span.at)
		span = without(span, 1);
	while (span.len && strchr(" \t\r", span.at[span.len - 1]) && span.at[span.len - 1])
		span.len--;
	return span;
}

/* Whether the word stands where a message may repeat it. */
static bool is_mark_repeated(const struct fuzz_part *lines)
{
	const char *end = lines->data + lines->len;
	const char *line_end;

	for (const char *line = lines->data; line < end; line = line_end + 1) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		const char *equals;

		line_end = newline ? newline : end;
		equals = memchr(line, '=', (size_t)(line_end - line));
		if (!equals)
			continue;
		struct span name = trim((struct span){line, (size_t)(equals - line)});
		if (is_name_repeated(name) && fuzz_has(name.at, name.len, SECRET_MARK))
			return true;
		if (is_value_repeated(name) &&
		    fuzz_has(equals, (size_t)(line_end - equals), SECRET_MARK))
			return true;
	}
	return false;
}

/* NULL: none. Without setenv(), which keeps memory: libFuzzer would look for leaks after every
 * input. */
static void set_environment(char *lines)
{
	static char *entries[ENTRIES_MAX + 1];
	size_t count = 0;
	char *rest = lines;
	char *line;

	while ((line = strsep(&rest, "\n")) && count < ENTRIES_MAX) {
		if (*line != '=' && strchr(line, '='))
			entries[count++] = line;
	}
	entries[count] = NULL;
	environ = entries;
}

/* The file that would set what was set. */
static void write_settings(const struct config *config, FILE *out)
{
	if (*config->network)
		fprintf(out, "BAKRYPT_NETWORK=%s\n", config->network);
	else
		fprintf(out, "BAKRYPT_TOKEN_URL=%s\n", config->token_url);
	fprintf(out, "BAKRYPT_REVOKE_URL='%s'\n", config->revoke_url);
	fprintf(out, "BAKRYPT_CLIENT_ID=\"%s\"\n", config->client_id);
	fprintf(out, "BAKRYPT_CLIENT_SECRET='%s'\n", secret_str(&config->client_secret));
	fprintf(out, "BAKRYPT_SCOPE=\"%s\"\nBAKRYPT_PROXY=%s\n", config->scope, config->proxy);
	fprintf(out, "BAKRYPT_ALLOWED_ORIGINS='%s'\n", config->allowed_origins);
	fprintf(out, "BAKRYPT_SANDBOX=%s\n", config->is_sandboxed ? "on" : "off");
	fprintf(out, "BAKRYPT_CONNECT_TIMEOUT_MS=%ld\n", config->connect_timeout_ms);
	fprintf(out, "BAKRYPT_TIMEOUT_MS = %ld\n", config->timeout_ms);
	fprintf(out, "# a comment\n\nBAKRYPT_MAX_IN_FLIGHT=%ld\r\n", config->max_in_flight);
	fprintf(out, "BAKRYPT_LOG_LEVEL=%s", log_level_name(config->log_level));
}

static void hold_same(const struct config *a, const struct config *b)
{
	HOLD(strcmp(a->network, b->network) == 0 && strcmp(a->token_url, b->token_url) == 0);
	HOLD(strcmp(a->revoke_url, b->revoke_url) == 0);
	HOLD(strcmp(a->client_id, b->client_id) == 0 && strcmp(a->scope, b->scope) == 0);
	HOLD(strcmp(a->proxy, b->proxy) == 0);
	HOLD(strcmp(a->allowed_origins, b->allowed_origins) == 0);
	HOLD(secret_equals(&a->client_secret, &b->client_secret));
	HOLD(a->connect_timeout_ms == b->connect_timeout_ms && a->timeout_ms == b->timeout_ms);
	HOLD(a->max_in_flight == b->max_in_flight && a->log_level == b->log_level);
	HOLD(a->is_sandboxed == b->is_sandboxed);
}

/* Settings that were taken are taken again from a file of them. */
static void hold_again(const struct config *config)
{
	struct findings findings = {.is_mark_allowed = true};
	struct config again;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	HOLD(out);
	write_settings(config, out);
	fclose(out);
	put_file(FILE_FD, text, len);
	free(text);
	set_environment(NULL);
	HOLD(config_load(&again, FILE_PATH, NULL, on_finding, &findings));
	hold_same(config, &again);
	config_clear(&again);
}

/* What is printed for --check never shows the secret, unless another setting says the same. */
static void hold_print(const struct config *config)
{
	const char *const shown[] = {
		config->network, config->token_url,          config->revoke_url, config->client_id,
		config->scope,   config->client_secret_file, config->ca_file,    config->proxy};
	bool is_mark_shown = false;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	HOLD(out);
	config_print(config, out);
	fclose(out);
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		is_mark_shown = is_mark_shown || strstr(shown[i], SECRET_MARK);
	HOLD(strstr(text, "(set)"));
	HOLD(is_mark_shown || !strstr(text, SECRET_MARK));
	free(text);
}

static void hold_config(const struct config *config)
{
	const char *secret = secret_str(&config->client_secret);
	const char *entry;
	size_t entry_len;

	HOLD(settings_text_is_https_url(config->token_url));
	HOLD(settings_text_is_https_url(config->revoke_url));
	HOLD(*config->client_id && *secret);
	HOLD(settings_text_is_vschar(config->client_id, strlen(config->client_id)));
	HOLD(settings_text_is_vschar(secret, secret_len(&config->client_secret)));
	HOLD(!*config->scope || settings_text_is_scope(config->scope));
	HOLD(!*config->proxy || settings_text_is_proxy_url(config->proxy));
	HOLD(!*config->allowed_origins ||
	     !settings_text_blame_origins(config->allowed_origins, &entry, &entry_len));
	HOLD(config->connect_timeout_ms >= 10 && config->connect_timeout_ms <= config->timeout_ms);
	HOLD(config->timeout_ms <= 120000);
	HOLD(config->max_in_flight >= 1 && config->max_in_flight <= 65536);
	HOLD(config->log_level <= LOG_CRIT);
}

/* Once read, the secret is not in the environment any more, and a second reading takes it from the
 * first. */
static void hold_reload(const struct config *config, bool is_mark_allowed)
{
	struct findings findings = {.is_mark_allowed = is_mark_allowed};
	struct config again;

	HOLD(!getenv("BAKRYPT_CLIENT_SECRET"));
	HOLD(config_load(&again, FILE_PATH, config, on_finding, &findings));
	hold_same(config, &again);
	config_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, data + size};
	struct fuzz_part file = fuzz_next(&input);
	struct fuzz_part environment = fuzz_next_text(&input);
	struct fuzz_part secret = fuzz_next(&input);
	struct findings findings = {.is_mark_allowed = is_mark_repeated(&file) ||
						       is_mark_repeated(&environment)};
	struct config config;

	put_file(FILE_FD, file.data, file.len);
	put_file(SECRET_FD, secret.data, secret.len);
	set_environment(environment.data);
	bool is_loaded = config_load(&config, FILE_PATH, NULL, on_finding, &findings);
	HOLD(is_loaded == (findings.faults == 0));
	if (is_loaded) {
		hold_config(&config);
		hold_print(&config);
		hold_reload(&config, findings.is_mark_allowed);
		hold_again(&config);
	}
	config_clear(&config);
	free(file.data);
	set_environment(NULL);
	free(environment.data);
	free(secret.data);
	return 0;
}
