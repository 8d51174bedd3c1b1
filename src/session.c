#include "session.h"

#include <stdio.h>

#include "ceilings.h"
#include "log.h"
#include "loop.h"
#include "oauth.h"

/* No token server gives out one like this. */
#define MADE_UP_TOKEN "bakrypt-login-asks-whether-its-client-is-accepted"

/* ---- what upstream's answers tell of its health ---- */

/* Whether a fault is upstream's or our configuration's, and so every login's. */
static bool is_everybodys(enum fault fault)
{
	switch (fault) {
	case FAULT_CLIENT_REJECTED:
	case FAULT_UPSTREAM_CONTRACT:
	case FAULT_UPSTREAM_WAF:
	case FAULT_UPSTREAM_BUSY:
	case FAULT_UPSTREAM_5XX:
	case FAULT_UPSTREAM_UNREACHABLE:
	case FAULT_UPSTREAM_TIMEOUT:
	case FAULT_UPSTREAM_LOST:
	case FAULT_UPSTREAM_TLS:
	case FAULT_UPSTREAM_REDIRECT:
	case FAULT_UPSTREAM_MALFORMED:
		return true;
	default:
		return false;
	}
}

/* Takes the fault that a grant ended with. One that is nobody's but the user's tells that upstream
 * is well; one of our own want of memory or room tells nothing. */
static void note_health(struct session_health *health, enum fault fault)
{
	if (fault == FAULT_OVERLOADED || fault == FAULT_NO_MEMORY)
		return;
	health->is_known = true;
	health->fault = is_everybodys(fault) ? fault : FAULT_NONE;
	health->at_us = loop_clock_us();
}

/* ---- from upstream's answer to ours ---- */

static struct oauth_answer received(const struct upstream_answer *answer)
{
	return (struct oauth_answer){
		.status = answer->status,
		.is_html = answer->is_html,
		.retry_after_s = answer->retry_after_s,
		.body = &answer->body,
	};
}

/* What the log line says besides the event: the hint for our own fault, else upstream's traits. */
static void note_verdict(struct http_exchange *x, const struct oauth_verdict *verdict,
			 const struct upstream_answer *answer)
{
	if (verdict->fault == FAULT_NONE || verdict->fault == FAULT_LOGIN_REFUSED)
		return;
	snprintf(x->note, sizeof(x->note), "%s%s%s", verdict->hint ? verdict->hint : "",
		 verdict->hint && *answer->note ? "; " : "", answer->note);
}

static enum fault take_verdict(struct http_exchange *x, const struct oauth_verdict *verdict,
			       const struct upstream_answer *answer)
{
	x->upstream_error = verdict->error;
	x->is_off_contract = verdict->is_off_contract;
	note_verdict(x, verdict, answer);
	if (verdict->fault == FAULT_UPSTREAM_429 || verdict->fault == FAULT_UPSTREAM_BUSY)
		x->reply.retry_after_s = answer->retry_after_s;
	return verdict->fault;
}

/* Reads an answer to a grant, or what kept it from coming. */
static enum fault read_grant(struct http_exchange *x, const struct upstream_answer *answer)
{
	struct oauth_answer message = received(answer);
	struct oauth_verdict verdict;

	if (answer->fault != FAULT_NONE)
		return answer->fault;
	verdict = oauth_read_token(&message, &x->reply.body);
	return take_verdict(x, &verdict, answer);
}

static enum fault read_revocation(struct http_exchange *x, const struct upstream_answer *answer)
{
	struct oauth_answer message = received(answer);
	struct oauth_verdict verdict;

	if (answer->fault != FAULT_NONE)
		return answer->fault;
	verdict = oauth_read_revocation(&message);
	return take_verdict(x, &verdict, answer);
}

/* What every answer leaves in the exchange. */
static void take_traits(struct http_exchange *x, const struct upstream_answer *answer)
{
	uint64_t queued_us = x->phases.queue_us;

	x->phases = answer->phases;
	x->phases.queue_us += queued_us;
	x->upstream_status = answer->status;
	if (answer->fault != FAULT_NONE)
		snprintf(x->note, sizeof(x->note), "%s", answer->note);
}

/* Sends a request that was written, or answers with the fault that kept it from being. */
static void ask(struct session *session, struct http_exchange *x, enum fault fault, const char *url,
		struct secret *body, upstream_done *done)
{
	secret_clear(&x->request.body);
	x->session = session;
	if (fault != FAULT_NONE) {
		secret_clear(body);
		x->answer(x, fault);
		return;
	}
	x->phases.queue_us = loop_clock_us() - x->arrived_us;
	upstream_post(session->upstream, url, body, done, x);
}

/* ---- log in ---- */

static void on_orphan_answer(void *context, struct upstream_answer *answer)
{
	struct http_exchange *x = context;
	enum fault fault = read_revocation(x, answer);
	struct log_line line;

	log_open(&line, fault == FAULT_NONE ? LOG_INFO : LOG_WARN,
		 fault == FAULT_NONE ? "orphan_revoked" : "orphan_left");
	log_str(&line, "login", x->request_id);
	if (answer->status > 0)
		log_int(&line, "upstream_status", answer->status);
	log_str(&line, "note", fault == FAULT_NONE || !*answer->note ? NULL : answer->note);
	log_close(&line);
	x->answer(x, FAULT_NONE);
}

/* Nobody will ever have this token: it is not left alive for hours. */
static void revoke_orphan(struct session *session, struct http_exchange *x)
{
	struct oauth_fields fields;
	struct secret body;
	enum fault fault;

	oauth_fields_init(&fields);
	secret_init(&body, 0);
	fault = oauth_read_logout(&x->reply.body, HTTP_MEDIA_JSON, &fields);
	if (fault == FAULT_NONE)
		fault = oauth_write_revocation(session->config, &fields, &body);
	oauth_fields_clear(&fields);
	secret_clear(&x->reply.body);
	ask(session, x, fault, session->config->revoke_url, &body, on_orphan_answer);
}

static void on_login_answer(void *context, struct upstream_answer *answer)
{
	struct http_exchange *x = context;
	enum fault fault;

	take_traits(x, answer);
	fault = read_grant(x, answer);
	note_health(&x->session->health, fault);
	if (fault == FAULT_NONE && x->is_abandoned)
		revoke_orphan(x->session, x);
	else
		x->answer(x, fault);
}

void session_login(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	struct oauth_fields fields;
	struct secret body;
	enum fault fault;

	oauth_fields_init(&fields);
	secret_init(&body, 0);
	fault = oauth_read_login(&x->request.body, type, &fields);
	x->ignored_fields = fields.ignored;
	if (fault == FAULT_NONE)
		fault = oauth_write_password_grant(session->config, &fields, &body);
	oauth_fields_clear(&fields);
	ask(session, x, fault, session->config->token_url, &body, on_login_answer);
}

/* ---- refresh ---- */

static void on_refresh_answer(void *context, struct upstream_answer *answer)
{
	struct http_exchange *x = context;
	enum fault fault;

	take_traits(x, answer);
	fault = read_grant(x, answer);
	note_health(&x->session->health, fault);
	/* Nothing is revoked if the client has left: where tokens are not rotated, it would be the
	 * one that the client still has. */
	x->answer(x, fault == FAULT_LOGIN_REFUSED ? FAULT_REFRESH_REFUSED : fault);
}

void session_refresh(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	struct oauth_fields fields;
	struct secret body;
	enum fault fault;

	oauth_fields_init(&fields);
	secret_init(&body, 0);
	fault = oauth_read_refresh(&x->request.body, type, &fields);
	x->ignored_fields = fields.ignored;
	if (fault == FAULT_NONE)
		fault = oauth_write_refresh_grant(session->config, &fields, &body);
	oauth_fields_clear(&fields);
	ask(session, x, fault, session->config->token_url, &body, on_refresh_answer);
}

/* ---- log out ---- */

static void on_logout_answer(void *context, struct upstream_answer *answer)
{
	struct http_exchange *x = context;

	take_traits(x, answer);
	x->reply.status = 204;
	x->answer(x, read_revocation(x, answer));
}

void session_logout(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	struct oauth_fields fields;
	struct secret body;
	enum fault fault;

	oauth_fields_init(&fields);
	secret_init(&body, 0);
	fault = oauth_read_logout(&x->request.body, type, &fields);
	x->ignored_fields = fields.ignored;
	if (fault == FAULT_NONE)
		fault = oauth_write_revocation(session->config, &fields, &body);
	oauth_fields_clear(&fields);
	ask(session, x, fault, session->config->revoke_url, &body, on_logout_answer);
}

/* ---- would it work ---- */

static void on_probe_answer(void *context, struct upstream_answer *answer)
{
	struct http_exchange *x = context;
	struct session_health *health = &x->session->health;
	enum fault fault;

	take_traits(x, answer);
	fault = read_grant(x, answer);
	secret_clear(&x->reply.body);
	health->is_asking = false;
	note_health(health, fault);
	x->answer(x, is_everybodys(fault) ? fault : FAULT_NONE);
}

void session_probe(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	struct session_health *health = &session->health;
	uint64_t fresh_us =
		(health->fault == FAULT_NONE ? HEALTH_FRESH_MS : HEALTH_RETRY_MS) * 1000ULL;
	struct oauth_fields fields;
	struct secret body;
	enum fault fault = FAULT_NO_MEMORY;

	(void)type;
	if (health->is_known && (health->is_asking || loop_clock_us() - health->at_us < fresh_us)) {
		x->answer(x, health->fault);
		return;
	}
	if (health->is_asking) {
		x->answer(x, FAULT_UNCHECKED);
		return;
	}
	oauth_fields_init(&fields);
	secret_init(&body, 0);
	if (secret_append_str(&fields.refresh_token, MADE_UP_TOKEN))
		fault = oauth_write_refresh_grant(session->config, &fields, &body);
	oauth_fields_clear(&fields);
	health->is_asking = fault == FAULT_NONE;
	ask(session, x, fault, session->config->token_url, &body, on_probe_answer);
}
