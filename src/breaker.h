/*
 * When to leave the token server alone: a circuit breaker. And what is known of it, for /readyz.
 *
 * Floor 0: pure logic, for one server. It sends nothing and has no clock: whoever asks hands in the
 * time, in microseconds (loop_clock_us()), and sends the probes. A probe is a request that is no
 * user's, and tells what every user would meet.
 *
 * Closed, it lets requests through. One answer that says that our client is not known, or
 * BREAKER_FAULTS_MAX failures in a row to reach the server at all, open it. As many other faults in
 * a row are only a reason for a probe, since one user's requests may have caused them; it opens if
 * the probe fails too.
 *
 * Open, it refuses them. After a pause the first request that comes is a reason for a probe. One
 * that fails makes the pause twice as long; a good one, or the good answer to a request that had
 * gone through before, closes it.
 *
 * Nothing happens by itself: without a request there is no probe.
 */
#ifndef BREAKER_H
#define BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "fault.h"

/* All zero: closed, and nothing is known. */
struct breaker {
	bool is_off;         /* lets all through and learns nothing: /readyz is told "ready" */
	bool is_open;        /* refuses */
	bool is_known;       /* something was heard of the server */
	bool is_probing;     /* a probe is under way */
	enum fault fault;    /* what a request would meet, as far as is known; FAULT_NONE: none */
	unsigned downs;      /* since the last good answer: BREAKER_DOWN, */
	unsigned doubts;     /* and BREAKER_DOUBTFUL */
	unsigned backoff_ms; /* while open: the pause that grows; */
	unsigned pause_ms;   /* the pause itself, from heard_us on */
	unsigned refused;    /* requests since it was opened, at once */
	uint64_t heard_us;   /* when the fault was heard of, or that there is none */
	uint64_t good_us;    /* the last good answer; 0: none yet */
	uint64_t asked_us;   /* when the last probe was sent; 0: none yet */
	uint64_t opened_us;
};

/* What an answer, or its lack, tells of the server. */
enum breaker_news {
	BREAKER_GOOD,     /* it answers, and takes us for its client */
	BREAKER_REJECTED, /* it says that it does not */
	BREAKER_DOWN,     /* every request meets this fault */
	BREAKER_DOUBTFUL, /* perhaps every request does; perhaps one user's is to blame */
	BREAKER_NO_NEWS,  /* the fault is our own: want of room or memory */
};

/* What comes of it. */
enum breaker_turn {
	BREAKER_STAYS,
	BREAKER_OPENS, /* or stays open, for another reason than before */
	BREAKER_CLOSES,
	BREAKER_DOUBTS, /* closed: a probe is to be sent */
};

enum breaker_way {
	BREAKER_PASS,
	BREAKER_PROBE, /* a probe is to be sent first */
	BREAKER_REFUSE,
};

/* Whether a user's request goes to the server. */
enum breaker_way breaker_admit(struct breaker *breaker, uint64_t now_us);

/* Whether breaker->fault is new enough to be told; that is PASS. REFUSE: nothing is known, and a
 * probe is under way. */
enum breaker_way breaker_inquire(const struct breaker *breaker, uint64_t now_us);

/* Takes what became of a user's request that was sent at asked_us. A fault is old news if the
 * server gave a good answer to anybody since then. */
enum breaker_turn breaker_hear(struct breaker *breaker, enum breaker_news news, enum fault fault,
			       uint64_t asked_us, uint64_t now_us);

/* A probe is sent; none is under way. */
void breaker_begin_probe(struct breaker *breaker, uint64_t now_us);

/* Takes what became of the probe. retry_after_s: for how long the server asks to be left alone; 0:
 * it does not say. */
enum breaker_turn breaker_end_probe(struct breaker *breaker, enum breaker_news news,
				    enum fault fault, unsigned retry_after_s, uint64_t now_us);

/* Whether one request may go to the server though the probe was answered badly: the pause has
 * reached its maximum, and it may be that the server dislikes nothing but the probe. */
bool breaker_allows_trial(const struct breaker *breaker);

/* In how many seconds, at least 1, it is worth while to come again. */
unsigned breaker_retry_after_s(const struct breaker *breaker, uint64_t now_us);

#endif
