#include "settings_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "utf8.h"

#define READ_CHUNK_BYTES ((size_t)1024)

int settings_file_open(struct settings_file *file)
{
	struct stat facts;
	/* O_NONBLOCK: opening a FIFO would wait for its writer. */
	int fd = open(file->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &facts) < 0) {
		file->complaint = strerror(errno);
		/* Our own confinement closes files, but does not hide that they could be read. */
		if (errno == EACCES && access(file->path, R_OK) == 0)
			file->complaint = "it is new since the start; restart the program";
		goto failed;
	}
	if (!S_ISREG(facts.st_mode)) {
		file->complaint = "it is not a regular file";
		goto failed;
	}
	file->is_exposed = (facts.st_mode & (S_IROTH | S_IWOTH)) != 0;
	return fd;
failed:
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Reads to the end, or to one byte above max_bytes, which is as far as the ceiling of text goes. */
static bool read_all(int fd, struct secret *text, size_t max_bytes)
{
	while (secret_len(text) <= max_bytes) {
		size_t room = max_bytes + 1 - secret_len(text);
		size_t chunk = room < READ_CHUNK_BYTES ? room : READ_CHUNK_BYTES;
		ssize_t got;

		if (!secret_reserve(text, chunk)) {
			errno = ENOMEM;
			return false;
		}
		got = read(fd, secret_end(text), chunk);
		if (got == 0)
			return true;
		if (got < 0 && errno != EINTR)
			return false;
		if (got > 0)
			secret_added(text, (size_t)got);
	}
	errno = EFBIG;
	return false;
}

bool settings_file_read(struct settings_file *file, struct secret *text, size_t max_bytes)
{
	int fd = settings_file_open(file);
	bool is_read;

	secret_init(text, max_bytes + 1);
	if (fd < 0)
		return false;
	is_read = read_all(fd, text, max_bytes);
	if (!is_read)
		file->complaint = strerror(errno);
	close(fd);
	return is_read;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void trim(const char **text, size_t *len)
{
	while (*len > 0 && is_blank(**text)) {
		++*text;
		--*len;
	}
	while (*len > 0 && is_blank((*text)[*len - 1]))
		--*len;
}

static void unquote(const char **text, size_t *len)
{
	const char *first = *text;

	if (*len >= 2 && (*first == '"' || *first == '\'') && first[*len - 1] == *first) {
		++*text;
		*len -= 2;
	}
}

static bool is_utf8(const char *text, size_t len)
{
	while (len > 0) {
		size_t step = utf8_length(text, len);

		if (step == 0)
			return false;
		text += step;
		len -= step;
	}
	return true;
}

static const char *bytes_complaint(const char *text, size_t len, bool is_first)
{
	if (is_first && len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
		return "the file begins with a byte order mark; save it without one";
	if (memchr(text, '\0', len))
		return "there is a NUL byte in this line; remove it";
	if (!is_utf8(text, len))
		return "this line is not UTF-8; save the file as UTF-8";
	return NULL;
}

/* Nothing of a line without "=" may be repeated: it may be a piece of the secret. */
static const char *line_split(const char *text, size_t len, struct settings_line *line)
{
	const char *equals = memchr(text, '=', len);

	if (!equals)
		return "there is no \"=\" in this line; write NAME=value";
	line->name = text;
	line->name_len = (size_t)(equals - text);
	line->value = equals + 1;
	line->value_len = len - line->name_len - 1;
	trim(&line->name, &line->name_len);
	trim(&line->value, &line->value_len);
	unquote(&line->value, &line->value_len);
	if (line->name_len == 0)
		return "there is no name before the \"=\"; write NAME=value";
	if (memchr(line->name, ' ', line->name_len))
		return "there is a space in the name; write NAME=value, without export";
	return NULL;
}

bool settings_file_next(struct settings_cursor *cursor, struct settings_line *ret_line)
{
	while (cursor->at < cursor->end) {
		const char *text = cursor->at;
		size_t left = (size_t)(cursor->end - text);
		const char *newline = memchr(text, '\n', left);
		size_t len = newline ? (size_t)(newline - text) : left;
		struct settings_line line = {0};

		cursor->at = newline ? newline + 1 : cursor->end;
		cursor->line_number++;
		line.complaint = bytes_complaint(text, len, cursor->line_number == 1);
		trim(&text, &len);
		if (!line.complaint && (len == 0 || *text == '#'))
			continue;
		if (!line.complaint)
			line.complaint = line_split(text, len, &line);
		*ret_line = line;
		return true;
	}
	return false;
}
