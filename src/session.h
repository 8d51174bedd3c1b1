/*
 * A session's life: log in, refresh, log out; and whether any of it would work now.
 *
 * Floor 2. Reads the request's body, asks upstream, and leaves the answer in the exchange. Each
 * handler ends in x->answer(), exactly once, perhaps before it returns, and borrows x until then;
 * the request's body is wiped as soon as it has been read.
 */
#ifndef SESSION_H
#define SESSION_H

#include "breaker.h"
#include "config.h"
#include "fault.h"
#include "http.h"
#include "loop.h"
#include "upstream.h"

struct session_errand;

/* What one session takes of the loop's timers. */
#define SESSION_TIMERS 1

struct session {
	const struct config *config; /* borrowed */
	struct upstream *upstream;   /* borrowed */
	struct loop *loop;           /* borrowed; NULL: no breaker */
	struct breaker breaker;      /* of the token endpoint's server */
	struct http_exchange probe;  /* that nobody sent: what the breaker's probe brought */
	/* The request that waits for the probe's end; or NULL. One that was to go upstream waits
	 * for PROBE_WAIT_MS at the longest; its body is not read yet. */
	struct http_exchange *waiter;
	const struct session_errand *errand; /* the waiter's; NULL: it asks for our health alone */
	enum http_media_type type;           /* of the waiter's body */
	struct loop_timer wait_timer;
};

/* All are borrowed. loop: NULL where there is one request and then an end, as by CGI: all are sent,
 * and nothing is learned. */
void session_open(struct session *session, const struct config *config, struct upstream *upstream,
		  struct loop *loop);

/* There are new settings: what becomes of the requests under way tells nothing any more. */
void session_retire(struct session *session);

/* To be called before the session's memory goes; one that was never opened is all zero. */
void session_close(struct session *session);

/* These go upstream, if the breaker lets them: else they end in UPSTREAM_DOWN at once, and their
 * body is wiped unread. */

/* POST /login: the password grant. After FAULT_NONE the reply's body is the token's JSON. If the
 * client has left meanwhile, the token is revoked, before x->answer(). type is JSON or FORM; so
 * with the others. */
void session_login(struct session *session, struct http_exchange *x, enum http_media_type type);

/* Revokes the token in the reply of a login whose client has left: nobody will ever have it, and it
 * is not left alive for hours. Upstream has just given it, so no breaker is asked. The login itself
 * was logged. Ends in x->answer() as well. */
void session_revoke_orphan(struct session *session, struct http_exchange *x);

/* POST /refresh: the refresh grant. The reply is as after a login. */
void session_refresh(struct session *session, struct http_exchange *x, enum http_media_type type);

/* POST /logout: the revocation; of both tokens, one after the other, if both are there. After
 * FAULT_NONE the reply's status is 204. Where tokens are revoked on a server of its own, no breaker
 * is asked. */
void session_logout(struct session *session, struct http_exchange *x, enum http_media_type type);

/* GET /readyz: whether a login would work, as far as upstream goes. That is what the last call
 * told, or while the breaker is open the last probe; or if that is HEALTH_FRESH_MS old
 * (HEALTH_RETRY_MS, if it was not good; or the breaker's pause), what a probe tells: a refresh
 * grant with a made-up token, which touches no account. FAULT_NONE, or the fault that a login would
 * meet; FAULT_UNCHECKED while the first such probe is under way. */
void session_probe(struct session *session, struct http_exchange *x, enum http_media_type type);

#endif
