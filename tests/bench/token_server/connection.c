#include "connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http1.h"
#include "http2.h"
#include "worker.h"

#define RECORD_MAX 16384

static void connection_close(struct connection *connection)
{
	struct worker *worker = connection->worker;

	if (connection->is_closed)
		return;
	connection->is_closed = true;
	if (connection->protocol) {
		connection->protocol->stop(connection);
		SSL_shutdown(connection->ssl);
	}
	SSL_free(connection->ssl);
	ERR_clear_error();
	close(connection->fd);
	worker->counts->open--;
	STAILQ_INSERT_TAIL(&worker->graves, connection, grave);
	worker_accept_again(worker);
}

void connection_free(struct connection *connection)
{
	free(connection->unsent);
	free(connection);
}

static void connection_watch(struct connection *connection, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = &connection->source};

	if (connection->events == events)
		return;
	connection->events = events;
	epoll_ctl(connection->worker->epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

void connection_flush_later(struct connection *connection)
{
	if (connection->is_flush_due)
		return;
	connection->is_flush_due = true;
	STAILQ_INSERT_TAIL(&connection->worker->flushes, connection, flush);
}

/* ---- bytes out ---- */

/* OpenSSL wants the same bytes again when the socket takes more. */
static void connection_keep_unsent(struct connection *connection, const uint8_t *data, size_t len)
{
	if (!connection->unsent)
		connection->unsent = allocate(1, RECORD_MAX);
	memcpy(connection->unsent, data, len);
	connection->unsent_len = len;
}

/* Whether the socket took it all. */
static bool connection_send(struct connection *connection, const uint8_t *data, size_t len)
{
	int sent = SSL_write(connection->ssl, data, (int)len);

	if (sent > 0) {
		connection->unsent_len = 0;
		return true;
	}
	if (SSL_get_error(connection->ssl, sent) != SSL_ERROR_WANT_WRITE) {
		connection_close(connection);
		return false;
	}
	if (data != connection->unsent)
		connection_keep_unsent(connection, data, len);
	connection_watch(connection, EPOLLOUT);
	return false;
}

void connection_flush(struct connection *connection)
{
	static uint8_t record[RECORD_MAX];

	if (connection->is_closed)
		return;
	if (connection->unsent_len > 0 &&
	    !connection_send(connection, connection->unsent, connection->unsent_len))
		return;
	for (;;) {
		size_t len = connection->protocol->fill(connection, record, sizeof(record));

		if (len == 0)
			break;
		if (!connection_send(connection, record, len))
			return;
	}
	if (connection->is_last)
		connection_close(connection);
	else
		connection_watch(connection, EPOLLIN);
}

/* ---- bytes in ---- */

static void connection_read(struct connection *connection)
{
	static uint8_t data[RECORD_MAX];

	do {
		int len = SSL_read(connection->ssl, data, sizeof(data));

		if (len <= 0) {
			if (SSL_get_error(connection->ssl, len) != SSL_ERROR_WANT_READ)
				connection_close(connection);
			return;
		}
		worker_look_at_clock(connection->worker);
		if (!connection->is_last &&
		    !connection->protocol->receive(connection, data, (size_t)len)) {
			connection_close(connection);
			return;
		}
	} while (connection->unsent_len == 0 && SSL_has_pending(connection->ssl));
}

/* Whether it is over, and well. */
static bool connection_shake_hands(struct connection *connection)
{
	const unsigned char *protocol = NULL;
	unsigned len = 0;
	int done = SSL_do_handshake(connection->ssl);

	if (done != 1) {
		switch (SSL_get_error(connection->ssl, done)) {
		case SSL_ERROR_WANT_READ:
			connection_watch(connection, EPOLLIN);
			break;
		case SSL_ERROR_WANT_WRITE:
			connection_watch(connection, EPOLLIN | EPOLLOUT);
			break;
		default:
			connection_close(connection);
		}
		return false;
	}
	SSL_get0_alpn_selected(connection->ssl, &protocol, &len);
	connection->protocol =
		len == 2 && memcmp(protocol, "h2", 2) == 0 ? &http2_protocol : &http1_protocol;
	connection->protocol->start(connection);
	connection_watch(connection, EPOLLIN);
	return true;
}

/* Who does not take what was sent is not listened to meanwhile. */
static void connection_on_event(struct source *source)
{
	struct connection *connection = (struct connection *)source;

	if (connection->is_closed)
		return;
	if (!connection->protocol) {
		if (connection_shake_hands(connection))
			connection_read(connection);
		return;
	}
	if (connection->unsent_len > 0)
		connection_flush(connection);
	if (!connection->is_closed && connection->unsent_len == 0)
		connection_read(connection);
}

void connection_open(struct worker *worker, struct delay *delay, bool is_http2_offered, int fd)
{
	struct connection *connection = allocate(1, sizeof(*connection));
	SSL *ssl = SSL_new(worker->tls);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connection->source};
	int yes = 1;

	if (!ssl || !SSL_set_fd(ssl, fd))
		fail("take", "a connection", "no memory");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	SSL_set_accept_state(ssl);
	SSL_set_app_data(ssl, connection);
	*connection = (struct connection){.source = {.on_event = connection_on_event},
					  .worker = worker,
					  .delay = delay,
					  .fd = fd,
					  .ssl = ssl,
					  .is_http2_offered = is_http2_offered,
					  .events = EPOLLIN};
	worker->counts->accepted++;
	worker->counts->open++;
	epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* ---- what all have in common ---- */

static int on_alpn(SSL *ssl, const unsigned char **ret_protocol, unsigned char *ret_len,
		   const unsigned char *offered, unsigned offered_len, void *context)
{
	static const unsigned char both[] = "\x02h2\x08http/1.1", one[] = "\x08http/1.1";
	const struct connection *connection = SSL_get_app_data(ssl);
	const unsigned char *ours = connection->is_http2_offered ? both : one;
	unsigned ours_len = connection->is_http2_offered ? sizeof(both) - 1 : sizeof(one) - 1;
	unsigned char *chosen = NULL;

	(void)context;
	if (SSL_select_next_proto(&chosen, ret_len, ours, ours_len, offered, offered_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*ret_protocol = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* As nginx does by default: tickets, and no cache of sessions. */
SSL_CTX *connection_make_context(const char *certificate, const char *key)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

	if (!tls)
		fail("start", "TLS", ERR_reason_error_string(ERR_get_error()));
	if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1)
		fail("use certificate", certificate, ERR_reason_error_string(ERR_get_error()));
	if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(tls) != 1)
		fail("use key", key, ERR_reason_error_string(ERR_get_error()));
	SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
	SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(tls, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(tls, (const unsigned char *)"token-server", 12);
	/* One read() takes many records, and not two for each. */
	SSL_CTX_set_read_ahead(tls, 1);
	SSL_CTX_set_alpn_select_cb(tls, on_alpn, NULL);
	return tls;
}
