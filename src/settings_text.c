#include "settings_text.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ceilings.h"

#define DIGITS "0123456789"
#define HOST_NAME_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS ".-_"

static bool is_printable(char c)
{
	return c >= 0x20 && c <= 0x7E;
}

bool settings_text_is_vschar(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!is_printable(text[i]))
			return false;
	}
	return true;
}

bool settings_text_is_scope(const char *text)
{
	bool is_between = true; /* tokens: a space has no place here */

	for (; *text != '\0'; text++) {
		if (!is_printable(*text) || *text == '"' || *text == '\\')
			return false;
		if (*text == ' ' && is_between)
			return false;
		is_between = *text == ' ';
	}
	return !is_between;
}

bool settings_text_read_number(const char *text, long min, long max, long *ret_number)
{
	size_t len = strlen(text);
	long number;

	if (len == 0 || len > 9 || strspn(text, DIGITS) != len)
		return false;
	number = strtol(text, NULL, 10);
	if (number < min || number > max)
		return false;
	*ret_number = number;
	return true;
}

/* The length of a host name, an IPv4 address or a bracketed IPv6 address; 0 if there is none. */
static size_t host_length(const char *text)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr binary;
	size_t len = strcspn(text, "]");

	if (*text != '[')
		return strspn(text, HOST_NAME_BYTES);
	if (text[len] != ']' || len > sizeof(address))
		return 0;
	memcpy(address, text + 1, len - 1);
	address[len - 1] = '\0';
	return inet_pton(AF_INET6, address, &binary) == 1 ? len + 1 : 0;
}

/* HOST or HOST:PORT: the end of it, or NULL. */
static const char *authority_end(const char *text, bool needs_port)
{
	size_t host_len = host_length(text);
	size_t digits;
	char port[6];
	long number;

	if (host_len == 0)
		return NULL;
	text += host_len;
	if (*text != ':')
		return needs_port ? NULL : text;
	digits = strspn(++text, DIGITS);
	if (digits >= sizeof(port))
		return NULL;
	memcpy(port, text, digits);
	port[digits] = '\0';
	return settings_text_read_number(port, 1, UINT16_MAX, &number) ? text + digits : NULL;
}

bool settings_text_is_https_url(const char *text)
{
	const char *scheme = "https://";

	if (strncasecmp(text, scheme, strlen(scheme)) != 0)
		return false;
	text = authority_end(text + strlen(scheme), false);
	if (!text || (*text != '\0' && *text != '/'))
		return false;
	for (; *text != '\0'; text++) {
		if (!is_printable(*text) || strchr(" ?#\\\"<>^`{|}", *text))
			return false;
	}
	return true;
}

bool settings_text_is_proxy_url(const char *text)
{
	const char *scheme = "http://";

	if (strncasecmp(text, scheme, strlen(scheme)) != 0)
		return false;
	text = authority_end(text + strlen(scheme), true);
	return text && *text == '\0';
}

static bool is_this_machine(const char *host, size_t len)
{
	static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strlen(names[i]) == len && memcmp(host, names[i], len) == 0)
			return true;
	}
	return false;
}

#define ORIGIN_FORM "write each origin as https://HOST or https://HOST:PORT"
#define ORIGIN_SPACES "put one space between two origins, and none elsewhere"

/* What is wrong with an entry of a list of origins, as its fix; NULL: nothing. */
static const char *blame_origin(const char *text, size_t len)
{
	bool is_https = strncasecmp(text, "https://", strlen("https://")) == 0;
	const char *host = text + strlen(is_https ? "https://" : "http://");
	const char *default_port = is_https ? ":443" : ":80";
	const char *end, *port;

	if (!is_https && strncasecmp(text, "http://", strlen("http://")) != 0)
		return ORIGIN_FORM;
	end = authority_end(host, false);
	if (!end || len > ORIGIN_MAX_BYTES || memchr(text, '@', len))
		return ORIGIN_FORM;
	if (end != text + len)
		return *end == ',' || *end == ';' ? ORIGIN_SPACES
						  : "leave out what stands behind host and port";
	for (const char *at = text; at < end; at++) {
		if (*at >= 'A' && *at <= 'Z')
			return "write it in small letters, as browsers do";
	}
	port = host + host_length(host);
	if ((size_t)(end - port) == strlen(default_port) &&
	    memcmp(port, default_port, strlen(default_port)) == 0)
		return "leave out the port that goes without saying, as browsers do";
	if (port < end && port[1] == '0')
		return ORIGIN_FORM;
	return is_https || is_this_machine(host, (size_t)(port - host))
		       ? NULL
		       : "use https; http is for localhost, 127.0.0.1 and [::1] alone";
}

const char *settings_text_blame_origins(const char *text, const char **ret_entry, size_t *ret_len)
{
	for (const char *at = text;; at++) {
		size_t len = strcspn(at, " ");
		const char *fix = len == 0 ? ORIGIN_SPACES : blame_origin(at, len);
		const char *same = text;

		/* The first that is the same has to be this one. */
		while (!fix && (strncmp(same, at, len) != 0 || strcspn(same, " ") != len))
			same += strcspn(same, " ") + 1;
		if (!fix && same != at)
			fix = "leave it out once, for it is there twice";
		if (fix) {
			*ret_entry = at;
			*ret_len = memchr(at, '@', len) ? 0 : len;
			return fix;
		}
		at += len;
		if (*at == '\0')
			return NULL;
	}
}

const char *settings_text_quote(char *out, size_t size, const char *text)
{
	const char *ellipsis = "...";
	size_t used = 0;

	for (; *text != '\0'; text++) {
		bool is_plain = is_printable(*text) && *text != '\\';
		size_t width = is_plain ? 1 : 4;

		if (used + width + strlen(ellipsis) >= size) {
			memcpy(out + used, ellipsis, strlen(ellipsis));
			used += strlen(ellipsis);
			break;
		}
		if (is_plain)
			out[used] = *text;
		else
			snprintf(out + used, size - used, "\\x%02X", (unsigned char)*text);
		used += width;
	}
	out[used] = '\0';
	return out;
}

static size_t least(size_t a, size_t b, size_t c)
{
	size_t less = a < b ? a : b;

	return less < c ? less : c;
}

/* Levenshtein's, with one row of the table at a time. */
size_t settings_text_distance(const char *a, const char *b)
{
	size_t row[SETTINGS_TEXT_NAME_MAX + 1];
	size_t a_len = strnlen(a, SETTINGS_TEXT_NAME_MAX);
	size_t b_len = strnlen(b, SETTINGS_TEXT_NAME_MAX);

	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t replaced = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = least(replaced, row[j] + 1, row[j - 1] + 1);
		}
	}
	return row[b_len];
}
