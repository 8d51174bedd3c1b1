#include "buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

/* Most lines and bodies fit without growing twice. */
#define CAPACITY_MIN_BYTES 128

void wipe(void *data, size_t len)
{
	if (data)
		explicit_bzero(data, len);
}

/* The capacity for more bytes behind what is there; 0 above the ceiling. At least doubled, so that
 * many small appends copy each byte only a few times. */
static size_t capacity_for(const struct buf *b, size_t more)
{
	if (b->len > b->max || more > b->max - b->len || more >= SIZE_MAX - b->len)
		return 0;

	size_t need = b->len + more + 1;
	if (need <= b->cap)
		return b->cap;

	size_t cap = b->cap <= SIZE_MAX / 2 ? b->cap * 2 : SIZE_MAX;
	if (cap < CAPACITY_MIN_BYTES)
		cap = CAPACITY_MIN_BYTES;
	if (b->max < SIZE_MAX && cap > b->max + 1)
		cap = b->max + 1;
	return cap < need ? need : cap;
}

bool buf_reserve(struct buf *b, size_t len)
{
	size_t cap = capacity_for(b, len);
	if (!cap)
		return false;
	if (cap == b->cap)
		return true;

	char *data = realloc(b->data, cap);
	if (!data)
		return false;
	b->data = data;
	b->cap = cap;
	b->data[b->len] = '\0';
	return true;
}

/* Puts bytes where room was made. */
static void buf_put(struct buf *b, const void *data, size_t len)
{
	memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){.max = max_bytes};
}

void buf_clear(struct buf *b)
{
	if (!b)
		return;
	free(b->data);
	buf_init(b, b->max);
}

void buf_empty(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

bool buf_append(struct buf *b, const void *data, size_t len)
{
	if (!len)
		return true;
	if (!buf_reserve(b, len))
		return false;
	buf_put(b, data, len);
	return true;
}

bool buf_append_str(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

char *buf_digits(char *end, uint64_t number)
{
	do
		*--end = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	return end;
}

bool buf_append_number(struct buf *b, uint64_t number)
{
	char text[24];
	char *end = text + sizeof(text);
	const char *start = buf_digits(end, number);

	return buf_append(b, start, (size_t)(end - start));
}

bool buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0 || !buf_reserve(b, (size_t)len))
		return false;

	va_start(args, format);
	vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
	va_end(args);
	b->len += (size_t)len;
	return true;
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}

void secret_init(struct secret *s, size_t max_bytes)
{
	buf_init(&s->buf, max_bytes);
	s->is_kept = false;
}

void secret_clear(struct secret *s)
{
	if (!s)
		return;
	if (s->is_kept) {
		memory_kept_free(s->buf.data, s->buf.cap);
		secret_init(s, s->buf.max);
		return;
	}
	wipe(s->buf.data, s->buf.cap);
	buf_clear(&s->buf);
}

bool secret_reserve(struct secret *s, size_t len)
{
	struct buf *b = &s->buf;
	size_t cap = capacity_for(b, len);
	if (!cap)
		return false;
	if (cap == b->cap)
		return true;

	/* realloc() would leave a copy behind, out of reach. */
	char *data = malloc(cap);
	if (!data)
		return false;
	if (b->data) {
		memcpy(data, b->data, b->len);
		wipe(b->data, b->cap);
		free(b->data);
	}
	b->data = data;
	b->cap = cap;
	b->data[b->len] = '\0';
	return true;
}

char *secret_end(struct secret *s)
{
	return s->buf.data ? s->buf.data + s->buf.len : NULL;
}

void secret_added(struct secret *s, size_t len)
{
	struct buf *b = &s->buf;
	if (!b->data)
		return;

	size_t room = b->cap - 1 - b->len;
	b->len += len < room ? len : room;
	b->data[b->len] = '\0';
}

bool secret_append(struct secret *s, const void *data, size_t len)
{
	if (!len)
		return true;
	if (!secret_reserve(s, len))
		return false;
	buf_put(&s->buf, data, len);
	return true;
}

bool secret_append_str(struct secret *s, const char *text)
{
	return secret_append(s, text, strlen(text));
}

bool secret_set(struct secret *s, const void *data, size_t len)
{
	secret_truncate(s, 0);
	return secret_append(s, data, len);
}

void secret_truncate(struct secret *s, size_t len)
{
	struct buf *b = &s->buf;
	if (len >= b->len)
		return;

	wipe(b->data + len, b->len - len);
	b->len = len;
}

void secret_move(struct secret *to, struct secret *from)
{
	if (to == from)
		return;
	secret_clear(to);
	*to = *from;
	secret_init(from, from->buf.max);
}

bool secret_keep(struct secret *s)
{
	struct secret kept = {.is_kept = true};
	size_t len = secret_len(s);

	if (s->is_kept)
		return true;
	/* So it fits for good, and no function here will want to move it. */
	buf_init(&kept.buf, len);
	kept.buf.cap = len + 1;
	kept.buf.data = memory_kept_new(kept.buf.cap);
	if (!kept.buf.data)
		return false;
	secret_lock(&kept);
	buf_put(&kept.buf, secret_str(s), len);
	secret_clear(s);
	*s = kept;
	return true;
}

bool secret_lock(const struct secret *s)
{
	return s->is_kept && memory_kept_lock(s->buf.data, s->buf.cap);
}

const char *secret_str(const struct secret *s)
{
	return buf_str(&s->buf);
}

size_t secret_len(const struct secret *s)
{
	return s->buf.len;
}

bool secret_equals(const struct secret *a, const struct secret *b)
{
	if (a->buf.len != b->buf.len)
		return false;

	/* volatile: the compiler must not leave the loop at the first difference. */
	volatile unsigned char difference = 0;
	for (size_t i = 0; i < a->buf.len; i++)
		difference |= (unsigned char)(a->buf.data[i] ^ b->buf.data[i]);
	return !difference;
}
