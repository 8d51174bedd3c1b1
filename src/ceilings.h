/*
 * Every limit of the program that is not a setting, with its unit and its reason.
 *
 * Cellar: any room may include it.
 */
#ifndef CEILINGS_H
#define CEILINGS_H

/* A request body. Two 4096-byte fields, every byte percent-encoded, are 24 KiB; real ones are under
 * 200 bytes. nginx answers 413 above the same figure by itself. */
#define BODY_MAX_BYTES (16 * 1024)

/* A user name or a password, decoded. */
#define FIELD_MAX_BYTES 4096

/* An answer of the token server; a real one is about 200 bytes. */
#define ANSWER_MAX_BYTES (64 * 1024)

/* The header lines of one answer, all together: libcurl 7.88 has no ceiling for their sum. */
#define ANSWER_HEAD_MAX_BYTES (64 * 1024)

/* A grant: both fields and the client's own, every byte percent-encoded. */
#define GRANT_MAX_BYTES (64 * 1024)

/* The head of a reply of ours. */
#define HEAD_MAX_BYTES 1024

/* How deep the JSON of a body or an answer may nest; a login needs 1. */
#define JSON_DEPTH_MAX 32

/* Kept for the JSON of one login, parsed: about 1 KB. */
#define TREE_MEMORY_BYTES (8 * 1024)

/* The parameters of one FastCGI request, names and values. nginx lets a client send 32 KiB of
 * header lines and adds about 1 KiB of its own. */
#define PARAMS_MAX_BYTES (64 * 1024)
#define PARAMS_MAX_COUNT 512

/* What one FastCGI request may take in the kernel before it is complete: parameters, body, record
 * headers and padding. Must stay below SOCKET_BUFFER_BYTES, or a request could never be complete.
 */
#define REQUEST_MAX_BYTES (112 * 1024)

/* Asked of the kernel for both directions of a FastCGI connection, so that a reply of up to
 * ANSWER_MAX_BYTES fits and no write waits. The default of net.core.wmem_max and rmem_max; the
 * kernel doubles it for its own book-keeping. */
#define SOCKET_BUFFER_BYTES 212992

/* What libfcgi takes for one request, at most: three streams with buffers of 8 KiB, 8 KiB and 512
 * bytes; the parameters, for each of them some 48 bytes of book-keeping, and an array that doubles.
 */
#define RESERVE_BYTES (160 * 1024)

/* Read from a FastCGI connection at once. */
#define INPUT_BYTES (32 * 1024)

/* From the first byte of a request, or from the accept, until the request is complete. */
#define REQUEST_ARRIVAL_MS 10000

/* The same while stopping. */
#define STOP_GRACE_MS 500

/* From the stop on, for so long, logins that still come on connections accepted before are served.
 * Below LINGER_MS: the program waits for its time-out and LINGER_MS altogether, so that they end
 * as well. */
#define STOP_SERVES_MS 1500

/* After a failed accept for want of descriptors, unless a connection closes before. */
#define ACCEPT_PAUSE_MS 100

/* After a reply to a request that was not read whole: how long, and how much more, to read and
 * discard, so that the peer sees the reply and not a reset. */
#define LINGER_MS 2000
#define LINGER_MAX_BYTES (4 * 1024 * 1024)

/* The kernel's queue of connections not yet accepted. A full one makes nginx answer 502. */
#define LISTEN_BACKLOG 4096

/* Connections accepted before the loop turns to other work. */
#define ACCEPT_BATCH 64

/* Requests answered in one turn of the loop for peers that have sent several at once. */
#define QUEUE_BATCH 8

/* Connections from the web server at one time, where RLIMIT_NOFILE would allow more. */
#define CONNECTIONS_MAX 65536

/* Descriptors kept free for what is neither side's connection: log, epoll, signals, the resolver.
 */
#define SPARE_FDS 64

/* Streams on one HTTP/2 connection to the token server: libcurl's default, and what servers grant.
 */
#define STREAMS_PER_CONNECTION 100

/* Descriptors for one such connection: its socket, and what libcurl keeps beside it. */
#define UPSTREAM_CONNECTION_FDS 3

/* Received on one such connection before the loop turns to other work; and from the end of one
 * login on it to the next, for each login under way and one more: their heads and bodies, and
 * whatever else a server may say. */
#define HEARD_AT_ONCE_BYTES (64 * 1024)
#define HEARD_PER_LOGIN_BYTES (256 * 1024)

/* Sent at once on one connection to the token server: what one TLS record holds (RFC 8446 section
 * 5.1), and one more HTTP/2 frame (RFC 9113 section 4.2) with its head. */
#define TLS_RECORD_BYTES (16 * 1024)
#define HTTP2_FRAME_BYTES (16 * 1024 + 9)

/* How often a login is tried again because no connection could be made, at once; and because the
 * server says that it has not looked at it, as nginx does when a connection has had its 1000
 * requests. */
#define CONNECT_TRIES_MAX 1
#define REFUSED_TRIES_MAX 8

/* libcurl's buffers for one transfer: the least it allows for what is sent, and enough for an
 * answer in one piece. */
#define UPLOAD_BUFFER_BYTES (16 * 1024L)
#define DOWNLOAD_BUFFER_BYTES 2048L

/* Transfers, each with a connection, among which libcurl looks for one that is free. */
#define LANE_TRANSFERS 64

/* Transfers kept ready for further logins, up to 25 KB each. */
#define SPARE_TRANSFERS_MAX 64

/* A connection to the token server idle for this long is not used again: servers close theirs
 * after 60 s or more, and a login sent into a closing connection fails. After the same time
 * without any login, all connections are closed, and with them goes what they remember. */
#define UPSTREAM_IDLE_MS 20000

/* For how long /readyz believes what the last call told: that all was well, and that it was not. */
#define HEALTH_FRESH_MS 30000
#define HEALTH_RETRY_MS 5000

/* Faults in a row, with no good answer between, after which logins are no longer sent, or a probe
 * has to find out whether to: one may be chance, or one user's doing. */
#define BREAKER_FAULTS_MAX 3

/* While none are sent: from one probe to the next. The first, so that a short break costs little,
 * is doubled up to the second, so that a long one costs the server little. */
#define BREAKER_PAUSE_MIN_MS 1000
#define BREAKER_PAUSE_MAX_MS 30000

/* For how long a login waits for the probe that it gave rise to. With its own time-out it is to end
 * before the web server loses patience: the shipped files say 20 s. */
#define PROBE_WAIT_MS 2000

/* Retry-After, in seconds, of what the token server asks for. */
#define RETRY_AFTER_MIN_S 1
#define RETRY_AFTER_MAX_S 300

/* A settings file, a secret file, and a line of the former. */
#define SETTINGS_FILE_MAX_BYTES (64 * 1024)
#define SECRET_MAX_BYTES 4096

/* An origin: the longest scheme, a host name (RFC 1035 section 2.3.4), and a port. */
#define ORIGIN_MAX_BYTES (8 + 253 + 6)

/* For how long a browser may keep the answer to a preflight request, in seconds. */
#define PREFLIGHT_MAX_AGE "600"

/* A log line; pipes take a write of up to 4096 bytes whole. */
#define LOG_LINE_MAX_BYTES 4096

/* Log lines at once about peers that do not speak FastCGI properly, or leave in the middle of a
 * request; then one a second. */
#define REJECT_LINES_MAX 100

/* Loops of one program. */
#define WORKERS_MAX 256

/* A worker that lived for less than this is started again only after as long a pause. */
#define WORKER_RESTART_MS 1000

/* A request id taken over from the web server. */
#define REQUEST_ID_MAX_BYTES 64

#endif
