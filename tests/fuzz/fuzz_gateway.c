/*
 * Whole requests through the gateway, one after the other or several at a time, with a token server
 * that answers whatever the input says. Parts of a request: method, target, content type, request
 * id, query, body, flow; then, for each call upstream when it is answered: status (or 1000 and more
 * for a fault), Retry-After, note, body. Flow, letters in any order:
 *
 *	p  upstream's answer comes only after the next requests
 *	d  the answers that wait come before this request
 *	e  it is the last request: answers follow
 *	a  the client leaves while its answer waits
 *	t  the client does not take the reply
 *	c, l  the body is cut off, or too large
 *	s  the program is stopping
 *	b, o  the settings are bad, or there are too many logins
 *	h, f  half a minute, or five seconds pass before it
 *	w  whoever waits for a probe of the token server has waited long enough before it
 *
 * Behind them, a line each: Origin, Sec-Fetch-Site, Host.
 */
#include <cjson/cJSON.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <unistd.h>

#include "ceilings.h"
#include "form.h"
#include "fuzz.h"
#include "gateway.h"
#include "json.h"
#include "log.h"
#include "loop.h"
#include "upstream.h"

/* Words that must not get where they do not belong. The seeds have the first in bodies of requests,
 * and the second in tokens. */
#define PASSWORD_MARK "PASSW0RD"
#define TOKEN_MARK "T0KENT0K"
#define CLIENT_SECRET "CL1ENTSECRET"

#define TOKEN_URL "https://tokens.test/auth/token/"
#define REVOKE_URL "https://tokens.test/auth/revoke_token/"

#define REQUESTS_MAX 8

#define LISTED_ORIGIN "https://shop.test"
#define ORIGINS "http://localhost:3000 " LISTED_ORIGIN

enum { METHOD, TARGET, TYPE, REQUEST_ID, QUERY, TEXT_COUNT };

struct request {
	struct http_exchange x;
	struct fuzz_part texts[TEXT_COUNT];
	struct fuzz_part flow;
	const char *letters; /* its first line */
	unsigned finishes;
	bool is_waiting; /* for upstream */
};

/* A call upstream that was not answered yet. */
struct upstream_stub_call {
	TAILQ_ENTRY(upstream_stub_call) entry;
	upstream_done *done;
	void *context;
	struct request *request; /* NULL: a probe, which is the session's */
};

static struct {
	struct fuzz_input input;
	struct config config;
	struct session session;
	struct gateway gateway;
	struct request requests[REQUESTS_MAX];
	TAILQ_HEAD(, upstream_stub_call) calls;
	const struct request *current; /* the one that was served last */
	struct loop_timer *timer;      /* NULL: it is not set */
	bool is_probe_answered;        /* a probe's answer is being told */
	uint64_t clock_us;
	size_t lines; /* of the log: one per request, and others */
	size_t other_lines;
	bool is_marked;           /* one of the words is where it may be repeated */
	bool is_token_a_password; /* upstream has sent a password back as a token */
} t;

/* ---- what the rooms below are given instead ---- */

uint64_t loop_clock_us(void)
{
	return t.clock_us;
}

/* The session's, for whoever waits for a probe. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms)
{
	(void)loop;
	HOLD(!t.timer && delay_ms == PROBE_WAIT_MS);
	t.timer = timer;
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	(void)loop;
	HOLD(!t.timer || t.timer == timer);
	t.timer = NULL;
}

static void fire_timer(void)
{
	struct loop_timer *timer = t.timer;

	t.timer = NULL;
	if (timer)
		timer->on_fire(timer);
}

static bool is_marked(const void *data, size_t len)
{
	return fuzz_has(data, len, PASSWORD_MARK) || fuzz_has(data, len, TOKEN_MARK) ||
	       fuzz_has(data, len, CLIENT_SECRET);
}

static void hold_line(const char *line, size_t len)
{
	HOLD(len <= LOG_LINE_MAX_BYTES && line[len - 1] == '\n');
	HOLD(json_check(line, len) == JSON_OK);
	for (size_t i = 0; i < len - 1; i++)
		HOLD((unsigned char)line[i] >= 0x20 && line[i] != 0x7f);
	HOLD(t.is_marked || !is_marked(line, len));

	cJSON *tree = cJSON_ParseWithLength(line, len);
	const char *event = cJSON_GetStringValue(cJSON_GetObjectItem(tree, "event"));
	const char *level = cJSON_GetStringValue(cJSON_GetObjectItem(tree, "level"));
	HOLD(event && log_level_by_name(level) >= 0);
	t.lines++;
	t.other_lines += strncmp(event, "orphan_", 7) == 0 || strncmp(event, "breaker_", 8) == 0;
	cJSON_Delete(tree);
}

/* By the linker's --wrap: what log.c writes. */
/* NOLINTBEGIN(bugprone-reserved-identifier) */
ssize_t __wrap_write(int fd, const void *data, size_t len);
ssize_t __real_write(int fd, const void *data, size_t len);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
/* NOLINTEND(bugprone-reserved-identifier) */

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	if (fd != STDERR_FILENO)
		return __real_write(fd, data, len);
	hold_line(data, len);
	return (ssize_t)len;
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	(void)timeout_ms;
	HOLD(count == 1 && fds->fd == STDERR_FILENO);
	fds->revents = POLLOUT;
	return 1;
}

/* ---- upstream ---- */

static const enum fault upstream_faults[] = {
	FAULT_UPSTREAM_UNREACHABLE, FAULT_UPSTREAM_TIMEOUT, FAULT_UPSTREAM_LOST, FAULT_UPSTREAM_TLS,
	FAULT_UPSTREAM_MALFORMED,   FAULT_OVERLOADED,       FAULT_NO_MEMORY,
};

/* The part is given to somebody who may repeat it. */
static void mark(const struct fuzz_part *part)
{
	t.is_marked = t.is_marked || is_marked(part->data, part->len);
}

/* Answers the first call that waits. */
static void answer_next(void)
{
	struct upstream_stub_call *call = TAILQ_FIRST(&t.calls);
	struct upstream_answer answer = {.status = fuzz_next_number(&t.input) % 2000};
	struct fuzz_part note;
	struct fuzz_part body;

	TAILQ_REMOVE(&t.calls, call, entry);
	if (answer.status >= 1000) {
		size_t count = sizeof(upstream_faults) / sizeof(upstream_faults[0]);

		answer.fault = upstream_faults[(size_t)answer.status % count];
		answer.status = 0;
	}
	answer.retry_after_s = fuzz_next_number(&t.input) % (RETRY_AFTER_MAX_S + 1);
	answer.is_html = answer.status % 2 != 0 && answer.retry_after_s == 0;
	note = fuzz_next_text(&t.input);
	mark(&note);
	memcpy(answer.note, note.data,
	       note.len < sizeof(answer.note) ? note.len : sizeof(answer.note) - 1);
	body = fuzz_next(&t.input);
	t.is_token_a_password = t.is_token_a_password ||
				fuzz_has(body.data, body.len, PASSWORD_MARK) ||
				fuzz_has(body.data, body.len, CLIENT_SECRET);
	if (body.len > ANSWER_MAX_BYTES)
		body.len = ANSWER_MAX_BYTES;
	fuzz_fill(&answer.body, ANSWER_MAX_BYTES, body.data, body.len);
	if (call->request)
		call->request->is_waiting = false;
	t.is_probe_answered = !call->request;
	call->done(call->context, &answer);
	t.is_probe_answered = false;
	secret_clear(&answer.body);
	free(note.data);
	free(body.data);
	free(call);
}

static void answer_all(void)
{
	while (!TAILQ_EMPTY(&t.calls))
		answer_next();
}

static bool flows(const struct request *request, char letter)
{
	return strchr(request->letters, letter) != NULL;
}

/* Reads a pair whose value is anything, and holds that it has one. */
static void skip_pair(const char **cursor, const char *end, const char *expected)
{
	struct secret name;
	struct secret value;

	secret_init(&name, GRANT_MAX_BYTES);
	secret_init(&value, GRANT_MAX_BYTES);
	HOLD(form_read_pair(cursor, end, &name, &value) == FORM_OK);
	HOLD(strcmp(secret_str(&name), expected) == 0);
	HOLD(secret_len(&value) > 0 && secret_len(&value) <= FIELD_MAX_BYTES);
	HOLD(fuzz_is_text(&value));
	secret_clear(&name);
	secret_clear(&value);
}

static bool next_is(const char *cursor, const char *name)
{
	return strncmp(cursor, name, strlen(name)) == 0;
}

/* A message is one of three, of our making, and goes to the URL that it is for. */
static void hold_message(const char *url, const struct secret *body)
{
	const char *at = secret_str(body);
	const char *end = at + secret_len(body);

	fuzz_hold_pair(&at, end, "client_id", "the id", 6);
	fuzz_hold_pair(&at, end, "client_secret", CLIENT_SECRET, strlen(CLIENT_SECRET));
	if (next_is(at, "&username=")) {
		skip_pair(&at, end, "username");
		skip_pair(&at, end, "password");
		fuzz_hold_pair(&at, end, "grant_type", "password", 8);
		fuzz_hold_pair(&at, end, "scope", "read write", 10);
	} else if (next_is(at, "&refresh_token=")) {
		skip_pair(&at, end, "refresh_token");
		fuzz_hold_pair(&at, end, "grant_type", "refresh_token", 13);
	} else {
		skip_pair(&at, end, "token");
		skip_pair(&at, end, "token_type_hint");
		HOLD(strcmp(url, REVOKE_URL) == 0);
		HOLD(at == end);
		return;
	}
	HOLD(strcmp(url, TOKEN_URL) == 0);
	HOLD(at == end);
}

static bool is_listed(const char *origin)
{
	return strcmp(origin, LISTED_ORIGIN) == 0 || strcmp(origin, "http://localhost:3000") == 0;
}

/* No page of another site gets this far. */
static void hold_origin(const struct http_request *request)
{
	const char *origin = request->origin ? request->origin : "";
	const char *site = request->fetch_site ? request->fetch_site : "";
	const char *host = request->host ? request->host : "";

	if (is_listed(origin))
		return;
	if (*site)
		HOLD(strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0);
	else if (*origin)
		HOLD(strncasecmp(origin, "http", 4) == 0 && strcasestr(origin, "://") && *host);
}

/* While the token server is left alone, nothing of a user's goes there, but for what a probe has
 * let through. */
static void hold_breaker(const char *url)
{
	if (t.session.breaker.is_open && strcmp(url, TOKEN_URL) == 0)
		HOLD(t.is_probe_answered);
}

void upstream_post(struct upstream *upstream, const char *url, struct secret *body,
		   upstream_done *done, void *context)
{
	bool is_probe = context == &t.session;
	struct request *request = is_probe ? NULL : CONTAINER(context, struct request, x);
	struct upstream_stub_call *call = calloc(1, sizeof(*call));

	(void)upstream;
	HOLD(call);
	hold_message(url, body);
	if (is_probe) {
		HOLD(t.session.breaker.is_probing && strcmp(url, TOKEN_URL) == 0);
		HOLD(!fuzz_has(secret_str(body), secret_len(body), PASSWORD_MARK));
	} else {
		HOLD(!request->is_waiting);
		if (strcmp(request->texts[METHOD].data, "POST") == 0)
			hold_origin(&request->x.request);
		hold_breaker(url);
		request->is_waiting = true;
	}
	secret_clear(body);
	*call = (struct upstream_stub_call){.done = done, .context = context, .request = request};
	TAILQ_INSERT_TAIL(&t.calls, call, entry);
	if (!flows(t.current, 'p'))
		answer_all();
}

bool upstream_is_one_server(const struct upstream *upstream)
{
	(void)upstream;
	return true;
}

/* ---- the reply ---- */

static const struct {
	int status;
	const char *error;
	unsigned retry_after_s;
	const char *event;
	const char *description;
} rows[] = {
#define ROW(symbol, status, error, retry_after_s, event, level, description) \
	{status, error, retry_after_s, event, description},
	FAULT_TABLE(ROW)
#undef ROW
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static const char *text_of(const cJSON *tree, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(tree, name));

	return text ? text : "";
}

/* An error is a row of the table, with the request's id and nothing else. */
static void hold_error(const struct http_exchange *x, const cJSON *tree)
{
	size_t i = 0;

	while (i < ROW_COUNT &&
	       (rows[i].status != x->reply.status ||
		strcmp(rows[i].error, text_of(tree, "error")) != 0 ||
		strcmp(rows[i].description, text_of(tree, "error_description")) != 0))
		i++;
	HOLD(i < ROW_COUNT);
	HOLD(rows[i].retry_after_s == 0 || x->reply.retry_after_s > 0);
	HOLD(strcmp(text_of(tree, "request_id"), x->request_id) == 0);
	HOLD(cJSON_GetArraySize(tree) == 3);
	HOLD((x->reply.status == 401) == (x->reply.challenge != NULL));
	HOLD((x->reply.status == 405) == (x->reply.allow != NULL));
	HOLD((x->reply.status == 415) == (x->reply.accept != NULL));
}

static void hold_health(const struct http_exchange *x, const cJSON *tree)
{
	size_t i = 0;

	if (x->reply.status == 200) {
		HOLD(cJSON_GetArraySize(tree) == 1);
		return;
	}
	HOLD(strcmp(text_of(tree, "status"), "unavailable") == 0);
	while (i < ROW_COUNT && strcmp(rows[i].event, text_of(tree, "reason")) != 0)
		i++;
	HOLD(i < ROW_COUNT || strcmp(text_of(tree, "reason"), "stopping") == 0);
	HOLD(cJSON_GetArraySize(tree) == 2);
}

static void hold_body(const struct http_exchange *x)
{
	const struct secret *body = &x->reply.body;
	const char *text = secret_str(body);
	bool is_token;

	if (x->reply.status == 204) {
		HOLD(secret_len(body) == 0);
		return;
	}
	HOLD(json_check(text, secret_len(body)) == JSON_OK);
	cJSON *tree = cJSON_ParseWithLength(text, secret_len(body));
	is_token = *text_of(tree, "access_token");
	HOLD(cJSON_IsObject(tree));
	if (cJSON_HasObjectItem(tree, "status"))
		hold_health(x, tree);
	else if (x->reply.status >= 400)
		hold_error(x, tree);
	else
		HOLD(x->reply.status == 200 && is_token &&
		     strcasecmp(text_of(tree, "token_type"), "Bearer") == 0);
	if (!t.is_marked && !is_token)
		HOLD(!is_marked(text, secret_len(body)));
	if (!t.is_marked && !t.is_token_a_password)
		HOLD(!fuzz_has(text, secret_len(body), PASSWORD_MARK));
	cJSON_Delete(tree);
}

/* A page that may read the reply is one of the settings, and the one that asked. */
static void hold_sharing(const struct http_exchange *x, const char *origin, size_t len)
{
	HOLD(x->request.origin && strlen(x->request.origin) == len);
	HOLD(memcmp(x->request.origin, origin, len) == 0 && is_listed(x->request.origin));
}

/* Header lines, one each of its name, and the empty line; nothing of the request but its id. */
static void hold_head(const struct http_exchange *x)
{
	struct buf head;
	char *line;
	char *rest;
	unsigned lengths = 0;

	HOLD(!x->route || !x->request.origin ||
	     is_listed(x->request.origin) == (x->reply.allow_origin.text != NULL));
	buf_init(&head, HEAD_MAX_BYTES);
	HOLD(http_write_head(x, &head));
	HOLD(t.is_marked || !is_marked(head.data, head.len));
	HOLD(strlen(head.data) == head.len && next_is(head.data, "Status: "));
	HOLD(head.len > 4 && strcmp(head.data + head.len - 4, "\r\n\r\n") == 0);
	rest = head.data;
	while ((line = strsep(&rest, "\n")) && rest && *rest) {
		size_t len = strlen(line);

		HOLD(len > 3 && line[len - 1] == '\r' && strstr(line, ": "));
		for (size_t i = 0; i < len - 1; i++)
			HOLD(line[i] >= 0x20 && line[i] < 0x7f);
		if (next_is(line, "Access-Control-Allow-Origin: "))
			hold_sharing(x, line + 29, len - 29 - 1);
		if (next_is(line, "Content-Length: ")) {
			HOLD(strtoul(line + 16, NULL, 10) == secret_len(&x->reply.body));
			lengths++;
		}
	}
	HOLD(lengths == (x->reply.status != 204));
	buf_clear(&head);
}

static void finish(struct http_exchange *x)
{
	struct request *request = CONTAINER(x, struct request, x);

	HOLD(!request->is_waiting);
	request->finishes++;
	/* Where a body is read, it is wiped when it has been. */
	if (x->route && strcmp(request->texts[METHOD].data, "POST") == 0)
		HOLD(secret_len(&x->request.body) == 0 || x->reply.status < 400);
	if (x->is_abandoned)
		return;
	HOLD(strcmp(http_reason(x->reply.status), "Unknown") != 0);
	hold_head(x);
	hold_body(x);
}

/* ---- requests ---- */

static void set_gateway(const struct request *request)
{
	t.gateway.is_stopping = flows(request, 's');
	t.gateway.closed = FAULT_NONE;
	if (flows(request, 'b'))
		t.gateway.closed = FAULT_CONFIG;
	else if (flows(request, 'o'))
		t.gateway.closed = FAULT_OVERLOADED;
	t.gateway.closed_note = flows(request, 'b') ? "a note" : NULL;
	t.clock_us += 1000;
	if (flows(request, 'h'))
		t.clock_us += HEALTH_FRESH_MS * 1000ULL;
	if (flows(request, 'f'))
		t.clock_us += HEALTH_RETRY_MS * 1000ULL;
}

/* The flow's lines. */
static void read_flow(struct request *request)
{
	char *rest;

	request->flow = fuzz_next_text(&t.input);
	mark(&request->flow);
	rest = request->flow.data;
	request->letters = strsep(&rest, "\n");
	request->x.request.origin = strsep(&rest, "\n");
	request->x.request.fetch_site = strsep(&rest, "\n");
	request->x.request.host = rest;
}

static void read_request(struct request *request)
{
	struct fuzz_part body;

	http_init(&request->x, finish);
	for (size_t i = 0; i < TEXT_COUNT; i++) {
		request->texts[i] = fuzz_next_text(&t.input);
		mark(&request->texts[i]);
	}
	body = fuzz_next(&t.input);
	read_flow(request);
	request->x.request.body_state = HTTP_BODY_WHOLE;
	if (flows(request, 'c'))
		request->x.request.body_state = HTTP_BODY_CUT;
	if (flows(request, 'l') || body.len > BODY_MAX_BYTES)
		request->x.request.body_state = HTTP_BODY_TOO_LARGE;
	else
		HOLD(secret_append(&request->x.request.body, body.data, body.len));
	free(body.data);
	request->x.request.method = request->texts[METHOD].data;
	request->x.request.target = request->texts[TARGET].data;
	request->x.request.content_type = request->texts[TYPE].data;
	request->x.request.request_id = request->texts[REQUEST_ID].data;
	request->x.request.query = request->texts[QUERY].data;
	request->x.request.client = request->texts[REQUEST_ID].data;
}

/* It waits for upstream's answer, or for a probe's. */
static bool is_under_way(const struct request *request)
{
	return request->is_waiting || t.session.waiter == &request->x;
}

static void serve(struct request *request)
{
	read_request(request);
	t.current = request;
	if (flows(request, 'w'))
		fire_timer();
	if (flows(request, 'd'))
		answer_all();
	set_gateway(request);
	request->x.arrived_us = t.clock_us;
	gateway_serve(&t.gateway, &request->x);
	HOLD(request->finishes == !is_under_way(request));
	if (is_under_way(request) && flows(request, 'a'))
		gateway_abandon(&request->x);
	else if (request->finishes == 1 && flows(request, 't')) {
		bool is_taken_back = gateway_take_back(&request->x);

		answer_all();
		HOLD(request->finishes == 1 + (unsigned)is_taken_back);
	}
}

static void set_up(void)
{
	static char token_url[] = TOKEN_URL;
	static char revoke_url[] = REVOKE_URL;
	static char client_id[] = "the id";
	static char scope[] = "read write";
	static char origins[] = ORIGINS;

	memset(&t, 0, sizeof(t));
	TAILQ_INIT(&t.calls);
	t.config = (struct config){.token_url = token_url,
				   .revoke_url = revoke_url,
				   .client_id = client_id,
				   .scope = scope,
				   .allowed_origins = origins};
	fuzz_fill(&t.config.client_secret, SECRET_MAX_BYTES, CLIENT_SECRET, strlen(CLIENT_SECRET));
	/* Never looked into: what the session asks of a loop is here. */
	session_open(&t.session, &t.config, NULL, (struct loop *)(void *)&t.session);
	t.gateway.session = &t.session;
	t.clock_us = 1;
	log_set_level(LOG_DEBUG);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t count = 0;

	set_up();
	t.input = (struct fuzz_input){data, data + size};
	do
		serve(&t.requests[count]);
	while (!flows(&t.requests[count++], 'e') && count < REQUESTS_MAX &&
	       t.input.at < t.input.end);
	answer_all();
	HOLD(!t.session.waiter && !t.timer);
	session_close(&t.session);
	for (size_t i = 0; i < count; i++) {
		struct request *request = &t.requests[i];

		HOLD(request->finishes >= 1 && request->finishes <= 2);
		http_clear(&request->x);
		for (size_t j = 0; j < TEXT_COUNT; j++)
			free(request->texts[j].data);
		free(request->flow.data);
	}
	HOLD(t.lines - t.other_lines == count);
	secret_clear(&t.config.client_secret);
	return 0;
}
