#include "responder.h"

#include <fcgiapp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ceilings.h"
#include "memory.h"

#define BODY_STEP_BYTES 512

/* FastCGI specification, section 8. */
enum {
	FCGI_VERSION_1 = 1,
	FCGI_KEEP_CONN = 1,
	FCGI_END_REQUEST = 3,
	FCGI_STDOUT = 6,
	FCGI_STDERR = 7
};

#define RECORD_HEADER_BYTES 8

struct responder {
	FCGX_Request fcgi; /* its parameters alone are kept */
	int reply_fd;
	bool is_kept;
};

static struct responder refusing;

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
static bool accept_request(FCGX_Request *fcgi, struct responder_feed *feed)
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

/* libfcgi ends the process where malloc() fails. So it is lent memory there, and the request is
 * given up. */
static bool read_params(FCGX_Request *fcgi, struct responder_feed *feed)
{
	bool is_read;

	memory_lend();
	is_read = accept_request(fcgi, feed);
	return !memory_has_lent() && is_read;
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

/* Takes no memory. The beginning of a request (specification section 5.1) has its id, and a flag in
 * its body. */
static struct responder *refuse(const unsigned char *bytes, int reply_fd)
{
	refusing = (struct responder){
		.fcgi.requestId = bytes[2] << 8 | bytes[3],
		.reply_fd = reply_fd,
		.is_kept = bytes[RECORD_HEADER_BYTES + 2] & FCGI_KEEP_CONN,
	};
	return &refusing;
}

struct responder *responder_open(struct responder_feed *feed, unsigned char *bytes,
				 const struct gate *gate, int reply_fd,
				 struct http_request *request)
{
	struct responder *responder = calloc(1, sizeof(*responder));
	bool has_body = request->body_state == HTTP_BODY_WHOLE;

	if (!responder)
		return refuse(bytes, reply_fd);
	if (!feed_records(feed, bytes, gate, has_body) || !read_params(&responder->fcgi, feed) ||
	    (has_body && !read_body(&responder->fcgi, &request->body))) {
		/* What is left in the pipe must not become part of the next request. */
		responder_close(responder);
		responder_feed_close(feed);
		open_pipe(feed);
		return refuse(bytes, reply_fd);
	}
	/* 17 KB that hold the password, and that a login in flight need not keep. */
	FCGX_FreeStream(&responder->fcgi.in);
	FCGX_FreeStream(&responder->fcgi.out);
	FCGX_FreeStream(&responder->fcgi.err);
	responder->reply_fd = reply_fd;
	responder->is_kept = responder->fcgi.keepConnection;
	fill_request(request, responder->fcgi.envp);
	return responder;
}

bool responder_is_refusal(const struct responder *responder)
{
	return responder == &refusing;
}

bool responder_is_kept(const struct responder *responder)
{
	return responder->is_kept;
}

#define RECORD_MAX_BYTES 65528 /* of content */

/* A head, a body in two records, and the end. */
#define REPLY_RECORDS_MAX 5

/* A reply as records, put together for one sendmsg(2). */
struct reply {
	struct iovec parts[2 * REPLY_RECORDS_MAX];
	size_t count;
	size_t bytes;
	unsigned char headers[REPLY_RECORDS_MAX][RECORD_HEADER_BYTES];
	size_t records;
	unsigned id;
};

static void add_part(struct reply *reply, const void *data, size_t len)
{
	if (len == 0)
		return;
	/* Only read from; struct iovec knows no const. */
	reply->parts[reply->count++] = (struct iovec){(void *)(uintptr_t)data, len};
	reply->bytes += len;
}

/* Section 3.3. Without padding, which is for the sender's ease alone. */
static void add_record(struct reply *reply, unsigned char type, const void *content, size_t len)
{
	unsigned char *header = reply->headers[reply->records++];

	header[0] = FCGI_VERSION_1;
	header[1] = type;
	header[2] = (unsigned char)(reply->id >> 8);
	header[3] = (unsigned char)reply->id;
	header[4] = (unsigned char)(len >> 8);
	header[5] = (unsigned char)len;
	header[6] = 0;
	header[7] = 0;
	add_part(reply, header, RECORD_HEADER_BYTES);
	add_part(reply, content, len);
}

/* Not by way of libfcgi, whose writes wait, and whose streams would have to be kept for as long as
 * the login lasts. */
bool responder_write(const struct responder *responder, const struct http_exchange *x,
		     struct buf *head)
{
	static const unsigned char request_complete[8];
	struct reply reply = {.id = (unsigned)responder->fcgi.requestId};
	const char *body = secret_str(&x->reply.body);
	size_t rest = secret_len(&x->reply.body);

	_Static_assert(ANSWER_MAX_BYTES <= 2 * RECORD_MAX_BYTES, "a body is two records");
	buf_empty(head);
	if (!http_write_head(x, head))
		return false;
	add_record(&reply, FCGI_STDOUT, buf_str(head), head->len);
	while (rest > 0) {
		size_t len = rest < RECORD_MAX_BYTES ? rest : RECORD_MAX_BYTES;

		add_record(&reply, FCGI_STDOUT, body, len);
		body += len;
		rest -= len;
	}
	add_record(&reply, FCGI_STDOUT, NULL, 0);
	add_record(&reply, FCGI_END_REQUEST, request_complete, sizeof(request_complete));

	const struct msghdr message = {.msg_iov = reply.parts, .msg_iovlen = reply.count};
	return sendmsg(responder->reply_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
	       (ssize_t)reply.bytes;
}

void responder_ask_to_close(int fd)
{
	static const unsigned char end_of_stderr[RECORD_HEADER_BYTES] = {FCGI_VERSION_1,
									 FCGI_STDERR, 0, 1};

	send(fd, end_of_stderr, sizeof(end_of_stderr), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void responder_close(struct responder *responder)
{
	if (!responder || responder == &refusing)
		return;
	FCGX_Free(&responder->fcgi, 0);
	free(responder);
}
