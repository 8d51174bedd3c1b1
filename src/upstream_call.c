#include "upstream_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "ceilings.h"
#include "memory.h"

/* The phase of a call in which its server's name is looked up. */
#define LOOKUP "lookup"

/* The first token of a header's value, as far as it is harmless in a log. */
static void copy_token(char *to, size_t size, const char *value)
{
	size_t len = value ? strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789/+.-")
			   : 0;

	snprintf(to, size, "%.*s", (int)(len < size ? len : size - 1), value ? value : "");
}

/* Where a header's value is kept; NULL: it is of no interest. */
static char *place_of(struct call_headers *headers, const char *name)
{
	if (strcmp(name, "content-type") == 0)
		return headers->content_type;
	if (strcmp(name, "retry-after") == 0)
		return headers->retry_after;
	return strcmp(name, "cf-ray") == 0 ? headers->cf_ray : NULL;
}

void upstream_call_take_header(struct call *call, const char *name, const char *value)
{
	char *place = place_of(&call->headers, name);

	if (place)
		snprintf(place, sizeof(call->headers.content_type), "%s", value);
}

/* The same of a transfer of libcurl's, which keeps them by itself. */
static void read_headers(struct call *call, CURL *easy)
{
	static const char *const names[] = {"content-type", "retry-after", "cf-ray"};
	struct curl_header *header;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (curl_easy_header(easy, names[i], 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
			upstream_call_take_header(call, names[i], header->value);
	}
}

bool upstream_call_take_body(struct call *call, const void *data, size_t len)
{
	struct secret *body = &call->answer.body;

	if (secret_append(body, data, len))
		return true;
	call->is_oversize = secret_len(body) + len > ANSWER_MAX_BYTES;
	return false;
}

/* Retry-After as a number of seconds or a date (RFC 9110 section 10.2.3), clamped; 0 if there is
 * none that can be read. CURLINFO_RETRY_AFTER does not tell "0" from none, and wraps around. */
static unsigned read_retry_after(const char *value)
{
	size_t digits = strspn(value, "0123456789");
	double seconds;

	if (!*value)
		return 0;
	if (digits > 0 && value[digits] == '\0') {
		seconds = digits < 10 ? (double)strtol(value, NULL, 10) : RETRY_AFTER_MAX_S;
	} else {
		time_t date = curl_getdate(value, NULL);
		if (date < 0)
			return 0;
		seconds = difftime(date, time(NULL));
	}
	if (seconds < RETRY_AFTER_MIN_S)
		return RETRY_AFTER_MIN_S;
	return seconds > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (unsigned)seconds;
}

static void note_answer(struct call *call)
{
	struct upstream_answer *answer = &call->answer;
	char type_token[48];
	char ray_token[48];

	copy_token(type_token, sizeof(type_token), call->headers.content_type);
	answer->is_html = strcasecmp(type_token, "text/html") == 0 ||
			  strcasecmp(type_token, "application/xhtml+xml") == 0;
	copy_token(ray_token, sizeof(ray_token), call->headers.cf_ray);
	snprintf(answer->note, sizeof(answer->note), "%s, %zu bytes%s%s",
		 *type_token ? type_token : "no content type", secret_len(&answer->body),
		 *ray_token ? ", cf-ray " : "", ray_token);
}

static uint64_t time_info(CURL *easy, CURLINFO info)
{
	curl_off_t us = 0;

	curl_easy_getinfo(easy, info, &us);
	return us > 0 ? (uint64_t)us : 0;
}

void upstream_call_take_phases(struct call *call, CURL *easy)
{
	uint64_t connect = time_info(easy, CURLINFO_CONNECT_TIME_T);
	uint64_t tls = time_info(easy, CURLINFO_APPCONNECT_TIME_T);

	call->answer.phases.connect_us = connect;
	call->answer.phases.tls_us = tls > connect ? tls - connect : 0;
}

/* On a kept connection libcurl repeats in all three figures the time it waited for it. */
static void read_phases(struct call *call, CURL *easy)
{
	long new_connections = 0;

	curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &new_connections);
	if (new_connections > 0)
		upstream_call_take_phases(call, easy);
	else
		call->answer.phases.queue_us += time_info(easy, CURLINFO_PRETRANSFER_TIME_T);
}

/* The first certificate of the chain is the server's own. */
time_t upstream_call_certificate_end(CURL *easy)
{
	static const char label[] = "Expire date:";
	struct curl_certinfo *chain = NULL;
	const struct curl_slist *line = NULL;
	time_t end;

	if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &chain) == CURLE_OK && chain &&
	    chain->num_of_certs > 0)
		line = chain->certinfo[0];
	while (line && strncmp(line->data, label, strlen(label)) != 0)
		line = line->next;
	end = line ? curl_getdate(line->data + strlen(label), NULL) : 0;
	return end > 0 ? end : 0;
}

/* SSL_CONNECT_ERROR stands for both: OpenSSL found the handshake wrong, or the peer hung up in it.
 * Only the first leaves an entry in OpenSSL's error queue, whose text starts so. */
static bool is_tls_fault(const struct call *call, CURLcode code)
{
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		return true;
	case CURLE_SSL_CONNECT_ERROR:
		return strstr(call->error, "error:") != NULL;
	default:
		return false;
	}
}

bool upstream_call_was_sent(const struct call *call)
{
	return call->body_at > 0 || call->stream.body_at > 0;
}

enum fault upstream_call_classify(const struct call *call, CURLcode code)
{
	bool was_sent = upstream_call_was_sent(call);

	if (code == CURLE_OK)
		return FAULT_NONE;
	/* For want of memory OpenSSL finds fault with much, and takes it for the server's. */
	if (is_tls_fault(call, code))
		return memory_refusals() == call->refusals_before ? FAULT_UPSTREAM_TLS
								  : FAULT_NO_MEMORY;
	if (!was_sent)
		return code == CURLE_OUT_OF_MEMORY ? FAULT_NO_MEMORY : FAULT_UPSTREAM_UNREACHABLE;
	if (code == CURLE_OPERATION_TIMEDOUT)
		return FAULT_UPSTREAM_TIMEOUT;
	/* 1: what came is not HTTP. */
	if (call->answer.status >= 200 || code == CURLE_UNSUPPORTED_PROTOCOL ||
	    code == CURLE_WEIRD_SERVER_REPLY || call->is_oversize)
		return FAULT_UPSTREAM_MALFORMED;
	return FAULT_UPSTREAM_LOST;
}

/* How far it came, for the log. */
static const char *phase_name(const struct call *call, CURL *easy)
{
	if (call->answer.status >= 200)
		return "answer";
	if (upstream_call_was_sent(call))
		return "wait";
	if (!easy)
		return "queue";
	if (time_info(easy, CURLINFO_CONNECT_TIME_T) > 0)
		return "tls";
	return time_info(easy, CURLINFO_NAMELOOKUP_TIME_T) > 0 ? "connect" : LOOKUP;
}

bool upstream_call_lacked_address(const struct call *call)
{
	return call->answer.fault == FAULT_UPSTREAM_UNREACHABLE &&
	       strncmp(call->answer.note, LOOKUP ":", strlen(LOOKUP ":")) == 0;
}

static void note_failure(struct call *call, CURL *easy, CURLcode code)
{
	struct upstream_answer *answer = &call->answer;
	const char *reason = *call->error ? call->error : curl_easy_strerror(code);

	if (call->is_oversize)
		reason = "over its ceiling";
	else if (code == CURLE_SEND_FAIL_REWIND)
		reason = "the kept connection was closed under the request";
	/* libcurl gives no time of connecting where TLS fails. */
	snprintf(answer->note, sizeof(answer->note), "%s: %.180s",
		 is_tls_fault(call, code) ? "tls" : phase_name(call, easy), reason);
	for (size_t len = strlen(answer->note); len > 0 && answer->note[len - 1] == ' ';)
		answer->note[--len] = '\0';
}

void upstream_call_judge(struct call *call, CURL *easy, CURLcode code)
{
	struct upstream_answer *answer = &call->answer;

	if (call->easy) {
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &answer->status);
		answer->certificate_end = upstream_call_certificate_end(easy);
		read_headers(call, easy);
		read_phases(call, easy);
	}
	answer->retry_after_s = read_retry_after(call->headers.retry_after);
	answer->fault = upstream_call_classify(call, code);
	answer->is_starved =
		code == CURLE_OUT_OF_MEMORY || memory_refusals() != call->refusals_before;
	if (answer->fault == FAULT_NONE)
		note_answer(call);
	else
		note_failure(call, easy, code);
}
