#include "session.h"

#include <stdio.h>

#include "ceilings.h"
#include "log.h"
#include "loop.h"
#include "oauth.h"

/* ---- what upstream's answers tell of its health ---- */

enum blame {
	NOBODYS,    /* of all others: upstream answers, and takes us for its client */
	EVERYBODYS, /* every login meets this fault */
	SOMEBODYS,  /* perhaps every login does; perhaps one user's password or token is to blame,
		     * at which a firewall or upstream itself takes offence */
	TELLS_NOTHING, /* it is our own want of room or memory */
};

static enum blame blame(enum fault fault)
{
	switch (fault) {
	case FAULT_CLIENT_REJECTED:
	case FAULT_UPSTREAM_BUSY:
	case FAULT_UPSTREAM_UNREACHABLE:
	case FAULT_UPSTREAM_TLS:
	case FAULT_UPSTREAM_REDIRECT:
		return EVERYBODYS;
	case FAULT_UPSTREAM_CONTRACT:
	case FAULT_UPSTREAM_WAF:
	case FAULT_UPSTREAM_5XX:
	case FAULT_UPSTREAM_TIMEOUT:
	case FAULT_UPSTREAM_LOST:
	case FAULT_UPSTREAM_MALFORMED:
		return SOMEBODYS;
	case FAULT_OVERLOADED:
	case FAULT_NO_MEMORY:
		return TELLS_NOTHING;
	default:
		return NOBODYS;
	}
}

static void set_health(struct session_health *health, enum fault fault)
{
	health->is_known = true;
	health->is_doubted = false;
	health->fault = fault;
	health->at_us = loop_clock_us();
}

/* Takes the fault that a user's grant ended with. No user can make us look ill to all others: at
 * worst the next question is asked sooner. */
static void note_health(struct session_health *health, enum fault fault)
{
	switch (blame(fault)) {
	case NOBODYS:
		set_health(health, FAULT_NONE);
		break;
	case EVERYBODYS:
		set_health(health, fault);
		break;
	case SOMEBODYS:
		health->is_doubted = true;
		break;
	case TELLS_NOTHING:
		break;
	}
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

/* Sends a request that was written. */
static void ask(struct session *session, struct http_exchange *x, const char *url,
		struct secret *body, upstream_done *done)
{
	x->session = session;
	upstream_post(session->upstream, url, body, done, x);
}

typedef enum fault message_writer(const struct config *config, const struct oauth_fields *fields,
				  struct secret *ret_body);

/* What a route reads from a body, and what it makes of that for upstream. */
struct errand {
	enum fault (*read)(const struct secret *body, enum http_media_type type,
			   struct oauth_fields *ret_fields);
	message_writer *write;
	message_writer *write_second; /* may leave it empty: nothing more to send; or NULL */
};

static const struct errand login = {oauth_read_login, oauth_write_password_grant, NULL};
static const struct errand refresh = {oauth_read_refresh, oauth_write_refresh_grant, NULL};
static const struct errand logout = {oauth_read_logout, oauth_write_revocation,
				     oauth_write_second_revocation};
/* Its tokens are of one answer, and known: one call ends both. */
static const struct errand orphan = {oauth_read_logout, oauth_write_revocation, NULL};

/* The second message, if there is one, takes the place of the request's body. */
static enum fault write_request(const struct errand *errand, const struct config *config,
				struct http_exchange *x, enum http_media_type type,
				struct secret *ret_body)
{
	struct oauth_fields fields;
	enum fault fault;

	oauth_fields_init(&fields);
	fault = errand->read(&x->request.body, type, &fields);
	secret_clear(&x->request.body);
	x->ignored_fields = fields.ignored;
	if (fault == FAULT_NONE)
		fault = errand->write(config, &fields, ret_body);
	if (fault == FAULT_NONE && errand->write_second)
		fault = errand->write_second(config, &fields, &x->request.body);
	oauth_fields_clear(&fields);
	return fault;
}

/* The body is read, written anew, and sent; or the fault that is in it is the answer. */
static void run(struct session *session, struct http_exchange *x, enum http_media_type type,
		const struct errand *errand, const char *url, upstream_done *done)
{
	struct secret body;
	enum fault fault;

	secret_init(&body, 0);
	fault = write_request(errand, session->config, x, type, &body);
	x->phases.queue_us = loop_clock_us() - x->arrived_us;
	if (fault == FAULT_NONE)
		ask(session, x, url, &body, done);
	else
		x->answer(x, fault);
	secret_clear(&body);
}

/* ---- log in ---- */

static void log_orphan(const struct http_exchange *x, enum fault fault)
{
	struct log_line line;

	if (fault == FAULT_NONE)
		log_open(&line, LOG_INFO, "orphan_revoked");
	else
		log_open(&line, LOG_WARN, "orphan_left");
	log_str(&line, "login", x->request_id);
	if (x->upstream_status > 0)
		log_int(&line, "upstream_status", x->upstream_status);
	log_str(&line, "upstream_error", x->upstream_error);
	log_str(&line, "note", *x->note ? x->note : NULL);
	log_close(&line);
}

/* The login itself was logged when its client left. */
static void on_orphan_answer(void *context, struct upstream_answer *answer)
{
	struct http_exchange *x = context;

	take_traits(x, answer);
	log_orphan(x, read_revocation(x, answer));
	x->answer(x, FAULT_NONE);
}

void session_revoke_orphan(struct session *session, struct http_exchange *x)
{
	struct secret body;
	enum fault fault;

	secret_init(&body, 0);
	secret_move(&x->request.body, &x->reply.body);
	x->upstream_status = 0;
	fault = write_request(&orphan, session->config, x, HTTP_MEDIA_JSON, &body);
	if (fault == FAULT_NONE) {
		ask(session, x, session->config->revoke_url, &body, on_orphan_answer);
		return;
	}
	snprintf(x->note, sizeof(x->note), "no request could be made of it");
	log_orphan(x, fault);
	x->answer(x, FAULT_NONE);
}

static void on_login_answer(void *context, struct upstream_answer *answer)
{
	struct http_exchange *x = context;
	enum fault fault;

	take_traits(x, answer);
	fault = read_grant(x, answer);
	note_health(&x->session->health, fault);
	if (fault == FAULT_NONE && x->is_abandoned)
		session_revoke_orphan(x->session, x);
	else
		x->answer(x, fault);
}

void session_login(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	run(session, x, type, &login, session->config->token_url, on_login_answer);
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
	run(session, x, type, &refresh, session->config->token_url, on_refresh_answer);
}

/* ---- log out ---- */

static void on_logout_answer(void *context, struct upstream_answer *answer)
{
	struct http_exchange *x = context;
	struct secret second;
	enum fault fault;

	take_traits(x, answer);
	fault = read_revocation(x, answer);
	if (fault == FAULT_NONE && secret_len(&x->request.body) > 0) {
		secret_init(&second, 0);
		secret_move(&second, &x->request.body);
		ask(x->session, x, x->session->config->revoke_url, &second, on_logout_answer);
		return;
	}
	secret_clear(&x->request.body);
	x->reply.status = 204;
	x->answer(x, fault);
}

void session_logout(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	run(session, x, type, &logout, session->config->revoke_url, on_logout_answer);
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
	if (blame(fault) == NOBODYS)
		fault = FAULT_NONE;
	health->is_asking = false;
	if (blame(fault) != TELLS_NOTHING)
		set_health(health, fault);
	x->answer(x, fault);
}

void session_probe(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	struct session_health *health = &session->health;
	bool is_good = health->fault == FAULT_NONE && !health->is_doubted;
	uint64_t fresh_us = (is_good ? HEALTH_FRESH_MS : HEALTH_RETRY_MS) * 1000ULL;
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
	if (oauth_fields_make_up(&fields))
		fault = oauth_write_refresh_grant(session->config, &fields, &body);
	oauth_fields_clear(&fields);
	if (fault != FAULT_NONE) {
		x->answer(x, fault);
		return;
	}
	health->is_asking = true;
	x->phases.queue_us = loop_clock_us() - x->arrived_us;
	ask(session, x, session->config->token_url, &body, on_probe_answer);
}
