/*
 * Byte buffers whose ceiling is stated at birth, and the kind that wipes.
 *
 * Cellar: any room may include it. A `struct buf` is for what may be seen: a log line, a reply's
 * head. A `struct secret` holds what may not: request bodies, passwords, tokens, the client
 * secret. Its bytes are overwritten before their memory is given back, also when it grows.
 * No log function takes a `struct secret`, and the compiler keeps the two apart.
 */
#ifndef BUF_H
#define BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data; /* NULL until the first byte; after that always NUL-terminated */
	size_t len; /* bytes, without the NUL */
	size_t cap; /* bytes owned, with room for the NUL */
	size_t max; /* ceiling of len, bytes */
};

struct secret {
	struct buf buf; /* not to be handed to the buf_ functions */
	bool is_kept;   /* its memory is that of secret_keep() */
};

/* An empty buffer that never holds more than max_bytes. Takes no memory yet. */
void buf_init(struct buf *b, size_t max_bytes);

/* Gives the memory back and leaves an empty buffer with the same ceiling. NULL is allowed. */
void buf_clear(struct buf *b);

/* Empties it, and keeps the memory. */
void buf_empty(struct buf *b);

/* Appends. False, with the buffer as it was, above the ceiling or without memory. */
bool buf_append(struct buf *b, const void *data, size_t len);
bool buf_append_str(struct buf *b, const char *s);
bool buf_append_number(struct buf *b, uint64_t number); /* in decimal */
bool buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Room for at least len more bytes. False as for append. */
bool buf_reserve(struct buf *b, size_t len);

/* The text, never NULL: "" for an empty buffer. Borrowed until the next call with b. */
const char *buf_str(const struct buf *b);

void secret_init(struct secret *s, size_t max_bytes);
void secret_clear(struct secret *s);
bool secret_append(struct secret *s, const void *data, size_t len);
bool secret_append_str(struct secret *s, const char *text);

/* Makes the secret exactly the given bytes. False, with the secret emptied, as for append. */
bool secret_set(struct secret *s, const void *data, size_t len);

/* Shortens to len bytes and wipes the rest. len at or above the present length does nothing. */
void secret_truncate(struct secret *s, size_t len);

/* Room for at least len more bytes, so that the caller may write to secret_end() and then tell
 * by secret_added() how many it wrote. False above the ceiling or without memory. */
bool secret_reserve(struct secret *s, size_t len);
char *secret_end(struct secret *s);
void secret_added(struct secret *s, size_t len);

/* Moves the bytes from one to the other; `from` is empty afterwards, and so is what `to` held.
 * The ceilings move too. */
void secret_move(struct secret *to, struct secret *from);

/* Moves the bytes to pages of their own, which are in no core file and are locked, for a secret
 * that stays as long as the process. Its ceiling is then its length. False without memory, with
 * the secret as it was. */
bool secret_keep(struct secret *s);

/* Locks what is kept, so that it never reaches swap space; in a child of fork() once again, since
 * locks are not inherited. False where the kernel refuses, or the secret is not kept. */
bool secret_lock(const struct secret *s);

const char *secret_str(const struct secret *s); /* never NULL; NUL-terminated */
size_t secret_len(const struct secret *s);

/* Equal, in a time that depends on the lengths alone. */
bool secret_equals(const struct secret *a, const struct secret *b);

/* Writes the decimal digits of a number, 20 at most, so that they end before `end`; returns where
 * they begin. printf(3) costs ten times as much. */
char *buf_digits(char *end, uint64_t number);

/* Overwrites in a way that the compiler keeps. NULL is allowed. */
void wipe(void *data, size_t len);

#endif
