#include "cgi.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ceilings.h"
#include "log.h"

#define READ_STEP_BYTES 1024

bool cgi_is_asked(void)
{
	return getenv("REQUEST_METHOD") != NULL;
}

/* ---- the way in ---- */

static const char *get_variable(void *context, const char *name)
{
	(void)context;
	return getenv(name);
}

/* Waits until fd is ready, or until due_us. A file is always ready. */
static bool wait_for(int fd, short events, uint64_t due_us)
{
	struct pollfd watched = {.fd = fd, .events = events};
	uint64_t now_us = loop_clock_us();
	int count = 0;

	while (count == 0 && now_us < due_us) {
		count = poll(&watched, 1, (int)((due_us - now_us) / 1000) + 1);
		if (count < 0 && errno != EINTR)
			return false;
		count = count < 0 ? 0 : count;
		now_us = loop_clock_us();
	}
	return count > 0;
}

/* One read of at most max bytes: how many came, 0 at the end, -1 on failure or too late. */
static ssize_t read_some(struct secret *body, size_t max, uint64_t due_us)
{
	ssize_t len;

	if (!secret_reserve(body, max) || !wait_for(STDIN_FILENO, POLLIN, due_us))
		return -1;
	do
		len = read(STDIN_FILENO, secret_end(body), max);
	while (len < 0 && errno == EINTR);
	if (len > 0)
		secret_added(body, (size_t)len);
	return len;
}

/* Whether there is a byte behind a body that is as long as a body may be. */
static bool has_more(uint64_t due_us)
{
	char byte;

	return wait_for(STDIN_FILENO, POLLIN, due_us) && read(STDIN_FILENO, &byte, 1) > 0;
}

/* As much as CONTENT_LENGTH says, for standard input need not end there (section 4.2); without it
 * to the end, because servers pass a chunked body on like that. */
static enum http_body_state read_body(struct secret *body)
{
	const char *content_length = getenv("CONTENT_LENGTH");
	uint64_t due_us = loop_clock_us() + REQUEST_ARRIVAL_MS * 1000;
	size_t wanted = BODY_MAX_BYTES;
	bool is_declared = http_read_length(content_length, &wanted);
	ssize_t len = 1;

	if (wanted > BODY_MAX_BYTES)
		return HTTP_BODY_TOO_LARGE;
	while (secret_len(body) < wanted && len > 0) {
		size_t rest = wanted - secret_len(body);

		len = read_some(body, rest < READ_STEP_BYTES ? rest : READ_STEP_BYTES, due_us);
	}
	if (len < 0)
		return HTTP_BODY_CUT;
	if (!is_declared && secret_len(body) == wanted && has_more(due_us))
		return HTTP_BODY_TOO_LARGE;
	return http_check_length(content_length, secret_len(body));
}

/* ---- the way out ---- */

static bool write_all(struct iovec *parts, int count, uint64_t due_us)
{
	while (count > 0) {
		ssize_t len;

		if (!wait_for(STDOUT_FILENO, POLLOUT, due_us))
			return false;
		len = writev(STDOUT_FILENO, parts, count);
		if (len < 0 && errno != EINTR && errno != EAGAIN)
			return false;
		for (; count > 0 && len >= (ssize_t)parts->iov_len; parts++, count--)
			len -= (ssize_t)parts->iov_len;
		if (count > 0 && len > 0) {
			parts->iov_base = (char *)parts->iov_base + len;
			parts->iov_len -= (size_t)len;
		}
	}
	return true;
}

static bool write_reply(const struct http_exchange *x)
{
	struct buf head;
	bool is_written = false;
	int flags = fcntl(STDOUT_FILENO, F_GETFL);

	/* A write must not wait for longer than wait_for() did. */
	if (flags >= 0)
		fcntl(STDOUT_FILENO, F_SETFL, flags | O_NONBLOCK);

	buf_init(&head, HEAD_MAX_BYTES);
	if (http_write_head(x, &head)) {
		struct iovec parts[2] = {
			{head.data, head.len},
			/* Nothing changes it; struct iovec knows no const. */
			{(void *)(uintptr_t)secret_str(&x->reply.body), secret_len(&x->reply.body)},
		};
		is_written = write_all(parts, secret_len(&x->reply.body) > 0 ? 2 : 1,
				       loop_clock_us() + REQUEST_ARRIVAL_MS * 1000);
	}
	buf_clear(&head);
	if (!is_written)
		log_event(LOG_WARN, "cgi_reject", "the web server does not take the reply");
	return is_written;
}

/* Where standard input and output are one socket, as with mod_cgid, what is left unread in it when
 * the process ends would be a reset, which takes the reply along. */
static void discard_rest(const struct http_request *request)
{
	uint64_t due_us = loop_clock_us() + REQUEST_ARRIVAL_MS * 1000;
	size_t rest = request->body_state == HTTP_BODY_TOO_LARGE ? LINGER_MAX_BYTES : 0;
	char bytes[READ_STEP_BYTES];
	ssize_t len = 1;

	if (rest == 0 && request->method && strcmp(request->method, "POST") == 0)
		return;
	http_read_length(getenv("CONTENT_LENGTH"), &rest);
	while (rest > 0 && len > 0 && wait_for(STDIN_FILENO, POLLIN, due_us)) {
		len = read(STDIN_FILENO, bytes, rest < sizeof(bytes) ? rest : sizeof(bytes));
		rest -= len > 0 ? (size_t)len : 0;
	}
	wipe(bytes, sizeof(bytes));
}

static void stop_watching(struct cgi *cgi)
{
	if (cgi->is_watching)
		loop_remove(cgi->loop, &cgi->output_io);
	cgi->is_watching = false;
}

static void on_finish(struct http_exchange *x)
{
	struct cgi *cgi = CONTAINER(x, struct cgi, exchange);

	stop_watching(cgi);
	if (!x->is_abandoned && !write_reply(x) && gateway_take_back(x))
		return;
	/* The web server need not wait for the rest of this process. */
	shutdown(STDOUT_FILENO, SHUT_WR);
	close(STDOUT_FILENO);
	http_clear(x);
	discard_rest(&x->request);
	cgi->is_done = true;
	if (cgi->loop)
		loop_stop(cgi->loop);
}

/* The reading end of standard output is closed. */
static void on_output_event(struct loop_io *io, uint32_t events)
{
	struct cgi *cgi = CONTAINER(io, struct cgi, output_io);

	(void)events;
	stop_watching(cgi);
	gateway_abandon(&cgi->exchange);
}

void cgi_serve(struct cgi *cgi, struct loop *loop, struct gateway *gateway)
{
	struct http_exchange *x = &cgi->exchange;

	*cgi = (struct cgi){.loop = loop};
	cgi->output_io = (struct loop_io){.fd = STDOUT_FILENO, .on_ready = on_output_event};
	http_init(x, on_finish);
	http_read_variables(&x->request, get_variable, NULL);
	if (x->request.method && strcmp(x->request.method, "POST") == 0)
		x->request.body_state = read_body(&x->request.body);
	x->arrived_us = loop_clock_us();
	/* Not possible with a file, and not needed either. */
	cgi->is_watching = loop && loop_add(loop, &cgi->output_io, 0);
	gateway_serve(gateway, x);
}
