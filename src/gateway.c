#include "gateway.h"

#include <stdio.h>
#include <string.h>

#include "log.h"
#include "loop.h"
#include "oauth.h"

static const struct {
	int status;
	const char *error;
	unsigned retry_after_s;
	const char *event;
	enum log_level level;
	const char *description;
} faults[] = {[FAULT_NONE] = {200, "", 0, "", LOG_INFO, ""},
#define FAULT_ROW(symbol, status, error, retry_after_s, event, level, description) \
	[FAULT_##symbol] = {status, error, retry_after_s, event, level, description},
	      FAULT_TABLE(FAULT_ROW)
#undef FAULT_ROW
};

typedef void route_handler(struct session *session, struct http_exchange *x,
			   enum http_media_type type);

static route_handler answer_alive;

/* A route is the last segment of the path, so that a web server may put us under any prefix; it
 * may be the name of a CGI program as well, login.cgi or login.fcgi. */
static const struct gateway_route {
	const char *segment;
	const char *name; /* in the log */
	const char *method;
	const char *allow;
	const char *event; /* of a success */
	route_handler *handle;
	bool is_health; /* its reply is about us, and has a form of its own */
} routes[] = {
	{"login", "/login", "POST", "POST, OPTIONS", "login_ok", session_login, false},
	{"refresh", "/refresh", "POST", "POST, OPTIONS", "refresh_ok", session_refresh, false},
	{"logout", "/logout", "POST", "POST, OPTIONS", "logout_ok", session_logout, false},
	{"healthz", "/healthz", "GET", "GET, OPTIONS", "alive", answer_alive, true},
	{"readyz", "/readyz", "GET", "GET, OPTIONS", "ready", session_probe, true},
};

#define ACCEPTED_TYPES "application/json, application/x-www-form-urlencoded"

/* Bearer, never Basic: at Basic a browser would open a password window of its own. */
#define CHALLENGE "Bearer realm=\"bakrypt\""

/* ---- the end of a request ---- */

/* Faults of the request itself are told as on any other route. */
static bool is_about_health(const struct http_exchange *x, enum fault fault)
{
	bool is_upstreams = fault == FAULT_UPSTREAM_429 || faults[fault].status >= 500;

	return x->route && x->route->is_health && (fault == FAULT_NONE || is_upstreams);
}

/* Whoever asks for our health again and again is not to fill the log with what it says already. */
static bool is_repetition(const struct http_exchange *x, enum fault fault)
{
	bool is_news = x->upstream_status > 0 || *x->note;

	return is_about_health(x, fault) && (fault == FAULT_NONE || !is_news);
}

static void write_log(const struct http_exchange *x, enum fault fault, int status)
{
	enum fault told = x->is_off_contract ? FAULT_UPSTREAM_CONTRACT : fault;
	const char *event = faults[told].event;
	enum log_level level = faults[told].level;
	struct log_line line;

	if (told == FAULT_NONE)
		event = x->route->event;
	if (is_repetition(x, fault))
		level = LOG_DEBUG;
	log_open(&line, level, event);
	log_str(&line, "request_id", x->request_id);
	log_str(&line, "route", x->route ? x->route->name : NULL);
	log_int(&line, "status", status);
	log_str(&line, "client", x->request.client);
	if (x->upstream_status > 0)
		log_int(&line, "upstream_status", x->upstream_status);
	log_str(&line, "upstream_error", x->upstream_error);
	if (x->ignored_fields > 0)
		log_int(&line, "ignored", x->ignored_fields);
	log_str(&line, "note", *x->note ? x->note : NULL);
	log_object(&line, "ms");
	log_ms(&line, "queue", x->phases.queue_us);
	log_ms(&line, "connect", x->phases.connect_us);
	log_ms(&line, "tls", x->phases.tls_us);
	log_ms(&line, "first_byte", x->phases.first_byte_us);
	log_ms(&line, "total", loop_clock_us() - x->arrived_us);
	log_end(&line);
	log_close(&line);
}

static void reply_with_fault(struct http_exchange *x, enum fault fault)
{
	struct http_reply *reply = &x->reply;

	reply->status = faults[fault].status;
	if (reply->retry_after_s == 0)
		reply->retry_after_s = faults[fault].retry_after_s;
	if (fault == FAULT_LOGIN_REFUSED || fault == FAULT_REFRESH_REFUSED)
		reply->challenge = CHALLENGE;
	if (fault == FAULT_CONTENT_TYPE)
		reply->accept = ACCEPTED_TYPES;
	/* Without memory for the body, a reply without one. */
	if (!oauth_write_error(faults[fault].error, faults[fault].description, x->request_id,
			       &reply->body))
		secret_clear(&reply->body);
}

/* Of the fault, its log event alone is told: the reason's code. */
static void reply_with_health(struct http_exchange *x, enum fault fault)
{
	const char *reason = fault == FAULT_STOPPING ? "stopping" : faults[fault].event;
	struct secret *body = &x->reply.body;
	bool is_written;

	x->reply.status = fault == FAULT_NONE ? 200 : 503;
	if (x->reply.retry_after_s == 0)
		x->reply.retry_after_s = faults[fault].retry_after_s;
	secret_truncate(body, 0);
	is_written = secret_append_str(body, "{\"status\":\"") &&
		     secret_append_str(body, fault == FAULT_NONE ? x->route->event : "unavailable");
	if (fault != FAULT_NONE)
		is_written = is_written && secret_append_str(body, "\",\"reason\":\"") &&
			     secret_append_str(body, reason);
	if (!is_written || !secret_append_str(body, "\"}"))
		secret_clear(body);
}

static void answer(struct http_exchange *x, enum fault fault)
{
	/* An abandoned request had its line when the client left. */
	if (!x->is_abandoned) {
		if (is_about_health(x, fault))
			reply_with_health(x, fault);
		else if (fault != FAULT_NONE)
			reply_with_fault(x, fault);
		else if (x->reply.status == 0)
			x->reply.status = 200;
		write_log(x, fault, x->reply.status);
	}
	x->finish(x);
}

void gateway_abandon(struct http_exchange *x)
{
	x->is_abandoned = true;
	write_log(x, FAULT_CLIENT_GONE, faults[FAULT_CLIENT_GONE].status);
}

bool gateway_take_back(struct http_exchange *x)
{
	if (!x->route || x->route->handle != session_login || x->reply.status != 200)
		return false;
	x->is_abandoned = true;
	session_revoke_orphan(x->session, x);
	return true;
}

/* The process lives: it answers. */
static void answer_alive(struct session *session, struct http_exchange *x,
			 enum http_media_type type)
{
	(void)session;
	(void)type;
	answer(x, FAULT_NONE);
}

/* ---- the guards ---- */

static const struct gateway_route *find_route(const struct http_request *request)
{
	char segment[32];
	char *dot;

	if (!http_read_route(request->target, segment, sizeof(segment)))
		return NULL;
	dot = strrchr(segment, '.');
	if (dot && (strcmp(dot, ".cgi") == 0 || strcmp(dot, ".fcgi") == 0))
		*dot = '\0';
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (strcmp(segment, routes[i].segment) == 0)
			return &routes[i];
	}
	return NULL;
}

static bool has_credentials_in_url(const struct http_request *request)
{
	const char *mark = request->target ? strchr(request->target, '?') : NULL;

	return (mark && oauth_has_credentials(mark + 1, strlen(mark + 1))) ||
	       (request->query && oauth_has_credentials(request->query, strlen(request->query)));
}

/* In the order of what helps the caller most: a form with method GET, for one, is told about the
 * password in its URL before it is told about its method. */
static enum fault guard(const struct gateway *gateway, const struct http_exchange *x,
			enum http_media_type type)
{
	const struct http_request *request = &x->request;

	if (has_credentials_in_url(request))
		return FAULT_CREDENTIALS_IN_URL;
	if (!request->method || strcmp(request->method, x->route->method) != 0)
		return FAULT_METHOD;
	if (gateway->is_stopping && x->route->handle == session_probe)
		return FAULT_STOPPING;
	if (gateway->closed != FAULT_NONE && x->route->handle != answer_alive)
		return gateway->closed;
	if (x->route->is_health)
		return FAULT_NONE;
	if (!x->reply.allow_origin.text &&
	    !origin_is_own(request->fetch_site, request->origin, request->host))
		return FAULT_ORIGIN;
	if (type == HTTP_MEDIA_OTHER)
		return FAULT_CONTENT_TYPE;
	if (request->body_state == HTTP_BODY_TOO_LARGE)
		return FAULT_BODY_TOO_LARGE;
	return request->body_state == HTTP_BODY_CUT ? FAULT_BODY_CUT : FAULT_NONE;
}

/* Which page it was: whoever runs a site of their own elsewhere finds it in the log. */
static void note_origin(struct http_exchange *x)
{
	const struct http_request *request = &x->request;

	if (request->origin && origin_is_printable(request->origin))
		snprintf(x->note, sizeof(x->note), "origin %s is not in BAKRYPT_ALLOWED_ORIGINS",
			 request->origin);
}

/* 204 to OPTIONS: no body, and no log line above level debug. */
static void answer_options(struct http_exchange *x, const struct gateway_route *route)
{
	struct log_line line;

	x->reply.status = 204;
	x->reply.allow = route->allow;
	x->reply.allow_methods = route->method;
	log_open(&line, LOG_DEBUG, "options");
	log_str(&line, "request_id", x->request_id);
	log_str(&line, "route", route->name);
	log_close(&line);
	x->finish(x);
}

void gateway_refuse(struct http_exchange *x, const char *note)
{
	x->answer = answer;
	secret_clear(&x->request.body);
	http_make_request_id(x->request_id, NULL);
	snprintf(x->note, sizeof(x->note), "%s", note);
	answer(x, FAULT_NO_MEMORY);
}

void gateway_serve(struct gateway *gateway, struct http_exchange *x)
{
	const struct http_request *request = &x->request;
	const struct gateway_route *route = find_route(request);
	enum http_media_type type = http_read_media_type(request->content_type);
	enum fault fault;

	x->answer = answer;
	http_make_request_id(x->request_id, request->request_id);
	if (gateway->session)
		x->reply.allow_origin =
			origin_find(gateway->session->config->allowed_origins, request->origin);
	if (!route) {
		answer(x, FAULT_NOT_FOUND);
		return;
	}
	x->route = route;
	if (request->method && strcmp(request->method, "OPTIONS") == 0) {
		answer_options(x, route);
		return;
	}
	fault = guard(gateway, x, type);
	if (fault == FAULT_METHOD)
		x->reply.allow = route->allow;
	if (fault == FAULT_ORIGIN)
		note_origin(x);
	if (fault != FAULT_NONE && fault == gateway->closed && gateway->closed_note)
		snprintf(x->note, sizeof(x->note), "%s", gateway->closed_note);
	if (fault != FAULT_NONE) {
		secret_clear(&x->request.body);
		answer(x, fault);
		return;
	}
	route->handle(gateway->session, x, type);
}
