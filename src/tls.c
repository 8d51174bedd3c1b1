#include "tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ceilings.h"

/* A filter of OpenSSL's (BIO) in front of libcurl's own. What passes it is encrypted. */
struct tls_writer {
	LIST_ENTRY(tls_writer) entry;
	int fd;
	bool is_blocked; /* as it was told */
	size_t len;
	char bytes[TLS_WRITER_BYTES];
};

/* What does not go out stays. A socket that has failed takes nothing any more; libcurl learns of
 * that when it reads. */
static void send_out(struct tls_writer *writer)
{
	ssize_t sent;

	if (writer->len == 0)
		return;
	do
		sent = send(writer->fd, writer->bytes, writer->len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno != EAGAIN)
		sent = (ssize_t)writer->len;
	if (sent <= 0)
		return;
	writer->len -= (size_t)sent;
	memmove(writer->bytes, writer->bytes + sent, writer->len);
}

void tls_send_all(struct tls_writers *writers, tls_blocked *tell, void *context)
{
	struct tls_writer *writer;

	for (writer = LIST_FIRST(writers); writer; writer = LIST_NEXT(writer, entry)) {
		send_out(writer);
		if (writer->is_blocked != (writer->len > 0) &&
		    tell(context, writer->fd, writer->len > 0))
			writer->is_blocked = writer->len > 0;
	}
}

/* ---- what OpenSSL calls ---- */

static int on_write(BIO *bio, const char *data, int len)
{
	struct tls_writer *writer = BIO_get_data(bio);
	size_t room;

	BIO_clear_retry_flags(bio);
	if (len <= 0)
		return 0;
	if ((size_t)len > sizeof(writer->bytes) - writer->len)
		send_out(writer);
	room = sizeof(writer->bytes) - writer->len;
	if (room == 0) {
		BIO_set_retry_write(bio);
		return -1;
	}
	if ((size_t)len > room)
		len = (int)room;
	memcpy(writer->bytes + writer->len, data, (size_t)len);
	writer->len += (size_t)len;
	return len;
}

static int on_read(BIO *bio, char *data, int len)
{
	int got = BIO_read(BIO_next(bio), data, len);

	BIO_clear_retry_flags(bio);
	BIO_copy_next_retry(bio);
	return got;
}

static long on_control(BIO *bio, int command, long number, void *pointer)
{
	/* It is told after a handshake message, and the turn's end is soon enough. */
	if (command == BIO_CTRL_FLUSH)
		return 1;
	return BIO_ctrl(BIO_next(bio), command, number, pointer);
}

/* The connection ends: its farewell (close_notify) is sent, if it can be. */
static int on_destroy(BIO *bio)
{
	struct tls_writer *writer = BIO_get_data(bio);

	if (!writer)
		return 1;
	send_out(writer);
	LIST_REMOVE(writer, entry);
	free(writer);
	BIO_set_data(bio, NULL);
	return 1;
}

/* Made once; a NULL of it is as one of any other memory. */
static const BIO_METHOD *method(void)
{
	static BIO_METHOD *made;

	if (made)
		return made;
	made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_FILTER, "writes of one turn");
	if (!made || !BIO_meth_set_write(made, on_write) || !BIO_meth_set_read(made, on_read) ||
	    !BIO_meth_set_ctrl(made, on_control) || !BIO_meth_set_destroy(made, on_destroy)) {
		BIO_meth_free(made);
		made = NULL;
	}
	return made;
}

/* ---- the room's doors ---- */

bool tls_is_shared(const void *ssl)
{
	const unsigned char *protocol = NULL;
	unsigned len = 0;

	SSL_get0_alpn_selected(ssl, &protocol, &len);
	return len == 2 && memcmp(protocol, "h2", 2) == 0;
}

void tls_take(struct tls_writers *writers, void *handle, int fd)
{
	SSL *ssl = handle;
	BIO *below = SSL_get_wbio(ssl);
	struct tls_writer *writer;
	BIO *bio;

	if (below != SSL_get_rbio(ssl) || !method())
		return;
	writer = malloc(sizeof(*writer));
	bio = writer ? BIO_new(method()) : NULL;
	if (!bio) {
		free(writer);
		return;
	}
	writer->fd = fd;
	writer->len = 0;
	writer->is_blocked = false;
	LIST_INSERT_HEAD(writers, writer, entry);
	BIO_set_data(bio, writer);
	BIO_set_init(bio, 1);
	/* SSL_set_bio() gives back the one reference to what was there. */
	BIO_up_ref(below);
	SSL_set_bio(ssl, BIO_push(bio, below), bio);
	SSL_clear_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
}
