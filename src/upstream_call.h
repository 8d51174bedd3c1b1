/*
 * What upstream.c and upstream_call.c share: one call, and what became of it.
 *
 * Floor 1. No other room includes it; they include upstream.h.
 */
#ifndef UPSTREAM_CALL_H
#define UPSTREAM_CALL_H

#include <curl/curl.h>
#include <sys/queue.h>

#include "upstream.h"

struct call {
	LIST_ENTRY(call) entry;
	LIST_ENTRY(call) sending_entry; /* while the whole form was given to libcurl, and is kept */
	struct upstream *upstream;
	CURL *easy;
	const char *url; /* borrowed */
	struct secret body;
	size_t body_at;   /* bytes given to libcurl */
	uint64_t sent_us; /* when the first of them was */
	bool was_retried;
	unsigned generation; /* of the connection it may use */
	size_t head_bytes;   /* of the answer */
	bool is_oversize;
	struct loop_timer deadline;
	upstream_done *done;
	void *context;
	struct upstream_answer answer;
	char error[CURL_ERROR_SIZE];
};

/* How a transfer that ended with this code ended: FAULT_NONE with an answer. */
enum fault upstream_call_classify(const struct call *call, CURLcode code);

/* The same for call->answer, with all that it tells besides its body. */
void upstream_call_judge(struct call *call, CURLcode code);

#endif
