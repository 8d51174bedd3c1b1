/*
 * The transfers that are libcurl's, HTTP/1.1 above all, spread over several curl_multi: lanes. For
 * each transfer libcurl looks through every connection of its multi; at 5000 of them that is four
 * fifths of a login's cost.
 *
 * Floor 1. No other room includes it; they include upstream.h.
 */
#ifndef UPSTREAM_LANES_H
#define UPSTREAM_LANES_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "loop.h"

struct upstream_lane;

struct upstream_lanes {
	struct loop *loop;
	size_t connections_max;
	/* libcurl was called for a lane of these, and may have ended some of its transfers. */
	void (*on_progress)(struct upstream_lanes *lanes, CURLM *multi);
	/* A lane has failed: all its transfers are to be ended, and it goes. */
	void (*on_failure)(struct upstream_lanes *lanes, const struct upstream_lane *lane);
	TAILQ_HEAD(upstream_lane_queue, upstream_lane) all;
	LIST_HEAD(upstream_lane_list, upstream_lane) roomy;
	size_t count;
	CURLSH *names; /* what all have looked up */
};

/* No lane is made before there is a transfer. on_progress and on_failure are called from the loop
 * alone. Sets up to connections_max / LANE_TRANSFERS + 1 timers. */
void upstream_lanes_open(struct upstream_lanes *lanes, struct loop *loop, size_t connections_max,
			 void (*on_progress)(struct upstream_lanes *lanes, CURLM *multi),
			 void (*on_failure)(struct upstream_lanes *lanes,
					    const struct upstream_lane *lane));

/* Runs a transfer. It goes where the last one has ended, which has left its connection there; once
 * every lane is full, it waits in one of them. NULL: no memory. */
struct upstream_lane *upstream_lanes_add(struct upstream_lanes *lanes, CURL *easy);

/* Takes a transfer back, whether or not it has ended. */
void upstream_lanes_remove(struct upstream_lane *lane, CURL *easy);

/* memory_refusals() when it was made. */
unsigned long upstream_lane_refusals_before(const struct upstream_lane *lane);

/* In on_progress: this lane is not to be used any more. */
void upstream_lane_fail(struct upstream_lane *lane);

/* Closes all connections. No transfer may be left. */
void upstream_lanes_drop(struct upstream_lanes *lanes);

/* The same, for good. Lanes that were never opened are zeroed. */
void upstream_lanes_close(struct upstream_lanes *lanes);

#endif
