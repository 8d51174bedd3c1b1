#include "fastcgi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate.h"
#include "log.h"
#include "responder.h"

#define CONNECTION_EVENTS ((uint32_t)(EPOLLIN | EPOLLRDHUP))

enum connection_state {
	ACCEPTED,  /* nothing came yet */
	WAITING,   /* nothing of a next request is there */
	RECEIVING, /* part of one is */
	QUEUED,    /* more came along with the last one: it waits for its turn */
	SERVING,   /* lent to the gateway */
	LINGERING, /* replied early: what still comes is discarded */
	DOOMED,    /* to be closed by whoever is at work on it */
};

struct connection {
	TAILQ_ENTRY(connection) entry; /* in the list of its state */
	struct fastcgi *door;
	struct loop_io io;
	struct loop_timer timer;
	enum connection_state state;
	struct secret received; /* of requests not yet served */
	struct gate gate;       /* what is known of the first of them */
	bool is_pumping;        /* pump() is at work on it, further up the stack */
	bool is_kept;           /* the web server wants it left open after this reply */
	bool is_cut_short;      /* the present request was not read whole */
	bool is_asked;          /* to close, while idle */
	size_t lingered_bytes;
	struct responder *responder; /* while SERVING */
	struct http_exchange exchange;
};

TAILQ_HEAD(connections, connection);

struct fastcgi {
	struct loop *loop;
	struct gateway *gateway;
	struct listener *listener;
	struct loop_io listener_io;
	struct loop_timer pause_timer;
	bool is_listening;
	bool is_stopping;
	/* In each the one that is there for longest first. */
	struct connections idle;   /* WAITING */
	struct connections slow;   /* ACCEPTED, RECEIVING, LINGERING: they wait for their peers */
	struct connections queued; /* QUEUED */
	struct connections busy;   /* SERVING, DOOMED */
	struct loop_timer queue_timer;
	size_t connection_count;
	size_t connections_max;
	struct connection *spare; /* for the next to be accepted: without memory it waits in line */
	struct responder_feed feed;
	struct buf head; /* scratch; there from the start, also for want of memory */
	void (*on_drained)(void *context);
	void *context;
	unsigned char input[INPUT_BYTES];
};

static void queue(struct connection *connection);
static void listen_again(struct fastcgi *door);

static void log_reject(const char *complaint)
{
	static struct log_pace pace = {.burst = REJECT_LINES_MAX};

	log_event_paced(&pace, LOG_WARN, "fcgi_reject", complaint);
}

/* ---- a connection's life ---- */

static struct connections *list_of(struct fastcgi *door, enum connection_state state)
{
	return state == WAITING                      ? &door->idle
	       : state == QUEUED                     ? &door->queued
	       : state == SERVING || state == DOOMED ? &door->busy
						     : &door->slow;
}

static void enter(struct connection *connection, enum connection_state state)
{
	struct fastcgi *door = connection->door;

	TAILQ_REMOVE(list_of(door, connection->state), connection, entry);
	connection->state = state;
	TAILQ_INSERT_TAIL(list_of(door, state), connection, entry);
}

static void set_timer(struct connection *connection, uint64_t delay_ms)
{
	loop_timer_set(connection->door->loop, &connection->timer, delay_ms);
}

static uint64_t arrival_ms(const struct fastcgi *door)
{
	return door->is_stopping ? STOP_GRACE_MS : REQUEST_ARRIVAL_MS;
}

static void hang_up(struct connection *connection)
{
	loop_timer_cancel(connection->door->loop, &connection->timer);
	if (connection->io.fd >= 0)
		loop_close_io(connection->door->loop, &connection->io);
}

static void connection_free(struct connection *connection)
{
	struct fastcgi *door = connection->door;

	hang_up(connection);
	TAILQ_REMOVE(list_of(door, connection->state), connection, entry);
	responder_close(connection->responder);
	http_clear(&connection->exchange);
	secret_clear(&connection->received);
	free(connection);
	door->connection_count--;
	if (door->is_stopping && door->connection_count == 0)
		door->on_drained(door->context);
	else
		listen_again(door);
}

/* Says no more, and reads on until the peer has seen the reply: a close with unread bytes would be
 * a reset, and a reset can overtake the reply. */
static void linger(struct connection *connection)
{
	enter(connection, LINGERING);
	secret_clear(&connection->received);
	shutdown(connection->io.fd, SHUT_WR);
	set_timer(connection, LINGER_MS);
}

/* A close alone would race with the next request: a web server that has put it on its way meanwhile
 * answers 502, and does not send a POST again. So it is the web server that closes. */
static void ask_to_close(struct connection *connection)
{
	responder_ask_to_close(connection->io.fd);
	connection->is_asked = true;
	set_timer(connection, STOP_GRACE_MS);
}

/* ---- the way out ---- */

/* There is room for a reply, unless the peer leaves earlier ones unread. */
static bool write_reply(struct connection *connection)
{
	errno = 0;
	if (responder_write(connection->responder, &connection->exchange, &connection->door->head))
		return true;
	/* A peer that has left needs none. */
	if (errno != EPIPE && errno != ECONNRESET)
		log_reject("a peer that does not take its replies, or no memory for one");
	return false;
}

/* The gateway gives an exchange back. */
static void on_finish(struct http_exchange *x)
{
	struct connection *connection = CONTAINER(x, struct connection, exchange);
	bool is_written = !x->is_abandoned && write_reply(connection);

	if (!is_written && !x->is_abandoned) {
		hang_up(connection);
		if (gateway_take_back(x))
			return;
	}
	responder_close(connection->responder);
	connection->responder = NULL;
	http_clear(x);
	if (is_written && connection->is_cut_short)
		linger(connection);
	else
		enter(connection, is_written && connection->is_kept ? WAITING : DOOMED);
	if (connection->state == WAITING && connection->door->is_stopping)
		ask_to_close(connection);
	if (connection->is_pumping)
		return;
	if (connection->state == DOOMED)
		connection_free(connection);
	else if (connection->state == WAITING && secret_len(&connection->received) > 0)
		queue(connection);
}

/* ---- the way in ---- */

/* Passes one request on to the gateway. bytes begin with it, and are all of it if the body is
 * HTTP_BODY_WHOLE; otherwise libfcgi gets to see its parameters alone. */
static void serve(struct connection *connection, unsigned char *bytes,
		  enum http_body_state body_state)
{
	struct fastcgi *door = connection->door;
	struct http_exchange *x = &connection->exchange;

	loop_timer_cancel(door->loop, &connection->timer);
	connection->is_asked = false;
	enter(connection, SERVING);
	http_init(x, on_finish);
	x->arrived_us = loop_clock_us();
	x->request.body_state = body_state;
	connection->responder = responder_open(&door->feed, bytes, &connection->gate,
					       connection->io.fd, &x->request);
	connection->gate = (struct gate){0};
	connection->is_kept = responder_is_kept(connection->responder);
	connection->is_cut_short = body_state != HTTP_BODY_WHOLE;
	if (responder_is_refusal(connection->responder))
		gateway_refuse(x, "no memory, or a request that libfcgi does not take");
	else
		gateway_serve(door->gateway, x);
}

/* The peer is done, or late, and the request is not whole: a reply if its parameters are there. */
static void give_up(struct connection *connection, const char *complaint)
{
	unsigned char *bytes = (unsigned char *)secret_end(&connection->received) -
			       secret_len(&connection->received);

	if (connection->gate.params_end > 0) {
		connection->is_pumping = true;
		serve(connection, bytes, HTTP_BODY_CUT);
		connection->is_pumping = false;
	} else {
		log_reject(complaint);
		enter(connection, DOOMED);
	}
	if (connection->state == DOOMED)
		connection_free(connection);
}

/* Serves the first request in bytes, if there is a whole one. Returns the bytes it took. */
static size_t pump_one(struct connection *connection, unsigned char *bytes, size_t len)
{
	struct gate *gate = &connection->gate;
	enum gate_verdict verdict = gate_look(gate, bytes, len);
	size_t request_bytes = gate->request_bytes;

	switch (verdict) {
	case GATE_MORE:
		if (connection->state != RECEIVING)
			enter(connection, RECEIVING);
		return 0;
	case GATE_READY:
		serve(connection, bytes, HTTP_BODY_WHOLE);
		return request_bytes;
	case GATE_TOO_LARGE:
		serve(connection, bytes, HTTP_BODY_TOO_LARGE);
		return len;
	case GATE_ABORTED:
		enter(connection, DOOMED);
		return len;
	case GATE_BAD:
		log_reject(gate->complaint);
		enter(connection, DOOMED);
		return len;
	}
	return len;
}

/* Keeps what was not served. bytes may be part of connection->received. */
static bool keep_rest(struct connection *connection, const unsigned char *bytes, size_t len)
{
	struct secret rest;
	bool is_kept;

	secret_init(&rest, REQUEST_MAX_BYTES + INPUT_BYTES);
	is_kept = len == 0 || secret_set(&rest, bytes, len);
	secret_move(&connection->received, &rest);
	return is_kept;
}

/* Serves the first request if it is whole, and keeps the rest. bytes: what was received; NULL: it
 * is all in connection->received. May free the connection. */
static void pump(struct connection *connection, unsigned char *bytes, size_t len)
{
	size_t taken;

	if (!bytes) {
		len = secret_len(&connection->received);
		bytes = (unsigned char *)secret_end(&connection->received) - len;
	}
	connection->is_pumping = true;
	taken = pump_one(connection, bytes, len);
	connection->is_pumping = false;
	if (connection->state == DOOMED || connection->state == LINGERING)
		taken = len;
	if ((taken > 0 || secret_len(&connection->received) == 0) &&
	    !keep_rest(connection, bytes + taken, len - taken)) {
		log_reject("no memory for a request");
		if (connection->state == SERVING)
			connection->is_kept = false;
		else
			enter(connection, DOOMED);
	}
	if (connection->state == DOOMED)
		connection_free(connection);
	else if (connection->state == WAITING && secret_len(&connection->received) > 0)
		queue(connection);
	else if (connection->state == RECEIVING && connection->timer.slot == 0)
		set_timer(connection, arrival_ms(connection->door));
}

/* ---- requests that came several at once ---- */

/* One at a time, or all others would wait for a peer that has sent a thousand. Nothing is read of
 * it meanwhile: then the kernel keeps it waiting. */
static void queue(struct connection *connection)
{
	struct fastcgi *door = connection->door;

	enter(connection, QUEUED);
	loop_change(door->loop, &connection->io, 0);
	if (door->queue_timer.slot == 0)
		loop_timer_set(door->loop, &door->queue_timer, 0);
}

/* Those that are served go to the end of the queue; the others are for the next turn. */
static void on_queue(struct loop_timer *timer)
{
	struct fastcgi *door = CONTAINER(timer, struct fastcgi, queue_timer);
	struct connection *connection;

	for (int i = 0; i < QUEUE_BATCH && (connection = TAILQ_FIRST(&door->queued)); i++) {
		enter(connection, WAITING);
		loop_change(door->loop, &connection->io, CONNECTION_EVENTS);
		pump(connection, NULL, 0);
	}
	if (!TAILQ_EMPTY(&door->queued))
		loop_timer_set(door->loop, timer, 0);
}

/* ---- events ---- */

/* The web server has left or given up while a request is being served. */
static void abandon(struct connection *connection)
{
	hang_up(connection);
	secret_clear(&connection->received);
	gateway_abandon(&connection->exchange);
}

static void on_input(struct connection *connection, unsigned char *bytes, size_t len)
{
	struct secret *received = &connection->received;

	switch (connection->state) {
	case ACCEPTED:
	case WAITING:
		pump(connection, bytes, len);
		return;
	case RECEIVING:
		if (!secret_append(received, bytes, len)) {
			log_reject("no memory for a request");
			connection_free(connection);
		} else if (secret_len(received) >= connection->gate.need_bytes) {
			pump(connection, NULL, 0);
		}
		return;
	case SERVING:
		/* The next request, ahead of its time; or an end to this one. */
		if (!secret_append(received, bytes, len) ||
		    gate_is_abort((const unsigned char *)secret_str(received),
				  secret_len(received)))
			abandon(connection);
		return;
	case LINGERING:
		connection->lingered_bytes += len;
		if (connection->lingered_bytes > LINGER_MAX_BYTES)
			connection_free(connection);
		return;
	case QUEUED:
	case DOOMED:
		return;
	}
}

static void on_end(struct connection *connection)
{
	if (connection->state == SERVING)
		abandon(connection);
	else if (connection->state == RECEIVING)
		give_up(connection, "a request cut off");
	else
		connection_free(connection);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct connection *connection = CONTAINER(io, struct connection, io);
	unsigned char *input = connection->door->input;
	ssize_t len;

	if (connection->state == QUEUED) {
		if (events & (EPOLLHUP | EPOLLERR)) /* nobody would read the replies */
			connection_free(connection);
		return;
	}
	len = recv(io->fd, input, INPUT_BYTES, MSG_DONTWAIT);
	if (len > 0) {
		on_input(connection, input, (size_t)len);
		wipe(input, (size_t)len);
	} else if (len == 0 || (errno != EAGAIN && errno != EINTR)) {
		on_end(connection);
	}
}

static void on_timer(struct loop_timer *timer)
{
	struct connection *connection = CONTAINER(timer, struct connection, timer);

	if (connection->state == RECEIVING)
		give_up(connection, "a request that does not end");
	else
		connection_free(connection);
}

/* ---- accepting ---- */

static void stop_listening(struct fastcgi *door)
{
	if (door->is_listening)
		loop_remove(door->loop, &door->listener_io);
	door->is_listening = false;
}

static void listen_again(struct fastcgi *door)
{
	if (door->is_listening || door->is_stopping)
		return;
	loop_timer_cancel(door->loop, &door->pause_timer);
	/* EPOLLEXCLUSIVE: of several loops on one socket, wake not all for each connection. */
	door->is_listening = loop_add(door->loop, &door->listener_io, EPOLLIN | EPOLLEXCLUSIVE);
	if (!door->is_listening)
		loop_timer_set(door->loop, &door->pause_timer, ACCEPT_PAUSE_MS);
}

/* Accepting would only fail; a close, or a moment, brings it back. reason: logged if not NULL. */
static void pause_listening(struct fastcgi *door, const char *reason)
{
	static struct log_pace pace = {.burst = 1};

	stop_listening(door);
	loop_timer_set(door->loop, &door->pause_timer, ACCEPT_PAUSE_MS);
	if (reason)
		log_event_paced(&pace, LOG_WARN, "accept_paused", reason);
}

static void on_pause_over(struct loop_timer *timer)
{
	listen_again(CONTAINER(timer, struct fastcgi, pause_timer));
}

static struct connection *connection_new(struct fastcgi *door, int fd)
{
	struct connection *connection = door->spare;
	const int buffer = SOCKET_BUFFER_BYTES;

	connection->door = door;
	connection->io = (struct loop_io){.fd = fd, .on_ready = on_ready};
	connection->timer.on_fire = on_timer;
	if (!loop_add(door->loop, &connection->io, CONNECTION_EVENTS))
		return NULL;
	door->spare = NULL;
	/* Over TCP both sizes come from the listener; a Unix socket inherits none. */
	if (!door->listener->is_tcp)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	secret_init(&connection->received, REQUEST_MAX_BYTES + INPUT_BYTES);
	http_init(&connection->exchange, on_finish);
	TAILQ_INSERT_TAIL(&door->slow, connection, entry);
	door->connection_count++;
	set_timer(connection, arrival_ms(door));
	return connection;
}

/* Whether there is a place for one more: soon that of the longest idle, when the web server closes
 * it, or now that of the one that is slowest: a web server sends a request in one go. */
static bool make_room(struct fastcgi *door)
{
	struct connection *idle = TAILQ_FIRST(&door->idle);
	struct connection *victim = idle ? idle : TAILQ_FIRST(&door->slow);

	if (door->connection_count < door->connections_max)
		return true;
	if (!victim || (idle && !door->is_stopping)) {
		if (idle && !idle->is_asked)
			ask_to_close(idle);
		pause_listening(door, idle ? NULL : "as many connections as descriptors allow");
		return false;
	}
	/* The analyzer does not follow TAILQ_REMOVE(): it takes the list for unchanged. */
	if (victim->state == RECEIVING) /* NOLINT(clang-analyzer-unix.Malloc) */
		log_reject("a slow request, and others that wait for its place");
	connection_free(victim);
	return true;
}

/* False when there is nothing more to accept for now. */
static bool accept_one(struct fastcgi *door)
{
	struct sockaddr_storage peer = {0};
	socklen_t peer_len = sizeof(peer);
	struct connection *connection;
	int fd;

	if (!make_room(door))
		return false;
	if (!door->spare)
		door->spare = calloc(1, sizeof(*door->spare));
	if (!door->spare) {
		pause_listening(door, "no memory for a connection");
		return false;
	}
	fd = accept4(door->listener->fd, (struct sockaddr *)&peer, &peer_len, SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_listening(door, strerror(errno));
		return errno == EINTR || errno == ECONNABORTED;
	}
	if (!listener_allows(door->listener, (const struct sockaddr *)&peer)) {
		log_reject("a peer that FCGI_WEB_SERVER_ADDRS does not name");
		close(fd);
		return true;
	}
	connection = connection_new(door, fd);
	if (!connection) {
		log_reject("a connection that cannot be watched");
		close(fd);
		return true;
	}
	on_ready(&connection->io, EPOLLIN); /* its request is mostly there already */
	return true;
}

static void on_connection(struct loop_io *io, uint32_t events)
{
	struct fastcgi *door = CONTAINER(io, struct fastcgi, listener_io);

	(void)events;
	for (int i = 0; i < ACCEPT_BATCH && accept_one(door); i++)
		;
}

/* ---- the room's doors ---- */

struct fastcgi *fastcgi_open(struct loop *loop, struct gateway *gateway, struct listener *listener,
			     size_t connections_max, void (*on_drained)(void *context),
			     void *context)
{
	struct fastcgi *door = calloc(1, sizeof(*door));

	if (!door)
		return NULL;
	door->loop = loop;
	door->gateway = gateway;
	door->listener = listener;
	door->listener_io = (struct loop_io){.fd = listener->fd, .on_ready = on_connection};
	door->pause_timer.on_fire = on_pause_over;
	door->queue_timer.on_fire = on_queue;
	door->connections_max = connections_max;
	door->on_drained = on_drained;
	door->context = context;
	TAILQ_INIT(&door->idle);
	TAILQ_INIT(&door->slow);
	TAILQ_INIT(&door->queued);
	TAILQ_INIT(&door->busy);
	buf_init(&door->head, HEAD_MAX_BYTES);
	if (!buf_reserve(&door->head, HEAD_MAX_BYTES) || !responder_feed_open(&door->feed)) {
		fastcgi_close(door);
		return NULL;
	}
	listen_again(door);
	return door;
}

/* Whose request has not come, or not whole, gets a moment. */
static void end_idle(struct fastcgi *door)
{
	struct connection *connection;

	TAILQ_FOREACH(connection, &door->slow, entry)
	{
		/* cppcheck-suppress uninitvar; it does not see through the macro */
		if (connection->state != LINGERING)
			set_timer(connection, STOP_GRACE_MS);
	}
	TAILQ_FOREACH(connection, &door->idle, entry)
	{
		ask_to_close(connection);
	}
}

void fastcgi_stop(struct fastcgi *door)
{
	if (door->is_stopping)
		return;
	stop_listening(door);
	loop_timer_cancel(door->loop, &door->pause_timer);
	door->is_stopping = true;
	/* One reference, so that the last connection's end is not told before this is over. */
	door->connection_count++;
	while (door->listener->is_ours && accept_one(door))
		;
	loop_timer_cancel(door->loop, &door->pause_timer);
	if (door->listener->is_ours)
		listener_close(door->listener);
	end_idle(door);
	if (--door->connection_count == 0)
		door->on_drained(door->context);
}

static void close_all(struct connections *connections)
{
	struct connection *connection;

	/* See make_room() for the analyzer. */
	while ((connection = TAILQ_FIRST(connections)))
		connection_free(connection); /* NOLINT(clang-analyzer-unix.Malloc) */
}

void fastcgi_close(struct fastcgi *door)
{
	if (!door)
		return;
	stop_listening(door);
	loop_timer_cancel(door->loop, &door->pause_timer);
	door->is_stopping = true;
	door->connection_count++;
	loop_timer_cancel(door->loop, &door->queue_timer);
	close_all(&door->idle);
	close_all(&door->slow);
	close_all(&door->queued);
	close_all(&door->busy);
	responder_feed_close(&door->feed);
	buf_clear(&door->head);
	free(door->spare);
	free(door);
}
