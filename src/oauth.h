/*
 * The messages of RFC 6749 and 7009: what a session sends to the token server, and what its answers
 * mean.
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

/* The fields of a request's body. Those that the route does not take are empty. */
struct oauth_fields {
	struct secret username; /* bytes exactly as sent; so with the others */
	struct secret password;
	struct secret refresh_token; /* "refresh_token" or "refreshToken"; so with the next */
	struct secret access_token;
	unsigned ignored; /* client_id, client_secret, grant_type, scope: never forwarded */
};

void oauth_fields_init(struct oauth_fields *fields);
void oauth_fields_clear(struct oauth_fields *fields);

/* Takes a refresh token that no token server gives out: with it one can ask whether the client is
 * accepted, and touches no account. False without memory. */
bool oauth_fields_make_up(struct oauth_fields *fields);

/* Each reads what a route takes from a body of the given type: username and password; a refresh
 * token; a refresh token, an access token, or both. Strict: RFC 8259 or the WHATWG URL standard,
 * UTF-8, each field once. Faults: BODY_SYNTAX, FIELD_MISSING (login) or TOKEN_MISSING, FIELD_TEXT,
 * FIELD_REPEATED, NO_MEMORY. */
enum fault oauth_read_login(const struct secret *body, enum http_media_type type,
			    struct oauth_fields *ret_fields);
enum fault oauth_read_refresh(const struct secret *body, enum http_media_type type,
			      struct oauth_fields *ret_fields);
enum fault oauth_read_logout(const struct secret *body, enum http_media_type type,
			     struct oauth_fields *ret_fields);

/* Whether a query string has one of these fields, encoded in whatever way. */
bool oauth_has_credentials(const char *query, size_t len);

/* Each writes a request to the token server, with the client's id and secret in the body (RFC 6749
 * section 2.3.1), as Bakrypt documents it: the password grant (section 4.3.2), the refresh grant
 * (section 6), and the revocation (RFC 7009 section 2.1) of the refresh token, with which most
 * servers end the access token, or else of the access token. Faults: NO_MEMORY. */
enum fault oauth_write_password_grant(const struct config *config,
				      const struct oauth_fields *fields, struct secret *ret_body);
enum fault oauth_write_refresh_grant(const struct config *config, const struct oauth_fields *fields,
				     struct secret *ret_body);
enum fault oauth_write_revocation(const struct config *config, const struct oauth_fields *fields,
				  struct secret *ret_body);

/* Where both tokens are there, writes the revocation of the access token, to be sent after the
 * other; else nothing. A server need not end it with the refresh token, and cannot if it does not
 * know that one. Faults: NO_MEMORY. */
enum fault oauth_write_second_revocation(const struct config *config,
					 const struct oauth_fields *fields,
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

/* Reads an answer to a revocation (RFC 7009 section 2.2): a token that is not known is no fault. */
struct oauth_verdict oauth_read_revocation(const struct oauth_answer *answer);

/* Writes an error (RFC 6749 section 5.2) with the request's id. False without memory. */
bool oauth_write_error(const char *error, const char *description, const char *request_id,
		       struct secret *ret_body);

#endif
