/*
 * HTTP/2 of the server's side (RFC 9113), as far as this server needs it: header blocks are read by
 * nghttp2's HPACK; the frames are read and written here, since a library that keeps a state machine
 * for each stream takes longer than all the rest.
 *
 * Of what comes, the windows are as large as may be, so that only the connection's is ever opened
 * again, once in a gigabyte.
 */
#ifndef HTTP2_H
#define HTTP2_H

#include "connection.h"

extern const struct protocol http2_protocol;

#endif
