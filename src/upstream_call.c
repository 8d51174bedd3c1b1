#include "upstream_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "ceilings.h"

/* The first token of a header's value, as far as it is harmless in a log. */
static void copy_token(char *to, size_t size, const char *value)
{
	size_t len = value ? strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789/+.-")
			   : 0;

	snprintf(to, size, "%.*s", (int)(len < size ? len : size - 1), value ? value : "");
}

static const char *header_value(CURL *easy, const char *name)
{
	struct curl_header *header = NULL;

	return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK
		       ? header->value
		       : NULL;
}

/* Retry-After as a number of seconds or a date (RFC 9110 section 10.2.3), clamped; 0 if there is
 * none that can be read. CURLINFO_RETRY_AFTER does not tell "0" from none, and wraps around. */
static unsigned read_retry_after(CURL *easy)
{
	const char *value = header_value(easy, "retry-after");
	size_t digits = value ? strspn(value, "0123456789") : 0;
	double seconds;

	if (!value)
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
	char *type = NULL;
	char type_token[48];
	char ray_token[48];

	curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &type);
	copy_token(type_token, sizeof(type_token), type);
	answer->is_html = strcasecmp(type_token, "text/html") == 0 ||
			  strcasecmp(type_token, "application/xhtml+xml") == 0;
	copy_token(ray_token, sizeof(ray_token), header_value(call->easy, "cf-ray"));
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

static void read_phases(struct call *call)
{
	uint64_t connect = time_info(call->easy, CURLINFO_CONNECT_TIME_T);
	uint64_t tls = time_info(call->easy, CURLINFO_APPCONNECT_TIME_T);
	uint64_t ready = time_info(call->easy, CURLINFO_PRETRANSFER_TIME_T);
	long new_connections = 0;
	struct http_phases *phases = &call->answer.phases;

	/* On a kept connection libcurl repeats in both figures the time it waited for it. */
	curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &new_connections);
	if (new_connections > 0) {
		phases->connect_us = connect;
		phases->tls_us = tls > connect ? tls - connect : 0;
	} else {
		phases->queue_us += ready;
	}
}

/* The first certificate of the chain is the server's own. */
static time_t read_certificate_end(CURL *easy)
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

enum fault upstream_call_classify(const struct call *call, CURLcode code)
{
	bool was_sent = call->body_at > 0;

	if (code == CURLE_OK)
		return FAULT_NONE;
	if (is_tls_fault(call, code))
		return FAULT_UPSTREAM_TLS;
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
static const char *phase_name(const struct call *call)
{
	if (call->answer.status >= 200)
		return "answer";
	if (call->body_at > 0)
		return "wait";
	if (time_info(call->easy, CURLINFO_CONNECT_TIME_T) > 0)
		return "tls";
	return time_info(call->easy, CURLINFO_NAMELOOKUP_TIME_T) > 0 ? "connect" : "lookup";
}

static void note_failure(struct call *call, CURLcode code)
{
	struct upstream_answer *answer = &call->answer;
	const char *reason = *call->error ? call->error : curl_easy_strerror(code);

	if (call->is_oversize)
		reason = "over its ceiling";
	else if (code == CURLE_SEND_FAIL_REWIND)
		reason = "the kept connection was closed under the request";
	/* libcurl gives no time of connecting where TLS fails. */
	snprintf(answer->note, sizeof(answer->note), "%s: %.180s",
		 is_tls_fault(call, code) ? "tls" : phase_name(call), reason);
	for (size_t len = strlen(answer->note); len > 0 && answer->note[len - 1] == ' ';)
		answer->note[--len] = '\0';
}

void upstream_call_judge(struct call *call, CURLcode code)
{
	struct upstream_answer *answer = &call->answer;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &answer->status);
	answer->retry_after_s = read_retry_after(call->easy);
	answer->fault = upstream_call_classify(call, code);
	answer->certificate_end = read_certificate_end(call->easy);
	read_phases(call);
	if (answer->fault == FAULT_NONE)
		note_answer(call);
	else
		note_failure(call, code);
}
