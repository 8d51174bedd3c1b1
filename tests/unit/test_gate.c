/* The gate in front of libfcgi: what is whole, what is not yet, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ceilings.h"
#include "gate.h"

enum { BEGIN = 1, ABORT = 2, PARAMS = 4, STDIN = 5, DATA = 8, GET_VALUES = 9 };

/* A connection's bytes, built record by record. */
static struct {
	unsigned char bytes[REQUEST_MAX_BYTES + 70000];
	size_t len;
} wire;

static void put(unsigned type, unsigned id, const void *content, size_t len, size_t padding)
{
	const unsigned char header[8] = {1,
					 (unsigned char)type,
					 (unsigned char)(id >> 8),
					 (unsigned char)id,
					 (unsigned char)(len >> 8),
					 (unsigned char)len,
					 (unsigned char)padding,
					 0};

	memcpy(wire.bytes + wire.len, header, 8);
	if (len > 0)
		memcpy(wire.bytes + wire.len + 8, content, len);
	memset(wire.bytes + wire.len + 8 + len, 0xee, padding);
	wire.len += 8 + len + padding;
}

static void put_begin(unsigned role, size_t padding)
{
	const unsigned char body[8] = {0, (unsigned char)role, 1};

	wire.len = 0;
	put(BEGIN, 1, body, 8, padding);
}

static const char pairs[] = "\x0e\x04"
			    "REQUEST_METHODPOST"
			    "\x03\x00"
			    "ABC";

static void put_request(size_t padding, const char *body)
{
	put_begin(1, padding);
	put(PARAMS, 1, pairs, sizeof(pairs) - 1, padding);
	put(PARAMS, 1, NULL, 0, padding);
	if (*body)
		put(STDIN, 1, body, strlen(body), padding);
	put(STDIN, 1, NULL, 0, padding);
}

/* A first look, at so much of it. */
static enum gate_verdict look_at(struct gate *gate, size_t len)
{
	*gate = (struct gate){0};
	return gate_look(gate, wire.bytes, len);
}

static enum gate_verdict look(struct gate *gate)
{
	return look_at(gate, wire.len);
}

static void check_bad(const char *complaint)
{
	struct gate gate;

	assert_int_equal(look(&gate), GATE_BAD);
	assert_string_equal(gate.complaint, complaint);
}

static void test_whole_request(void **state)
{
	struct gate gate;

	(void)state;
	put_request(0, "body");
	assert_int_equal(look(&gate), GATE_READY);
	assert_int_equal(gate.params_begin, 16);
	assert_int_equal(gate.params_end, 16 + 8 + sizeof(pairs) - 1 + 8);
	assert_int_equal(gate.stdin_begin, gate.params_end);
	assert_int_equal(gate.stdin_end, wire.len);
	assert_int_equal(gate.request_bytes, wire.len);
}

static void test_padding_is_counted_apart(void **state)
{
	struct gate gate;

	(void)state;
	put_request(5, "body");
	assert_int_equal(look(&gate), GATE_READY);
	assert_int_equal(gate.params_begin, 16 + 5);
	assert_int_equal(gate.stdin_begin, gate.params_end + 5);
	assert_int_equal(gate.stdin_end, wire.len - 5);
	assert_int_equal(gate.request_bytes, wire.len);
}

static void test_every_cut_asks_for_more(void **state)
{
	struct gate gate;

	(void)state;
	put_request(3, "body");
	for (size_t len = 0; len < wire.len; len++) {
		assert_int_equal(look_at(&gate, len), GATE_MORE);
		assert_true(gate.need_bytes > len);
		assert_true(gate.need_bytes <= wire.len);
	}
}

/* In every two pieces, and byte by byte, a request is what it is in one. */
static void test_look_goes_on_where_the_last_one_ended(void **state)
{
	struct gate whole, pieces;

	(void)state;
	put_request(3, "body");
	assert_int_equal(look(&whole), GATE_READY);
	for (size_t cut = 0; cut < wire.len; cut++) {
		assert_int_equal(look_at(&pieces, cut), GATE_MORE);
		assert_int_equal(gate_look(&pieces, wire.bytes, wire.len), GATE_READY);
		assert_memory_equal(&pieces, &whole, sizeof(whole));
	}
	pieces = (struct gate){0};
	for (size_t len = 0; len < wire.len; len++)
		assert_int_equal(gate_look(&pieces, wire.bytes, len), GATE_MORE);
	assert_int_equal(gate_look(&pieces, wire.bytes, wire.len), GATE_READY);
	assert_memory_equal(&pieces, &whole, sizeof(whole));
}

/* Or a request in many small records would cost the square of their number. */
static void test_what_was_looked_at_is_not_looked_at_again(void **state)
{
	struct gate gate;
	size_t seen;

	(void)state;
	put_request(0, "body");
	seen = wire.len - 8;
	assert_int_equal(look_at(&gate, seen), GATE_MORE);
	memset(wire.bytes, 0xff, seen);
	assert_int_equal(gate_look(&gate, wire.bytes, wire.len), GATE_READY);
}

static void test_reply_is_possible_from_the_end_of_params(void **state)
{
	struct gate gate;
	size_t end;

	(void)state;
	put_request(0, "body");
	look(&gate);
	end = gate.params_end;
	look_at(&gate, end - 1);
	assert_int_equal(gate.params_end, 0);
	look_at(&gate, end);
	assert_int_equal(gate.params_end, end);
}

static void test_next_request_is_left_alone(void **state)
{
	struct gate gate;
	size_t first;

	(void)state;
	put_request(0, "body");
	first = wire.len;
	put(BEGIN, 0, "garbage!", 8, 0);
	assert_int_equal(look(&gate), GATE_READY);
	assert_int_equal(gate.request_bytes, first);
}

static void test_params_across_records(void **state)
{
	struct gate gate;

	(void)state;
	put_begin(1, 0);
	for (size_t i = 0; i < sizeof(pairs) - 1; i++)
		put(PARAMS, 1, pairs + i, 1, 0);
	put(PARAMS, 1, NULL, 0, 0);
	put(STDIN, 1, NULL, 0, 0);
	assert_int_equal(look(&gate), GATE_READY);
}

static void test_long_lengths(void **state)
{
	static unsigned char pair[8 + 300];
	struct gate gate;

	(void)state;
	memcpy(pair, "\x80\x00\x00\x64\x80\x00\x00\xc8", 8);
	put_begin(1, 0);
	put(PARAMS, 1, pair, sizeof(pair), 0);
	put(PARAMS, 1, NULL, 0, 0);
	put(STDIN, 1, NULL, 0, 0);
	assert_int_equal(look(&gate), GATE_READY);
}

static void test_bad_records(void **state)
{
	(void)state;
	put_request(0, "");
	wire.bytes[0] = 2;
	check_bad("a FastCGI version other than 1");
	wire.len = 0;
	put(GET_VALUES, 0,
	    "\x01\x00"
	    "A",
	    3, 0);
	check_bad("a management record");
	wire.len = 0;
	put(PARAMS, 1, NULL, 0, 0);
	check_bad("a request does not start with BEGIN_REQUEST");
	wire.len = 0;
	put(BEGIN, 1, "1234567", 7, 0);
	check_bad("BEGIN_REQUEST of a wrong size");
	put_begin(2, 0);
	check_bad("a role other than RESPONDER");
	put_begin(1, 0);
	put(PARAMS, 2, NULL, 0, 0);
	check_bad("a record of another request");
	put_begin(1, 0);
	put(STDIN, 1, NULL, 0, 0);
	check_bad("STDIN before the end of PARAMS");
	put_begin(1, 0);
	put(PARAMS, 1, NULL, 0, 0);
	put(PARAMS, 1, NULL, 0, 0);
	check_bad("PARAMS after their end");
	put_begin(1, 0);
	put(DATA, 1, NULL, 0, 0);
	check_bad("a record type that does not belong here");
	put_begin(1, 0);
	put(BEGIN, 1, "\0\1\0\0\0\0\0", 8, 0);
	check_bad("a record type that does not belong here");
}

static void test_bad_params(void **state)
{
	static unsigned char many[2 * (PARAMS_MAX_COUNT + 1)];
	static unsigned char filler[40000];

	(void)state;
	put_begin(1, 0);
	put(PARAMS, 1, pairs, sizeof(pairs) - 2, 0);
	put(PARAMS, 1, NULL, 0, 0);
	check_bad("parameters cut off");
	put_begin(1, 0);
	put(PARAMS, 1, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, 0);
	check_bad("a parameter's length is out of bounds");
	put_begin(1, 0);
	put(PARAMS, 1, many, sizeof(many), 0);
	check_bad("too many parameters");
	put_begin(1, 0);
	memcpy(filler, "\x00\x80\x00\xff\x00", 5);
	put(PARAMS, 1, filler, sizeof(filler), 0);
	put(PARAMS, 1, filler, sizeof(filler), 0);
	check_bad("parameters over their ceiling");
}

/* libfcgi would take "QUERY_STRING=a" with the value "b" for QUERY_STRING, and its value for "a=b".
 * Values may hold what they like. */
static void test_equals_sign_in_a_name(void **state)
{
	static const char value[] = "\x03\x03"
				    "ABCa=b";
	static const char name[] = "\x03\x01"
				   "A=Bx";
	struct gate gate;

	(void)state;
	put_begin(1, 0);
	put(PARAMS, 1, value, sizeof(value) - 1, 0);
	put(PARAMS, 1, value, 4, 0);
	put(PARAMS, 1, value + 4, sizeof(value) - 1 - 4, 0);
	assert_int_equal(look(&gate), GATE_MORE);
	put(PARAMS, 1, name, sizeof(name) - 1, 0);
	check_bad("an equals sign in a parameter's name");
	put_begin(1, 0);
	put(PARAMS, 1, name, 3, 0);
	put(PARAMS, 1, name + 3, sizeof(name) - 1 - 3, 0);
	check_bad("an equals sign in a parameter's name");
}

/* A body of len bytes in records of `piece`. */
static enum gate_verdict look_at_body(size_t len, size_t piece)
{
	static const unsigned char body[BODY_MAX_BYTES + 1];
	struct gate gate;

	put_begin(1, 0);
	put(PARAMS, 1, NULL, 0, 0);
	for (size_t at = 0; at < len; at += piece)
		put(STDIN, 1, body, piece < len - at ? piece : len - at, 0);
	put(STDIN, 1, NULL, 0, 0);
	return look(&gate);
}

static void test_body_ceiling(void **state)
{
	(void)state;
	assert_int_equal(look_at_body(BODY_MAX_BYTES, BODY_MAX_BYTES), GATE_READY);
	assert_int_equal(look_at_body(BODY_MAX_BYTES, 1000), GATE_READY);
	assert_int_equal(look_at_body(BODY_MAX_BYTES + 1, BODY_MAX_BYTES + 1), GATE_TOO_LARGE);
	assert_int_equal(look_at_body(BODY_MAX_BYTES + 1, 1000), GATE_TOO_LARGE);
}

/* Whole, and in pieces so small that their headers are most of it. */
static void test_request_ceiling(void **state)
{
	(void)state;
	assert_int_equal(look_at_body(12000, 1), GATE_READY);
	assert_int_equal(look_at_body(14000, 1), GATE_TOO_LARGE);
}

static void test_body_too_large_is_told_by_its_header(void **state)
{
	struct gate gate;

	(void)state;
	put_begin(1, 0);
	put(PARAMS, 1, NULL, 0, 0);
	put(STDIN, 1, wire.bytes, 0, 0);
	wire.bytes[wire.len - 4] = 0xff; /* contentLength 65280, and none of it there */
	assert_int_equal(look(&gate), GATE_TOO_LARGE);
	assert_true(gate.params_end > 0);
}

static void test_abort(void **state)
{
	struct gate gate;

	(void)state;
	put_begin(1, 0);
	put(ABORT, 1, NULL, 0, 0);
	assert_int_equal(look(&gate), GATE_ABORTED);
	wire.len = 0;
	put(ABORT, 1, NULL, 0, 0);
	assert_true(gate_is_abort(wire.bytes, 8));
	assert_false(gate_is_abort(wire.bytes, 7));
	put_begin(1, 0);
	assert_false(gate_is_abort(wire.bytes, wire.len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_request),
		cmocka_unit_test(test_padding_is_counted_apart),
		cmocka_unit_test(test_every_cut_asks_for_more),
		cmocka_unit_test(test_look_goes_on_where_the_last_one_ended),
		cmocka_unit_test(test_what_was_looked_at_is_not_looked_at_again),
		cmocka_unit_test(test_reply_is_possible_from_the_end_of_params),
		cmocka_unit_test(test_next_request_is_left_alone),
		cmocka_unit_test(test_params_across_records),
		cmocka_unit_test(test_long_lengths),
		cmocka_unit_test(test_bad_records),
		cmocka_unit_test(test_bad_params),
		cmocka_unit_test(test_equals_sign_in_a_name),
		cmocka_unit_test(test_body_ceiling),
		cmocka_unit_test(test_request_ceiling),
		cmocka_unit_test(test_body_too_large_is_told_by_its_header),
		cmocka_unit_test(test_abort),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
