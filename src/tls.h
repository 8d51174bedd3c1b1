/*
 * A TLS connection of libcurl's, made cheaper: what it writes in one turn of the loop goes out in
 * one send(2), and its buffers stay.
 *
 * Floor 0. The only room that knows OpenSSL. libcurl 7.88 writes each HTTP/2 frame by itself, and a
 * login is two of them; and it has OpenSSL give back 17 KB after each record and ask for them again
 * at the next.
 */
#ifndef TLS_H
#define TLS_H

#include <stdbool.h>
#include <sys/queue.h>

struct tls_writer;

LIST_HEAD(tls_writers, tls_writer);

/* Whether a connection, libcurl's SSL *, speaks HTTP/2, and so is one for many. */
bool tls_is_shared(const void *ssl);

/* Takes over what libcurl writes to such a connection from now on. The handshake is over; fd is its
 * socket, which does not wait. Both are borrowed, and it is libcurl that ends them. Without memory
 * all stays as it was. */
void tls_take(struct tls_writers *writers, void *ssl, int fd);

/* Whether a socket takes no more for now. False: nobody heard it, so it is to be told again. */
typedef bool tls_blocked(void *context, int fd, bool is_blocked);

/* Sends what was written. To be called at the end of each turn in which libcurl was called, and
 * when a socket that was blocked is writable. tell is called for each that has changed. */
void tls_send_all(struct tls_writers *writers, tls_blocked *tell, void *context);

#endif
