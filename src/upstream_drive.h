/*
 * What upstream.c has libcurl driven by: a curl_multi on the loop, by its socket-action interface.
 *
 * Floor 1. No other room includes it; they include upstream.h. At most one multi is in use at a
 * time, but for the moment in which a new one takes the old one's place.
 */
#ifndef UPSTREAM_DRIVE_H
#define UPSTREAM_DRIVE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "loop.h"
#include "tls.h"

struct upstream_drive {
	struct loop *loop;
	CURLM *multi;
	void (*on_progress)(struct upstream_drive *drive); /* libcurl was called */
	struct loop_timer timer;                           /* when libcurl wants to be called */
	struct loop_turn turn;
	LIST_HEAD(watch_list, watch) watches;
	struct watch_list changed; /* those not watched yet as libcurl wants it */
	struct tls_writers writers;
};

/* on_progress is called after each call of libcurl from the loop. Sets one timer at a time. */
void upstream_drive_open(struct upstream_drive *drive, struct loop *loop,
			 void (*on_progress)(struct upstream_drive *drive));

/* Drives this one from now on. It stays the caller's, who cleans it up before the drive is closed.
 */
void upstream_drive_use(struct upstream_drive *drive, CURLM *multi);

/* Takes back the timer that a former multi has set. */
void upstream_drive_rest(struct upstream_drive *drive);

/* To be called once the connection of a transfer, at its local port, is new and its handshake over:
 * what is written to it goes out at the turn's end. */
void upstream_drive_take(struct upstream_drive *drive, CURL *easy, int local_port);

void upstream_drive_close(struct upstream_drive *drive);

#endif
