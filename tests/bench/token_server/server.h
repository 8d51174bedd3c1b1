/*
 * What the command line says, and the counts that others read. See main.c.
 */
#ifndef SERVER_H
#define SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECOND_NS 1000000000ULL
#define WORKERS_MAX 64
#define ENDPOINTS_MAX 32

/* A port, and how it is answered there. */
struct endpoint {
	uint16_t port;
	bool is_http2; /* offered, beside HTTP/1.1 */
	uint64_t delay_ns;
};

struct options {
	const char *certificate;
	const char *key;
	const char *counts;
	const char *prefix; /* in the body of every login */
	const char *answer; /* the JSON of a token */
	size_t workers;
	struct endpoint endpoints[ENDPOINTS_MAX];
	size_t endpoint_count;
};

/* Of one worker, in a file that all map: its connections. In a cache line of its own. */
struct counts {
	_Alignas(64) _Atomic uint64_t accepted;
	_Atomic uint64_t open;
};

/* Ends the process with one line and status 2; what: what was done to which thing. */
_Noreturn void fail(const char *what, const char *thing, const char *reason);

/* Zeroed memory; ends the process if there is none. */
void *allocate(size_t count, size_t size);

#endif
