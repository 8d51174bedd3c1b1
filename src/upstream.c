#include "upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "ceilings.h"
#include "memory.h"
#include "trust.h"
#include "upstream_call.h"
#include "upstream_lanes.h"
#include "upstream_pool.h"

/* One of the two addresses that forms are posted to. */
struct endpoint {
	const char *url; /* the settings' */
	struct http2_target target;
	struct upstream_pool *pool; /* its own, or that of another on the same server */
	struct upstream_pool own_pool;
};

struct upstream {
	struct loop *loop;
	const struct config *config;
	struct upstream_lanes lanes;
	struct endpoint endpoints[2]; /* for tokens, for their revocation */
	struct curl_slist *headers;
	struct loop_timer idle_timer; /* set after the last call, while there is none */
	LIST_HEAD(call_list, call) calls;
	struct call_list sending; /* those whose form libcurl has, and has perhaps not sent yet */
	long call_count;
	CURL *spare[SPARE_TRANSFERS_MAX]; /* set up, and not in use; the last used are taken first
					   */
	size_t spare_count;
	long connections_max; /* what the descriptors allow */
	struct trust trust;
	bool is_inspecting;                /* certificates */
	void (*on_retired)(void *context); /* NULL: in use */
	void *retired_context;
	void (*on_unknown)(void *context); /* or NULL */
	void *unknown_context;
};

#define ENDPOINTS (sizeof(((struct upstream *)NULL)->endpoints) / sizeof(struct endpoint))

/* ---- what libcurl calls while a transfer runs ---- */

/* Hands the form over. There is no CURLOPT_SEEKFUNCTION, so libcurl cannot send it a second time
 * when a kept HTTP/1.1 connection dies under it: such a login fails instead of happening twice. */
static size_t on_read(char *data, size_t size, size_t count, void *context)
{
	struct call *call = context;
	size_t body_len = secret_len(&call->body);
	size_t rest = body_len > call->body_at ? body_len - call->body_at : 0;
	size_t len = size * count < rest ? size * count : rest;

	if (call->body_at == 0)
		call->sent_us = loop_clock_us();
	memcpy(data, secret_str(&call->body) + call->body_at, len);
	call->body_at += len;
	if (len > 0 && len == rest)
		LIST_INSERT_HEAD(&call->upstream->sending, call, sending_entry);
	return len;
}

/* The form is out: nobody needs it any more. libcurl's buffer for it is 16 KB, and most of a
 * login's time is waiting; so where more logins wait than transfers are kept, it is given back, for
 * 6000 instructions. */
static void forget_sent(struct upstream *upstream)
{
	struct call *next;

	for (struct call *call = LIST_FIRST(&upstream->sending); call; call = next) {
		curl_off_t sent_bytes = 0;

		next = LIST_NEXT(call, sending_entry);
		curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &sent_bytes);
		if (sent_bytes < (curl_off_t)secret_len(&call->body))
			continue;
		LIST_REMOVE(call, sending_entry);
		secret_clear(&call->body);
		/* It is setting it at all that makes libcurl give the buffer back. */
		if (upstream->call_count > SPARE_TRANSFERS_MAX)
			curl_easy_setopt(call->easy, CURLOPT_UPLOAD_BUFFERSIZE,
					 UPLOAD_BUFFER_BYTES);
	}
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
	return upstream_call_take_body(context, data, size * count) ? size * count : 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
	struct call *call = context;

	(void)data;
	if (call->head_bytes == 0 && call->sent_us > 0)
		call->answer.phases.first_byte_us = loop_clock_us() - call->sent_us;
	call->head_bytes += size * count;
	call->is_oversize = call->head_bytes > ANSWER_HEAD_MAX_BYTES;
	return call->is_oversize ? 0 : size * count;
}

/* ---- one transfer ---- */

/* What is the same for every call. */
static bool set_up(CURL *easy, const struct upstream *upstream)
{
	const struct config *config = upstream->config;

	return !curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https") &&
	       !curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
	       !curl_easy_setopt(easy, CURLOPT_CAPATH, upstream->trust.directory) &&
	       !curl_easy_setopt(easy, CURLOPT_CAINFO, upstream->trust.file) &&
	       !curl_easy_setopt(easy, CURLOPT_CERTINFO, upstream->is_inspecting ? 1L : 0L) &&
	       /* Without memory for one, libcurl 7.88 frees its name twice. */
	       !curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L) &&
	       !curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS) &&
	       !curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) &&
	       /* "": none, whatever the environment says; and no host is left out of it. */
	       !curl_easy_setopt(easy, CURLOPT_PROXY, config->proxy) &&
	       !curl_easy_setopt(easy, CURLOPT_NOPROXY, "") &&
	       !curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, config->connect_timeout_ms) &&
	       !curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, UPSTREAM_IDLE_MS / 1000L) &&
	       !curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) &&
	       /* A stuck name look-up is left behind instead of being waited for. */
	       !curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, DOWNLOAD_BUFFER_BYTES) &&
	       !curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES) &&
	       !curl_easy_setopt(easy, CURLOPT_POST, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read) &&
	       !curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) &&
	       !curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) &&
	       !curl_easy_setopt(easy, CURLOPT_HTTPHEADER, upstream->headers);
}

static bool set_up_call(CURL *easy, struct call *call)
{
	return !curl_easy_setopt(easy, CURLOPT_URL, call->url) &&
	       !curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)secret_len(&call->body)) &&
	       !curl_easy_setopt(easy, CURLOPT_READDATA, call) &&
	       !curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) &&
	       !curl_easy_setopt(easy, CURLOPT_HEADERDATA, call) &&
	       !curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error) &&
	       !curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
}

CURL *upstream_make_transfer(const struct upstream *upstream)
{
	CURL *easy = curl_easy_init();

	if (easy && set_up(easy, upstream))
		return easy;
	curl_easy_cleanup(easy);
	return NULL;
}

/* A spare transfer saves what making and setting up one costs: a third of a login. */
static bool start(struct call *call)
{
	struct upstream *upstream = call->upstream;

	if (upstream->spare_count > 0)
		call->easy = upstream->spare[--upstream->spare_count];
	else
		call->easy = upstream_make_transfer(upstream);
	if (!call->easy || !set_up_call(call->easy, call))
		return false;
	call->lane = upstream_lanes_add(&upstream->lanes, call->easy);
	if (!call->lane)
		return false;
	call->refusals_before = upstream_lane_refusals_before(call->lane);
	return true;
}

/* Only one that ended well can be sure to have nothing left over in it. */
static void release_transfer(struct call *call, bool is_good)
{
	struct upstream *upstream = call->upstream;

	if (!call->easy)
		return;
	if (call->lane)
		upstream_lanes_remove(call->lane, call->easy);
	call->lane = NULL;
	curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, NULL);
	if (is_good && upstream->spare_count < SPARE_TRANSFERS_MAX)
		upstream->spare[upstream->spare_count++] = call->easy;
	else
		curl_easy_cleanup(call->easy);
	call->easy = NULL;
}

static void drop_spares(struct upstream *upstream)
{
	while (upstream->spare_count > 0)
		curl_easy_cleanup(upstream->spare[--upstream->spare_count]);
}

static void call_free(struct call *call)
{
	loop_timer_cancel(call->upstream->loop, &call->deadline);
	LIST_REMOVE(call, entry);
	/* In the list of those that are being sent: given over, and not yet forgotten. */
	if (call->body_at > 0 && call->body_at == secret_len(&call->body))
		LIST_REMOVE(call, sending_entry);
	secret_clear(&call->body);
	secret_clear(&call->answer.body);
	free(call);
}

/* ---- the end of a transfer ---- */

static void note_idle(struct upstream *upstream)
{
	if (upstream->call_count == 0)
		loop_timer_set(upstream->loop, &upstream->idle_timer,
			       upstream->on_retired ? 0 : UPSTREAM_IDLE_MS);
}

void upstream_end(struct call *call)
{
	struct upstream *upstream = call->upstream;
	bool is_unknown = upstream->on_unknown && upstream_call_lacked_address(call);

	release_transfer(call, call->answer.fault == FAULT_NONE);
	upstream->call_count--;
	call->done(call->context, &call->answer);
	call_free(call);
	note_idle(upstream);
	if (is_unknown)
		upstream->on_unknown(upstream->unknown_context);
}

/* Nothing was sent: one more try, at once. */
static bool retry(struct call *call)
{
	if (call->tries >= CONNECT_TRIES_MAX)
		return false;
	call->tries++;
	release_transfer(call, false);
	secret_truncate(&call->answer.body, 0);
	call->head_bytes = 0;
	call->is_oversize = false;
	call->error[0] = '\0';
	return start(call);
}

static const struct endpoint *find_endpoint(const struct upstream *upstream, const char *url)
{
	for (size_t i = 0; i < ENDPOINTS; i++) {
		if (strcmp(upstream->endpoints[i].url, url) == 0)
			return &upstream->endpoints[i];
	}
	return NULL;
}

/* For one call libcurl does as well, and needs one connection whatever the server speaks; a pool
 * finds that out first. */
static bool may_be_pooled(const struct upstream *upstream)
{
	return upstream->config->max_in_flight > 1;
}

/* A server that did not speak HTTP/2 may have learned to. */
static void learn_version(struct call *call)
{
	const struct endpoint *endpoint = find_endpoint(call->upstream, call->url);
	long version = 0;

	curl_easy_getinfo(call->easy, CURLINFO_HTTP_VERSION, &version);
	if (endpoint && version == CURL_HTTP_VERSION_2_0)
		endpoint->pool->is_http1 = false;
}

static void on_transfer_done(struct call *call, CURLcode code)
{
	enum fault fault = upstream_call_classify(call, code);

	if (fault == FAULT_UPSTREAM_UNREACHABLE && retry(call))
		return;
	/* The lane keeps the certificates that it trusts, and may have read them without memory:
	 * then it would find fault with every server from now on. */
	if (fault == FAULT_NO_MEMORY && code != CURLE_OUT_OF_MEMORY)
		upstream_lane_fail(call->lane);
	upstream_call_judge(call, call->easy, code);
	if (call->answer.fault == FAULT_NONE)
		learn_version(call);
	upstream_end(call);
}

static void on_deadline(struct loop_timer *timer)
{
	struct call *call = CONTAINER(timer, struct call, deadline);
	CURL *easy = call->easy;

	snprintf(call->error, sizeof(call->error), "no answer within %ld ms",
		 call->upstream->config->timeout_ms);
	if (call->pool) {
		easy = call->connection ? NULL : upstream_pool_connector(call->pool);
		upstream_pool_forget(call, true);
	}
	upstream_call_judge(call, easy, CURLE_OPERATION_TIMEDOUT);
	upstream_end(call);
}

/* ---- which way a call goes ---- */

static void begin_transfer(struct call *call)
{
	call->pool = NULL;
	if (start(call))
		return;
	call->answer.fault = FAULT_NO_MEMORY;
	upstream_end(call);
}

static void begin(struct call *call)
{
	const struct endpoint *endpoint = find_endpoint(call->upstream, call->url);

	if (!may_be_pooled(call->upstream) || !endpoint || endpoint->pool->is_http1) {
		begin_transfer(call);
		return;
	}
	call->pool = endpoint->pool;
	call->target = &endpoint->target;
	upstream_pool_post(call->pool, call);
}

void upstream_fall_back(struct upstream_pool *pool)
{
	struct call *call;

	pool->is_http1 = true;
	while ((call = upstream_pool_take_waiting(pool)))
		begin_transfer(call);
}

/* ---- libcurl on the loop ---- */

/* Ends the transfers of a lane that has failed. */
static void cut_transfers(struct upstream_lanes *lanes, const struct upstream_lane *lane)
{
	struct upstream *upstream = CONTAINER(lanes, struct upstream, lanes);
	struct call *next;

	for (struct call *call = LIST_FIRST(&upstream->calls); call; call = next) {
		next = LIST_NEXT(call, entry);
		if (call->lane != lane)
			continue;
		upstream_call_judge(call, call->easy, CURLE_OUT_OF_MEMORY);
		upstream_end(call);
	}
}

/* Takes the transfers that have ended. */
static void collect(struct upstream_lanes *lanes, CURLM *multi)
{
	struct upstream *upstream = CONTAINER(lanes, struct upstream, lanes);
	CURLMsg *message;
	int rest;

	forget_sent(upstream);
	while ((message = curl_multi_info_read(multi, &rest))) {
		struct call *call = NULL;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
		on_transfer_done(call, code);
	}
}

static void drop_connections(struct upstream *upstream)
{
	for (size_t i = 0; i < ENDPOINTS; i++)
		upstream_pool_drop(&upstream->endpoints[i].own_pool);
	upstream_lanes_drop(&upstream->lanes);
}

/* Nothing to do for a while: drop the connections, which would be too old soon, and with them the
 * buffers of TLS and HTTP/2 that still hold the last logins; then what all that has left behind. */
static void on_idle(struct loop_timer *timer)
{
	struct upstream *upstream = CONTAINER(timer, struct upstream, idle_timer);

	if (upstream->on_retired) {
		upstream->on_retired(upstream->retired_context);
		memory_wipe_remains();
		return;
	}
	drop_spares(upstream);
	drop_connections(upstream);
	memory_wipe_remains();
	memory_trim();
}

/* ---- the room's doors ---- */

/* The parts of a URL, which the settings' check has found to be good. False without memory. */
static bool read_url(const char *url, struct http2_target *ret_target)
{
	CURLU *parts = curl_url();
	char *host = NULL;
	char *port = NULL;
	struct buf authority;
	bool is_read;

	buf_init(&authority, SETTINGS_FILE_MAX_BYTES);
	is_read = parts && !curl_url_set(parts, CURLUPART_URL, url, 0) &&
		  !curl_url_get(parts, CURLUPART_HOST, &host, 0) &&
		  !curl_url_get(parts, CURLUPART_PATH, &ret_target->path, 0) &&
		  buf_append_str(&authority, host) &&
		  (curl_url_get(parts, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT) ||
		   (buf_append_str(&authority, ":") && buf_append_str(&authority, port)));
	if (is_read)
		ret_target->authority = authority.data;
	else
		buf_clear(&authority);
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(parts);
	return is_read;
}

static bool open_endpoints(struct upstream *upstream)
{
	const char *const urls[ENDPOINTS] = {upstream->config->token_url,
					     upstream->config->revoke_url};
	size_t shared = (size_t)upstream->config->max_in_flight / STREAMS_PER_CONNECTION + 1;
	size_t limit = (size_t)upstream->connections_max / UPSTREAM_CONNECTION_FDS + 1;

	for (size_t i = 0; i < ENDPOINTS; i++) {
		struct endpoint *endpoint = &upstream->endpoints[i];

		endpoint->url = urls[i];
		endpoint->pool = &endpoint->own_pool;
		upstream_pool_open(&endpoint->own_pool, upstream, upstream->loop, urls[i],
				   shared < limit ? shared : limit);
		if (!read_url(urls[i], &endpoint->target))
			return false;
		if (strcmp(endpoint->target.authority, upstream->endpoints[0].target.authority) ==
		    0)
			endpoint->pool = upstream->endpoints[0].pool;
	}
	return true;
}

static void close_endpoints(struct upstream *upstream)
{
	for (size_t i = 0; i < ENDPOINTS; i++) {
		struct endpoint *endpoint = &upstream->endpoints[i];

		upstream_pool_close(&endpoint->own_pool);
		free(endpoint->target.authority);
		curl_free(endpoint->target.path);
	}
}

/* For the first time it starts OpenSSL, which is lent memory: at some places it would end the
 * process without. What was lent it keeps, so that there is no start then. */
static bool start_libcurl(void)
{
	bool is_started;

	/* It would write the keys of every TLS session there. */
	unsetenv("SSLKEYLOGFILE");
	memory_lend();
	is_started = curl_global_init(CURL_GLOBAL_DEFAULT) == 0;
	if (!memory_has_lent())
		return is_started;
	if (is_started)
		curl_global_cleanup();
	return false;
}

struct upstream *upstream_open(struct loop *loop, const struct config *config, long connections_max,
			       const char **ret_fault)
{
	struct upstream *upstream = calloc(1, sizeof(*upstream));
	const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);

	*ret_fault = "not enough memory to start";
	if (!upstream || !start_libcurl()) {
		free(upstream);
		return NULL;
	}
	upstream->loop = loop;
	upstream->config = config;
	upstream->connections_max = connections_max;
	upstream->idle_timer.on_fire = on_idle;
	upstream->trust = trust_find(config->ca_file, "");
	LIST_INIT(&upstream->calls);
	LIST_INIT(&upstream->sending);
	if (!curl->ssl_version || !strstr(curl->ssl_version, "OpenSSL/") ||
	    !(curl->features & CURL_VERSION_HTTP2) || !(curl->features & CURL_VERSION_ASYNCHDNS)) {
		*ret_fault = "libcurl lacks OpenSSL, HTTP/2 or a resolver that does not block; "
			     "install Debian's libcurl4";
		goto fail;
	}
	/* No Expect:, which would cost a round trip. CURLOPT_USERAGENT prints its text twice for
	 * each request, a byte at a time: 3000 instructions. */
	upstream->headers = curl_slist_append(NULL, "Accept: application/json");
	if (!upstream->headers || !curl_slist_append(upstream->headers, "Expect:") ||
	    !curl_slist_append(upstream->headers, "User-Agent: bakrypt-login/" VERSION) ||
	    !open_endpoints(upstream))
		goto fail;
	upstream_lanes_open(&upstream->lanes, loop, (size_t)connections_max, collect,
			    cut_transfers);
	return upstream;
fail:
	upstream_close(upstream);
	return NULL;
}

void upstream_inspect(struct upstream *upstream)
{
	upstream->is_inspecting = true;
}

bool upstream_is_one_server(const struct upstream *upstream)
{
	return upstream->endpoints[0].pool == upstream->endpoints[1].pool;
}

void upstream_watch_names(struct upstream *upstream, void (*on_unknown)(void *context),
			  void *context)
{
	upstream->on_unknown = on_unknown;
	upstream->unknown_context = context;
}

void upstream_retire(struct upstream *upstream, void (*on_retired)(void *context), void *context)
{
	upstream->on_retired = on_retired;
	upstream->retired_context = context;
	note_idle(upstream);
}

void upstream_close(struct upstream *upstream)
{
	struct call *call;

	if (!upstream)
		return;
	for (size_t i = 0; i < ENDPOINTS; i++)
		upstream->endpoints[i].own_pool.connections_max = 0; /* none is begun any more */
	while ((call = LIST_FIRST(&upstream->calls))) {
		if (call->pool)
			upstream_pool_forget(call, false);
		release_transfer(call, false);
		call_free(call);
	}
	drop_spares(upstream);
	close_endpoints(upstream);
	loop_timer_cancel(upstream->loop, &upstream->idle_timer);
	upstream_lanes_close(&upstream->lanes);
	curl_slist_free_all(upstream->headers);
	free(upstream);
	curl_global_cleanup();
}

static void refuse(struct secret *body, enum fault fault, upstream_done *done, void *context)
{
	struct upstream_answer answer = {.fault = fault};

	secret_clear(body);
	secret_init(&answer.body, ANSWER_MAX_BYTES);
	done(context, &answer);
}

void upstream_post(struct upstream *upstream, const char *url, struct secret *body,
		   upstream_done *done, void *context)
{
	struct call *call;

	if (upstream->call_count >= upstream->config->max_in_flight) {
		refuse(body, FAULT_OVERLOADED, done, context);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		refuse(body, FAULT_NO_MEMORY, done, context);
		return;
	}
	call->upstream = upstream;
	call->url = url;
	call->done = done;
	call->context = context;
	call->deadline.on_fire = on_deadline;
	call->posted_us = loop_clock_us();
	call->refusals_before = memory_refusals();
	secret_init(&call->answer.body, ANSWER_MAX_BYTES);
	secret_move(&call->body, body);
	LIST_INSERT_HEAD(&upstream->calls, call, entry);
	upstream->call_count++;
	loop_timer_cancel(upstream->loop, &upstream->idle_timer);
	loop_timer_set(upstream->loop, &call->deadline, (uint64_t)upstream->config->timeout_ms);
	begin(call);
}

const char *upstream_version(void)
{
	return curl_version();
}
