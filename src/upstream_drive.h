/*
 * What upstream has libcurl driven by: a curl_multi on the loop, by its socket-action interface.
 *
 * Floor 1. No other room includes it; they include upstream.h. A drive has one multi at a time, but
 * for the moment in which a new one takes the old one's place.
 */
#ifndef UPSTREAM_DRIVE_H
#define UPSTREAM_DRIVE_H

#include <curl/curl.h>
#include <stdbool.h>

#include "loop.h"

struct upstream_drive {
	struct loop *loop;
	CURLM *multi;
	void (*on_progress)(struct upstream_drive *drive); /* libcurl was called */
	struct loop_timer timer;                           /* when libcurl wants to be called */
	bool has_failed; /* for want of memory: no transfer of this multi is sure to go on */
};

/* on_progress is called after each call of libcurl from the loop, and may end the drive and its
 * multi. With drive->has_failed it is to end all transfers and clean the multi up: libcurl has lost
 * sight of one of them, would not call for the others in time, and divides by zero when it comes
 * back to the first. Sets one timer at a time. */
void upstream_drive_open(struct upstream_drive *drive, struct loop *loop,
			 void (*on_progress)(struct upstream_drive *drive));

/* Drives this one from now on, which has not failed. It stays the caller's, who cleans it up before
 * the drive's end. */
void upstream_drive_use(struct upstream_drive *drive, CURLM *multi);

/* Takes back the timer: the multi was cleaned up. A drive that was never opened is zeroed. */
void upstream_drive_rest(struct upstream_drive *drive);

#endif
