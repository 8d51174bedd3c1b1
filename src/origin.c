#include "origin.h"

#include <string.h>
#include <strings.h>

#include "ceilings.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct scheme {
	const char *start;
	const char *port; /* that goes without saying */
} schemes[] = {{"https://", ":443"}, {"http://", ":80"}};

struct origin_text origin_find(const char *list, const char *origin)
{
	size_t len;

	if (!list || *list == '\0' || !origin || *origin == '\0')
		return (struct origin_text){0};
	len = strlen(origin);
	while (*list != '\0') {
		size_t entry_len = strcspn(list, " ");

		if (entry_len == len && memcmp(list, origin, len) == 0)
			return (struct origin_text){list, len};
		list += entry_len;
		list += *list == ' ';
	}
	return (struct origin_text){0};
}

/* The length of an authority without the port that goes without saying. */
static size_t without_port(const char *authority, const char *port)
{
	size_t len = strlen(authority);
	size_t port_len = strlen(port);

	if (len > port_len && strcmp(authority + len - port_len, port) == 0)
		return len - port_len;
	return len;
}

/* The scheme is not compared: whether the browser came by TLS, not every web server tells. */
static bool is_of_host(const char *origin, const char *host)
{
	for (size_t i = 0; host && i < COUNT_OF(schemes); i++) {
		size_t start_len = strlen(schemes[i].start);
		const char *authority = origin + start_len;

		if (strncmp(origin, schemes[i].start, start_len) != 0)
			continue;
		size_t len = without_port(authority, schemes[i].port);
		return len > 0 && len == without_port(host, schemes[i].port) &&
		       strncasecmp(authority, host, len) == 0;
	}
	return false;
}

bool origin_is_own(const char *fetch_site, const char *origin, const char *host)
{
	if (fetch_site && *fetch_site != '\0')
		return strcmp(fetch_site, "same-origin") == 0 || strcmp(fetch_site, "none") == 0;
	return !origin || *origin == '\0' || is_of_host(origin, host);
}

bool origin_is_printable(const char *origin)
{
	size_t scheme_len = strspn(origin, LETTERS DIGITS "+-.");
	const char *host = origin + scheme_len + strlen("://");
	size_t host_len;

	if (strcmp(origin, "null") == 0)
		return true;
	if (scheme_len == 0 || strncmp(origin + scheme_len, "://", strlen("://")) != 0)
		return false;
	host_len = strspn(host, LETTERS DIGITS ".-_:[]");
	return host_len > 0 && host[host_len] == '\0' &&
	       (size_t)(host + host_len - origin) <= ORIGIN_MAX_BYTES;
}
