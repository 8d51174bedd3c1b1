#include "session.h"

#include <stdio.h>
#include <string.h>

#include "ceilings.h"
#include "log.h"
#include "oauth.h"

typedef enum fault message_writer(const struct config *config, const struct oauth_fields *fields,
				  struct secret *ret_body);

/* What a route reads from a body, what it makes of that for upstream, and who takes the answer. */
struct session_errand {
	enum fault (*read)(const struct secret *body, enum http_media_type type,
			   struct oauth_fields *ret_fields);
	message_writer *write;
	message_writer *write_second; /* may leave it empty: nothing more to send; or NULL */
	bool is_revocation;           /* goes to config->revoke_url */
	upstream_done *done;
};

static upstream_done on_login_answer;
static upstream_done on_refresh_answer;
static upstream_done on_logout_answer;
static upstream_done on_orphan_answer;

static const struct session_errand login = {oauth_read_login, oauth_write_password_grant, NULL,
					    false, on_login_answer};
static const struct session_errand refresh = {oauth_read_refresh, oauth_write_refresh_grant, NULL,
					      false, on_refresh_answer};
static const struct session_errand logout = {oauth_read_logout, oauth_write_revocation,
					     oauth_write_second_revocation, true, on_logout_answer};
/* Its tokens are of one answer, and known: one call ends both. */
static const struct session_errand orphan = {oauth_read_logout, oauth_write_revocation, NULL, true,
					     on_orphan_answer};

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
	/* It was given out, and is lost: no case for "try again, nobody has seen it". */
	if (verdict.fault == FAULT_NO_MEMORY) {
		verdict.fault = FAULT_UPSTREAM_LOST;
		verdict.hint = "no memory for the token";
		x->is_starved = true;
	}
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
	x->is_starved = answer->is_starved;
	if (answer->fault != FAULT_NONE)
		snprintf(x->note, sizeof(x->note), "%s", answer->note);
}

/* Sends a request that was written. */
static void ask(struct session *session, struct http_exchange *x,
		const struct session_errand *errand, struct secret *body)
{
	const struct config *config = session->config;

	x->session = session;
	x->asked_us = loop_clock_us();
	upstream_post(session->upstream,
		      errand->is_revocation ? config->revoke_url : config->token_url, body,
		      errand->done, x);
}

/* The second message, if there is one, takes the place of the request's body. */
static enum fault write_request(const struct session_errand *errand, const struct config *config,
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
static void send_on(struct session *session, struct http_exchange *x, enum http_media_type type,
		    const struct session_errand *errand)
{
	struct secret body;
	enum fault fault;

	secret_init(&body, 0);
	fault = write_request(errand, session->config, x, type, &body);
	x->phases.queue_us = loop_clock_us() - x->arrived_us;
	if (fault == FAULT_NONE)
		ask(session, x, errand, &body);
	else
		x->answer(x, fault);
	secret_clear(&body);
}

/* ---- what upstream's answers tell of it ---- */

static const char *const events[FAULT_COUNT] = {
#define FAULT_EVENT(symbol, status, error, retry_after_s, event, level, description) \
	[FAULT_##symbol] = (event),
	FAULT_TABLE(FAULT_EVENT)
#undef FAULT_EVENT
};

/* error: the code that upstream gave, or NULL. No user can make upstream look ill to all others: at
 * what one user's password or token can bring about, a probe is sent at worst. */
static enum breaker_news read_news(enum fault fault, const char *error)
{
	switch (fault) {
	case FAULT_CLIENT_REJECTED:
		/* The other codes are about one grant or one scope, perhaps of one user, and
		 * others may be granted. */
		return error && strcmp(error, "invalid_client") == 0 ? BREAKER_REJECTED
								     : BREAKER_DOUBTFUL;
	case FAULT_UPSTREAM_UNREACHABLE:
	case FAULT_UPSTREAM_TLS:
		return BREAKER_DOWN;
	/* Whom upstream asks to wait, and for what, it does not say: it may be one account. */
	case FAULT_UPSTREAM_429:
	case FAULT_UPSTREAM_BUSY:
	case FAULT_UPSTREAM_REDIRECT:
	case FAULT_UPSTREAM_CONTRACT:
	case FAULT_UPSTREAM_WAF:
	case FAULT_UPSTREAM_5XX:
	case FAULT_UPSTREAM_TIMEOUT:
	case FAULT_UPSTREAM_LOST:
	case FAULT_UPSTREAM_MALFORMED:
		return BREAKER_DOUBTFUL;
	case FAULT_OVERLOADED:
	case FAULT_NO_MEMORY:
		return BREAKER_NO_NEWS;
	default:
		return BREAKER_GOOD;
	}
}

/* Of what may have come of our own want of memory there is none. */
static enum breaker_news news_of(const struct http_exchange *x, enum fault fault)
{
	enum breaker_news news = read_news(fault, x->upstream_error);
	bool is_bad = news == BREAKER_DOWN || news == BREAKER_DOUBTFUL;

	return is_bad && x->is_starved ? BREAKER_NO_NEWS : news;
}

/* note: how it was found out, if no other line tells it; or NULL. */
static void log_turn(const struct session *session, enum breaker_turn turn, const char *note)
{
	const struct breaker *breaker = &session->breaker;
	struct log_line line;

	if (turn == BREAKER_OPENS) {
		log_open(&line, LOG_ERROR, "breaker_open");
		log_str(&line, "reason", events[breaker->fault]);
		log_str(&line, "note", note && *note ? note : NULL);
	} else if (turn == BREAKER_CLOSES) {
		log_open(&line, LOG_INFO, "breaker_closed");
		log_int(&line, "refused", breaker->refused);
		log_ms(&line, "open_ms", breaker->heard_us - breaker->opened_us);
	} else {
		return;
	}
	log_close(&line);
}

static void refuse(const struct session *session, struct http_exchange *x)
{
	const struct breaker *breaker = &session->breaker;

	secret_clear(&x->request.body);
	x->reply.retry_after_s = breaker_retry_after_s(breaker, loop_clock_us());
	if (breaker->fault != FAULT_NONE)
		snprintf(x->note, sizeof(x->note), "after %s", events[breaker->fault]);
	x->answer(x, FAULT_UPSTREAM_DOWN);
}

static void tell_health(const struct session *session, struct http_exchange *x)
{
	const struct breaker *breaker = &session->breaker;

	if (breaker->is_open)
		x->reply.retry_after_s = breaker_retry_after_s(breaker, loop_clock_us());
	x->answer(x, breaker->fault);
}

/* ---- the probe ---- */

/* The waiter goes its way. may_pass: upstream. fault: what the probe met. */
static void end_wait(struct session *session, bool may_pass, enum fault fault)
{
	const struct session_errand *errand = session->errand;
	struct http_exchange *x = session->waiter;

	if (!x)
		return;
	session->waiter = NULL;
	loop_timer_cancel(session->loop, &session->wait_timer);
	if (errand && may_pass && !x->is_abandoned) {
		send_on(session, x, session->type, errand);
	} else if (errand) {
		refuse(session, x);
	} else {
		x->phases = session->probe.phases;
		x->upstream_status = session->probe.upstream_status;
		x->upstream_error = session->probe.upstream_error;
		snprintf(x->note, sizeof(x->note), "%s", session->probe.note);
		if (session->breaker.is_off || read_news(fault, NULL) == BREAKER_NO_NEWS)
			x->answer(x, fault);
		else
			tell_health(session, x);
	}
}

static void on_wait_timer(struct loop_timer *timer)
{
	end_wait(CONTAINER(timer, struct session, wait_timer), false, FAULT_NONE);
}

static void on_probe_answer(void *context, struct upstream_answer *answer)
{
	struct session *session = context;
	struct http_exchange *probe = &session->probe;
	enum breaker_news news;
	enum fault fault;
	bool may_pass;

	take_traits(probe, answer);
	fault = read_grant(probe, answer);
	news = news_of(probe, fault);
	log_turn(session,
		 breaker_end_probe(&session->breaker, news, fault, probe->reply.retry_after_s,
				   loop_clock_us()),
		 session->waiter && !session->errand ? NULL : probe->note);
	/* Whoever has answered is there, and may be asked in earnest. */
	may_pass =
		news == BREAKER_GOOD || (news == BREAKER_DOUBTFUL && probe->upstream_status > 0 &&
					 breaker_allows_trial(&session->breaker));
	http_clear(probe);
	end_wait(session, may_pass, news == BREAKER_GOOD ? FAULT_NONE : fault);
}

/* The refresh grant with a made-up token: it touches no account, and carries no password. */
static void send_probe(struct session *session)
{
	struct oauth_fields fields;
	struct secret body;
	enum fault fault = FAULT_NO_MEMORY;

	http_init(&session->probe, NULL);
	oauth_fields_init(&fields);
	secret_init(&body, 0);
	if (oauth_fields_make_up(&fields))
		fault = oauth_write_refresh_grant(session->config, &fields, &body);
	oauth_fields_clear(&fields);
	if (fault != FAULT_NONE) {
		end_wait(session, false, fault);
		return;
	}
	breaker_begin_probe(&session->breaker, loop_clock_us());
	upstream_post(session->upstream, session->config->token_url, &body, on_probe_answer,
		      session);
}

/* Takes what became of a user's grant. */
static void hear(struct http_exchange *x, enum fault fault)
{
	struct session *session = x->session;
	enum breaker_turn turn = breaker_hear(&session->breaker, news_of(x, fault), fault,
					      x->asked_us, loop_clock_us());

	log_turn(session, turn, NULL);
	if (turn == BREAKER_DOUBTS)
		send_probe(session);
}

/* ---- a request's beginning ---- */

static void run(struct session *session, struct http_exchange *x, enum http_media_type type,
		const struct session_errand *errand)
{
	switch (breaker_admit(&session->breaker, loop_clock_us())) {
	case BREAKER_PASS:
		send_on(session, x, type, errand);
		break;
	case BREAKER_REFUSE:
		refuse(session, x);
		break;
	case BREAKER_PROBE:
		session->waiter = x;
		session->errand = errand;
		session->type = type;
		loop_timer_set(session->loop, &session->wait_timer, PROBE_WAIT_MS);
		send_probe(session);
		break;
	}
}

void session_open(struct session *session, const struct config *config, struct upstream *upstream,
		  struct loop *loop)
{
	*session = (struct session){.config = config, .upstream = upstream, .loop = loop};
	session->breaker.is_off = !loop;
	session->wait_timer.on_fire = on_wait_timer;
}

void session_retire(struct session *session)
{
	session->breaker.is_off = true;
}

void session_close(struct session *session)
{
	if (session->loop)
		loop_timer_cancel(session->loop, &session->wait_timer);
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
		ask(session, x, &orphan, &body);
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
	hear(x, fault);
	if (fault == FAULT_NONE && x->is_abandoned)
		session_revoke_orphan(x->session, x);
	else
		x->answer(x, fault);
}

void session_login(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	run(session, x, type, &login);
}

/* ---- refresh ---- */

static void on_refresh_answer(void *context, struct upstream_answer *answer)
{
	struct http_exchange *x = context;
	enum fault fault;

	take_traits(x, answer);
	fault = read_grant(x, answer);
	hear(x, fault);
	/* Nothing is revoked if the client has left: where tokens are not rotated, it would be the
	 * one that the client still has. */
	x->answer(x, fault == FAULT_LOGIN_REFUSED ? FAULT_REFRESH_REFUSED : fault);
}

void session_refresh(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	run(session, x, type, &refresh);
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
		ask(x->session, x, &logout, &second);
		return;
	}
	secret_clear(&x->request.body);
	x->reply.status = 204;
	x->answer(x, fault);
}

void session_logout(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	if (upstream_is_one_server(session->upstream))
		run(session, x, type, &logout);
	else
		send_on(session, x, type, &logout);
}

/* ---- would it work ---- */

void session_probe(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	(void)type;
	switch (breaker_inquire(&session->breaker, loop_clock_us())) {
	case BREAKER_PASS:
		tell_health(session, x);
		break;
	case BREAKER_REFUSE:
		x->answer(x, FAULT_UNCHECKED);
		break;
	case BREAKER_PROBE:
		session->waiter = x;
		session->errand = NULL;
		x->phases.queue_us = loop_clock_us() - x->arrived_us;
		send_probe(session);
		break;
	}
}
