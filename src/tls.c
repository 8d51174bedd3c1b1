#include "tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/* ---- the handshake ---- */

/* Where a context keeps its struct tls; -1 without memory. */
static int owner_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	return index;
}

static void on_info(const SSL *ssl, int where, int result)
{
	struct tls *tls = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), owner_index());

	(void)result;
	if ((where & SSL_CB_HANDSHAKE_DONE) && tls)
		tls->ssl = (SSL *)(uintptr_t)ssl;
}

bool tls_offer(void *context, struct tls *tls)
{
	static const unsigned char protocols[] = "\x02h2\x08http/1.1";
	SSL_CTX *ctx = context;

	/* 0 is success here, and there 1. */
	if (SSL_CTX_set_alpn_protos(ctx, protocols, sizeof(protocols) - 1) != 0 ||
	    owner_index() < 0 || !SSL_CTX_set_ex_data(ctx, owner_index(), tls))
		return false;
	SSL_CTX_set_info_callback(ctx, on_info);
	return true;
}

bool tls_is_http2(const struct tls *tls)
{
	const unsigned char *protocol = NULL;
	unsigned len = 0;

	if (tls->ssl)
		SSL_get0_alpn_selected(tls->ssl, &protocol, &len);
	return len == 2 && memcmp(protocol, "h2", 2) == 0;
}

/* ---- the bytes below: OpenSSL's own socket BIO would raise SIGPIPE ---- */

static int take_result(BIO *bio, ssize_t result)
{
	BIO_clear_retry_flags(bio);
	return (int)result;
}

static int on_write(BIO *bio, const char *data, int len)
{
	const struct tls *tls = BIO_get_data(bio);
	int sent = take_result(bio, send(tls->fd, data, (size_t)len, MSG_NOSIGNAL));

	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(bio);
	return sent;
}

/* The ceiling is below OpenSSL, which reads on by itself where records hold nothing for us. */
static int on_read(BIO *bio, char *data, int size)
{
	struct tls *tls = BIO_get_data(bio);
	size_t most = (size_t)size < tls->room ? (size_t)size : tls->room;
	int got;

	errno = EAGAIN;
	got = take_result(bio, most > 0 ? recv(tls->fd, data, most, 0) : -1);
	if (got > 0)
		tls->room -= (size_t)got;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(bio);
	return got;
}

static long on_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static const BIO_METHOD *method(void)
{
	static BIO_METHOD *made;

	if (made)
		return made;
	made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
	if (!made || !BIO_meth_set_write(made, on_write) || !BIO_meth_set_read(made, on_read) ||
	    !BIO_meth_set_ctrl(made, on_control)) {
		BIO_meth_free(made);
		made = NULL;
	}
	return made;
}

bool tls_take(struct tls *tls, int fd)
{
	BIO *bio = tls->ssl && method() ? BIO_new(method()) : NULL;

	if (!bio)
		return false;
	tls->fd = fd;
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	/* libcurl has OpenSSL give back 17 KB after each record, and ask for them again at the
	 * next: on a connection that is one for many, 93,000 instructions a login. */
	SSL_clear_mode(tls->ssl, SSL_MODE_RELEASE_BUFFERS);
	SSL_set_mode(tls->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* One recv(2) for many records. */
	SSL_set_read_ahead(tls->ssl, 1);
	return true;
}

/* ---- reading and writing ---- */

static ssize_t tell(SSL *ssl, int result)
{
	if (result > 0)
		return result;
	switch (SSL_get_error(ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return TLS_LATER;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_END;
	default:
		return TLS_FAULT;
	}
}

ssize_t tls_read(struct tls *tls, void *data, size_t size)
{
	ERR_clear_error();
	return tell(tls->ssl, SSL_read(tls->ssl, data, size < INT_MAX ? (int)size : INT_MAX));
}

ssize_t tls_write(struct tls *tls, const void *data, size_t len)
{
	ERR_clear_error();
	return tell(tls->ssl, SSL_write(tls->ssl, data, len < INT_MAX ? (int)len : INT_MAX));
}
