/*
 * A session's life: log in, refresh, log out; and whether any of it would work now.
 *
 * Floor 2. Reads the request's body, asks upstream, and leaves the answer in the exchange. Each
 * handler ends in x->answer(), exactly once, perhaps before it returns, and borrows x until then;
 * the request's body is wiped as soon as it has been read.
 */
#ifndef SESSION_H
#define SESSION_H

#include "config.h"
#include "fault.h"
#include "http.h"
#include "upstream.h"

/* What the last calls told about upstream. */
struct session_health {
	bool is_known;
	bool is_asking;   /* a probe is under way */
	bool is_doubted;  /* since then something failed that may have been one user's fault */
	enum fault fault; /* FAULT_NONE: reachable, and our client is accepted */
	uint64_t at_us;   /* loop_clock_us() */
};

struct session {
	const struct config *config; /* borrowed */
	struct upstream *upstream;   /* borrowed */
	struct session_health health;
};

/* POST /login: the password grant. After FAULT_NONE the reply's body is the token's JSON. If the
 * client has left meanwhile, the token is revoked, before x->answer(). type is JSON or FORM; so
 * with the others. */
void session_login(struct session *session, struct http_exchange *x, enum http_media_type type);

/* Revokes the token in the reply of a login whose client has left: nobody will ever have it, and it
 * is not left alive for hours. The login itself was logged. Ends in x->answer() as well. */
void session_revoke_orphan(struct session *session, struct http_exchange *x);

/* POST /refresh: the refresh grant. The reply is as after a login. */
void session_refresh(struct session *session, struct http_exchange *x, enum http_media_type type);

/* POST /logout: the revocation; of both tokens, one after the other, if both are there. After
 * FAULT_NONE the reply's status is 204. */
void session_logout(struct session *session, struct http_exchange *x, enum http_media_type type);

/* GET /readyz: whether a login would work, as far as upstream goes. That is what the last call
 * told; or if that is HEALTH_FRESH_MS old (HEALTH_RETRY_MS, if it was not good), what a refresh
 * grant with a made-up token tells, which touches no account. FAULT_NONE, or the fault that a login
 * would meet; FAULT_UNCHECKED while the first such probe is under way. */
void session_probe(struct session *session, struct http_exchange *x, enum http_media_type type);

#endif
