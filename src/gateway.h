/*
 * From a request to a reply: the routes, the guards in front of them, every error reply, and the
 * one log line of each request.
 *
 * Floor 3. The only room that turns a fault into a reply.
 */
#ifndef GATEWAY_H
#define GATEWAY_H

#include "http.h"
#include "session.h"

struct gateway {
	struct session *session; /* borrowed; NULL while closed says that settings are bad */
	enum fault closed;       /* what every login is told; FAULT_NONE: logins are served */
	const char *closed_note; /* why, for the log; or NULL. Borrowed */
	bool is_stopping;        /* /readyz says so, while logins are still served */
};

/* Serves one request: fills in the reply and calls x->finish(), exactly once, perhaps before this
 * returns. Borrows x until then. The door has filled in x->request and x->arrived_us. */
void gateway_serve(struct gateway *gateway, struct http_exchange *x);

/* The same for a request that the door has no memory to take in: note says so in the log. Nothing
 * of x->request is looked at. */
void gateway_refuse(struct http_exchange *x, const char *note);

/* The client of a request under way has left. Writes the request's log line; x->finish() comes as
 * always, when the answer has arrived and was dropped. */
void gateway_abandon(struct http_exchange *x);

/* Takes back an exchange that was finished, but whose reply the client did not take any more: the
 * token of a login is revoked. False: there is nothing to do. True: finish is called once more, for
 * an abandoned exchange, perhaps before this returns. */
bool gateway_take_back(struct http_exchange *x);

#endif
