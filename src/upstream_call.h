/*
 * What the files of upstream share: one call, and what became of it.
 *
 * Floor 1. No other room includes it; they include upstream.h.
 */
#ifndef UPSTREAM_CALL_H
#define UPSTREAM_CALL_H

#include <curl/curl.h>
#include <sys/queue.h>

#include "http2.h"
#include "upstream.h"

struct connection;
struct upstream_lane;
struct upstream_pool;

/* What is wanted of an answer's header lines, as they came, cut to this length. */
struct call_headers {
	char content_type[64];
	char retry_after[64];
	char cf_ray[64];
};

struct call {
	LIST_ENTRY(call) entry;
	struct upstream *upstream;
	const char *url; /* borrowed */
	struct secret body;
	uint64_t posted_us;
	uint64_t sent_us;              /* when the body began to go out; 0: it did not */
	unsigned tries;                /* that came to nothing */
	unsigned long refusals_before; /* memory_refusals() when it was posted, or the lane made */
	size_t head_bytes;             /* of the answer */
	bool is_oversize;
	struct loop_timer deadline;
	upstream_done *done;
	void *context;
	struct call_headers headers;
	struct upstream_answer answer;
	char error[CURL_ERROR_SIZE]; /* "": none is known */

	/* By a transfer of libcurl's. */
	CURL *easy;                     /* NULL: none */
	struct upstream_lane *lane;     /* where it runs; NULL: nowhere yet */
	size_t body_at;                 /* bytes given to libcurl */
	LIST_ENTRY(call) sending_entry; /* while all were, and the body is kept */

	/* By HTTP/2: a stream, once a connection has room for it. */
	struct upstream_pool *pool; /* NULL: by a transfer */
	const struct http2_target *target;
	struct connection *connection; /* NULL: it waits for one */
	TAILQ_ENTRY(call) pool_entry;  /* in the pool's waiting, or in the connection's calls */
	struct http2_stream stream;
};

/* ---- upstream_call.c ---- */

/* Whether libcurl or nghttp2 has taken any of the body. */
bool upstream_call_was_sent(const struct call *call);

/* How a call ended whose transfer ended with this code: FAULT_NONE with an answer. */
enum fault upstream_call_classify(const struct call *call, CURLcode code);

/* The same for call->answer, with all that it tells besides its body. easy: what it went by, or
 * was to go by; NULL: nothing. */
void upstream_call_judge(struct call *call, CURL *easy, CURLcode code);

/* Whether a call, judged, ended because no address was found for the server's name. */
bool upstream_call_lacked_address(const struct call *call);

/* Reads the name of a header line in lower case, and keeps its value where it is wanted. */
void upstream_call_take_header(struct call *call, const char *name, const char *value);

/* A piece of the answer's body. False: above its ceiling, or no memory. */
bool upstream_call_take_body(struct call *call, const void *data, size_t len);

/* When the certificate ends that a transfer's server has shown; 0: it is not known. */
time_t upstream_call_certificate_end(CURL *easy);

/* The times of a transfer that opened a connection. */
void upstream_call_take_phases(struct call *call, CURL *easy);

/* ---- upstream.c, for upstream_pool.c ---- */

/* A transfer of libcurl's with all that is the same for every one. NULL without memory. */
CURL *upstream_make_transfer(const struct upstream *upstream);

/* The end of a call: tells, then forgets. call->answer holds what upstream_call_judge() found. */
void upstream_end(struct call *call);

/* The server does not speak HTTP/2: the calls that wait go by transfers, and all that follow. */
void upstream_fall_back(struct upstream_pool *pool);

#endif
