/*
 * The gate in front of libfcgi: is one whole, well-formed FastCGI request there?
 *
 * Floor 0: pure. libfcgi waits for what is missing and trusts its peer. So the door collects what
 * arrives and asks here; only a whole request of records in their proper order is passed on, and
 * then nothing that libfcgi does can wait, or meet a record that it handles wrongly. Reference:
 * the FastCGI specification 1.0, sections 3.3 (records), 3.4 (name-value pairs) and 5.
 */
#ifndef GATE_H
#define GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gate_verdict {
	GATE_MORE,      /* well-formed so far, not complete */
	GATE_READY,     /* BEGIN_REQUEST, all PARAMS and all of STDIN are there */
	GATE_TOO_LARGE, /* all PARAMS are there, and STDIN is above its ceiling */
	GATE_ABORTED,   /* the web server gave the request up */
	GATE_BAD,       /* nothing that libfcgi may see */
};

/* BEGIN_REQUEST without its padding. */
#define GATE_BEGIN_BYTES 16

/* What the looks so far have learned; gate.c's own. */
struct gate_walk {
	unsigned id;
	bool has_begun;
	bool has_params;
	bool has_stdin;
	size_t params_bytes;
	size_t params_count;
	size_t body_bytes;

	/* Where in the name-value pairs the parameter stream stands. */
	uint32_t length[2];       /* of the name and of the value being read */
	unsigned lengths_read;    /* how many of the two are known */
	unsigned length_bytes;    /* how many bytes of the present one were read */
	unsigned length_bytes_of; /* 1 or 4 */
	size_t skip_bytes;        /* of the name and value themselves, still to come */
	size_t name_bytes;        /* of those, the name's */
};

/* All zeros before the first look at a request. Positions are bytes from the request's start.
 * libfcgi forgets to skip the padding of BEGIN_REQUEST and of the two empty records. So whoever
 * feeds it leaves that padding out, and takes its length (the last byte but one) out of those three
 * headers; the two ends are behind the latter two. */
struct gate {
	size_t need_bytes;     /* after GATE_MORE: before this much is there, no look tells more */
	size_t params_begin;   /* behind the padding of BEGIN_REQUEST */
	size_t params_end;     /* the end of PARAMS; 0: not all are there, no reply is possible */
	size_t params_count;   /* name-value pairs, as far as they are there */
	size_t stdin_begin;    /* behind the padding of the empty PARAMS */
	size_t stdin_end;      /* after GATE_READY: the end of STDIN */
	size_t request_bytes;  /* behind the last whole record; after GATE_READY, where the next
				* request begins */
	const char *complaint; /* after GATE_BAD: a constant sentence for the log */
	struct gate_walk walk;
};

/* Looks at the first len bytes of a request, those that were there at the last look included. bytes
 * are borrowed, and may have moved. Goes on where the last look ended, so that a request in ten
 * thousand pieces costs no more than in one. After another verdict than GATE_MORE it takes zeros
 * again. */
enum gate_verdict gate_look(struct gate *gate, const unsigned char *bytes, size_t len);

/* Whether bytes that came while a request is being served begin with an ABORT_REQUEST record. */
bool gate_is_abort(const unsigned char *bytes, size_t len);

#endif
