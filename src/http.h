/*
 * One HTTP exchange, from the request that a door read to the reply that it writes, and the
 * syntax of the request's parts. No I/O.
 *
 * Floor 0. A door fills in a struct http_exchange, lends it to the gateway and gets it back by its
 * `finish` callback, exactly once, perhaps before the call returns. References: RFC 9110
 * (semantics), RFC 3986 (paths), RFC 3875 (the variables' names). What a form's body looks like is
 * in form.h.
 */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "ceilings.h"
#include "fault.h"
#include "form.h"
#include "origin.h"

enum http_body_state {
	HTTP_BODY_WHOLE,     /* as long as CONTENT_LENGTH says, where it says anything */
	HTTP_BODY_CUT,       /* shorter or longer than that, or its end never came */
	HTTP_BODY_TOO_LARGE, /* above BODY_MAX_BYTES */
};

/* All texts are the door's and stay valid until finish; each may be NULL. */
struct http_request {
	const char *method;
	const char *target; /* REQUEST_URI as the client sent it, or what stands for it */
	const char *query;  /* QUERY_STRING */
	const char *content_type;
	const char *client;     /* REMOTE_ADDR */
	const char *request_id; /* the X-Request-Id header, not yet checked */
	const char *origin;     /* header lines, as they came */
	const char *fetch_site; /* Sec-Fetch-Site */
	const char *host;
	struct secret body; /* the exchange's; wiped as soon as it has been read */
	enum http_body_state body_state;
};

struct http_reply {
	int status;
	const char *allow; /* a constant, or NULL: no such header; so with the next two */
	const char *accept;
	const char *challenge;           /* WWW-Authenticate */
	unsigned retry_after_s;          /* 0: no such header */
	struct origin_text allow_origin; /* a part of the settings; so the page may read it all */
	const char *allow_methods;       /* to that page, by a preflight request; or NULL */
	struct secret body;              /* JSON; empty: no body */
};

/* Microseconds; 0 for a phase that did not happen, such as connect on a kept connection. */
struct http_phases {
	uint64_t queue_us;      /* from the request's arrival until it was given to libcurl */
	uint64_t connect_us;    /* name look-up and TCP */
	uint64_t tls_us;        /* handshake */
	uint64_t first_byte_us; /* from the request going out until the answer began */
};

struct gateway_route;
struct session;

struct http_exchange {
	struct http_request request;
	struct http_reply reply;
	char request_id[REQUEST_ID_MAX_BYTES + 1]; /* the gateway's, valid once it was lent */
	const struct gateway_route *route;         /* the gateway's; NULL: no such path */
	struct session *session;                   /* session.c's own */
	uint64_t asked_us;                         /* so is this: when upstream was asked last */
	uint64_t arrived_us; /* loop_clock_us() when the request was complete */
	struct http_phases phases;
	long upstream_status; /* 0: none came */
	const char
		*upstream_error; /* a constant from oauth.c, never upstream's own text; or NULL */
	unsigned ignored_fields; /* client_id, scope and the like in the body */
	bool is_off_contract;    /* upstream said 200 and an error: logged as UPSTREAM_CONTRACT */
	bool is_starved;         /* memory was refused meanwhile: a fault may be our own */
	char note[320];          /* detail for the log line, without secrets; "" for none */
	bool is_abandoned;       /* the client went away: no reply is written */
	/* The gateway's: turns the outcome into a reply. To be called by whoever decides it. */
	void (*answer)(struct http_exchange *x, enum fault fault);
	/* The door's: gives the exchange back to it. */
	void (*finish)(struct http_exchange *x);
};

/* A request's meta-variable (RFC 3875 section 4.1) by name, or NULL. */
typedef const char *http_variable(void *context, const char *name);

/* Fills in the texts of a request, which stay the variables' owner's. */
void http_read_variables(struct http_request *request, http_variable *get, void *context);

/* Compares a body that was read to its end with CONTENT_LENGTH, where that says anything. */
enum http_body_state http_check_length(const char *content_length, size_t body_bytes);

/* An exchange with empty buffers. finish as above. */
void http_init(struct http_exchange *x, void (*finish)(struct http_exchange *x));

/* Wipes and releases the buffers. */
void http_clear(struct http_exchange *x);

/* Writes the reply's head in the manner of CGI (RFC 3875 section 6): "Status:" and the header
 * lines, ending in the empty line. False without memory or above head's ceiling. */
bool http_write_head(const struct http_exchange *x, struct buf *head);

/* The reason phrase of a status this program sends: "Not Found". */
const char *http_reason(int status);

/* Reads CONTENT_LENGTH. True with *ret_bytes for a plain number (one too large for its type counts
 * as SIZE_MAX); false where it says nothing: NULL, empty, negative or not a number. */
bool http_read_length(const char *text, size_t *ret_bytes);

/* Takes a request id over if it matches [A-Za-z0-9._-]{1,64}; otherwise makes a random one of 32
 * hexadecimal digits. */
void http_make_request_id(char ret_id[REQUEST_ID_MAX_BYTES + 1], const char *offered);

/* The last segment of a request target's path, decoded and normalised (RFC 3986 section 6.2.2 and
 * 5.2.4): without query, scheme and host, with "//" taken as "/". "/login", "//x/../logi%6e?a" and
 * "https://host/api/login" all give "login"; "/login/" and "/" give "". False if there is none:
 * NULL, a segment that does not fit, bad percent-encoding, NUL, "*". */
bool http_read_route(const char *target, char *ret_segment, size_t size);

enum http_media_type { HTTP_MEDIA_OTHER, HTTP_MEDIA_JSON, HTTP_MEDIA_FORM };

/* Reads a Content-Type (RFC 9110 section 8.3.1): any letter case, parameters allowed; a charset
 * other than utf-8 makes it HTTP_MEDIA_OTHER. NULL is HTTP_MEDIA_OTHER. */
enum http_media_type http_read_media_type(const char *content_type);

#endif
