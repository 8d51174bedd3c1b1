#include "upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "ceilings.h"
#include "memory.h"
#include "trust.h"
#include "upstream_call.h"
#include "upstream_drive.h"

/* As many as generation_options() tells apart. */
#define GENERATIONS 32

struct upstream {
	struct loop *loop;
	const struct config *config;
	CURLM *multi;
	struct upstream_drive drive;
	struct curl_slist *headers;
	struct loop_timer idle_timer; /* set after the last call, while there is none */
	LIST_HEAD(call_list, call) calls;
	struct call_list sending; /* those whose form libcurl has, and has perhaps not sent yet */
	long call_count;
	CURL *spare[SPARE_TRANSFERS_MAX]; /* set up, and not in use; the last used are taken first
					   */
	size_t spare_count;
	long connections_max; /* what the descriptors allow */
	unsigned generation;  /* of connections; see generation_options() */
	bool is_worn;         /* a connection of this generation is to be left */
	struct call *pioneer; /* opens the first connection of the next one; or NULL */
	uint16_t *served;     /* logins on the present connection from each local port */
	bool is_multiplexed;  /* the server speaks HTTP/2, or is not known yet */
	struct trust trust;
	bool is_inspecting;                /* certificates */
	void (*on_retired)(void *context); /* NULL: in use */
	void *retired_context;
};

/* HTTP/1.1 needs a connection for each login in flight, HTTP/2 one for many. Which of them the
 * server speaks is known by its first answer; until then few connections are opened, because a
 * burst of logins would otherwise open one each. */
static void limit_connections(struct upstream *upstream)
{
	long shared = upstream->config->max_in_flight / STREAMS_PER_CONNECTION + 1;
	long limit = upstream->connections_max;

	if (shared < SHARED_CONNECTIONS_MIN)
		shared = SHARED_CONNECTIONS_MIN;
	if (upstream->is_multiplexed && shared < limit)
		limit = shared;
	curl_multi_setopt(upstream->multi, CURLMOPT_MAX_HOST_CONNECTIONS, limit);
	/* A generation's number comes again only when its connections were given up for newer ones.
	 */
	curl_multi_setopt(upstream->multi, CURLMOPT_MAXCONNECTS,
			  upstream->is_multiplexed && limit >= GENERATIONS ? GENERATIONS - 1L
									   : limit);
}

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
	struct call *call = context;

	if (secret_append(&call->answer.body, data, size * count))
		return size * count;
	call->is_oversize = secret_len(&call->answer.body) + size * count > ANSWER_MAX_BYTES;
	return 0;
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

/*
 * A server ends an HTTP/2 connection after so many requests (nginx: 1000), and what is sent at that
 * moment is lost: libcurl 7.88 does not tell a refused request, which could be sent again, from one
 * whose answer was lost. So a connection is left before that. libcurl has no call for it; but it
 * shares a connection only among transfers of equal TLS options, and these five have no effect on
 * OpenSSL with TLS 1.2 and newer.
 */
static long generation_options(unsigned generation)
{
	static const long options[] = {CURLSSLOPT_NO_REVOKE, CURLSSLOPT_REVOKE_BEST_EFFORT,
				       CURLSSLOPT_AUTO_CLIENT_CERT, CURLSSLOPT_NATIVE_CA,
				       CURLSSLOPT_ALLOW_BEAST};
	long chosen = 0;

	for (unsigned bit = 0; bit < sizeof(options) / sizeof(options[0]); bit++)
		chosen |= (generation >> bit & 1) ? options[bit] : 0;
	return chosen;
}

/* One call goes ahead and opens a connection of the next generation, and the others follow when it
 * is there: libcurl would let none of them wait for it, and open one for each. */
static unsigned choose_generation(struct call *call)
{
	struct upstream *upstream = call->upstream;

	if (!upstream->is_worn || upstream->pioneer)
		return upstream->generation;
	upstream->pioneer = call;
	return upstream->generation + 1;
}

/* The old connections are closed by the last call on each. Left idle, they would be looked after by
 * two system calls at every login. */
static void change_generation(struct upstream *upstream)
{
	struct call *call = LIST_FIRST(&upstream->calls);

	upstream->generation++;
	upstream->is_worn = false;
	upstream->pioneer = NULL;
	for (; call; call = LIST_NEXT(call, entry)) {
		if (call->generation != upstream->generation && call->easy)
			curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L);
	}
}

/* Called right before a request goes out, so that one without an answer counts as well, and one
 * that opened the connection is the first on it. */
static int on_request(void *context, char *server, char *local, int server_port, int local_port)
{
	struct call *call = context;
	struct upstream *upstream = call->upstream;
	long new_connections = 0;
	unsigned served;

	(void)server;
	(void)local;
	(void)server_port;
	if (local_port <= 0 || local_port > UINT16_MAX)
		return CURL_PREREQFUNC_OK;
	curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &new_connections);
	if (new_connections > 0) {
		upstream->served[local_port] = 0;
		upstream_drive_take(&upstream->drive, call->easy, local_port);
	}
	served = ++upstream->served[local_port];
	if (call == upstream->pioneer)
		change_generation(upstream);
	if (!upstream->is_multiplexed || call->generation != upstream->generation)
		return CURL_PREREQFUNC_OK;
	upstream->is_worn |= served >= CONNECTION_LOGINS_MAX;
	/* The pioneer takes too long. */
	if (served >= CONNECTION_LOGINS_END)
		change_generation(upstream);
	return CURL_PREREQFUNC_OK;
}

/* What is the same for every call. */
static bool set_up(CURL *easy, const struct upstream *upstream)
{
	const struct config *config = upstream->config;

	return !curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https") &&
	       !curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
	       !curl_easy_setopt(easy, CURLOPT_CAPATH, upstream->trust.directory) &&
	       !curl_easy_setopt(easy, CURLOPT_CAINFO, upstream->trust.file) &&
	       !curl_easy_setopt(easy, CURLOPT_CERTINFO, upstream->is_inspecting ? 1L : 0L) &&
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
	       !curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request) &&
	       !curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read) &&
	       !curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) &&
	       !curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) &&
	       !curl_easy_setopt(easy, CURLOPT_HTTPHEADER, upstream->headers);
}

static bool set_up_call(CURL *easy, struct call *call)
{
	return !curl_easy_setopt(easy, CURLOPT_URL, call->url) &&
	       !curl_easy_setopt(easy, CURLOPT_SSL_OPTIONS, generation_options(call->generation)) &&
	       !curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)secret_len(&call->body)) &&
	       !curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 0L) &&
	       !curl_easy_setopt(easy, CURLOPT_PREREQDATA, call) &&
	       !curl_easy_setopt(easy, CURLOPT_READDATA, call) &&
	       !curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) &&
	       !curl_easy_setopt(easy, CURLOPT_HEADERDATA, call) &&
	       !curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error) &&
	       !curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
}

/* A spare transfer saves what making and setting up one costs: a third of a login. NULL without
 * memory. */
static CURL *take_transfer(struct upstream *upstream)
{
	CURL *easy;

	if (upstream->spare_count > 0)
		return upstream->spare[--upstream->spare_count];
	easy = curl_easy_init();
	if (easy && set_up(easy, upstream))
		return easy;
	curl_easy_cleanup(easy);
	return NULL;
}

static bool start(struct call *call)
{
	call->easy = take_transfer(call->upstream);
	call->generation = choose_generation(call);
	return call->easy && set_up_call(call->easy, call) &&
	       curl_multi_add_handle(call->upstream->multi, call->easy) == CURLM_OK;
}

/* Only one that ended well can be sure to have nothing left over in it. */
static void release_transfer(struct call *call, bool is_good)
{
	struct upstream *upstream = call->upstream;

	if (upstream->pioneer == call)
		upstream->pioneer = NULL;
	if (!call->easy)
		return;
	curl_multi_remove_handle(upstream->multi, call->easy);
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
	release_transfer(call, false);
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

static void learn_version(struct call *call)
{
	long version = 0;

	curl_easy_getinfo(call->easy, CURLINFO_HTTP_VERSION, &version);
	bool is_multiplexed = version != CURL_HTTP_VERSION_1_1 && version != CURL_HTTP_VERSION_1_0;
	if (is_multiplexed == call->upstream->is_multiplexed)
		return;
	call->upstream->is_multiplexed = is_multiplexed;
	limit_connections(call->upstream);
}

static void note_idle(struct upstream *upstream)
{
	if (upstream->call_count == 0)
		loop_timer_set(upstream->loop, &upstream->idle_timer,
			       upstream->on_retired ? 0 : UPSTREAM_IDLE_MS);
}

/* The end of a call: tells, then forgets. */
static void finish(struct call *call, CURLcode code)
{
	struct upstream *upstream = call->upstream;
	struct upstream_answer *answer = &call->answer;

	upstream_call_judge(call, code);
	if (answer->fault == FAULT_NONE)
		learn_version(call);
	release_transfer(call, code == CURLE_OK);
	upstream->call_count--;
	call->done(call->context, answer);
	call_free(call);
	note_idle(upstream);
}

/* Nothing was sent: one more try, at once. */
static bool retry(struct call *call)
{
	if (call->was_retried)
		return false;
	call->was_retried = true;
	release_transfer(call, false);
	secret_truncate(&call->answer.body, 0);
	call->head_bytes = 0;
	call->is_oversize = false;
	call->error[0] = '\0';
	return start(call);
}

static void on_deadline(struct loop_timer *timer)
{
	struct call *call = CONTAINER(timer, struct call, deadline);

	snprintf(call->error, sizeof(call->error), "no answer within %ld ms",
		 call->upstream->config->timeout_ms);
	finish(call, CURLE_OPERATION_TIMEDOUT);
}

/* ---- libcurl on the loop ---- */

/* Takes the calls that have ended. */
static void collect(struct upstream_drive *drive)
{
	struct upstream *upstream = CONTAINER(drive, struct upstream, drive);
	CURLMsg *message;
	int rest;

	forget_sent(upstream);
	while ((message = curl_multi_info_read(upstream->multi, &rest))) {
		struct call *call = NULL;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
		if (upstream_call_classify(call, code) == FAULT_UPSTREAM_UNREACHABLE && retry(call))
			continue;
		finish(call, code);
	}
}

static bool open_multi(struct upstream *upstream)
{
	upstream->multi = curl_multi_init();
	if (!upstream->multi)
		return false;
	upstream_drive_use(&upstream->drive, upstream->multi);
	curl_multi_setopt(upstream->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	curl_multi_setopt(upstream->multi, CURLMOPT_MAX_CONCURRENT_STREAMS,
			  (long)STREAMS_PER_CONNECTION);
	limit_connections(upstream);
	return true;
}

/* Nothing to do for a while: drop the connections, which would be too old soon, and with them the
 * buffers of TLS and HTTP/2 that still hold the last logins. */
static void on_idle(struct loop_timer *timer)
{
	struct upstream *upstream = CONTAINER(timer, struct upstream, idle_timer);
	CURLM *old = upstream->multi;

	if (upstream->on_retired) {
		upstream->on_retired(upstream->retired_context);
		return;
	}
	drop_spares(upstream);
	if (open_multi(upstream)) {
		curl_multi_cleanup(old);
		upstream_drive_rest(&upstream->drive);
		memory_trim();
	} else {
		upstream->multi = old;
	}
}

/* ---- the room's doors ---- */

struct upstream *upstream_open(struct loop *loop, const struct config *config, long connections_max,
			       const char **ret_fault)
{
	struct upstream *upstream = calloc(1, sizeof(*upstream));
	const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);

	*ret_fault = "not enough memory to start";
	if (!upstream)
		return NULL;
	upstream->loop = loop;
	upstream->config = config;
	upstream->connections_max = connections_max;
	upstream->is_multiplexed = true;
	upstream->idle_timer.on_fire = on_idle;
	upstream->trust = trust_find(config->ca_file, "");
	LIST_INIT(&upstream->calls);
	LIST_INIT(&upstream->sending);
	upstream_drive_open(&upstream->drive, loop, collect);
	upstream->served = calloc(UINT16_MAX + 1, sizeof(uint16_t));
	if (!upstream->served)
		goto fail;
	if (!(curl->features & CURL_VERSION_SSL) || !(curl->features & CURL_VERSION_HTTP2) ||
	    !(curl->features & CURL_VERSION_ASYNCHDNS)) {
		*ret_fault = "libcurl lacks TLS, HTTP/2 or a resolver that does not block; "
			     "install Debian's libcurl4";
		goto fail;
	}
	/* libcurl would write the keys of every TLS session there. */
	unsetenv("SSLKEYLOGFILE");
	/* No Expect:, which would cost a round trip. CURLOPT_USERAGENT prints its text twice for
	 * each request, a byte at a time: 3000 instructions. */
	upstream->headers = curl_slist_append(NULL, "Accept: application/json");
	if (!upstream->headers || !curl_slist_append(upstream->headers, "Expect:") ||
	    !curl_slist_append(upstream->headers, "User-Agent: bakrypt-login/" VERSION) ||
	    curl_global_init(CURL_GLOBAL_DEFAULT) || !open_multi(upstream))
		goto fail;
	return upstream;
fail:
	upstream_close(upstream);
	return NULL;
}

void upstream_inspect(struct upstream *upstream)
{
	upstream->is_inspecting = true;
}

void upstream_retire(struct upstream *upstream, void (*on_retired)(void *context), void *context)
{
	upstream->on_retired = on_retired;
	upstream->retired_context = context;
	note_idle(upstream);
}

void upstream_close(struct upstream *upstream)
{
	if (!upstream)
		return;
	while (!LIST_EMPTY(&upstream->calls))
		call_free(LIST_FIRST(&upstream->calls));
	drop_spares(upstream);
	loop_timer_cancel(upstream->loop, &upstream->idle_timer);
	curl_multi_cleanup(upstream->multi);
	upstream_drive_close(&upstream->drive);
	curl_slist_free_all(upstream->headers);
	free(upstream->served);
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
	secret_init(&call->answer.body, ANSWER_MAX_BYTES);
	secret_move(&call->body, body);
	LIST_INSERT_HEAD(&upstream->calls, call, entry);
	if (!start(call)) {
		call_free(call);
		refuse(body, FAULT_NO_MEMORY, done, context);
		return;
	}
	upstream->call_count++;
	loop_timer_cancel(upstream->loop, &upstream->idle_timer);
	loop_timer_set(upstream->loop, &call->deadline, (uint64_t)upstream->config->timeout_ms);
}

const char *upstream_version(void)
{
	return curl_version();
}
