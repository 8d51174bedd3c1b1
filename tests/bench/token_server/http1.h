/*
 * HTTP/1.1 of the server's side (RFC 9112): one request after the other, bodies by length or in
 * chunks.
 */
#ifndef HTTP1_H
#define HTTP1_H

#include "connection.h"

extern const struct protocol http1_protocol;

#endif
