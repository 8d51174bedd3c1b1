/*
 * The messages of RFC 6749: what a login sends to the token endpoint, and what its answers mean.
 *
 * Floor 1: pure functions. The only room that knows cJSON.
 */
#ifndef OAUTH_H
#define OAUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "config.h"
#include "fault.h"
#include "http.h"

struct oauth_credentials {
	struct secret username; /* bytes exactly as sent */
	struct secret password;
	unsigned ignored_fields; /* client_id, client_secret, grant_type, scope: never forwarded */
};

void oauth_credentials_init(struct oauth_credentials *c);
void oauth_credentials_clear(struct oauth_credentials *c);

/* Reads username and password from a body of the given type. Strict: RFC 8259 or the WHATWG URL
 * standard, UTF-8, each field once. Faults: BODY_SYNTAX, FIELD_MISSING, FIELD_TEXT,
 * FIELD_REPEATED, NO_MEMORY. */
enum fault oauth_read_credentials(const struct secret *body, enum http_media_type type,
				  struct oauth_credentials *ret_credentials);

/* Whether a query string has a field username or password, encoded in whatever way. */
bool oauth_has_credentials(const char *query, size_t len);

/* Writes the password grant (RFC 6749 section 4.3.2) with the client's id and secret in the body
 * (section 2.3.1), as Bakrypt documents it. Faults: NO_MEMORY. */
enum fault oauth_write_password_grant(const struct config *config,
				      const struct oauth_credentials *credentials,
				      struct secret *ret_body);

/* What came back from the token endpoint. Borrowed throughout. */
struct oauth_answer {
	long status;
	bool is_html;           /* its Content-Type */
	unsigned retry_after_s; /* 0: no such header */
	const struct secret *body;
};

struct oauth_verdict {
	enum fault fault;     /* FAULT_NONE: a token */
	const char *error;    /* the OAuth code found, a constant; or NULL */
	const char *hint;     /* for the log: what to do, a constant; or NULL */
	bool is_off_contract; /* a 200 that carried an error: log it as UPSTREAM_CONTRACT */
};

/* Reads an answer to a grant. With a token (RFC 6749 section 5.1), ret_token holds the five
 * documented members and no other, as JSON; those of scope, expires_in and refresh_token that the
 * answer lacks stay out. Decides by the error code (section 5.2) before the status: servers differ
 * in the latter. */
struct oauth_verdict oauth_read_token(const struct oauth_answer *answer, struct secret *ret_token);

/* Writes an error (section 5.2) with the request's id. False without memory. */
bool oauth_write_error(const char *error, const char *description, const char *request_id,
		       struct secret *ret_body);

#endif
