/*
 * Which page a request comes from, and whether its site may ask: the Origin and Sec-Fetch-Site
 * header lines, which a page cannot choose for itself.
 *
 * Floor 0: pure. References: RFC 6454 section 6.2 (an origin as text), Fetch sections 3.1 and 3.2
 * (Origin, cross-origin sharing), Fetch Metadata Request Headers section 2.3 (Sec-Fetch-Site).
 */
#ifndef ORIGIN_H
#define ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

/* A text within another, without an end of its own. NULL: there is none. */
struct origin_text {
	const char *text;
	size_t len;
};

/* Finds an origin, byte for byte, among those of a list with one space between. What is found is a
 * part of the list. Either may be NULL. */
struct origin_text origin_find(const char *list, const char *origin);

/*
 * Whether a request that no list knows comes from a page of the very site that it goes to, or from
 * something that is no page at all. Each may be NULL, where there was no such header line.
 *
 * A browser that sends Sec-Fetch-Site has said it there; of an older one, Origin is compared with
 * the Host that was asked for. Whoever sends neither is no browser that would do another page's
 * bidding.
 */
bool origin_is_own(const char *fetch_site, const char *origin, const char *host);

/* Whether it may be repeated in a log: "null", or an origin of any scheme, of up to
 * ORIGIN_MAX_BYTES. Whatever else a client writes there might be a secret. */
bool origin_is_printable(const char *origin);

#endif
