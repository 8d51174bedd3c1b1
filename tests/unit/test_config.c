/* The settings: where they come from, what is refused, and in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ceilings.h"
#include "config.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define FILE_NAME "x.conf"
#define ID "BAKRYPT_CLIENT_ID=id"
#define SECRET "BAKRYPT_CLIENT_SECRET=top"
#define NET "BAKRYPT_NETWORK=testnet"
#define ENOUGH NET, ID, SECRET

/* Everything that was reported, "! " before a fault and "- " before a remark. */
static char findings[16384];

static void note(void *context, bool is_fault, const char *text)
{
	size_t used = strlen(findings);

	assert_ptr_equal(context, findings);
	assert_null(strchr(text, '\n'));
	snprintf(findings + used, sizeof(findings) - used, "%s%s\n", is_fault ? "! " : "- ", text);
}

/* The tests' own file, in their own folder; text may hold NUL. */
static void file_write(const char *name, const void *text, size_t len, mode_t mode)
{
	FILE *file;

	unlink(name);
	file = fopen(name, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(name, mode), 0);
}

static void text_write(const char *name, const char *text, mode_t mode)
{
	file_write(name, text, strlen(text), mode);
}

/* Sets these NAME=value texts, up to a NULL, and no other that the program reads. */
static void environment_set(const char *const *variables)
{
	for (char **entry = environ; *entry;) {
		char name[64];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*entry, "="), *entry);
		if (strncmp(name, "BAKRYPT_", 8) == 0 || strcmp(name, "CREDENTIALS_DIRECTORY") == 0)
			unsetenv(name);
		else
			entry++;
	}
	for (; *variables; variables++) {
		char name[64];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*variables, "="), *variables);
		assert_int_equal(setenv(name, *variables + strlen(name) + 1, 1), 0);
	}
}

static bool load(struct config *config, const char *file)
{
	findings[0] = '\0';
	return config_load(config, file, NULL, note, findings);
}

struct row {
	const char *environment[6];
	const char *file; /* text of the settings file, or NULL */
	const char *findings;
};

static bool has_fault_line(const char *text)
{
	return *text == '!' || strstr(text, "\n!") != NULL;
}

static void check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct config config;
		bool is_ok;

		environment_set(rows[i].environment);
		if (rows[i].file)
			text_write(FILE_NAME, rows[i].file, 0600);
		is_ok = load(&config, rows[i].file ? FILE_NAME : NULL);
		assert_string_equal(findings, rows[i].findings);
		assert_int_equal(is_ok, !has_fault_line(rows[i].findings));
		if (!is_ok)
			assert_null(config.client_id);
		config_clear(&config);
	}
}

static void test_defaults(void **state)
{
	struct config c;

	(void)state;
	environment_set((const char *[]){ENOUGH, NULL});
	assert_true(load(&c, NULL));
	assert_string_equal(findings, "");
	assert_string_equal(c.network, "testnet");
	assert_string_equal(c.token_url, "https://testnet.bakrypt.io/auth/token/");
	assert_string_equal(c.client_id, "id");
	assert_string_equal(secret_str(&c.client_secret), "top");
	assert_true(c.client_secret.is_kept);
	assert_string_equal(c.client_secret_file, "");
	assert_string_equal(c.scope, "");
	assert_string_equal(c.ca_file, "");
	assert_string_equal(c.proxy, "");
	assert_string_equal(c.allowed_origins, "");
	assert_int_equal(c.connect_timeout_ms, 3000);
	assert_int_equal(c.timeout_ms, 12000);
	assert_int_equal(c.max_in_flight, 4096);
	assert_int_equal(c.log_level, LOG_INFO);
	config_clear(&c);
	config_clear(&c);
	config_clear(NULL);
}

static void test_every_setting_from_file(void **state)
{
	const char *none[] = {NULL};
	struct config c;

	(void)state;
	environment_set(none);
	text_write("ca.pem", "# a root\n-----BEGIN CERTIFICATE-----\n", 0644);
	text_write(FILE_NAME,
		   "# comment\n\n  \t\n"
		   "BAKRYPT_TOKEN_URL = https://[::1]:8443/o/token/ \r\n"
		   "\tBAKRYPT_CLIENT_ID=\" id \"\n"
		   "BAKRYPT_CLIENT_SECRET='a\"=b'\n"
		   "BAKRYPT_SCOPE=read write\n"
		   "BAKRYPT_CA_FILE=ca.pem\n"
		   "BAKRYPT_PROXY=http://127.0.0.1:3128\n"
		   "BAKRYPT_ALLOWED_ORIGINS=https://a.example http://localhost:3000\n"
		   "BAKRYPT_CONNECT_TIMEOUT_MS=10\n"
		   "BAKRYPT_TIMEOUT_MS=120000\n"
		   "BAKRYPT_MAX_IN_FLIGHT=65536\n"
		   "BAKRYPT_SANDBOX=off\n"
		   "BAKRYPT_LOG_LEVEL=debug",
		   0640);
	assert_true(load(&c, FILE_NAME));
	assert_string_equal(findings, "");
	assert_string_equal(c.network, "");
	assert_string_equal(c.token_url, "https://[::1]:8443/o/token/");
	assert_string_equal(c.client_id, " id ");
	assert_string_equal(secret_str(&c.client_secret), "a\"=b");
	assert_string_equal(c.scope, "read write");
	assert_string_equal(c.ca_file, "ca.pem");
	assert_string_equal(c.proxy, "http://127.0.0.1:3128");
	assert_string_equal(c.allowed_origins, "https://a.example http://localhost:3000");
	assert_int_equal(c.connect_timeout_ms, 10);
	assert_int_equal(c.timeout_ms, 120000);
	assert_int_equal(c.max_in_flight, 65536);
	assert_int_equal(c.log_level, LOG_DEBUG);
	assert_false(c.is_sandboxed);
	assert_string_equal(c.settings_file, FILE_NAME);
	config_clear(&c);
}

static void test_file_that_was_found_is_found_again(void **state)
{
	struct config first;
	struct config second;

	(void)state;
	assert_int_equal(mkdir("home", 0700), 0);
	assert_int_equal(mkdir("home/.config", 0700), 0);
	text_write("home/.config/bakrypt-login.conf",
		   NET "\n" ID "\nBAKRYPT_CLIENT_SECRET=s\nBAKRYPT_SCOPE=read\n", 0600);
	environment_set((const char *[]){"HOME=home", NULL});
	assert_true(load(&first, NULL));
	assert_string_equal(first.settings_file, "home/.config/bakrypt-login.conf");

	setenv("HOME", "nowhere", 1);
	assert_true(config_load(&second, NULL, &first, note, findings));
	assert_string_equal(second.scope, "read");
	assert_string_equal(second.settings_file, first.settings_file);
	config_clear(&second);
	config_clear(&first);
	unlink("home/.config/bakrypt-login.conf");
	rmdir("home/.config");
	rmdir("home");
}

static void test_environment_wins(void **state)
{
	struct config c;

	(void)state;
	environment_set((const char *[]){"BAKRYPT_CONFIG=x.conf", "BAKRYPT_NETWORK=mainnet",
					 "BAKRYPT_SCOPE=", "BAKRYPT_TIMEOUT_MS=7000",
					 "BAKRYPT_CLIENT_SECRET=from environment", NULL});
	text_write(FILE_NAME,
		   "BAKRYPT_TOKEN_URL=https://other.example/\nBAKRYPT_CLIENT_ID=id\n"
		   "BAKRYPT_SCOPE=read\nBAKRYPT_TIMEOUT_MS=nonsense\n"
		   "BAKRYPT_CLIENT_SECRET_FILE=/nowhere\n",
		   0644);
	assert_true(load(&c, NULL));
	assert_string_equal(findings, "");
	assert_string_equal(c.token_url, "https://bakrypt.io/auth/token/");
	assert_string_equal(c.scope, "read");
	assert_int_equal(c.timeout_ms, 7000);
	assert_string_equal(secret_str(&c.client_secret), "from environment");
	assert_string_equal(c.client_secret_file, "");
	config_clear(&c);
}

/* The file's network gives way to the environment's address as well. */
static void test_environment_wins_the_other_way(void **state)
{
	struct config c;

	(void)state;
	environment_set((const char *[]){"BAKRYPT_TOKEN_URL=https://other.example/t/", NULL});
	text_write(FILE_NAME, NET "\n" ID "\n" SECRET "\n", 0600);
	assert_true(load(&c, FILE_NAME));
	assert_string_equal(c.network, "");
	assert_string_equal(c.token_url, "https://other.example/t/");
	config_clear(&c);
}

#define BAD_URL \
	"! BAKRYPT_TOKEN_URL cannot be used as it is; set it to https://HOST/PATH/ without user " \
	"name, query, fragment and spaces\n"
#define NO_SLASH \
	"- BAKRYPT_TOKEN_URL does not end in a slash; add one if the server answers with a " \
	"redirect\n"

static void test_token_url(void **state)
{
	static const struct {
		const char *url;
		const char *findings;
	} rows[] = {
		{"https://a/", ""},
		{"HTTPS://a.b-c_d.example:65535/x/", ""},
		{"https://127.0.0.1/x/", ""},
		{"https://[2001:db8::1]/", ""},
		{"https://a/u@v/%20/", ""},
		{"https://a/token", NO_SLASH},
		{"https://a", NO_SLASH},
		{"http://a/", BAD_URL},
		{"a/", BAD_URL},
		{"https:/a/", BAD_URL},
		{"https:///x/", BAD_URL},
		{"https://", BAD_URL},
		{"https://:443/", BAD_URL},
		{"https://user@a/", BAD_URL},
		{"https://user:hunter2@a/", BAD_URL},
		{"https://a/?x", BAD_URL},
		{"https://a/#x", BAD_URL},
		{"https://a?x", BAD_URL},
		{"https://a b/", BAD_URL},
		{"https://a/b c/", BAD_URL},
		{" https://a/", BAD_URL},
		{"https://a/\n", BAD_URL},
		{"https://a/\x7f/", BAD_URL},
		{"https://a/\xc3\xa9/", BAD_URL},
		{"https://a\\b/", BAD_URL},
		{"https://a:0/", BAD_URL},
		{"https://a:65536/", BAD_URL},
		{"https://a:/", BAD_URL},
		{"https://a:99999999999999999999/", BAD_URL},
		{"https://[::1/", BAD_URL},
		{"https://[]/", BAD_URL},
		{"https://[::g]/", BAD_URL},
		{"https://[::1]x/", BAD_URL},
		{"https://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]/", BAD_URL},
	};
	struct config c;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		environment_set((const char *[]){ID, SECRET, NULL});
		assert_int_equal(setenv("BAKRYPT_TOKEN_URL", rows[i].url, 1), 0);
		load(&c, NULL);
		assert_string_equal(findings, rows[i].findings);
		config_clear(&c);
	}
}

#define BAD_PROXY \
	"! BAKRYPT_PROXY cannot be used as it is; set it to http://HOST:PORT without user name " \
	"and path\n"
#define BAD_ID \
	"! BAKRYPT_CLIENT_ID cannot be used as it is; set it to the client id that Bakrypt gave " \
	"you, in printable ASCII\n"
#define SCOPE_FORM \
	"\"; set it to words in printable ASCII without quotes and backslashes, one space " \
	"between them\n"

static void test_good_origins(void **state)
{
	static const char *const texts[] = {
		"https://a.example",
		"https://a.example:8443",
		"https://[::1]:8443",
		"https://a.example https://a.example:8443 https://b.example",
		"http://localhost",
		"http://localhost:3000 http://127.0.0.1:8080 http://[::1]",
		"https://a.example:80",
		"http://localhost:443",
		"https://a.example https://a.example.com https://a.example:81",
	};
	char variable[160];
	struct config c;

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		snprintf(variable, sizeof(variable), "BAKRYPT_ALLOWED_ORIGINS=%s", texts[i]);
		environment_set((const char *[]){ENOUGH, variable, NULL});
		assert_true(load(&c, NULL));
		assert_string_equal(findings, "");
		assert_string_equal(c.allowed_origins, texts[i]);
		config_clear(&c);
	}
}

static void test_bad_origins(void **state)
{
	static const char form[] = "write each origin as https://HOST or https://HOST:PORT";
	static const char spaces[] = "put one space between two origins, and none elsewhere";
	static const char behind[] = "leave out what stands behind host and port";
	static const char letters[] = "write it in small letters, as browsers do";
	static const char port[] = "leave out the port that goes without saying, as browsers do";
	static const char scheme[] = "use https; http is for localhost, 127.0.0.1 and [::1] alone";
	static const char twice[] = "leave it out once, for it is there twice";
	static const struct {
		const char *text;
		const char *quoted;
		const char *fix;
	} rows[] = {
		{"http://a.example", "http://a.example", scheme},
		{"http://localhost.example", "http://localhost.example", scheme},
		{"https://A.example", "https://A.example", letters},
		{"HTTPS://a.example", "HTTPS://a.example", letters},
		{"https://b.example https://a.example/", "https://a.example/", behind},
		{"https://a.example/login", "https://a.example/login", behind},
		{"https://a.example?x", "https://a.example?x", behind},
		{"https://a.*", "https://a.*", behind},
		{"https://a.example:443", "https://a.example:443", port},
		{"http://localhost:80", "http://localhost:80", port},
		{"https://a.example:0443", "https://a.example:0443", form},
		{"https://a.example:", "https://a.example:", form},
		{"https://a.example:70000", "https://a.example:70000", form},
		{"https://ulrike@a.example", NULL, form},
		{"https://ulrike:kennwort@a.example", NULL, form},
		{"https://", "https://", form},
		{"*", "*", form},
		{"null", "null", form},
		{"a.example", "a.example", form},
		{"ftp://a.example", "ftp://a.example", form},
		{"https://a.example,https://b.example", "https://a.example,https://b.example",
		 spaces},
		{"https://a.example  https://b.example", NULL, spaces},
		{" https://a.example", NULL, spaces},
		{"https://a.example ", NULL, spaces},
		{"https://a.example\thttps://b.example", "https://a.example\\x09https://b.example",
		 behind},
		{"https://a.example https://b.example https://a.example", "https://a.example",
		 twice},
	};
	char variable[160], wanted[240];
	struct config c;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(variable, sizeof(variable), "BAKRYPT_ALLOWED_ORIGINS=%s", rows[i].text);
		environment_set((const char *[]){ENOUGH, variable, NULL});
		assert_false(load(&c, NULL));
		if (rows[i].quoted)
			snprintf(wanted, sizeof(wanted),
				 "! BAKRYPT_ALLOWED_ORIGINS has \"%s\" in it; %s\n", rows[i].quoted,
				 rows[i].fix);
		else
			snprintf(wanted, sizeof(wanted),
				 "! BAKRYPT_ALLOWED_ORIGINS cannot be used as it is; %s\n",
				 rows[i].fix);
		assert_string_equal(findings, wanted);
		config_clear(&c);
	}
}

static void test_bad_values(void **state)
{
	static const struct row rows[] = {
		{{ENOUGH, "BAKRYPT_PROXY=http://[::1]:3128"}, NULL, ""},
		{{ENOUGH, "BAKRYPT_PROXY=http://u:hunter2@a:1"}, NULL, BAD_PROXY},
		{{ENOUGH, "BAKRYPT_PROXY=http://a"}, NULL, BAD_PROXY},
		{{ENOUGH, "BAKRYPT_PROXY=http://a:1/"}, NULL, BAD_PROXY},
		{{ENOUGH, "BAKRYPT_PROXY=https://a:1"}, NULL, BAD_PROXY},
		{{ENOUGH, "BAKRYPT_PROXY=socks5://a:1"}, NULL, BAD_PROXY},
		{{ENOUGH, "BAKRYPT_SCOPE=!#[]~"}, NULL, ""},
		{{ENOUGH, "BAKRYPT_SCOPE=a  b"}, NULL, "! BAKRYPT_SCOPE is \"a  b" SCOPE_FORM},
		{{ENOUGH, "BAKRYPT_SCOPE= a"}, NULL, "! BAKRYPT_SCOPE is \" a" SCOPE_FORM},
		{{ENOUGH, "BAKRYPT_SCOPE=a "}, NULL, "! BAKRYPT_SCOPE is \"a " SCOPE_FORM},
		{{ENOUGH, "BAKRYPT_SCOPE=a\"b"}, NULL, "! BAKRYPT_SCOPE is \"a\"b" SCOPE_FORM},
		{{ENOUGH, "BAKRYPT_SCOPE=a\\b"}, NULL, "! BAKRYPT_SCOPE is \"a\\x5Cb" SCOPE_FORM},
		{{ENOUGH, "BAKRYPT_SCOPE=a\tb"}, NULL, "! BAKRYPT_SCOPE is \"a\\x09b" SCOPE_FORM},
		{{"BAKRYPT_NETWORK=Mainnet", ID, SECRET},
		 NULL,
		 "! BAKRYPT_NETWORK is \"Mainnet\"; set it to mainnet or testnet\n"},
		{{NET, SECRET, "BAKRYPT_CLIENT_ID=caf\xc3\xa9"}, NULL, BAD_ID},
		{{NET, SECRET, "BAKRYPT_CLIENT_ID=id\n"}, NULL, BAD_ID},
		{{NET, SECRET, "BAKRYPT_CLIENT_ID="},
		 NULL,
		 "! BAKRYPT_CLIENT_ID is not set; set it to the client id that Bakrypt gave you, "
		 "in "
		 "printable ASCII\n"},
		{{NET, ID, "BAKRYPT_CLIENT_SECRET=tab\there"},
		 NULL,
		 "! BAKRYPT_CLIENT_SECRET holds bytes other than printable ASCII; put the secret "
		 "there as Bakrypt gave it\n"},
		{{ENOUGH, "BAKRYPT_LOG_LEVEL=loud"},
		 NULL,
		 "! BAKRYPT_LOG_LEVEL is \"loud\"; set it to debug, info, warn, error or crit\n"},
		{{ENOUGH, "BAKRYPT_SANDBOX=On"},
		 NULL,
		 "! BAKRYPT_SANDBOX is \"On\"; set it to on or off\n"},
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

static void test_numbers(void **state)
{
	static const struct {
		const char *name;
		const char *least, *below, *most, *above;
		const char *companion; /* keeps connecting within the whole */
	} rows[] = {
		{"BAKRYPT_CONNECT_TIMEOUT_MS", "10", "9", "60000", "60001", "120000"},
		{"BAKRYPT_TIMEOUT_MS", "50", "49", "120000", "120001", NULL},
		{"BAKRYPT_MAX_IN_FLIGHT", "1", "0", "65536", "65537", NULL},
	};
	static const char *const nonsense[] = {
		"-1", "+5", "0x10", "5 ", " 5", "5000s", "1e3", "5.0", "99999999999999999999"};
	struct config c;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *const good[] = {rows[i].least, rows[i].most};
		const char *const bad[] = {rows[i].below, rows[i].above};
		char expected[128];

		environment_set((const char *[]){ENOUGH, "BAKRYPT_CONNECT_TIMEOUT_MS=10", NULL});
		if (rows[i].companion)
			setenv("BAKRYPT_TIMEOUT_MS", rows[i].companion, 1);
		for (size_t j = 0; j < COUNT(good); j++) {
			setenv("BAKRYPT_CLIENT_SECRET", "top", 1);
			setenv(rows[i].name, good[j], 1);
			assert_true(load(&c, NULL));
			config_clear(&c);
		}
		for (size_t j = 0; j < COUNT(bad) + COUNT(nonsense); j++) {
			const char *text = j < COUNT(bad) ? bad[j] : nonsense[j - COUNT(bad)];

			setenv("BAKRYPT_CLIENT_SECRET", "top", 1);
			setenv(rows[i].name, text, 1);
			assert_false(load(&c, NULL));
			snprintf(expected, sizeof(expected),
				 "! %s is \"%s\"; set it to a whole number from %s to %s\n",
				 rows[i].name, text, rows[i].least, rows[i].most);
			assert_string_equal(findings, expected);
			config_clear(&c);
		}
	}
}

#define NO_SECRET \
	"! BAKRYPT_CLIENT_SECRET is not set; set it or BAKRYPT_CLIENT_SECRET_FILE, or give the " \
	"systemd credential client_secret\n"

static void test_missing_and_contradicting(void **state)
{
	static const struct row rows[] = {
		{{NULL},
		 NULL,
		 "! BAKRYPT_CLIENT_ID is not set; set it to the client id that Bakrypt gave you, "
		 "in "
		 "printable ASCII\n"
		 "! BAKRYPT_NETWORK is not set; set it to mainnet or testnet, or set "
		 "BAKRYPT_TOKEN_URL to https://HOST/PATH/ without user name, query, fragment and "
		 "spaces\n" NO_SECRET},
		{{ENOUGH, "BAKRYPT_TOKEN_URL=https://a/"},
		 NULL,
		 "! BAKRYPT_NETWORK and BAKRYPT_TOKEN_URL are both set; remove one of the two\n"},
		{{ENOUGH, "BAKRYPT_CLIENT_SECRET_FILE=/nowhere"},
		 NULL,
		 "! BAKRYPT_CLIENT_SECRET and BAKRYPT_CLIENT_SECRET_FILE are both set; remove one "
		 "of the two\n"},
		{{ID, SECRET},
		 NET "\nBAKRYPT_TOKEN_URL=https://a/\n",
		 "! x.conf line 2: BAKRYPT_NETWORK and BAKRYPT_TOKEN_URL are both set; remove one "
		 "of the two\n"},
		{{NET, ID, "BAKRYPT_CLIENT_SECRET="}, NULL, NO_SECRET},
		{{NET, ID, "BAKRYPT_CLIENT_SECRET=\r\n"},
		 NULL,
		 "! BAKRYPT_CLIENT_SECRET holds no secret; put the one that Bakrypt gave you "
		 "there\n"},
		{{ENOUGH, "BAKRYPT_CONNECT_TIMEOUT_MS=12001"},
		 NULL,
		 "! BAKRYPT_CONNECT_TIMEOUT_MS (12001) is above BAKRYPT_TIMEOUT_MS (12000); lower "
		 "it or raise the other\n"},
		{{ENOUGH, "BAKRYPT_CONNECT_TIMEOUT_MS=12000"}, NULL, ""},
		{{ENOUGH, "BAKRYPT_CONNECT_TIMEOUT=5"},
		 NULL,
		 "- BAKRYPT_CONNECT_TIMEOUT is no setting; did you mean "
		 "BAKRYPT_CONNECT_TIMEOUT_MS?\n"},
		{{ENOUGH, "BAKRYPT_COLOUR=hunter2"},
		 NULL,
		 "- BAKRYPT_COLOUR is no setting; --help lists all there are\n"},
		{{ENOUGH, "BAKRYPT_CONFIG=/nowhere/x"},
		 NULL,
		 "! BAKRYPT_CONFIG: /nowhere/x cannot be used (No such file or directory); name a "
		 "file that this program can read\n"},
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

static void test_file_syntax(void **state)
{
	static const struct row rows[] = {
		{{ENOUGH}, "", ""},
		{{ENOUGH}, "\n\n#BAKRYPT_SCOPE\n   # x\n", ""},
		{{ENOUGH}, "BAKRYPT_SCOPE=\nBAKRYPT_PROXY=\"\"\n", ""},
		{{ENOUGH},
		 "BAKRYPT_SCOPE=a\n\nBAKRYPT_TIMEOUT=5\n",
		 "! x.conf line 3: BAKRYPT_TIMEOUT is no setting; did you mean "
		 "BAKRYPT_TIMEOUT_MS?\n"},
		{{ENOUGH},
		 "BAKRYPT_SCOPES=a\nbakrypt_scope=a\n",
		 "! x.conf line 1: BAKRYPT_SCOPES is no setting; did you mean BAKRYPT_SCOPE?\n"
		 "! x.conf line 2: bakrypt_scope is no setting; did you mean BAKRYPT_SCOPE?\n"},
		{{ENOUGH},
		 "BAKRYP_SCOPE=a\nhunter2=\n",
		 "! x.conf line 1: this name is no setting; did you mean BAKRYPT_SCOPE?\n"
		 "! x.conf line 2: this name is no setting; --help lists all there are\n"},
		{{ENOUGH},
		 "BAKRYPT_\x01=a\n"
		 "BAKRYPT_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=1\n",
		 "! x.conf line 1: this name is no setting; --help lists all there are\n"
		 "! x.conf line 2: this name is no setting; --help lists all there are\n"},
		{{ENOUGH},
		 "BAKRYPT_CLIENT_SECRET:hunter2=\nbakrypt_client_secrethunter2=\n",
		 "! x.conf line 1: this name is no setting; --help lists all there are\n"
		 "! x.conf line 2: this name is no setting; --help lists all there are\n"},
		{{ENOUGH},
		 "BAKRYPT_SCOPE=a\nBAKRYPT_SCOPE=a\n",
		 "! x.conf line 2: BAKRYPT_SCOPE is in line 1 already; remove one of the two\n"},
		{{ENOUGH},
		 "hunter2\n",
		 "! x.conf line 1: there is no \"=\" in this line; write NAME=value\n"},
		{{ENOUGH},
		 "=hunter2\n",
		 "! x.conf line 1: there is no name before the \"=\"; write NAME=value\n"},
		{{ENOUGH},
		 "export BAKRYPT_SCOPE=a\n",
		 "! x.conf line 1: there is a space in the name; write NAME=value, without "
		 "export\n"},
		{{ENOUGH},
		 "BAKRYPT_CONFIG=y\n",
		 "! x.conf line 1: BAKRYPT_CONFIG has no place in a settings file; remove it\n"},
		{{ENOUGH},
		 "\xEF\xBB\xBF# x\nBAKRYPT_SCOPE=a\n",
		 "! x.conf line 1: the file begins with a byte order mark; save it without one\n"},
		{{ENOUGH},
		 "# caf\xc3\xa9\n# caf\xe9\n",
		 "! x.conf line 2: this line is not UTF-8; save the file as UTF-8\n"},
		{{ENOUGH},
		 "BAKRYPT_SCOPE='a\"\n",
		 "! x.conf line 1: BAKRYPT_SCOPE is \"'a\"" SCOPE_FORM},
		{{ENOUGH}, "BAKRYPT_SCOPE='\n", ""},
		{{NET, ID},
		 "BAKRYPT_CLIENT_SECRET=caf\xc3\xa9\n",
		 "! x.conf line 1: BAKRYPT_CLIENT_SECRET holds bytes other than printable ASCII; "
		 "put the secret there as Bakrypt gave it\n"},
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

static void test_file_bytes(void **state)
{
	static const char nul[] = "BAKRYPT_CLIENT_ID=i\0d\nBAKRYPT_SCOPE=a\n";
	static char large[SETTINGS_FILE_MAX_BYTES + 1];
	struct config c;

	(void)state;
	environment_set((const char *[]){ENOUGH, NULL});
	file_write(FILE_NAME, nul, sizeof(nul) - 1, 0600);
	assert_false(load(&c, FILE_NAME));
	assert_string_equal(findings,
			    "! x.conf line 1: there is a NUL byte in this line; remove it\n");
	config_clear(&c);

	environment_set((const char *[]){ENOUGH, NULL});
	memset(large, '\n', sizeof(large));
	file_write(FILE_NAME, large, sizeof(large) - 1, 0600);
	assert_true(load(&c, FILE_NAME));
	config_clear(&c);

	environment_set((const char *[]){NULL});
	file_write(FILE_NAME, large, sizeof(large), 0600);
	assert_false(load(&c, FILE_NAME));
	assert_string_equal(findings, "! --config: x.conf cannot be used (File too large); name a "
				      "file that this program can read\n");
	config_clear(&c);
}

static void test_long_values(void **state)
{
	static char value[SECRET_MAX_BYTES + 2];
	struct config c;

	(void)state;
	memset(value, 'a', SECRET_MAX_BYTES);
	environment_set((const char *[]){NET, SECRET, NULL});
	setenv("BAKRYPT_CLIENT_ID", value, 1);
	assert_true(load(&c, NULL));
	config_clear(&c);

	value[SECRET_MAX_BYTES] = 'a';
	environment_set((const char *[]){NET, SECRET, NULL});
	setenv("BAKRYPT_CLIENT_ID", value, 1);
	assert_false(load(&c, NULL));
	assert_string_equal(findings,
			    "! BAKRYPT_CLIENT_ID is longer than 4096 bytes; shorten it\n");
	config_clear(&c);

	value[80] = '\0';
	environment_set((const char *[]){ENOUGH, NULL});
	setenv("BAKRYPT_LOG_LEVEL", value, 1);
	assert_false(load(&c, NULL));
	value[57] = '\0';
	assert_non_null(strstr(findings, value));
	value[57] = 'a';
	value[58] = '\0';
	assert_null(strstr(findings, value));
	assert_non_null(strstr(findings, "a...\"; set it to debug"));
	config_clear(&c);
}

static void test_environment_is_wiped(void **state)
{
	static char entry[] = "BAKRYPT_CLIENT_SECRET=top";
	static char again[] = "BAKRYPT_CLIENT_SECRET=old";
	static char network[] = NET;
	static char id[] = ID;
	static char *variables[] = {network, entry, id, again, NULL};
	char **before = environ;
	struct config c;
	bool is_ok;

	(void)state;
	environ = variables;
	is_ok = load(&c, NULL);
	environ = before;
	assert_true(is_ok);
	assert_string_equal(secret_str(&c.client_secret), "top");
	assert_memory_equal(entry, "BAKRYPT_CLIENT_SECRET=\0\0\0", sizeof(entry));
	assert_memory_equal(again, "BAKRYPT_CLIENT_SECRET=\0\0\0", sizeof(again));
	assert_ptr_equal(variables[0], network);
	assert_ptr_equal(variables[1], id);
	assert_null(variables[2]);
	config_clear(&c);
}

#define UNREADABLE "cannot be used ("
#define FIX "); name a file that this program can read\n"
#define TRIMMED " ends in a newline, which is not taken for a part of it\n"

static void test_secret_file(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		const char *secret; /* NULL: refused */
		const char *findings;
	} rows[] = {
		{"s e", 0400, "s e", ""},
		{"s", 0640, "s", ""},
		{"s\n", 0600, "s", ""},
		{"s\r\n\n", 0600, "s", ""},
		{" s ", 0600, " s ", ""},
		{"", 0600, NULL,
		 "! BAKRYPT_CLIENT_SECRET_FILE holds no secret; put the one that Bakrypt gave you "
		 "there\n"},
		{"\n", 0600, NULL,
		 "! BAKRYPT_CLIENT_SECRET_FILE holds no secret; put the one that Bakrypt gave you "
		 "there\n"},
		{"s\nt", 0600, NULL,
		 "! BAKRYPT_CLIENT_SECRET_FILE holds bytes other than printable ASCII; put the "
		 "secret there as Bakrypt gave it\n"},
		{"s", 0604, NULL,
		 "! BAKRYPT_CLIENT_SECRET_FILE: others can read or change s.txt, which holds the "
		 "secret; run: chmod o= s.txt\n"},
		{"s", 0602, NULL,
		 "! BAKRYPT_CLIENT_SECRET_FILE: others can read or change s.txt, which holds the "
		 "secret; run: chmod o= s.txt\n"},
	};
	struct config c;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		environment_set(
			(const char *[]){NET, ID, "BAKRYPT_CLIENT_SECRET_FILE=s.txt", NULL});
		text_write("s.txt", rows[i].text, rows[i].mode);
		assert_int_equal(load(&c, NULL), rows[i].secret != NULL);
		assert_string_equal(findings, rows[i].findings);
		if (rows[i].secret)
			assert_string_equal(secret_str(&c.client_secret), rows[i].secret);
		config_clear(&c);
	}
}

static void test_secret_file_kinds(void **state)
{
	static const struct row rows[] = {
		{{NET, ID, "BAKRYPT_CLIENT_SECRET_FILE=link"}, NULL, ""},
		{{NET, ID, "BAKRYPT_CLIENT_SECRET_FILE=full"}, NULL, ""},
		{{NET, ID, "BAKRYPT_CLIENT_SECRET_FILE=fifo"},
		 NULL,
		 "! BAKRYPT_CLIENT_SECRET_FILE: fifo " UNREADABLE "it is not a regular file" FIX},
		{{NET, ID, "BAKRYPT_CLIENT_SECRET_FILE=/"},
		 NULL,
		 "! BAKRYPT_CLIENT_SECRET_FILE: / " UNREADABLE "it is not a regular file" FIX},
		{{NET, ID, "BAKRYPT_CLIENT_SECRET_FILE=large"},
		 NULL,
		 "! BAKRYPT_CLIENT_SECRET_FILE: large " UNREADABLE "File too large" FIX},
		{{NET, ID, "BAKRYPT_CLIENT_SECRET_FILE=no\nwhere"},
		 NULL,
		 "! BAKRYPT_CLIENT_SECRET_FILE: no\\x0Awhere " UNREADABLE
		 "No such file or directory" FIX},
	};
	static char large[SECRET_MAX_BYTES + 1];

	(void)state;
	memset(large, 'a', sizeof(large));
	file_write("large", large, sizeof(large), 0600);
	file_write("full", large, sizeof(large) - 1, 0600);
	assert_int_equal(symlink("full", "link"), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	check_rows(rows, COUNT(rows));
}

static void test_secret_newline_from_environment(void **state)
{
	struct config c;

	(void)state;
	environment_set((const char *[]){NET, ID, "BAKRYPT_CLIENT_SECRET=top\r\n", NULL});
	assert_true(load(&c, NULL));
	assert_string_equal(findings, "- BAKRYPT_CLIENT_SECRET" TRIMMED);
	assert_string_equal(secret_str(&c.client_secret), "top");
	config_clear(&c);
}

static void test_credential(void **state)
{
	const char *variables[] = {NET, ID, "CREDENTIALS_DIRECTORY=credentials", NULL};
	struct config c;

	(void)state;
	assert_int_equal(mkdir("credentials", 0700), 0);
	environment_set(variables);
	assert_false(load(&c, NULL));
	assert_string_equal(findings, NO_SECRET);
	config_clear(&c);

	text_write("credentials/client_secret", "top\n", 0400);
	environment_set(variables);
	assert_true(load(&c, NULL));
	assert_string_equal(findings, "");
	assert_string_equal(secret_str(&c.client_secret), "top");
	config_clear(&c);

	/* What the settings say counts for more. */
	environment_set(variables);
	setenv("BAKRYPT_CLIENT_SECRET", "other", 1);
	assert_true(load(&c, NULL));
	assert_string_equal(secret_str(&c.client_secret), "other");
	config_clear(&c);
}

static void test_settings_file_with_secret_is_private(void **state)
{
	struct config c;

	(void)state;
	environment_set((const char *[]){ENOUGH, NULL});
	text_write(FILE_NAME, "BAKRYPT_CLIENT_SECRET=hunter2\n", 0644);
	assert_false(load(&c, FILE_NAME));
	assert_string_equal(findings,
			    "! BAKRYPT_CLIENT_SECRET: others can read or change x.conf, which "
			    "holds the secret; run: chmod o= x.conf\n");
	config_clear(&c);

	environment_set((const char *[]){ENOUGH, NULL});
	text_write(FILE_NAME, "BAKRYPT_SCOPE=a\n", 0644);
	assert_true(load(&c, FILE_NAME));
	config_clear(&c);
}

static void test_ca_file(void **state)
{
	static const struct row rows[] = {
		{{ENOUGH, "BAKRYPT_CA_FILE=good.pem"}, NULL, ""},
		{{ENOUGH, "BAKRYPT_CA_FILE=key.pem"},
		 NULL,
		 "! BAKRYPT_CA_FILE: there is no certificate in key.pem; set it to the path of a "
		 "file of PEM certificates\n"},
		{{ENOUGH, "BAKRYPT_CA_FILE=/nowhere"},
		 NULL,
		 "! BAKRYPT_CA_FILE: /nowhere " UNREADABLE "No such file or directory" FIX},
	};

	(void)state;
	text_write("good.pem", "text\n-----BEGIN CERTIFICATE-----\nMII\n", 0644);
	text_write("key.pem", "-----BEGIN PRIVATE KEY-----\nMII\n", 0600);
	check_rows(rows, COUNT(rows));
}

/* No value that may be a secret is repeated, whatever is wrong with it. */
static void test_no_secret_in_findings(void **state)
{
	struct config c;

	(void)state;
	environment_set((const char *[]){"BAKRYPT_TOKEN_URL=http://u:hunter2@a/",
					 "BAKRYPT_PROXY=hunter2", "BAKRYPT_CLIENT_ID=hunter2\t",
					 "BAKRYPT_CLIENT_SECRET=hunter2\t",
					 "BAKRYPT_CLIENT_SECRT=hunter2", NULL});
	text_write(FILE_NAME, "hunter2\nhunter2=\nhunter2 x=\n=hunter2\nhunter2\xff\n", 0600);
	assert_false(load(&c, FILE_NAME));
	assert_null(strstr(findings, "hunter2"));
	config_clear(&c);
}

static char *printed(void (*print)(const struct config *config, FILE *out), struct config *config)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	print(config, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void print_help(const struct config *config, FILE *out)
{
	(void)config;
	config_print_help(out);
}

static void test_help(void **state)
{
	char *text = printed(print_help, NULL);
	size_t lines = 0;

	(void)state;
	for (char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
		assert_memory_equal(line, "  BAKRYPT_", 10);
		assert_true(strcspn(line, "\n") <= 100);
		assert_int_equal(line[28], ' ');
		assert_int_not_equal(line[30], ' ');
		assert_int_not_equal(line[37], ' ');
		lines++;
	}
	assert_int_equal(lines, 16);
	assert_non_null(strstr(text, "  BAKRYPT_TIMEOUT_MS          12000  "));
	assert_non_null(strstr(text, "(50 to 120000)\n"));
	free(text);
}

static void test_print(void **state)
{
	struct config c;
	char *text;

	(void)state;
	environment_set((const char *[]){ENOUGH, "BAKRYPT_LOG_LEVEL=warn", NULL});
	assert_true(load(&c, NULL));
	text = printed(config_print, &c);
	assert_string_equal(text,
			    "  BAKRYPT_NETWORK             testnet\n"
			    "  BAKRYPT_TOKEN_URL           https://testnet.bakrypt.io/auth/token/\n"
			    "  BAKRYPT_REVOKE_URL          "
			    "https://testnet.bakrypt.io/auth/revoke_token/\n"
			    "  BAKRYPT_CLIENT_ID           id\n"
			    "  BAKRYPT_CLIENT_SECRET       (set)\n"
			    "  BAKRYPT_CLIENT_SECRET_FILE  (not set)\n"
			    "  BAKRYPT_SCOPE               (not set)\n"
			    "  BAKRYPT_CA_FILE             (not set)\n"
			    "  BAKRYPT_PROXY               (not set)\n"
			    "  BAKRYPT_ALLOWED_ORIGINS     (not set)\n"
			    "  BAKRYPT_CONNECT_TIMEOUT_MS  3000\n"
			    "  BAKRYPT_TIMEOUT_MS          12000\n"
			    "  BAKRYPT_MAX_IN_FLIGHT       4096\n"
			    "  BAKRYPT_LOG_LEVEL           warn\n"
			    "  BAKRYPT_SANDBOX             on\n");
	free(text);
	config_clear(&c);
}

static char folder[] = "/tmp/test_config.XXXXXX";

static int folder_make(void **state)
{
	(void)state;
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int folder_remove(void **state)
{
	static const char *const names[] = {
		FILE_NAME,  "ca.pem", "s.txt", "large",
		"full",     "link",   "fifo",  "credentials/client_secret",
		"good.pem", "key.pem"};

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++)
		unlink(names[i]);
	rmdir("credentials");
	return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_setting_from_file),
		cmocka_unit_test(test_file_that_was_found_is_found_again),
		cmocka_unit_test(test_environment_wins),
		cmocka_unit_test(test_environment_wins_the_other_way),
		cmocka_unit_test(test_token_url),
		cmocka_unit_test(test_good_origins),
		cmocka_unit_test(test_bad_origins),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_missing_and_contradicting),
		cmocka_unit_test(test_file_syntax),
		cmocka_unit_test(test_file_bytes),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_environment_is_wiped),
		cmocka_unit_test(test_secret_file),
		cmocka_unit_test(test_secret_file_kinds),
		cmocka_unit_test(test_secret_newline_from_environment),
		cmocka_unit_test(test_credential),
		cmocka_unit_test(test_settings_file_with_secret_is_private),
		cmocka_unit_test(test_ca_file),
		cmocka_unit_test(test_no_secret_in_findings),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_print),
	};

	return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
