#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "utf8.h"

/* Kept free in every line for what log_close() adds: the count of dropped lines, the brace and the
 * newline. */
#define CLOSING_BYTES (sizeof(",\"dropped\":18446744073709551615}\n") - 1)

static const char *const level_names[] = {"debug", "info", "warn", "error", "crit"};

#define LEVEL_COUNT (sizeof(level_names) / sizeof(level_names[0]))

static enum log_level lowest_level = LOG_INFO;
static uint64_t dropped_count;

void log_set_level(enum log_level level)
{
	lowest_level = level;
}

const char *log_level_name(enum log_level level)
{
	return level < LEVEL_COUNT ? level_names[level] : "unknown";
}

int log_level_by_name(const char *name)
{
	for (size_t i = 0; name && i < LEVEL_COUNT; i++) {
		if (strcmp(name, level_names[i]) == 0)
			return (int)i;
	}
	return -1;
}

/* Appends if reserve bytes stay free behind it. */
static bool put(struct log_line *line, const char *text, size_t len, size_t reserve)
{
	if (len + reserve > sizeof(line->text) - line->len)
		return false;
	memcpy(line->text + line->len, text, len);
	line->len += len;
	return true;
}

/* Appends where room stays to end the line and every object that is open. */
static bool put_text(struct log_line *line, const char *text, size_t len)
{
	return put(line, text, len, CLOSING_BYTES + line->open_count);
}

/* Control characters would let a client write to the terminal of whoever reads the log: C0 and DEL,
 * and C1, which in UTF-8 is C2 80 to C2 9F. */
static bool is_control(const unsigned char *character, size_t len)
{
	if (len == 1)
		return character[0] < 0x20 || character[0] == 0x7f;
	return character[0] == 0xc2 && character[1] < 0xa0;
}

/* Appends the character at text, escaped where it must be, and sets how many bytes it took. */
static bool put_character(struct log_line *line, const char *text, size_t len, size_t *ret_len)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t character_len = utf8_length(text, len);

	*ret_len = character_len ? character_len : 1;
	if (!character_len)
		return put_text(line, "\\ufffd", 6);
	if (is_control(bytes, character_len)) {
		char escaped[sizeof("\\u0000")];
		snprintf(escaped, sizeof(escaped), "\\u%04x", bytes[character_len - 1]);
		return put_text(line, escaped, 6);
	}
	if (*text == '"' || *text == '\\')
		return put_text(line, "\\", 1) && put_text(line, text, 1);
	return put_text(line, text, character_len);
}

/* How many bytes from text on stand for themselves: of nearly every string all. */
static size_t plain_length(const char *text)
{
	size_t len = 0;

	while (text[len] >= 0x20 && text[len] < 0x7f && text[len] != '"' && text[len] != '\\')
		len++;
	return len;
}

/* A whole string with its quotes. */
static bool put_string(struct log_line *line, const char *text)
{
	size_t plain = plain_length(text);
	size_t len;

	if (!put_text(line, "\"", 1) || !put_text(line, text, plain))
		return false;
	text += plain;
	len = strlen(text);
	while (len) {
		size_t step;
		if (!put_character(line, text, len, &step))
			return false;
		text += step;
		len -= step;
	}
	return put_text(line, "\"", 1);
}

/* The comma, where the member is not the first of its object, the name and the colon. Names are
 * constants of ours, which need no escape. */
static bool put_name(struct log_line *line, const char *name)
{
	bool is_first = line->text[line->len - 1] == '{';

	return put_text(line, ",\"", is_first ? 0 : 1) && put_text(line, "\"", 1) &&
	       put_text(line, name, strlen(name)) && put_text(line, "\":", 2);
}

static bool is_open(const struct log_line *line)
{
	return line->is_wanted && !line->leave_count;
}

/* A member whose value is written as it stands. */
static void add_raw(struct log_line *line, const char *name, const char *value, size_t len)
{
	size_t len_before = line->len;

	if (!put_name(line, name) || !put_text(line, value, len))
		line->len = len_before;
}

void log_str(struct log_line *line, const char *name, const char *value)
{
	size_t len_before = line->len;

	if (!is_open(line) || !value)
		return;
	if (!put_name(line, name) || !put_string(line, value))
		line->len = len_before;
}

void log_int(struct log_line *line, const char *name, int64_t value)
{
	char text[24];
	char *end = text + sizeof(text);
	char *start;

	if (!is_open(line))
		return;
	start = buf_digits(end, value < 0 ? -(uint64_t)value : (uint64_t)value);
	if (value < 0)
		*--start = '-';
	add_raw(line, name, start, (size_t)(end - start));
}

void log_ms(struct log_line *line, const char *name, uint64_t us)
{
	uint64_t tenths = us / 100 + (us % 100 >= 50);
	char text[32];
	char *end = text + sizeof(text);
	char *start = end;

	if (!is_open(line))
		return;
	*--start = (char)('0' + tenths % 10);
	*--start = '.';
	start = buf_digits(start, tenths / 10);
	add_raw(line, name, start, (size_t)(end - start));
}

void log_object(struct log_line *line, const char *name)
{
	size_t len_before = line->len;

	if (!line->is_wanted)
		return;
	/* Counted first, so that room for its end is kept as well. */
	line->open_count++;
	if (line->leave_count || !put_name(line, name) || !put_text(line, "{", 1)) {
		line->len = len_before;
		line->open_count--;
		line->leave_count++;
	}
}

void log_end(struct log_line *line)
{
	if (!line->is_wanted)
		return;
	if (line->leave_count) {
		line->leave_count--;
	} else if (line->open_count) {
		line->open_count--;
		put_text(line, "}", 1);
	}
}

/* The time as RFC 3339 writes it. The text of the second is kept: most lines share one. */
static void add_time(struct log_line *line)
{
	static time_t second = -1;
	static char text[sizeof("2026-11-24T00:00:00.000Z") + 16];
	static size_t second_len;
	struct timespec now;
	struct tm parts;
	unsigned ms;

	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return;
	if (now.tv_sec != second && gmtime_r(&now.tv_sec, &parts)) {
		second_len = strftime(text, sizeof(text) - 8, "%Y-%m-%dT%H:%M:%S", &parts);
		second = now.tv_sec;
	}
	ms = (unsigned)(now.tv_nsec / 1000000);
	memcpy(text + second_len,
	       (char[]){'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
			(char)('0' + ms % 10), 'Z', '\0'},
	       6);
	log_str(line, "time", text);
}

void log_open(struct log_line *line, enum log_level level, const char *event)
{
	line->is_wanted = level >= lowest_level;
	line->len = 0;
	line->open_count = 0;
	line->leave_count = 0;
	if (!line->is_wanted)
		return;
	line->text[line->len++] = '{';
	add_time(line);
	log_str(line, "level", log_level_name(level));
	log_str(line, "event", event);
}

/* Lines that wait to be written: all of a turn of the loop, or one. */
static struct {
	bool is_kept; /* until log_flush() */
	unsigned lines;
	uint64_t dropped; /* as many as these lines tell of */
	size_t len;
	char text[LOG_LINE_MAX_BYTES];
} batch;

/* Whether the text was written whole. poll(2) says when a pipe or socket has room for it, since it
 * is small enough to go in at once; it also says when nobody reads any more, and then a write
 * would raise SIGPIPE. */
static bool write_text(const char *text, size_t len)
{
	struct pollfd error_output = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t written;

	if (poll(&error_output, 1, 0) != 1 || error_output.revents != POLLOUT)
		return false;
	do
		written = write(STDERR_FILENO, text, len);
	while (written < 0 && errno == EINTR);
	return written == (ssize_t)len;
}

void log_flush(void)
{
	int errno_before = errno;

	if (batch.len > 0 && !write_text(batch.text, batch.len))
		dropped_count += batch.lines + batch.dropped;
	batch.len = 0;
	batch.lines = 0;
	batch.dropped = 0;
	errno = errno_before;
}

void log_set_batching(bool is_on)
{
	log_flush();
	batch.is_kept = is_on;
}

/* The room for all of this was kept. */
static void finish_line(struct log_line *line)
{
	char text[CLOSING_BYTES + 1];
	int len;

	while (line->open_count > 0 || line->leave_count > 0)
		log_end(line);
	if (dropped_count) {
		len = snprintf(text, sizeof(text), ",\"dropped\":%" PRIu64, dropped_count);
		put(line, text, (size_t)len, 0);
	}
	put(line, "}\n", 2, 0);
}

void log_close(struct log_line *line)
{
	if (!line->is_wanted)
		return;
	/* Before the count of dropped lines is written. */
	if (line->len + CLOSING_BYTES + line->open_count > sizeof(batch.text) - batch.len)
		log_flush();
	finish_line(line);
	memcpy(batch.text + batch.len, line->text, line->len);
	batch.len += line->len;
	batch.lines++;
	batch.dropped += dropped_count;
	dropped_count = 0;
	if (!batch.is_kept)
		log_flush();
	line->is_wanted = false;
}

void log_event_paced(struct log_pace *pace, enum log_level level, const char *event,
		     const char *detail)
{
	struct log_line line;
	struct timespec now;
	uint64_t passed;

	clock_gettime(CLOCK_MONOTONIC, &now);
	passed = (uint64_t)now.tv_sec - pace->second;
	pace->told = passed < pace->told ? pace->told - (unsigned)passed : 0;
	pace->second = (uint64_t)now.tv_sec;
	if (pace->told >= pace->burst) {
		pace->left_out++;
		return;
	}
	pace->told++;
	log_open(&line, level, event);
	log_str(&line, "note", detail);
	if (pace->left_out > 0)
		log_int(&line, "left_out", (int64_t)pace->left_out);
	pace->left_out = 0;
	log_close(&line);
}

void log_event(enum log_level level, const char *event, const char *detail)
{
	struct log_line line;

	log_open(&line, level, event);
	log_str(&line, "note", detail);
	log_close(&line);
}
