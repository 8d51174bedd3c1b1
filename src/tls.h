/*
 * TLS connections that libcurl has made, and that are then read and written without it.
 *
 * Floor 0. The only room that knows OpenSSL. Verification, versions and everything else of a
 * handshake are libcurl's.
 */
#ifndef TLS_H
#define TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The owner keeps it in place until libcurl has closed the connection, and zeroes it before use. */
struct tls {
	void *ssl; /* libcurl's SSL *, once the handshake is over */
	int fd;
	size_t room; /* bytes that may still be received from the peer, before TLS_LATER */
};

/* Has a context of libcurl's, its SSL_CTX *, offer HTTP/2 and HTTP/1.1 by ALPN (RFC 7301), and
 * leave the connection in tls when the handshake is over. False if it cannot. */
bool tls_offer(void *context, struct tls *tls);

/* Whether the peer has chosen HTTP/2. */
bool tls_is_http2(const struct tls *tls);

/* Takes over what libcurl did so far: what is read and written goes by fd, which does not wait.
 * Both stay libcurl's to close. False without memory, with nothing changed. */
bool tls_take(struct tls *tls, int fd);

enum { TLS_END = 0, TLS_LATER = -1, TLS_FAULT = -2 };

/* Each gives the number of bytes read or written; or TLS_LATER, if it would have to wait, or has
 * received as much as tls->room allowed (then epoll tells of the rest); TLS_END, if the peer has
 * closed; TLS_FAULT. What was not written whole is to be written again from there,
 * or from a copy. */
ssize_t tls_read(struct tls *tls, void *data, size_t size);
ssize_t tls_write(struct tls *tls, const void *data, size_t len);

#endif
