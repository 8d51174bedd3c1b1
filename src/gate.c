#include "gate.h"

#include <stdint.h>
#include <string.h>

#include "ceilings.h"

/* FastCGI specification, section 8. */
enum record_type {
	FCGI_BEGIN_REQUEST = 1,
	FCGI_ABORT_REQUEST = 2,
	FCGI_PARAMS = 4,
	FCGI_STDIN = 5,
};

enum {
	FCGI_VERSION_1 = 1,
	FCGI_RESPONDER = 1,
	HEADER_BYTES = 8,
	BEGIN_BODY_BYTES = 8,
};

struct record {
	unsigned type;
	unsigned id;
	size_t content_bytes;
	size_t total_bytes; /* header, content and padding */
	const unsigned char *content;
};

/* One byte of a length: 1 byte below 128, else 4 with the top bit set, big-endian (section 3.4). */
static void walk_length_byte(struct gate_walk *walk, unsigned char byte)
{
	if (walk->length_bytes == 0) {
		walk->length_bytes_of = byte & 0x80 ? 4 : 1;
		walk->length[walk->lengths_read] = byte & 0x7f;
	} else {
		walk->length[walk->lengths_read] = walk->length[walk->lengths_read] << 8 | byte;
	}
	if (++walk->length_bytes < walk->length_bytes_of)
		return;
	walk->length_bytes = 0;
	if (++walk->lengths_read < 2)
		return;
	walk->lengths_read = 0;
	walk->params_count++;
	walk->skip_bytes = (size_t)walk->length[0] + walk->length[1];
	walk->name_bytes = walk->length[0];
}

/* Passes over a piece of a name and its value. libfcgi keeps both as "NAME=VALUE": a name with "="
 * would be found by its first half. */
static const char *walk_pair(struct gate_walk *walk, const unsigned char *bytes, size_t len)
{
	size_t name_here = len < walk->name_bytes ? len : walk->name_bytes;

	if (memchr(bytes, '=', name_here))
		return "an equals sign in a parameter's name";
	walk->name_bytes -= name_here;
	walk->skip_bytes -= len;
	return NULL;
}

/* NULL, or what is wrong. */
static const char *walk_params(struct gate_walk *walk, const struct record *record)
{
	size_t at = 0;

	walk->params_bytes += record->content_bytes;
	if (walk->params_bytes > PARAMS_MAX_BYTES)
		return "parameters over their ceiling";
	while (at < record->content_bytes) {
		if (walk->skip_bytes > 0) {
			size_t here = record->content_bytes - at;
			const char *complaint;

			if (here > walk->skip_bytes)
				here = walk->skip_bytes;
			complaint = walk_pair(walk, record->content + at, here);
			if (complaint)
				return complaint;
			at += here;
			continue;
		}
		walk_length_byte(walk, record->content[at++]);
		if (walk->params_count > PARAMS_MAX_COUNT)
			return "too many parameters";
		if (walk->skip_bytes > PARAMS_MAX_BYTES)
			return "a parameter's length is out of bounds";
	}
	return NULL;
}

static const char *walk_begin(struct gate_walk *walk, const struct record *record)
{
	if (record->type != FCGI_BEGIN_REQUEST)
		return "a request does not start with BEGIN_REQUEST";
	if (record->content_bytes != BEGIN_BODY_BYTES)
		return "BEGIN_REQUEST of a wrong size";
	if ((record->content[0] << 8 | record->content[1]) != FCGI_RESPONDER)
		return "a role other than RESPONDER";
	walk->id = record->id;
	walk->has_begun = true;
	return NULL;
}

static const char *walk_stream_record(struct gate_walk *walk, const struct record *record)
{
	switch (record->type) {
	case FCGI_PARAMS:
		if (walk->has_params)
			return "PARAMS after their end";
		if (record->content_bytes > 0)
			return walk_params(walk, record);
		if (walk->skip_bytes > 0 || walk->length_bytes > 0 || walk->lengths_read > 0)
			return "parameters cut off";
		walk->has_params = true;
		return NULL;
	case FCGI_STDIN:
		if (!walk->has_params)
			return "STDIN before the end of PARAMS";
		walk->body_bytes += record->content_bytes;
		walk->has_stdin = record->content_bytes == 0;
		return NULL;
	default:
		return "a record type that does not belong here";
	}
}

/* NULL, or what is wrong with the header alone. */
static const char *read_header(const unsigned char *bytes, struct record *ret_record)
{
	if (bytes[0] != FCGI_VERSION_1)
		return "a FastCGI version other than 1";
	ret_record->type = bytes[1];
	ret_record->id = (unsigned)bytes[2] << 8 | bytes[3];
	ret_record->content_bytes = (size_t)bytes[4] << 8 | bytes[5];
	ret_record->total_bytes = HEADER_BYTES + ret_record->content_bytes + bytes[6];
	ret_record->content = bytes + HEADER_BYTES;
	return ret_record->id == 0 ? "a management record" : NULL;
}

static enum gate_verdict bad(struct gate *gate, const char *complaint)
{
	gate->complaint = complaint;
	return GATE_BAD;
}

/* GATE_READY if all is there up to `end`; tiny records can pass the ceiling of the whole long
 * before that of the body. */
static enum gate_verdict reach(struct gate *gate, size_t end, size_t len)
{
	if (end > REQUEST_MAX_BYTES)
		return gate->params_end > 0 ? GATE_TOO_LARGE
					    : bad(gate, "a request over its ceiling");
	if (end <= len)
		return GATE_READY;
	gate->need_bytes = end;
	return GATE_MORE;
}

/* The next record, which begins where the last one ended. */
static enum gate_verdict look_at_record(struct gate *gate, const unsigned char *bytes, size_t len)
{
	struct gate_walk *walk = &gate->walk;
	size_t at = gate->request_bytes;
	enum gate_verdict verdict = reach(gate, at + HEADER_BYTES, len);
	struct record record;
	const char *complaint;

	if (verdict != GATE_READY)
		return verdict;
	complaint = read_header(bytes + at, &record);
	if (!complaint && walk->has_begun && record.id != walk->id)
		complaint = "a record of another request";
	if (complaint)
		return bad(gate, complaint);
	if (walk->has_begun && record.type == FCGI_ABORT_REQUEST)
		return GATE_ABORTED;
	/* Told by the header alone: the record itself may never fit. */
	if (gate->params_end > 0 && record.type == FCGI_STDIN &&
	    walk->body_bytes + record.content_bytes > BODY_MAX_BYTES)
		return GATE_TOO_LARGE;
	verdict = reach(gate, at + record.total_bytes, len);
	if (verdict != GATE_READY)
		return verdict;
	complaint = walk->has_begun ? walk_stream_record(walk, &record) : walk_begin(walk, &record);
	if (complaint)
		return bad(gate, complaint);
	if (gate->params_begin == 0)
		gate->params_begin = record.total_bytes;
	gate->params_count = walk->params_count;
	if (walk->has_params && gate->params_end == 0) {
		gate->params_end = at + HEADER_BYTES;
		gate->stdin_begin = at + record.total_bytes;
	}
	if (walk->has_stdin)
		gate->stdin_end = at + HEADER_BYTES;
	gate->request_bytes = at + record.total_bytes;
	return walk->has_stdin ? GATE_READY : GATE_MORE;
}

enum gate_verdict gate_look(struct gate *gate, const unsigned char *bytes, size_t len)
{
	enum gate_verdict verdict;

	do {
		gate->need_bytes = 0;
		verdict = look_at_record(gate, bytes, len);
	} while (verdict == GATE_MORE && gate->need_bytes == 0);
	return verdict;
}

bool gate_is_abort(const unsigned char *bytes, size_t len)
{
	return len >= HEADER_BYTES && bytes[1] == FCGI_ABORT_REQUEST;
}
