#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

/* A whole string with its quotes. */
static bool put_string(struct log_line *line, const char *text)
{
	size_t len = strlen(text);

	if (!put_text(line, "\"", 1))
		return false;
	while (len) {
		size_t step;
		if (!put_character(line, text, len, &step))
			return false;
		text += step;
		len -= step;
	}
	return put_text(line, "\"", 1);
}

/* The comma, where the member is not the first of its object, the name and the colon. */
static bool put_name(struct log_line *line, const char *name)
{
	if (line->text[line->len - 1] != '{' && !put_text(line, ",", 1))
		return false;
	return put_string(line, name) && put_text(line, ":", 1);
}

static bool is_open(const struct log_line *line)
{
	return line->is_wanted && !line->leave_count;
}

/* A member whose value is written as it stands. */
static void add_raw(struct log_line *line, const char *name, const char *value)
{
	size_t len_before = line->len;

	if (!put_name(line, name) || !put_text(line, value, strlen(value)))
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

	if (!is_open(line))
		return;
	snprintf(text, sizeof(text), "%" PRId64, value);
	add_raw(line, name, text);
}

void log_ms(struct log_line *line, const char *name, uint64_t us)
{
	uint64_t tenths = us / 100 + (us % 100 >= 50);
	char text[32];

	if (!is_open(line))
		return;
	snprintf(text, sizeof(text), "%" PRIu64 ".%u", tenths / 10, (unsigned)(tenths % 10));
	add_raw(line, name, text);
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
	static char second_text[sizeof("2026-11-24T00:00:00") + 16];
	char text[sizeof(second_text) + 8];
	struct timespec now;
	struct tm parts;

	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return;
	if (now.tv_sec != second && gmtime_r(&now.tv_sec, &parts)) {
		strftime(second_text, sizeof(second_text), "%Y-%m-%dT%H:%M:%S", &parts);
		second = now.tv_sec;
	}
	snprintf(text, sizeof(text), "%s.%03uZ", second_text, (unsigned)(now.tv_nsec / 1000000));
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

/* Whether the line was written whole. poll(2) says when a pipe or socket has room for a line, which
 * is small enough to go in at once; it also says when nobody reads any more, and then a write
 * would raise SIGPIPE. */
static bool write_line(const struct log_line *line)
{
	struct pollfd error_output = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t written;

	if (poll(&error_output, 1, 0) != 1 || error_output.revents != POLLOUT)
		return false;
	do
		written = write(STDERR_FILENO, line->text, line->len);
	while (written < 0 && errno == EINTR);
	return written == (ssize_t)line->len;
}

/* The room for all of this was kept. */
static void finish_line(struct log_line *line)
{
	char text[CLOSING_BYTES + 1];
	int len = 0;

	while (line->open_count > 0 || line->leave_count > 0)
		log_end(line);
	if (dropped_count)
		len = snprintf(text, sizeof(text), ",\"dropped\":%" PRIu64, dropped_count);
	len += snprintf(text + len, sizeof(text) - (size_t)len, "}\n");
	put(line, text, (size_t)len, 0);
}

void log_close(struct log_line *line)
{
	int errno_before = errno;

	if (!line->is_wanted)
		return;
	finish_line(line);
	if (write_line(line))
		dropped_count = 0;
	else
		dropped_count++;
	line->is_wanted = false;
	errno = errno_before;
}

void log_event(enum log_level level, const char *event, const char *detail)
{
	struct log_line line;

	log_open(&line, level, event);
	log_str(&line, "note", detail);
	log_close(&line);
}
