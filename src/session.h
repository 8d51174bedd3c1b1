/*
 * A session's life: log in.
 *
 * Floor 2. Reads the request's body, asks upstream, and leaves the answer in the exchange.
 */
#ifndef SESSION_H
#define SESSION_H

#include "config.h"
#include "fault.h"
#include "http.h"
#include "upstream.h"

struct session {
	const struct config *config; /* borrowed */
	struct upstream *upstream;   /* borrowed */
};

/* POST /login: reads the body, asks upstream with the password grant, and ends in x->answer(),
 * exactly once, perhaps before it returns. After FAULT_NONE the reply's body is the token's JSON.
 * Borrows x until then; the request's body is wiped before this returns. type is JSON or FORM. */
void session_login(struct session *session, struct http_exchange *x, enum http_media_type type);

#endif
