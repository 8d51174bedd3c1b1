#include "session.h"

#include <stdio.h>

#include "loop.h"
#include "oauth.h"

/* What the log line says besides the event: the hint for our own fault, else upstream's traits. */
static void note_verdict(struct http_exchange *x, const struct oauth_verdict *verdict,
			 const struct upstream_answer *answer)
{
	if (verdict->fault == FAULT_NONE || verdict->fault == FAULT_LOGIN_REFUSED)
		return;
	snprintf(x->note, sizeof(x->note), "%s%s%s", verdict->hint ? verdict->hint : "",
		 verdict->hint && *answer->note ? "; " : "", answer->note);
}

static enum fault read_answer(struct http_exchange *x, const struct upstream_answer *answer)
{
	const struct oauth_answer received = {
		.status = answer->status,
		.is_html = answer->is_html,
		.retry_after_s = answer->retry_after_s,
		.body = &answer->body,
	};
	struct oauth_verdict verdict = oauth_read_token(&received, &x->reply.body);

	x->upstream_error = verdict.error;
	x->is_off_contract = verdict.is_off_contract;
	note_verdict(x, &verdict, answer);
	if (verdict.fault == FAULT_UPSTREAM_429 || verdict.fault == FAULT_UPSTREAM_BUSY)
		x->reply.retry_after_s = answer->retry_after_s;
	return verdict.fault;
}

static void on_answer(void *context, struct upstream_answer *answer)
{
	struct http_exchange *x = context;
	uint64_t queued_us = x->phases.queue_us;
	enum fault fault = answer->fault;

	x->phases = answer->phases;
	x->phases.queue_us += queued_us;
	x->upstream_status = answer->status;
	if (fault == FAULT_NONE)
		fault = read_answer(x, answer);
	else
		snprintf(x->note, sizeof(x->note), "%s", answer->note);
	x->answer(x, fault);
}

void session_login(struct session *session, struct http_exchange *x, enum http_media_type type)
{
	struct oauth_credentials credentials;
	struct secret grant;
	enum fault fault;

	oauth_credentials_init(&credentials);
	secret_init(&grant, 0);
	fault = oauth_read_credentials(&x->request.body, type, &credentials);
	secret_clear(&x->request.body);
	x->ignored_fields = credentials.ignored_fields;
	if (fault == FAULT_NONE)
		fault = oauth_write_password_grant(session->config, &credentials, &grant);
	oauth_credentials_clear(&credentials);
	if (fault != FAULT_NONE) {
		x->answer(x, fault);
		return;
	}
	x->phases.queue_us = loop_clock_us() - x->arrived_us;
	upstream_post(session->upstream, &grant, on_answer, x);
}
