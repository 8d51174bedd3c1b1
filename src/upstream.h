/*
 * One POST to the token server, and its answer.
 *
 * Floor 1. The only room that knows libcurl: HTTP/2 over connections that carry many calls, with
 * HTTP/1.1 as fallback, TLS 1.2 or newer with verification, no redirects, a deadline of its own
 * for each call.
 */
#ifndef UPSTREAM_H
#define UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "buf.h"
#include "ceilings.h"
#include "config.h"
#include "fault.h"
#include "http.h"
#include "loop.h"

struct upstream;

struct upstream_answer {
	enum fault fault; /* FAULT_NONE: an answer came, whatever it says; the rest is valid */
	long status;
	bool is_starved;        /* memory was refused meanwhile: the fault may be our own */
	bool is_html;           /* its Content-Type is */
	unsigned retry_after_s; /* clamped; 0: no such header */
	struct secret body;     /* the callback may take it by secret_move(); else wiped after it */
	struct http_phases phases; /* queue_us from the call of upstream_post() */
	char note[200];            /* detail for the log, without secrets; "" for none */
	time_t certificate_end;    /* the server's; 0: not asked for, or not known */
};

/* Called exactly once per upstream_post(), perhaps before that returns. answer is lent. */
typedef void upstream_done(void *context, struct upstream_answer *answer);

/* A deadline for each call, one for each connection being made to two servers, one for each lane of
 * transfers, and three. */
#define UPSTREAM_TIMERS(config) \
	((size_t)(config)->max_in_flight + \
	 2 * ((size_t)(config)->max_in_flight / STREAMS_PER_CONNECTION + 1) + \
	 (size_t)(config)->max_in_flight / LANE_TRANSFERS + 1 + 3)

/* Starts libcurl. config and loop are borrowed until upstream_close(). connections_max: how many
 * descriptors it may use at one time. NULL: libcurl cannot be used, and fault (one sentence, a
 * constant) says why. Sets up to UPSTREAM_TIMERS(config) timers. */
struct upstream *upstream_open(struct loop *loop, const struct config *config, long connections_max,
			       const char **ret_fault);

/* From now on answers tell when the server's certificate ends, if they come on a new connection. */
void upstream_inspect(struct upstream *upstream);

/* Whether tokens are revoked on the server that gives them. */
bool upstream_is_one_server(const struct upstream *upstream);

/* on_unknown is called whenever a call has ended because no address was found for the server's
 * name. */
void upstream_watch_names(struct upstream *upstream, void (*on_unknown)(void *context),
			  void *context);

/* Is not going to be given calls, but for what follows from those under way. on_retired is called
 * once, from the loop, when none is under way any more: it may close. */
void upstream_retire(struct upstream *upstream, void (*on_retired)(void *context), void *context);

/* Ends calls in flight without calling back. NULL is allowed. */
void upstream_close(struct upstream *upstream);

/*
 * Posts a form to url, which is borrowed until done is called. Takes body: it is empty afterwards,
 * and wiped when the call ends. Faults: UPSTREAM_UNREACHABLE (nothing was sent, also not by the one
 * retry), UPSTREAM_TIMEOUT and UPSTREAM_LOST (sent, and no answer), UPSTREAM_TLS,
 * UPSTREAM_MALFORMED (cut off, or over ANSWER_MAX_BYTES), OVERLOADED (config->max_in_flight are
 * under way), NO_MEMORY. A form is never sent twice, unless the server has
 * said that it did not look at it.
 */
void upstream_post(struct upstream *upstream, const char *url, struct secret *body,
		   upstream_done *done, void *context);

/* The version of libcurl and its TLS library, for --version. A constant. */
const char *upstream_version(void);

#endif
