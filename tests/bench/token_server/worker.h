/*
 * One process with one epoll loop, and sockets of its own on every port.
 */
#ifndef WORKER_H
#define WORKER_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "connection.h"
#include "server.h"

#define HOSTS 2 /* 127.0.0.1 and ::1 */

struct listener {
	struct source source;
	struct worker *worker;
	const struct endpoint *endpoint;
	struct delay *delay;
	int fd; /* -1: there is no such address */
};

struct worker {
	const struct options *options;
	struct counts *counts;
	SSL_CTX *tls;
	int epoll;
	uint64_t now_ns; /* not before what is handled was there */
	bool is_full;    /* no more descriptors: it does not accept */
	struct listener listeners[ENDPOINTS_MAX * HOSTS];
	struct delay delays[ENDPOINTS_MAX];
	struct connections flushes; /* connections with something to send */
	struct connections graves;  /* closed in this turn */
};

/* Opens the sockets; ends the process if that fails. */
void worker_listen(struct worker *worker, const struct options *options);

/* Closes them. */
void worker_close(struct worker *worker);

/* Until a signal ends the process. counts: of this worker. */
_Noreturn void worker_run(struct worker *worker, SSL_CTX *tls, struct counts *counts);

/* Sets now_ns. */
void worker_look_at_clock(struct worker *worker);

/* A descriptor has become free. */
void worker_accept_again(struct worker *worker);

#endif
