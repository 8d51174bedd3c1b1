/*
 * The FastCGI door: connections from the web server, and their requests' way in and out.
 *
 * Floor 4. Every connection is read without waiting; a request reaches libfcgi (responder.h) when
 * the gate (gate.h) finds it whole, so that nobody's slow or broken request delays another's. One
 * request at a time on a connection, kept connections without end, idle ones given up when new ones
 * need their place.
 */
#ifndef FASTCGI_H
#define FASTCGI_H

#include <stddef.h>

#include "gateway.h"
#include "listener.h"
#include "loop.h"

struct fastcgi;

/* Starts to accept. All are borrowed until fastcgi_close(). At most connections_max connections at
 * one time, and as many timers + 1. on_drained is called once, after fastcgi_stop(), when the last
 * request has ended. NULL with errno on failure. */
struct fastcgi *fastcgi_open(struct loop *loop, struct gateway *gateway, struct listener *listener,
			     size_t connections_max, void (*on_drained)(void *context),
			     void *context);

/* Accepts no more, finishes what is under way, closes what is idle. A socket that was handed over
 * keeps its queue for whoever holds it next; our own is emptied and closed, so that nobody waits
 * in it for an answer that will not come. */
void fastcgi_stop(struct fastcgi *door);

/* Closes every connection at once. To be called after upstream_close(). NULL is allowed. */
void fastcgi_close(struct fastcgi *door);

#endif
