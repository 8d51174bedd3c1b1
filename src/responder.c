#include "responder.h"

#include <fcgiapp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ceilings.h"
#include "memory.h"

#define BODY_STEP_BYTES 512

/* What libfcgi takes for one request: three streams with buffers of 8 KiB, 8 KiB and 512 bytes, and
 * for each parameter a copy, a pointer in an array that doubles, and malloc's own book-keeping. */
#define FCGI_STREAMS_BYTES ((size_t)24 * 1024)
#define FCGI_PARAM_BYTES ((size_t)48)

struct responder {
	FCGX_Request fcgi;
	bool is_kept;
};

static bool open_pipe(struct responder_feed *feed)
{
	/* Neither end ever waits: the request is in the pipe before libfcgi reads. */
	if (pipe2(feed->fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		feed->fds[0] = feed->fds[1] = -1;
		return false;
	}
	return fcntl(feed->fds[1], F_SETPIPE_SZ, REQUEST_MAX_BYTES) >= 0;
}

bool responder_feed_open(struct responder_feed *feed)
{
	feed->fds[0] = feed->fds[1] = -1;
	if (FCGX_Init() != 0 || !open_pipe(feed))
		return false;
	/* FCGX_Init() has put handlers of its own in the place of these. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_DFL);
	return true;
}

void responder_feed_close(struct responder_feed *feed)
{
	for (int i = 0; i < 2; i++) {
		if (feed->fds[i] >= 0)
			close(feed->fds[i]);
		feed->fds[i] = -1;
	}
}

/* libfcgi ends the process where malloc() fails. So all that it will take is asked for before, in
 * one piece, which is then there to be cut up. */
static bool has_memory(const struct gate *gate)
{
	size_t params_bytes = gate->params_end - gate->params_begin;

	return memory_is_there(FCGI_STREAMS_BYTES + params_bytes +
			       gate->params_count * FCGI_PARAM_BYTES);
}

/* Puts the records into the pipe, without the padding that libfcgi would trip over. */
static bool feed_records(struct responder_feed *feed, unsigned char *bytes, const struct gate *gate,
			 bool has_body)
{
	size_t stdin_end = has_body ? gate->stdin_end : gate->stdin_begin;
	const struct iovec parts[3] = {
		{bytes, GATE_BEGIN_BYTES},
		{bytes + gate->params_begin, gate->params_end - gate->params_begin},
		{bytes + gate->stdin_begin, stdin_end - gate->stdin_begin},
	};
	size_t total = parts[0].iov_len + parts[1].iov_len + parts[2].iov_len;

	bytes[6] = 0;
	bytes[gate->params_end - 2] = 0;
	if (has_body)
		bytes[stdin_end - 2] = 0;
	return writev(feed->fds[1], parts, 3) == (ssize_t)total;
}

/* Lets libfcgi read the parameters. */
static bool read_params(FCGX_Request *fcgi, struct responder_feed *feed)
{
	if (FCGX_InitRequest(fcgi, -1, FCGI_FAIL_ACCEPT_ON_INTR) != 0)
		return false;
	fcgi->ipcFd = feed->fds[0];
	fcgi->keepConnection = 1; /* or FCGX_Accept_r() closes ipcFd before it starts */
	if (FCGX_Accept_r(fcgi) == 0)
		return true;
	feed->fds[0] = -1; /* closed by libfcgi */
	return false;
}

/* To the end of the stream, even when the body is full: what libfcgi leaves in the pipe would be
 * the head of the next request. */
static bool read_body(FCGX_Request *fcgi, struct secret *body)
{
	size_t room;

	while ((room = BODY_MAX_BYTES - secret_len(body)) > 0) {
		size_t step = room < BODY_STEP_BYTES ? room : BODY_STEP_BYTES;
		int len;

		if (!secret_reserve(body, step))
			return false;
		len = FCGX_GetStr(secret_end(body), (int)step, fcgi->in);
		secret_added(body, (size_t)len);
		if ((size_t)len < step)
			return FCGX_GetError(fcgi->in) == 0;
	}
	return FCGX_GetChar(fcgi->in) == EOF && FCGX_GetError(fcgi->in) == 0;
}

static const char *get_param(void *params, const char *name)
{
	return FCGX_GetParam(name, params);
}

static void fill_request(struct http_request *request, char **params)
{
	enum http_body_state state = http_check_length(FCGX_GetParam("CONTENT_LENGTH", params),
						       secret_len(&request->body));

	http_read_variables(request, get_param, params);
	/* A body that was not read has no length to compare; that it is too large can be seen. */
	if (request->body_state == HTTP_BODY_WHOLE || state == HTTP_BODY_TOO_LARGE)
		request->body_state = state;
}

struct responder *responder_open(struct responder_feed *feed, unsigned char *bytes,
				 const struct gate *gate, int reply_fd,
				 struct http_request *request)
{
	struct responder *responder = calloc(1, sizeof(*responder));
	bool has_body = request->body_state == HTTP_BODY_WHOLE;

	if (!responder)
		return NULL;
	if (!has_memory(gate)) {
		free(responder);
		return NULL;
	}
	if (!feed_records(feed, bytes, gate, has_body) || !read_params(&responder->fcgi, feed) ||
	    (has_body && !read_body(&responder->fcgi, &request->body))) {
		/* What is left in the pipe must not become part of the next request. */
		responder_close(responder);
		responder_feed_close(feed);
		open_pipe(feed);
		return NULL;
	}
	/* The reader is of no more use: 8 KiB that hold the password. */
	FCGX_FreeStream(&responder->fcgi.in);
	responder->fcgi.ipcFd = reply_fd;
	responder->is_kept = responder->fcgi.keepConnection;
	fill_request(request, responder->fcgi.envp);
	return responder;
}

bool responder_is_kept(const struct responder *responder)
{
	return responder->is_kept;
}

bool responder_write(struct responder *responder, const struct http_exchange *x, struct buf *head)
{
	FCGX_Stream *out = responder->fcgi.out;

	buf_empty(head);
	if (!http_write_head(x, head))
		return false;
	FCGX_PutStr(buf_str(head), (int)head->len, out);
	FCGX_PutStr(secret_str(&x->reply.body), (int)secret_len(&x->reply.body), out);
	/* Both, whatever the first says; FCGX_Finish_r() does the same, and would close the fd. */
	bool is_err_closed = FCGX_FClose(responder->fcgi.err) == 0;
	return FCGX_FClose(out) == 0 && is_err_closed;
}

void responder_close(struct responder *responder)
{
	if (!responder)
		return;
	FCGX_Free(&responder->fcgi, 0);
	free(responder);
}
