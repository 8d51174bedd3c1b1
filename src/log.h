/*
 * One JSON line (RFC 8259) per event on standard error.
 *
 * Cellar: any room may include it. Whoever finds an error logs its detail, once; a request ends in
 * one line, which the gateway writes. A line is written by one write(2) of at most
 * LOG_LINE_MAX_BYTES, so lines of several processes do not mix; a loop keeps those of one turn for
 * one write. Standard error that takes
 * nothing (a stuck reader of a pipe) never stops the program: such lines are dropped, and the
 * next one that gets through says how many in "dropped".
 *
 *	struct log_line line;
 *	log_open(&line, LOG_WARN, "overloaded");
 *	log_str(&line, "client", address);
 *	log_close(&line);
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ceilings.h"

/* LOG_NOTHING: for log_set_level() alone; above every event. */
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_CRIT, LOG_NOTHING };

struct log_line {
	bool is_wanted;
	size_t len;           /* bytes of text */
	unsigned open_count;  /* objects inside the line that wait for their end */
	unsigned leave_count; /* objects since then that are left out for want of room */
	char text[LOG_LINE_MAX_BYTES];
};

/* Events below this level are not written. LOG_INFO until it is called. */
void log_set_level(enum log_level level);

/* The level's name ("info"), or -1 for a name that is none. */
const char *log_level_name(enum log_level level);
int log_level_by_name(const char *name);

/* Starts a line with "time" (RFC 3339, UTC, milliseconds), "level" and "event". */
void log_open(struct log_line *line, enum log_level level, const char *event);

/* Adds a member. A NULL value adds nothing. Control characters, quotes and bytes that are not
 * UTF-8 are escaped, whatever they come from. What does not fit is left out, name and all. */
void log_str(struct log_line *line, const char *name, const char *value);
void log_int(struct log_line *line, const char *name, int64_t value);

/* Adds a number of milliseconds with one decimal, from microseconds. */
void log_ms(struct log_line *line, const char *name, uint64_t us);

/* Starts and ends a member that is an object. */
void log_object(struct log_line *line, const char *name);
void log_end(struct log_line *line);

/* Writes the line, or keeps it for log_flush(). */
void log_close(struct log_line *line);

/* From now on lines are kept until log_flush(), or until they fill a write; or are not. */
void log_set_batching(bool is_on);
void log_flush(void);

/* A whole event with at most one text member, for the simple cases. detail may be NULL. */
void log_event(enum log_level level, const char *event, const char *detail);

/* How often an event may be told that others can bring about: so often at once, and from then on
 * once a second. The owner sets burst, and the rest to zero. */
struct log_pace {
	unsigned burst;
	unsigned told; /* of them, lately */
	uint64_t second;
	uint64_t left_out;
};

/* As log_event(), but for what is beyond the pace: the next line says how many in "left_out". */
void log_event_paced(struct log_pace *pace, enum log_level level, const char *event,
		     const char *detail);

#endif
