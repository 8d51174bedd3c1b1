/*
 * One request of the FastCGI Responder role (specification section 6.2), by way of libfcgi.
 *
 * Floor 1. The only room that knows libfcgi, which reads: what comes from a pipe that holds exactly
 * one request, which the gate (gate.h) found whole. The reply is written without it.
 */
#ifndef RESPONDER_H
#define RESPONDER_H

#include <stdbool.h>
#include <stddef.h>

#include "gate.h"
#include "http.h"

struct responder;

/* The pipe. One per process; empty between requests. */
struct responder_feed {
	int fds[2];
};

/* Starts libfcgi. False with errno. SIGPIPE is ignored from here on. */
bool responder_feed_open(struct responder_feed *feed);
void responder_feed_close(struct responder_feed *feed);

/*
 * Reads one request from bytes, at which the gate has looked; two of them are changed. Fills in
 * request, whose texts belong to the responder. On entry request->body_state says what is known of
 * the body: only if it is HTTP_BODY_WHOLE is it read, and compared with CONTENT_LENGTH. The reply
 * will go to reply_fd, which stays the caller's. Never NULL: without memory, or if libfcgi refuses
 * what the gate has let through, it gives a refusal, of which there is one until it is closed, and
 * by which a reply can be written all the same.
 */
struct responder *responder_open(struct responder_feed *feed, unsigned char *bytes,
				 const struct gate *gate, int reply_fd,
				 struct http_request *request);

/* Whether it is the one that stands for a request which was not taken. */
bool responder_is_refusal(const struct responder *responder);

/* Whether the web server asked for the connection to stay open (FCGI_KEEP_CONN). */
bool responder_is_kept(const struct responder *responder);

/* Writes the reply and ends the request, without waiting. head is scratch. False without memory, or
 * if the peer does not take it whole. */
bool responder_write(const struct responder *responder, const struct http_exchange *x,
		     struct buf *head);

/* Has the web server close a connection. The end of an error stream that held nothing makes it do
 * so where the connection is idle (nginx takes any byte there for an end), and says nothing new
 * where a request is on its way, which can then be served. */
void responder_ask_to_close(int fd);

/* Releases; writes nothing. NULL is allowed. */
void responder_close(struct responder *responder);

#endif
