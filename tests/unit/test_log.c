/* Log lines: always one line of valid JSON, whatever goes in, and never a wait. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "json.h"
#include "log.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Standard error, put aside while lines are caught. A check that fails writes to it: so nothing is
 * checked before restore() put it back. */
static int error_output = -1;

static char caught[4 * LOG_LINE_MAX_BYTES];

static void replace(int fd)
{
	error_output = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
}

static void restore(void)
{
	dup2(error_output, STDERR_FILENO);
	close(error_output);
}

/* Reads what is there into `caught`. The number of bytes. */
static size_t drain(int fd)
{
	ssize_t got = read(fd, caught, sizeof(caught) - 1);
	size_t len = got > 0 ? (size_t)got : 0;

	caught[len] = '\0';
	return len;
}

static int pipe_ends[2];

static void catch_begin(void)
{
	assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
	fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK);
	replace(pipe_ends[1]);
}

static size_t catch_end(void)
{
	restore();
	close(pipe_ends[1]);
	size_t len = drain(pipe_ends[0]);
	close(pipe_ends[0]);
	return len;
}

/* Whether `caught` is one line, and that JSON. */
static void assert_one_good_line(void)
{
	size_t len = strlen(caught);

	assert_true(len > 0 && len <= LOG_LINE_MAX_BYTES);
	assert_ptr_equal(strchr(caught, '\n'), caught + len - 1);
	assert_int_equal(json_check(caught, len - 1), JSON_OK);
	assert_int_equal(caught[0], '{');
}

static void assert_caught(const char *part)
{
	if (!strstr(caught, part))
		fail_msg("%s is not in %s", part, caught);
}

/* The line with one text member "x". */
static void catch_text(const char *value)
{
	struct log_line line;

	catch_begin();
	log_open(&line, LOG_INFO, "test");
	log_str(&line, "x", value);
	log_close(&line);
	catch_end();
}

static int start(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_DFL);
	log_set_level(LOG_DEBUG);
	return 0;
}

static void test_line_begins_with_time_level_event(void **state)
{
	int year, month, day, hour, minute, second, thousandth, used = 0;

	(void)state;
	time_t before = time(NULL);
	catch_text(NULL);
	time_t after = time(NULL);
	assert_one_good_line();
	assert_int_equal(sscanf(caught, "{\"time\":\"%4d-%2d-%2dT%2d:%2d:%2d.%3dZ\",%n", &year,
				&month, &day, &hour, &minute, &second, &thousandth, &used),
			 7);
	assert_string_equal(caught + used, "\"level\":\"info\",\"event\":\"test\"}\n");
	struct tm parts = {.tm_year = year - 1900,
			   .tm_mon = month - 1,
			   .tm_mday = day,
			   .tm_hour = hour,
			   .tm_min = minute,
			   .tm_sec = second};
	time_t told = timegm(&parts);
	assert_true(told >= before && told <= after);
}

static void test_levels_have_names(void **state)
{
	static const struct {
		const char *name;
		int level;
	} rows[] = {
		{"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warn", LOG_WARN}, {"error", LOG_ERROR},
		{"crit", LOG_CRIT},   {"INFO", -1},       {"", -1},           {"warning", -1},
		{"inf", -1},          {NULL, -1},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		assert_int_equal(log_level_by_name(rows[i].name), rows[i].level);
		if (rows[i].level >= 0)
			assert_string_equal(log_level_name((enum log_level)rows[i].level),
					    rows[i].name);
	}
	assert_string_equal(log_level_name((enum log_level)99), "unknown");
}

static void test_events_below_the_level_are_not_written(void **state)
{
	(void)state;
	catch_begin();
	log_set_level(LOG_ERROR);
	log_event(LOG_DEBUG, "a", NULL);
	log_event(LOG_WARN, "b", "c");
	size_t len_below = drain(pipe_ends[0]);
	log_event(LOG_ERROR, "d", NULL);
	size_t len = catch_end();
	assert_int_equal(len_below, 0);
	assert_true(len > 0);
	assert_one_good_line();
	assert_caught("\"level\":\"error\",\"event\":\"d\"}");
}

static void test_unwanted_line_takes_every_call(void **state)
{
	struct log_line line;

	(void)state;
	catch_begin();
	log_set_level(LOG_WARN);
	log_open(&line, LOG_INFO, "a");
	log_str(&line, "b", "c");
	log_int(&line, "d", 1);
	log_ms(&line, "e", 1);
	log_object(&line, "f");
	log_end(&line);
	log_end(&line);
	log_close(&line);
	assert_int_equal(catch_end(), 0);
}

static void test_members_of_every_kind(void **state)
{
	struct log_line line;

	(void)state;
	catch_begin();
	log_open(&line, LOG_WARN, "test");
	log_str(&line, "a", "b");
	log_str(&line, "none", NULL);
	log_str(&line, "empty", "");
	log_int(&line, "least", INT64_MIN);
	log_int(&line, "most", INT64_MAX);
	log_object(&line, "ms");
	log_ms(&line, "total", 40300);
	log_object(&line, "inner");
	log_end(&line);
	log_int(&line, "i", 0);
	log_end(&line);
	log_str(&line, "last", "{");
	log_str(&line, "behind", "c");
	log_close(&line);
	catch_end();
	assert_one_good_line();
	assert_caught(",\"a\":\"b\",\"empty\":\"\",\"least\":-9223372036854775808,"
		      "\"most\":9223372036854775807,\"ms\":{\"total\":40.3,\"inner\":{},\"i\":0},"
		      "\"last\":\"{\",\"behind\":\"c\"}\n");
}

static void test_milliseconds_have_one_decimal(void **state)
{
	static const struct {
		uint64_t us;
		const char *expected;
	} rows[] = {
		{0, "\"x\":0.0}"},
		{49, "\"x\":0.0}"},
		{50, "\"x\":0.1}"},
		{949, "\"x\":0.9}"},
		{950, "\"x\":1.0}"},
		{1000, "\"x\":1.0}"},
		{35249, "\"x\":35.2}"},
		{12000000, "\"x\":12000.0}"},
		{UINT64_MAX, "\"x\":18446744073709551.6}"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct log_line line;
		catch_begin();
		log_open(&line, LOG_INFO, "test");
		log_ms(&line, "x", rows[i].us);
		log_close(&line);
		catch_end();
		assert_one_good_line();
		assert_caught(rows[i].expected);
	}
}

static void test_text_is_escaped(void **state)
{
	static const struct {
		const char *value, *expected;
	} rows[] = {
		{"plain", "\"x\":\"plain\"}"},
		{"a\"b\\c/d", "\"x\":\"a\\\"b\\\\c/d\"}"},
		{"\",\"level\":\"crit", "\"x\":\"\\\",\\\"level\\\":\\\"crit\"}"},
		{"a\nb\r\t", "\"x\":\"a\\u000ab\\u000d\\u0009\"}"},
		{"\x01\x1f\x7f", "\"x\":\"\\u0001\\u001f\\u007f\"}"},
		{"\x1b[31m", "\"x\":\"\\u001b[31m\"}"},
		{"\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "\"x\":\"\\u0080\\u009b\\u009f\xc2\xa0\"}"},
		{"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
		 "\"x\":\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"}"},
		{"a\xff"
		 "b",
		 "\"x\":\"a\\ufffdb\"}"},
		{"\xc3", "\"x\":\"\\ufffd\"}"},
		{"\xc0\xaf", "\"x\":\"\\ufffd\\ufffd\"}"},
		{"\xed\xa0\x80", "\"x\":\"\\ufffd\\ufffd\\ufffd\"}"},
		{"\xf0\x9f\x98", "\"x\":\"\\ufffd\\ufffd\\ufffd\"}"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		catch_text(rows[i].value);
		assert_one_good_line();
		assert_caught(rows[i].expected);
	}
}

static void test_every_byte_makes_valid_json(void **state)
{
	(void)state;
	for (unsigned pair = 1; pair < 0x10000; pair += 7) {
		char text[] = {(char)(pair >> 8 ? pair >> 8 : 'a'), (char)pair, '"', '\0'};
		catch_text(text);
		assert_one_good_line();
	}
}

/* A line with a text of len bytes and a short member behind it. */
static void catch_long_text(size_t len, char byte)
{
	static char text[2 * LOG_LINE_MAX_BYTES];
	struct log_line line;

	memset(text, byte, len);
	text[len] = '\0';
	catch_begin();
	log_open(&line, LOG_INFO, "test");
	log_str(&line, "long", text);
	log_int(&line, "short", 1);
	log_close(&line);
	catch_end();
}

static void test_what_does_not_fit_is_left_out_whole(void **state)
{
	static const char bytes[] = {'a', '"', '\n', '\xff'};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bytes); i++) {
		catch_long_text(LOG_LINE_MAX_BYTES, bytes[i]);
		assert_one_good_line();
		assert_null(strstr(caught, "long"));
		assert_caught("\"event\":\"test\",\"short\":1}\n");
	}
}

static void test_line_is_valid_around_the_ceiling(void **state)
{
	(void)state;
	for (size_t len = LOG_LINE_MAX_BYTES - 200; len < LOG_LINE_MAX_BYTES; len++) {
		catch_long_text(len, 'a');
		assert_one_good_line();
		catch_long_text(len / 6 + 1, '\x01');
		assert_one_good_line();
	}
}

/* Members of nested objects until nothing fits any more: len bytes of text in front decide where in
 * that it stops. */
static void catch_nested(size_t len)
{
	static char text[LOG_LINE_MAX_BYTES];
	struct log_line line;

	memset(text, 'a', len);
	text[len] = '\0';
	catch_begin();
	log_open(&line, LOG_INFO, "test");
	log_str(&line, "long", text);
	log_object(&line, "outer");
	log_int(&line, "a", 1);
	log_object(&line, "inner");
	log_int(&line, "b", 2);
	log_end(&line);
	log_ms(&line, "c", 3000);
	log_end(&line);
	log_str(&line, "d", "e");
	log_close(&line);
	catch_end();
}

static void test_objects_end_even_without_room(void **state)
{
	(void)state;
	for (size_t len = LOG_LINE_MAX_BYTES - 250; len < LOG_LINE_MAX_BYTES; len++) {
		catch_nested(len);
		assert_one_good_line();
	}
}

static void test_members_of_a_left_out_object_stay_out(void **state)
{
	static char name[LOG_LINE_MAX_BYTES];
	struct log_line line;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	catch_begin();
	log_open(&line, LOG_INFO, "test");
	log_object(&line, name);
	log_int(&line, "a", 1);
	log_object(&line, "b");
	log_int(&line, "c", 1);
	log_end(&line);
	log_str(&line, "d", "e");
	log_ms(&line, "f", 1);
	log_end(&line);
	log_int(&line, "behind", 1);
	log_close(&line);
	catch_end();
	assert_one_good_line();
	assert_caught("\"event\":\"test\",\"behind\":1}\n");
}

static void test_objects_need_not_balance(void **state)
{
	struct log_line line;

	(void)state;
	catch_begin();
	log_open(&line, LOG_INFO, "test");
	log_end(&line);
	log_object(&line, "a");
	log_object(&line, "b");
	log_close(&line);
	catch_end();
	assert_one_good_line();
	assert_caught("\"event\":\"test\",\"a\":{\"b\":{}}}\n");
}

static void test_event_carries_its_note(void **state)
{
	(void)state;
	catch_begin();
	log_event(LOG_CRIT, "fcgi_reject", "a \"note\"");
	catch_end();
	assert_one_good_line();
	assert_caught(
		"\"level\":\"crit\",\"event\":\"fcgi_reject\",\"note\":\"a \\\"note\\\"\"}\n");
}

/* Fills fd until it takes not one more line. */
static void fill(int fd)
{
	static const char filler[LOG_LINE_MAX_BYTES];

	int flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while (write(fd, filler, sizeof(filler)) > 0)
		;
	fcntl(fd, F_SETFL, flags);
}

static void empty(int fd)
{
	while (drain(fd) > 0)
		;
}

/* Three lines into what takes none, then one that gets through, then another. */
static void check_drop_and_recover(int write_fd, int read_fd)
{
	fcntl(read_fd, F_SETFL, O_NONBLOCK);
	fill(write_fd);
	replace(write_fd);
	alarm(30); /* the failure would be a wait without end */
	for (int i = 0; i < 3; i++)
		log_event(LOG_INFO, "lost", NULL);
	alarm(0);
	empty(read_fd);
	log_event(LOG_INFO, "through", NULL);
	restore();
	drain(read_fd);
	assert_one_good_line();
	assert_caught("\"event\":\"through\",\"dropped\":3}\n");

	replace(write_fd);
	log_event(LOG_INFO, "next", NULL);
	restore();
	drain(read_fd);
	assert_one_good_line();
	assert_caught("\"event\":\"next\"}\n");
}

static void test_stuck_pipe_drops_and_counts(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	check_drop_and_recover(ends[1], ends[0]);
	close(ends[0]);
	close(ends[1]);
}

static void test_stuck_socket_drops_and_counts(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	check_drop_and_recover(ends[1], ends[0]);
	close(ends[0]);
	close(ends[1]);
}

static void test_full_line_has_room_for_the_dropped_count(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fill(ends[1]);
	replace(ends[1]);
	log_event(LOG_INFO, "lost", NULL);
	restore();
	close(ends[0]);
	close(ends[1]);
	catch_nested(LOG_LINE_MAX_BYTES - 250);
	assert_one_good_line();
	assert_caught(",\"dropped\":1}\n");
}

/* With SIGPIPE at its default, a write to nobody would end the test. */
static void test_gone_reader_is_survived(void **state)
{
	(void)state;
	catch_begin();
	close(pipe_ends[0]);
	log_event(LOG_INFO, "lost", NULL);
	restore();
	close(pipe_ends[1]);
	catch_text("x");
	assert_one_good_line();
	assert_caught(",\"dropped\":1}\n");
}

static void test_closed_standard_error_is_survived(void **state)
{
	(void)state;
	error_output = dup(STDERR_FILENO);
	close(STDERR_FILENO);
	log_event(LOG_INFO, "lost", NULL);
	restore();
	catch_text("x");
	assert_one_good_line();
	assert_caught(",\"dropped\":1}\n");
}

static void test_errno_survives_a_line(void **state)
{
	(void)state;
	catch_begin();
	close(pipe_ends[0]);
	errno = ENOENT;
	log_event(LOG_INFO, "lost", NULL);
	int errno_after = errno;
	restore();
	close(pipe_ends[1]);
	assert_int_equal(errno_after, ENOENT);
	catch_text("x"); /* takes the count of dropped lines with it */
}

#define TEST(function) cmocka_unit_test_setup(function, start)

/* ---- pace ---- */

static struct log_pace pace;

/* So many events at once; the number of lines of them. */
static size_t tell_paced(size_t count)
{
	size_t lines = 0;

	catch_begin();
	for (size_t i = 0; i < count; i++)
		log_event_paced(&pace, LOG_WARN, "paced", "note");
	catch_end();
	for (const char *at = caught; (at = strchr(at, '\n')); at++)
		lines++;
	return lines;
}

static void test_paced_events_are_told_so_often_and_then_counted(void **state)
{
	(void)state;
	pace = (struct log_pace){.burst = 20};
	/* Up to two begin in another second. */
	assert_in_range(tell_paced(500), 20, 22);
	assert_null(strstr(caught, "left_out"));
	assert_true(pace.left_out >= 478);
	/* A second later one more, which tells of all that were not. */
	pace.second--;
	pace.left_out = 480;
	assert_in_range(tell_paced(1), 1, 1);
	assert_caught("\"event\":\"paced\",\"note\":\"note\",\"left_out\":480}");
	assert_int_equal(pace.left_out, 0);
}

static void test_pace_is_as_at_first_after_a_while(void **state)
{
	(void)state;
	pace = (struct log_pace){.burst = 20};
	tell_paced(500);
	pace.second -= 100;
	assert_in_range(tell_paced(500), 20, 22);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_line_begins_with_time_level_event),
		TEST(test_levels_have_names),
		TEST(test_events_below_the_level_are_not_written),
		TEST(test_unwanted_line_takes_every_call),
		TEST(test_members_of_every_kind),
		TEST(test_milliseconds_have_one_decimal),
		TEST(test_text_is_escaped),
		TEST(test_every_byte_makes_valid_json),
		TEST(test_what_does_not_fit_is_left_out_whole),
		TEST(test_line_is_valid_around_the_ceiling),
		TEST(test_objects_end_even_without_room),
		TEST(test_members_of_a_left_out_object_stay_out),
		TEST(test_objects_need_not_balance),
		TEST(test_event_carries_its_note),
		TEST(test_stuck_pipe_drops_and_counts),
		TEST(test_stuck_socket_drops_and_counts),
		TEST(test_full_line_has_room_for_the_dropped_count),
		TEST(test_gone_reader_is_survived),
		TEST(test_closed_standard_error_is_survived),
		TEST(test_errno_survives_a_line),
		TEST(test_paced_events_are_told_so_often_and_then_counted),
		TEST(test_pace_is_as_at_first_after_a_while),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
