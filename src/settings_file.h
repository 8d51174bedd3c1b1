/*
 * The files that settings come from: read whole, into memory that wipes, and taken apart by lines.
 *
 * Floor 0. Knows no setting by name; config.c is the only caller.
 */
#ifndef SETTINGS_FILE_H
#define SETTINGS_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

struct settings_file {
	const char *path;      /* borrowed */
	bool is_exposed;       /* others than owner and group may read or change it */
	const char *complaint; /* after a failure: why, in a few words; not to be kept */
};

/* Opens file->path for reading; links are followed. Only a regular file will do, so that neither
 * this nor a later read waits for anybody. -1 on failure, with file->complaint. */
int settings_file_open(struct settings_file *file);

/* Reads a file of at most max_bytes. text is initialised here, and is the caller's to clear in
 * either case. False with file->complaint. */
bool settings_file_read(struct settings_file *file, struct secret *text, size_t max_bytes);

struct settings_cursor {
	const char *at;
	const char *end;      /* the byte behind the text */
	unsigned line_number; /* of the line read last; 0 at the start */
};

/* One NAME=value line. The parts are borrowed from the text and do not end in NUL. */
struct settings_line {
	const char *name;
	size_t name_len;
	const char *value; /* without surrounding blanks, then without one pair of quotes */
	size_t value_len;
	const char *complaint; /* NULL, or what is wrong and the fix: nothing else is valid then */
};

/* Moves to the next line that is neither blank nor a comment. False at the end. */
bool settings_file_next(struct settings_cursor *cursor, struct settings_line *ret_line);

#endif
