#include "token.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "ceilings.h"
#include "config.h"
#include "form.h"
#include "http.h"
#include "log.h"
#include "loop.h"
#include "sandbox.h"
#include "session.h"
#include "terminal.h"
#include "upstream.h"

#define REFUSED 1

/* Those of two calls, one of which may end while the next begins, and libcurl's. */
#define TIMERS 8

#define READ_STEP_BYTES 1024

struct errand {
	const struct token_options *options;
	struct config config;
	struct loop *loop;
	struct upstream *upstream;
	struct session session;
	struct http_exchange exchange;
	enum http_media_type type; /* of the request's body */
	enum fault fault;
	bool is_answered;
	int signal; /* that is to end the program; 0: none */
};

typedef void errand_handler(struct session *session, struct http_exchange *x,
			    enum http_media_type type);

/* ---- messages ---- */

/* One line: what happened, perhaps with a detail from outside, whose control characters would
 * otherwise reach the terminal. */
static void say(const char *what, const char *detail)
{
	char clean[sizeof(((struct http_exchange *)NULL)->note)] = "";

	snprintf(clean, sizeof(clean), "%s", detail ? detail : "");
	for (char *at = clean; *at; at++) {
		if (*at < ' ' || *at > '~')
			*at = '?';
	}
	fprintf(stderr, "bakrypt-login: %s%s%s%s\n", what, *clean ? " (" : "", clean,
		*clean ? ")" : "");
}

static int complain(int status, const char *what, const char *detail, const char *todo)
{
	say(what, detail);
	if (todo)
		say(todo, NULL);
	return status;
}

#define TRY_AGAIN "nothing was sent; check this machine's network, or try again later"
#define ASK_CHECK "`bakrypt-login --check` tells more"

/* What each fault means here. Those of the guards cannot occur. */
static const struct {
	int status;
	const char *what;
	const char *todo;
} outcomes[FAULT_COUNT] = {
	[FAULT_BODY_SYNTAX] = {EX_CONFIG, "the token file is no JSON object",
			       "it takes what `bakrypt-login token` printed, or a refresh token"},
	[FAULT_FIELD_MISSING] = {EX_USAGE, "the user name or the password is empty",
				 "without --password-file, the password is read from standard "
				 "input, or asked for where that is a terminal"},
	[FAULT_TOKEN_MISSING] = {EX_CONFIG, "there is no refresh token in the token file",
				 "a redirection into the same file would have emptied it first"},
	[FAULT_FIELD_TEXT] = {EX_USAGE,
			      "user name, password or token is over 4096 bytes, or not UTF-8 text "
			      "without NUL",
			      NULL},
	[FAULT_FIELD_REPEATED] = {EX_CONFIG, "a field is in the token file more than once", NULL},
	[FAULT_OVERLOADED] = {EX_OSERR, "there is not enough room", NULL},
	[FAULT_NO_MEMORY] = {EX_OSERR, "there is not enough memory", NULL},
	[FAULT_LOGIN_REFUSED] = {REFUSED, "the user name or the password is wrong", NULL},
	[FAULT_REFRESH_REFUSED] = {REFUSED, "the refresh token is not valid any more",
				   "log in again: bakrypt-login token -u NAME"},
	[FAULT_CLIENT_REJECTED] = {EX_CONFIG, "the token server refuses this client", ASK_CHECK},
	[FAULT_UPSTREAM_CONTRACT] = {EX_UNAVAILABLE,
				     "the token server refuses the form of the request", ASK_CHECK},
	[FAULT_UPSTREAM_WAF] = {EX_UNAVAILABLE, "a firewall's page came instead of an answer",
				"this machine's address seems to be blocked; ask Bakrypt"},
	[FAULT_UPSTREAM_DENIED] = {REFUSED, "the token server denies access to this account",
				   "it may be locked for a while"},
	[FAULT_UPSTREAM_429] = {EX_UNAVAILABLE, "too many logins: the token server asks to wait",
				NULL},
	[FAULT_UPSTREAM_BUSY] = {EX_UNAVAILABLE, "the token server is out of service for a while",
				 "try again later"},
	[FAULT_UPSTREAM_5XX] = {EX_UNAVAILABLE, "the token server has a fault", "try again later"},
	[FAULT_UPSTREAM_UNREACHABLE] = {EX_UNAVAILABLE, "the token server cannot be reached",
					TRY_AGAIN},
	[FAULT_UPSTREAM_TIMEOUT] = {EX_UNAVAILABLE, "the token server did not answer in time",
				    "try again later"},
	[FAULT_UPSTREAM_LOST] = {EX_UNAVAILABLE, "the token server hung up without an answer",
				 "try again later"},
	[FAULT_UPSTREAM_TLS] = {EX_UNAVAILABLE,
				"no trusted connection to the token server can be made", ASK_CHECK},
	[FAULT_UPSTREAM_REDIRECT] = {EX_UNAVAILABLE,
				     "the token server sent a redirect, which is never followed",
				     ASK_CHECK},
	[FAULT_UPSTREAM_MALFORMED] = {EX_UNAVAILABLE,
				      "the token server sent an answer that cannot be used",
				      ASK_CHECK},
};

static int complain_of(const struct errand *errand, enum fault fault)
{
	const char *todo = outcomes[fault].todo;
	char wait[64];

	if (fault == FAULT_UPSTREAM_429 && errand->exchange.reply.retry_after_s > 0) {
		snprintf(wait, sizeof(wait), "try again in %u seconds",
			 errand->exchange.reply.retry_after_s);
		todo = wait;
	}
	/* Whoever was asked knows. */
	if (fault == FAULT_FIELD_MISSING && isatty(STDIN_FILENO))
		todo = NULL;
	/* It was sent, and may have been taken. */
	if ((fault == FAULT_UPSTREAM_TIMEOUT || fault == FAULT_UPSTREAM_LOST) &&
	    errand->options->refresh_token_file && !errand->options->is_revocation)
		todo = "try again; if the refresh token is refused then, it was used up: log in";
	return complain(outcomes[fault].status, outcomes[fault].what, errand->exchange.note, todo);
}

/* ---- what is read ---- */

static bool read_all(int fd, struct secret *text, size_t max_bytes)
{
	while (secret_len(text) <= max_bytes) {
		ssize_t len;

		if (!secret_reserve(text, READ_STEP_BYTES)) {
			errno = ENOMEM;
			return false;
		}
		len = read(fd, secret_end(text), READ_STEP_BYTES);
		if (len == 0)
			return true;
		if (len < 0 && errno != EINTR)
			return false;
		if (len > 0)
			secret_added(text, (size_t)len);
	}
	errno = EFBIG;
	return false;
}

static void strip_newline(struct secret *text)
{
	size_t len = secret_len(text);

	if (len > 0 && secret_str(text)[len - 1] == '\n')
		len--;
	if (len < secret_len(text) && len > 0 && secret_str(text)[len - 1] == '\r')
		len--;
	secret_truncate(text, len);
}

/* Reads a file, a pipe under a name as shells make them, or standard input ("-"). text is
 * initialised here. */
static int read_secret(const char *path, const char *option, struct secret *text)
{
	int fd =
		strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	struct stat facts = {0};
	char what[64];
	bool is_read;

	secret_init(text, BODY_MAX_BYTES + READ_STEP_BYTES);
	is_read = fd >= 0 && fstat(fd, &facts) == 0 && read_all(fd, text, BODY_MAX_BYTES);
	snprintf(what, sizeof(what), "%s cannot be read", option);
	if (!is_read)
		complain(EX_CONFIG, what, strerror(errno), NULL);
	if (fd > STDIN_FILENO)
		close(fd);
	if (!is_read)
		return EX_CONFIG;
	if (S_ISREG(facts.st_mode) && (facts.st_mode & (S_IROTH | S_IWOTH))) {
		snprintf(what, sizeof(what), "others can read or change the file of %s", option);
		return complain(EX_CONFIG, what, path, "take it from them: chmod o= FILE");
	}
	strip_newline(text);
	return EX_OK;
}

/* Asks on the terminal. answer is initialised by the caller. */
static int ask_person(struct errand *errand, const char *prompt, bool is_hidden,
		      struct secret *answer)
{
	switch (terminal_ask(prompt, is_hidden, answer, &errand->signal)) {
	case TERMINAL_LINE:
		return EX_OK;
	case TERMINAL_SIGNAL:
		return EX_UNAVAILABLE; /* the signal is what counts */
	case TERMINAL_END:
		return complain(EX_USAGE, "nothing was typed", NULL, NULL);
	case TERMINAL_NONE:
		break;
	}
	return complain(EX_USAGE, "there is no terminal to ask on", strerror(errno),
			is_hidden ? "give the password in --password-file or on standard input"
				  : "give the user name with -u");
}

static int read_user(struct errand *errand, struct secret *user)
{
	const char *given = errand->options->user;

	secret_init(user, GRANT_MAX_BYTES);
	if (!given)
		return ask_person(errand, "User name: ", false, user);
	return secret_append_str(user, given) ? EX_OK : complain_of(errand, FAULT_FIELD_TEXT);
}

/* As read_secret(); but what is typed at a terminal is asked for, and not shown. */
static int read_or_ask(struct errand *errand, const char *path, const char *option,
		       const char *prompt, struct secret *text)
{
	if (strcmp(path, "-") != 0 || !isatty(STDIN_FILENO))
		return read_secret(path, option, text);
	secret_init(text, BODY_MAX_BYTES);
	return ask_person(errand, prompt, true, text);
}

static int read_password(struct errand *errand, struct secret *password)
{
	const char *path = errand->options->password_file;

	return read_or_ask(errand, path ? path : "-", path ? "--password-file" : "standard input",
			   "Password: ", password);
}

static bool write_pair(struct secret *form, const char *name, const struct secret *value)
{
	return secret_append_str(form, secret_len(form) > 0 ? "&" : "") &&
	       secret_append_str(form, name) && secret_append_str(form, "=") &&
	       form_write_text(form, secret_str(value), secret_len(value));
}

static int write_login(struct errand *errand)
{
	struct secret *form = &errand->exchange.request.body;
	struct secret user;
	struct secret password = {0};
	int status = read_user(errand, &user);

	if (status == EX_OK)
		status = read_password(errand, &password);
	errand->type = HTTP_MEDIA_FORM;
	secret_init(form, GRANT_MAX_BYTES);
	if (status == EX_OK &&
	    (!write_pair(form, "username", &user) || !write_pair(form, "password", &password)))
		status = complain_of(errand, FAULT_FIELD_TEXT);
	secret_clear(&user);
	secret_clear(&password);
	return status;
}

/* A refresh token alone, or the JSON that was printed with one. */
static int write_refresh_token(struct errand *errand)
{
	struct secret *body = &errand->exchange.request.body;
	struct secret text;
	int status = read_or_ask(errand, errand->options->refresh_token_file,
				 "--refresh-token-file", "Refresh token: ", &text);

	errand->type = HTTP_MEDIA_FORM;
	secret_init(body, GRANT_MAX_BYTES);
	if (status == EX_OK && secret_str(&text)[strspn(secret_str(&text), " \t\r\n")] == '{') {
		errand->type = HTTP_MEDIA_JSON;
		secret_move(body, &text);
	} else if (status == EX_OK && !write_pair(body, "refresh_token", &text)) {
		status = complain_of(errand, FAULT_FIELD_TEXT);
	}
	secret_clear(&text);
	return status;
}

/* ---- the exchange ---- */

static void on_answer(struct http_exchange *x, enum fault fault)
{
	CONTAINER(x, struct errand, exchange)->fault = fault;
	x->finish(x);
}

static void on_finish(struct http_exchange *x)
{
	struct errand *errand = CONTAINER(x, struct errand, exchange);

	errand->is_answered = true;
	loop_stop(errand->loop);
}

/* A login that was sent may bring a token: it is waited for and revoked. A refresh token that was
 * sent may be used up: the new one is waited for and printed. */
static void on_signal(void *context, int signal)
{
	struct errand *errand = context;

	if (errand->signal) {
		loop_stop(errand->loop);
		return;
	}
	errand->signal = signal;
	errand->exchange.is_abandoned = !errand->options->refresh_token_file;
	say("waiting for the answer, so that no token is lost; the same again ends at once", NULL);
}

/* Those that nobody told the program to ignore, as nohup does. */
static bool catch_signals(struct errand *errand)
{
	static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	int caught[sizeof(all) / sizeof(all[0]) + 1] = {0};
	size_t count = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct sigaction action;

		sigaction(all[i], NULL, &action);
		if (action.sa_handler != SIG_IGN)
			caught[count++] = all[i];
	}
	return loop_catch_signals(errand->loop, caught, on_signal, errand);
}

static int open_session(struct errand *errand)
{
	const char *fault = NULL;

	errand->config.max_in_flight = 1;
	errand->loop = loop_open(TIMERS);
	if (errand->loop && catch_signals(errand))
		errand->upstream = upstream_open(errand->loop, &errand->config, 1, &fault);
	if (!errand->upstream)
		return complain(EX_OSERR, "the start failed", fault ? fault : strerror(errno),
				NULL);
	session_open(&errand->session, &errand->config, errand->upstream, NULL);
	sandbox_enter(&(struct sandbox_plan){.role = SANDBOX_LOOP, .config = &errand->config});
	return EX_OK;
}

static errand_handler *handler_of(const struct token_options *options)
{
	if (!options->refresh_token_file)
		return session_login;
	return options->is_revocation ? session_logout : session_refresh;
}

static void serve(struct errand *errand, errand_handler *handle)
{
	struct http_exchange *x = &errand->exchange;

	errand->is_answered = false;
	x->arrived_us = loop_clock_us();
	handle(&errand->session, x, errand->type);
	if (!errand->is_answered)
		loop_run(errand->loop);
}

static void log_exchange(const struct errand *errand)
{
	const struct http_exchange *x = &errand->exchange;
	struct log_line line;

	log_open(&line, LOG_DEBUG, "token");
	log_str(&line, "request_id", x->request_id);
	log_int(&line, "upstream_status", x->upstream_status);
	log_str(&line, "upstream_error", x->upstream_error);
	log_str(&line, "note", *x->note ? x->note : NULL);
	log_ms(&line, "total", loop_clock_us() - x->arrived_us);
	log_close(&line);
}

/* ---- what is written ---- */

static bool write_all(const struct secret *text)
{
	size_t done = 0;

	while (done < secret_len(text)) {
		ssize_t len =
			write(STDOUT_FILENO, secret_str(text) + done, secret_len(text) - done);

		if (len < 0 && errno != EINTR)
			return false;
		done += len > 0 ? (size_t)len : 0;
	}
	return true;
}

/* A token that nobody got is not left alive; but one that was refreshed may be the old one still.
 */
static int give_back(struct errand *errand, const char *reason)
{
	struct http_exchange *x = &errand->exchange;

	say("the token cannot be written to standard output", reason);
	if (errand->options->refresh_token_file) {
		say("if the refresh token is refused from now on, it was used up: log in again",
		    NULL);
		return EX_OSERR;
	}
	errand->type = HTTP_MEDIA_JSON;
	secret_move(&x->request.body, &x->reply.body);
	serve(errand, session_logout);
	if (errand->fault == FAULT_NONE && errand->is_answered)
		say("it was revoked", NULL);
	else
		say("it could not be revoked, and lives until it expires", x->note);
	return EX_OSERR;
}

static int print_token(struct errand *errand)
{
	struct secret *token = &errand->exchange.reply.body;

	if (!secret_append_str(token, "\n"))
		return give_back(errand, strerror(ENOMEM));
	return write_all(token) ? EX_OK : give_back(errand, strerror(errno));
}

static int run(struct errand *errand)
{
	struct http_exchange *x = &errand->exchange;
	int status = open_session(errand);

	if (status != EX_OK)
		return status;
	serve(errand, handler_of(errand->options));
	if (!errand->is_answered)
		return EX_UNAVAILABLE; /* a second signal */
	log_exchange(errand);
	if (errand->fault != FAULT_NONE)
		return complain_of(errand, errand->fault);
	if (x->is_abandoned || errand->options->is_revocation)
		return EX_OK;
	return print_token(errand);
}

/* ---- the door ---- */

static int check_use(const struct token_options *options)
{
	const char *complaint = NULL;

	if (options->is_revocation && !options->refresh_token_file)
		complaint = "--revoke needs a --refresh-token-file";
	else if (options->refresh_token_file && (options->user || options->password_file))
		complaint = "--refresh-token-file takes no user name and no password";
	return complaint ? complain(EX_USAGE, complaint, NULL, NULL) : EX_OK;
}

static void on_finding(void *context, bool is_fault, const char *text)
{
	bool *has_complained = context;

	if (is_fault && !*has_complained)
		say(text, NULL);
	*has_complained |= is_fault;
}

static int load_settings(struct errand *errand)
{
	bool has_complained = false;

	if (!config_load(&errand->config, errand->options->config_file, NULL, on_finding,
			 &has_complained))
		return EX_CONFIG;
	log_set_level(errand->config.log_level == LOG_DEBUG ? LOG_DEBUG : LOG_NOTHING);
	return EX_OK;
}

int token_run(const struct token_options *options)
{
	struct errand errand = {.options = options};
	struct http_exchange *x = &errand.exchange;
	int status = check_use(options);

	http_init(x, on_finish);
	x->answer = on_answer;
	http_make_request_id(x->request_id, NULL);
	if (status == EX_OK)
		status = load_settings(&errand);
	if (status == EX_OK)
		status = options->refresh_token_file ? write_refresh_token(&errand)
						     : write_login(&errand);
	if (status == EX_OK)
		status = run(&errand);
	upstream_close(errand.upstream);
	http_clear(x);
	loop_close(errand.loop);
	config_clear(&errand.config);
	if (errand.signal)
		terminal_die_by(errand.signal);
	return status;
}
