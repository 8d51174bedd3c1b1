/*
 * Every way a request can fail: one row each.
 *
 * Cellar: any room may include it. A room that fails returns the symbol; only the gateway turns it
 * into a reply and a log line.
 *
 *	X(symbol, HTTP status, OAuth error code, Retry-After in seconds or 0, log event, level,
 *	  description)
 *
 * Codes and descriptions follow RFC 6749 sections 4.1.2.1, 5.2 and RFC 8628 section 3.5
 * (slow_down). A description is ASCII without quotes, backslash, < > and &: pages are known to
 *write it into their HTML. 503 means that the token server never saw the login, 504 that nobody
 *knows, 502 that it answered something unusable, 500 that this program is misconfigured.
 */
#ifndef FAULT_H
#define FAULT_H

#include "log.h"

#define FAULT_TABLE(X) \
	X(BODY_SYNTAX, 400, "invalid_request", 0, "bad_body", LOG_INFO, \
	  "The body is not what its Content-Type says, or not an object.") \
	X(BODY_CUT, 400, "invalid_request", 0, "bad_body", LOG_INFO, \
	  "The body is not as long as its Content-Length says.") \
	X(FIELD_MISSING, 400, "invalid_request", 0, "bad_field", LOG_INFO, \
	  "username and password are both required, as non-empty text.") \
	X(TOKEN_MISSING, 400, "invalid_request", 0, "bad_field", LOG_INFO, \
	  "A token is required, as non-empty text.") \
	X(FIELD_TEXT, 400, "invalid_request", 0, "bad_field", LOG_INFO, \
	  "A field is over 4096 bytes, or not valid UTF-8 text without NUL.") \
	X(FIELD_REPEATED, 400, "invalid_request", 0, "dup_field", LOG_INFO, \
	  "A field is there more than once.") \
	X(CREDENTIALS_IN_URL, 400, "invalid_request", 0, "creds_in_url", LOG_WARN, \
	  "Passwords and tokens belong in the body, never in the URL.") \
	X(BODY_TOO_LARGE, 413, "invalid_request", 0, "too_large", LOG_INFO, \
	  "The body is over 16 KiB.") \
	X(CONTENT_TYPE, 415, "invalid_request", 0, "bad_type", LOG_INFO, \
	  "Send application/json or application/x-www-form-urlencoded, in UTF-8.") \
	X(METHOD, 405, "invalid_request", 0, "bad_method", LOG_INFO, \
	  "This path takes another method; see Allow.") \
	X(ORIGIN, 403, "invalid_request", 0, "bad_origin", LOG_WARN, \
	  "Pages of that site may not ask here.") \
	X(NOT_FOUND, 404, "invalid_request", 0, "not_found", LOG_DEBUG, "There is nothing here.") \
	X(OVERLOADED, 503, "temporarily_unavailable", 2, "overloaded", LOG_WARN, \
	  "Too many logins at this moment. Try again in a few seconds.") \
	X(NO_MEMORY, 503, "temporarily_unavailable", 2, "overloaded", LOG_ERROR, \
	  "Too many logins at this moment. Try again in a few seconds.") \
	X(STOPPING, 503, "temporarily_unavailable", 2, "overloaded", LOG_WARN, \
	  "The service is restarting. Try again in a few seconds.") \
	X(LOGIN_REFUSED, 401, "invalid_grant", 0, "login_fail", LOG_INFO, \
	  "The user name or the password is wrong.") \
	X(REFRESH_REFUSED, 401, "invalid_grant", 0, "refresh_fail", LOG_INFO, \
	  "The refresh token is not valid any more. Log in again.") \
	X(CONFIG, 500, "server_error", 0, "config_bad", LOG_CRIT, \
	  "This service is not configured correctly.") \
	X(CLIENT_REJECTED, 500, "server_error", 0, "client_rejected", LOG_CRIT, \
	  "This service is not configured correctly.") \
	X(UPSTREAM_CONTRACT, 502, "server_error", 0, "upstream_contract", LOG_ERROR, \
	  "The token server refused the form of the request.") \
	X(UPSTREAM_WAF, 502, "server_error", 0, "upstream_waf", LOG_ERROR, \
	  "The token server is blocking this service.") \
	X(UPSTREAM_DENIED, 403, "access_denied", 0, "upstream_denied", LOG_WARN, \
	  "The token server denies access to this account for now.") \
	X(UPSTREAM_429, 429, "slow_down", 30, "upstream_429", LOG_WARN, \
	  "Too many logins. Wait before the next one.") \
	X(UPSTREAM_BUSY, 503, "temporarily_unavailable", 30, "upstream_5xx", LOG_ERROR, \
	  "The token server is out of service for a while. Try again later.") \
	X(UPSTREAM_5XX, 502, "temporarily_unavailable", 5, "upstream_5xx", LOG_ERROR, \
	  "The token server has a fault. Try again later.") \
	X(UPSTREAM_UNREACHABLE, 503, "temporarily_unavailable", 5, "upstream_unreachable", \
	  LOG_ERROR, "The token server cannot be reached. Try again in a few seconds.") \
	X(UPSTREAM_TIMEOUT, 504, "temporarily_unavailable", 0, "upstream_timeout", LOG_ERROR, \
	  "The token server did not answer in time.") \
	X(UPSTREAM_LOST, 504, "temporarily_unavailable", 0, "upstream_lost", LOG_ERROR, \
	  "The token server hung up without an answer.") \
	X(UPSTREAM_TLS, 502, "server_error", 0, "upstream_tls", LOG_CRIT, \
	  "No trusted connection to the token server can be made.") \
	X(UPSTREAM_REDIRECT, 502, "server_error", 0, "upstream_redirect", LOG_ERROR, \
	  "The token server sent a redirect.") \
	X(UPSTREAM_MALFORMED, 502, "server_error", 0, "upstream_malformed", LOG_ERROR, \
	  "The token server sent an answer that cannot be used.") \
	X(UPSTREAM_DOWN, 503, "temporarily_unavailable", 1, "upstream_down", LOG_WARN, \
	  "The token server is out of order at this moment. Try again later.") \
	X(UNCHECKED, 503, "temporarily_unavailable", 5, "unchecked", LOG_DEBUG, \
	  "The token server is being asked for the first time.") \
	X(CLIENT_GONE, 499, "", 0, "client_abort", LOG_INFO, "The client left before the answer.")

enum fault {
	FAULT_NONE,
#define FAULT_SYMBOL(symbol, ...) FAULT_##symbol,
	FAULT_TABLE(FAULT_SYMBOL)
#undef FAULT_SYMBOL
		FAULT_COUNT
};

#endif
