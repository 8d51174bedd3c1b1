#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "ceilings.h"
#include "config.h"
#include "loop.h"
#include "oauth.h"
#include "sandbox.h"
#include "upstream.h"
#include "utf8.h"

/* Certificates are renewed some weeks ahead, by a machine or a calendar. */
#define CERTIFICATE_DAYS_MIN 21

#define TIMERS 8

/* Whom a failure is to be mended by: us, or whoever is between here and the token server. */
enum level { OK, WARN, FAIL_SETTINGS, FAIL_UPSTREAM, FAIL_SYSTEM };

static const struct {
	const char *name;
	int status;
} levels[] = {
	[OK] = {"ok", EX_OK},
	[WARN] = {"warn", EX_OK},
	[FAIL_SETTINGS] = {"fail", EX_CONFIG},
	[FAIL_UPSTREAM] = {"fail", EX_UNAVAILABLE},
	[FAIL_SYSTEM] = {"fail", EX_OSERR},
};

struct check {
	const struct check_options *options;
	struct config config;
	struct loop *loop;
	struct upstream *upstream;
	struct upstream_answer answer; /* the last one; its body is ours */
	bool is_answered;
	struct buf findings; /* as JSON */
	int status;
};

/* ---- findings ---- */

/* Appends text without what could command a terminal: in JSON escaped, else as question marks. */
static void append_clean(struct buf *out, const char *text, bool is_json)
{
	size_t rest = strlen(text);

	while (rest > 0) {
		size_t len = utf8_length(text, rest);
		unsigned char byte = (unsigned char)*text;
		bool is_control = len == 0 || byte < ' ' || byte == 0x7f ||
				  (byte == 0xc2 && (unsigned char)text[1] < 0xa0);

		len = len > 0 ? len : 1;
		if (is_control)
			buf_append_str(out, is_json ? "\\ufffd" : "?");
		else if (is_json && (byte == '"' || byte == '\\'))
			buf_printf(out, "\\%c", byte);
		else
			buf_append(out, text, len);
		text += len;
		rest -= len;
	}
}

static void append_member(struct buf *out, const char *name, const char *value)
{
	if (!value)
		return;
	buf_printf(out, "%s\"%s\":\"", out->data && out->data[out->len - 1] == '{' ? "" : ",",
		   name);
	append_clean(out, value, true);
	buf_append_str(out, "\"");
}

/* fix: what to do, or NULL. */
static void report(struct check *check, enum level level, const char *what, const char *fix,
		   const char *detail)
{
	struct buf line;

	if (levels[level].status != EX_OK && check->status == EX_OK)
		check->status = levels[level].status;
	if (check->options->is_json) {
		buf_append_str(&check->findings, check->findings.len > 0 ? ",{" : "{");
		append_member(&check->findings, "level", levels[level].name);
		append_member(&check->findings, "what", what);
		append_member(&check->findings, "detail", detail);
		append_member(&check->findings, "fix", fix);
		buf_append_str(&check->findings, "}");
		return;
	}
	buf_init(&line, LOG_LINE_MAX_BYTES);
	buf_printf(&line, "%-4s  %s: ", levels[level].name, what);
	append_clean(&line, detail, false);
	if (fix) {
		buf_append_str(&line, "; ");
		append_clean(&line, fix, false);
	}
	printf("%s\n", buf_str(&line));
	/* The next one may take a while. */
	fflush(stdout);
	buf_clear(&line);
}

/* A complaint about a setting says first what is wrong, then what to do. */
static void on_setting(void *context, bool is_fault, const char *text)
{
	const char *fix = strstr(text, "; ");
	char detail[LOG_LINE_MAX_BYTES];

	snprintf(detail, sizeof(detail), "%.*s", (int)(fix ? fix - text : (long)strlen(text)),
		 text);
	report(context, is_fault ? FAIL_SETTINGS : WARN, "settings", fix ? fix + 2 : NULL, detail);
}

/* ---- the secret ---- */

/* What Django's pages show once a secret was saved: ALGORITHM$...$HASH. */
static bool is_hash(const struct secret *secret)
{
	static const char *const algorithms[] = {"pbkdf2_", "argon2", "bcrypt",
						 "scrypt",  "sha1$",  "md5$"};
	const char *text = secret_str(secret);
	const char *dollar = strchr(text, '$');

	for (size_t i = 0; dollar && i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
		if (strncmp(text, algorithms[i], strlen(algorithms[i])) == 0)
			return strchr(dollar + 1, '$') != NULL;
	}
	return false;
}

#define HASH_FOUND "the client secret looks like the hash of one, as Django's pages show it"
#define HASH_FIX "take the secret as it was when it was made; if nobody has it, have a new one made"

/* ---- asking ---- */

static void on_done(void *context, struct upstream_answer *answer)
{
	struct check *check = context;

	check->answer = *answer;
	secret_init(&check->answer.body, ANSWER_MAX_BYTES);
	secret_move(&check->answer.body, &answer->body);
	check->is_answered = true;
	loop_stop(check->loop);
}

typedef enum fault message_writer(const struct config *config, const struct oauth_fields *fields,
				  struct secret *ret_body);

/* Sends a message about a made-up refresh token, and leaves what came of it in check->answer. */
static void ask(struct check *check, const char *url, message_writer *write_message)
{
	struct oauth_fields fields;
	struct secret body;
	enum fault fault = FAULT_NO_MEMORY;

	secret_clear(&check->answer.body);
	check->answer = (struct upstream_answer){.fault = FAULT_NO_MEMORY};
	oauth_fields_init(&fields);
	secret_init(&body, 0);
	if (oauth_fields_make_up(&fields))
		fault = write_message(&check->config, &fields, &body);
	oauth_fields_clear(&fields);
	check->is_answered = false;
	if (fault == FAULT_NONE) {
		upstream_post(check->upstream, url, &body, on_done, check);
		if (!check->is_answered)
			loop_run(check->loop);
	}
	secret_clear(&body);
}

static struct oauth_answer received(const struct check *check)
{
	return (struct oauth_answer){
		.status = check->answer.status,
		.is_html = check->answer.is_html,
		.retry_after_s = check->answer.retry_after_s,
		.body = &check->answer.body,
	};
}

static struct oauth_verdict ask_for_token(struct check *check, const char *url)
{
	struct secret token;
	struct oauth_verdict verdict = {.fault = FAULT_NO_MEMORY};
	struct oauth_answer message;

	ask(check, url, oauth_write_refresh_grant);
	if (check->answer.fault != FAULT_NONE) {
		verdict.fault = check->answer.fault;
		return verdict;
	}
	secret_init(&token, ANSWER_MAX_BYTES);
	message = received(check);
	verdict = oauth_read_token(&message, &token);
	secret_clear(&token);
	return verdict;
}

/* ---- the way to the token server ---- */

static const char *fix_for_way(const struct check *check)
{
	const char *note = check->answer.note;

	if (*check->config.proxy)
		return "check BAKRYPT_PROXY, and that the proxy lets this machine through";
	if (strncmp(note, "lookup", strlen("lookup")) == 0)
		return "check the host's name, and this machine's resolver (/etc/resolv.conf)";
	return "check the address, the route, and the firewalls on the way";
}

static const char *fix_for_tls(const struct check *check)
{
	const char *note = check->answer.note;

	if (strstr(note, "expired") || strstr(note, "not yet valid"))
		return "check this machine's clock; if it is right, the server needs a new "
		       "certificate";
	if (strstr(note, "subject name"))
		return "check the host in the token URL: the certificate is another's";
	if (strstr(note, "certificate"))
		return "check BAKRYPT_CA_FILE, or install the system's authorities "
		       "(ca-certificates)";
	return "check that a server with TLS 1.2 or newer is at the token URL";
}

static void report_certificate(struct check *check)
{
	double seconds = difftime(check->answer.certificate_end, time(NULL));
	long days = (long)(seconds / (24 * 60 * 60));
	char detail[128];
	char date[32] = "";
	struct tm parts;

	if (check->answer.certificate_end == 0)
		return;
	if (gmtime_r(&check->answer.certificate_end, &parts))
		strftime(date, sizeof(date), "%Y-%m-%d", &parts);
	snprintf(detail, sizeof(detail), "trusted, and valid for %ld days, until %s", days, date);
	if (days < CERTIFICATE_DAYS_MIN)
		report(check, WARN, "certificate",
		       "it should have been renewed by now; ask who runs the server", detail);
	else
		report(check, OK, "certificate", NULL, detail);
}

/* A note is "PHASE: what libcurl says". */
static const char *without_phase(const char *note)
{
	const char *colon = strstr(note, ": ");

	return colon ? colon + 2 : note;
}

/* Whether there was an answer, whatever it says. */
static bool report_way(struct check *check, const char *url)
{
	const struct upstream_answer *answer = &check->answer;
	char detail[sizeof(answer->note) + 128];
	const char *host = url + strlen("https://");

	switch (answer->fault) {
	case FAULT_NONE:
	case FAULT_UPSTREAM_TIMEOUT:
	case FAULT_UPSTREAM_LOST:
	case FAULT_UPSTREAM_MALFORMED:
		snprintf(detail, sizeof(detail), "%.*s in %" PRIu64 " ms, TLS in %" PRIu64 " ms",
			 (int)strcspn(host, "/"), host, answer->phases.connect_us / 1000,
			 answer->phases.tls_us / 1000);
		report(check, OK, "connection", NULL, detail);
		report_certificate(check);
		break;
	case FAULT_UPSTREAM_TLS:
		report(check, FAIL_UPSTREAM, "certificate", fix_for_tls(check),
		       without_phase(answer->note));
		return false;
	case FAULT_UPSTREAM_UNREACHABLE:
		report(check, FAIL_UPSTREAM, "connection", fix_for_way(check), answer->note);
		return false;
	default:
		report(check, FAIL_SYSTEM, "connection", NULL, "there is not enough memory");
		return false;
	}
	if (answer->fault != FAULT_NONE)
		report(check, FAIL_UPSTREAM, "answer",
		       "try again; if it stays, ask who runs the server, or raise "
		       "BAKRYPT_TIMEOUT_MS",
		       answer->note);
	return answer->fault == FAULT_NONE;
}

/* ---- the client ---- */

/* A client of the one network on the other is told by asking the other as well. Both are
 * Bakrypt's; an address that somebody set is no network. NULL: it is not known there either, or
 * cannot be asked. */
static const char *find_other_network(struct check *check)
{
	const char *other = strcmp(check->config.network, "mainnet") == 0 ? "testnet" : "mainnet";

	if (!config_network_url(check->config.network))
		return NULL;
	return ask_for_token(check, config_network_url(other)).fault == FAULT_LOGIN_REFUSED ? other
											    : NULL;
}

static void report_unknown_client(struct check *check)
{
	const char *other;
	char detail[128];
	char fix[128];

	if (is_hash(&check->config.client_secret)) {
		report(check, FAIL_SETTINGS, "client", HASH_FIX,
		       HASH_FOUND ", and is refused (invalid_client)");
		return;
	}
	other = find_other_network(check);
	if (other) {
		snprintf(detail, sizeof(detail), "%s does not know it; it belongs to %s",
			 check->config.network, other);
		snprintf(fix, sizeof(fix), "set BAKRYPT_NETWORK to %s, or use a client of %s",
			 other, check->config.network);
		report(check, FAIL_SETTINGS, "client", fix, detail);
		return;
	}
	report(check, FAIL_SETTINGS, "client",
	       "compare BAKRYPT_CLIENT_ID and the client secret with what Bakrypt gave out for "
	       "this network",
	       "id or secret is wrong (invalid_client)");
}

/* Whether id and secret are accepted. */
static bool report_client(struct check *check, const struct oauth_verdict *verdict)
{
	if (verdict->fault == FAULT_LOGIN_REFUSED) {
		report(check, OK, "client", NULL, "id and secret are accepted");
		return true;
	}
	if (strcmp(verdict->error, "invalid_client") == 0) {
		report_unknown_client(check);
		return false;
	}
	report(check, WARN, "client",
	       "have the client allowed the password grant, which /refresh needs as well",
	       "id and secret are accepted, but not the refresh grant");
	return true;
}

/* ---- the answer ---- */

/* What an answer that is no OAuth error means. */
static void report_answer(struct check *check, const struct oauth_verdict *verdict)
{
	char detail[sizeof(check->answer.note) + 128];
	const char *what = "it cannot be used";
	const char *fix = "check the token URL; if it is right, ask who runs the server";
	enum level level = FAIL_UPSTREAM;

	switch (verdict->fault) {
	case FAULT_UPSTREAM_REDIRECT:
		what = "a redirect, which is never followed";
		fix = "write the token URL as it really is: does it lack its trailing slash?";
		level = FAIL_SETTINGS;
		break;
	case FAULT_UPSTREAM_WAF:
	case FAULT_UPSTREAM_DENIED:
		what = "a firewall's, not the token server's";
		fix = "have this machine's address let through; Bakrypt can do that";
		break;
	case FAULT_UPSTREAM_429:
		what = "it asks to wait, so that the client could not be tried";
		fix = "run this again in a minute";
		level = WARN;
		break;
	case FAULT_UPSTREAM_BUSY:
	case FAULT_UPSTREAM_5XX:
		what = "the server has a fault, or is out of service";
		fix = "try again later";
		break;
	case FAULT_NONE:
		what = "a token for a refresh token that does not exist";
		break;
	default:
		break;
	}
	if (check->answer.status == 404) {
		what = "there is nothing at the token URL";
		fix = "write the token URL as it really is: does it lack its trailing slash?";
		level = FAIL_SETTINGS;
	}
	snprintf(detail, sizeof(detail), "status %ld (%s): %s", check->answer.status,
		 check->answer.note, what);
	report(check, level, "answer", fix, detail);
}

static void check_revocation(struct check *check)
{
	struct oauth_answer message;
	struct oauth_verdict verdict = {.fault = FAULT_NO_MEMORY};
	char detail[sizeof(check->answer.note) + 64];

	ask(check, check->config.revoke_url, oauth_write_revocation);
	message = received(check);
	if (check->answer.fault == FAULT_NONE)
		verdict = oauth_read_revocation(&message);
	if (verdict.fault == FAULT_NONE) {
		report(check, OK, "revocation", NULL, "its URL answers");
		return;
	}
	if (check->answer.status > 0)
		snprintf(detail, sizeof(detail), "status %ld (%s)", check->answer.status,
			 check->answer.note);
	else
		snprintf(detail, sizeof(detail), "%s", check->answer.note);
	report(check, WARN, "revocation",
	       "check BAKRYPT_REVOKE_URL; until then /logout ends no token", detail);
}

static void check_token_server(struct check *check)
{
	const char *url = check->config.token_url;
	struct oauth_verdict verdict = ask_for_token(check, url);

	if (!report_way(check, url))
		return;
	if (verdict.fault != FAULT_LOGIN_REFUSED && verdict.fault != FAULT_CLIENT_REJECTED)
		report_answer(check, &verdict);
	else if (report_client(check, &verdict))
		check_revocation(check);
}

/* ---- the whole ---- */

static void check_upstream(struct check *check)
{
	const char *fault = NULL;

	check->config.max_in_flight = 1;
	check->loop = loop_open(TIMERS);
	if (check->loop)
		check->upstream = upstream_open(check->loop, &check->config, 1, &fault);
	if (!check->upstream) {
		report(check, FAIL_SYSTEM, "start", NULL, fault ? fault : strerror(errno));
		return;
	}
	upstream_inspect(check->upstream);
	sandbox_enter(&(struct sandbox_plan){.role = SANDBOX_LOOP, .config = &check->config});
	check_token_server(check);
}

static void print_json(const struct check *check)
{
	printf("{\"ok\":%s,\"findings\":[%s]}\n", check->status == EX_OK ? "true" : "false",
	       buf_str(&check->findings));
}

int check_run(const struct check_options *options)
{
	struct check check = {.options = options, .status = EX_OK};

	buf_init(&check.findings, SETTINGS_FILE_MAX_BYTES);
	if (config_load(&check.config, options->config_file, NULL, on_setting, &check)) {
		if (!options->is_json)
			config_print(&check.config, stdout);
		report(&check, OK, "settings", NULL, "complete");
		if (!options->is_offline)
			check_upstream(&check);
		else if (is_hash(&check.config.client_secret))
			report(&check, WARN, "client", HASH_FIX, HASH_FOUND);
	}
	if (options->is_json)
		print_json(&check);
	secret_clear(&check.answer.body);
	upstream_close(check.upstream);
	loop_close(check.loop);
	config_clear(&check.config);
	buf_clear(&check.findings);
	return check.status;
}
