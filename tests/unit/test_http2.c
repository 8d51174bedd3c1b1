/* One HTTP/2 connection in memory: the client's side is ours, the server's a session of nghttp2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "ceilings.h"
#include "http2.h"
#include "loop.h"

#define COUNT(items) (sizeof(items) / sizeof((items)[0]))
#define FORM "grant_type=password&username=ada&password=geheim"
#define ANSWER "{\"access_token\":\"t\"}"
#define POSTS_MAX 4

/* What became of a post. */
struct post {
	struct http2_stream stream;
	struct secret body;
	unsigned ends;
	enum http2_end end;
	char head[256]; /* "name: value\n" of each header */
	char data[256];
	bool refuses_head;
	bool refuses_data;
};

/* What the server has seen of a stream; ids are odd and start at 1. */
struct seen {
	char head[512];
	char body[256];
	bool is_whole;
	uint32_t reset; /* the code; 0: none */
};

static struct {
	struct http2 *client;
	nghttp2_session *server;
	struct post posts[POSTS_MAX];
	struct seen seen[2 * POSTS_MAX];
} t;

static char authority[] = "tokens.test:8443";
static char path[] = "/auth/token/";
static const struct http2_target target = {authority, path};

/* ---- the client's callbacks ---- */

static void add(char *to, size_t size, const char *text, size_t len)
{
	size_t used = strlen(to);

	assert_true(used + len < size);
	memcpy(to + used, text, len);
	to[used + len] = '\0';
}

static void add_header(char *to, size_t size, const char *name, const char *value)
{
	add(to, size, name, strlen(name));
	add(to, size, ": ", 2);
	add(to, size, value, strlen(value));
	add(to, size, "\n", 1);
}

static bool on_header(struct http2_stream *stream, const char *name, const char *value)
{
	struct post *post = CONTAINER(stream, struct post, stream);

	add_header(post->head, sizeof(post->head), name, value);
	return !post->refuses_head;
}

static bool on_data(struct http2_stream *stream, const void *data, size_t len)
{
	struct post *post = CONTAINER(stream, struct post, stream);

	add(post->data, sizeof(post->data), data, len);
	return !post->refuses_data;
}

static void on_end(struct http2_stream *stream, enum http2_end end)
{
	struct post *post = CONTAINER(stream, struct post, stream);

	post->ends++;
	post->end = end;
}

/* ---- the server ---- */

static int see_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		      size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		      void *context)
{
	struct seen *seen = &t.seen[frame->hd.stream_id];

	(void)session;
	(void)name_len;
	(void)value_len;
	(void)flags;
	(void)context;
	add_header(seen->head, sizeof(seen->head), (const char *)name, (const char *)value);
	return 0;
}

static int see_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		    size_t len, void *context)
{
	(void)session;
	(void)flags;
	(void)context;
	add(t.seen[id].body, sizeof(t.seen[id].body), (const char *)data, len);
	return 0;
}

static int see_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	(void)session;
	(void)context;
	if (frame->hd.type == NGHTTP2_RST_STREAM)
		t.seen[frame->hd.stream_id].reset = frame->rst_stream.error_code;
	else if (frame->hd.stream_id > 0 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		t.seen[frame->hd.stream_id].is_whole = true;
	return 0;
}

/* All that both sides have to say; to the client piece bytes at a time. */
static void talk_by(size_t piece)
{
	const uint8_t *data;
	ssize_t to_server;
	ssize_t to_client;

	do {
		to_server = http2_output(t.client, &data);
		assert_true(to_server >= 0);
		if (to_server > 0)
			assert_int_equal(
				nghttp2_session_mem_recv(t.server, data, (size_t)to_server),
				to_server);
		to_client = nghttp2_session_mem_send(t.server, &data);
		assert_true(to_client >= 0);
		for (size_t at = 0; at < (size_t)to_client; at += piece) {
			size_t rest = (size_t)to_client - at;

			assert_true(
				http2_receive(t.client, data + at, rest < piece ? rest : piece));
		}
	} while (to_server > 0 || to_client > 0);
}

static void talk(void)
{
	talk_by(SIZE_MAX / 2);
}

/* Gives the rest of the text that source->ptr points to. */
static ssize_t give_answer(nghttp2_session *session, int32_t id, uint8_t *data, size_t size,
			   uint32_t *flags, nghttp2_data_source *source, void *context)
{
	size_t len = strlen(source->ptr);

	(void)session;
	(void)id;
	(void)context;
	assert_true(len <= size);
	memcpy(data, source->ptr, len);
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)len;
}

static nghttp2_nv line(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
			    strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void answer(int32_t id)
{
	static char text[] = ANSWER;
	const nghttp2_nv head[] = {line(":status", "200"), line("retry-after", "7")};
	const nghttp2_data_provider body = {.source.ptr = text, .read_callback = give_answer};

	assert_int_equal(nghttp2_submit_response(t.server, id, head, COUNT(head), &body), 0);
}

/* The head of an answer, and no more. */
static void begin_answer(int32_t id)
{
	const nghttp2_nv head[] = {line(":status", "200")};

	assert_int_equal(nghttp2_submit_headers(t.server, NGHTTP2_FLAG_NONE, id, NULL, head,
						COUNT(head), NULL),
			 0);
	talk();
}

static void reset(int32_t id, uint32_t code)
{
	assert_int_equal(nghttp2_submit_rst_stream(t.server, NGHTTP2_FLAG_NONE, id, code), 0);
	talk();
}

static void say_farewell(int32_t last_id)
{
	assert_int_equal(nghttp2_submit_goaway(t.server, NGHTTP2_FLAG_NONE, last_id,
					       NGHTTP2_NO_ERROR, NULL, 0),
			 0);
}

static void set(int32_t id, uint32_t value)
{
	const nghttp2_settings_entry entry = {id, value};

	assert_int_equal(nghttp2_submit_settings(t.server, NGHTTP2_FLAG_NONE, &entry, 1), 0);
	talk();
}

/* ---- each test's connection ---- */

static int set_up(void **state)
{
	nghttp2_session_callbacks *callbacks;

	(void)state;
	memset(&t, 0, sizeof(t));
	assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, see_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, see_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, see_frame);
	assert_int_equal(nghttp2_session_server_new(&t.server, callbacks, NULL), 0);
	nghttp2_session_callbacks_del(callbacks);
	assert_int_equal(nghttp2_submit_settings(t.server, NGHTTP2_FLAG_NONE, NULL, 0), 0);
	t.client = http2_new();
	assert_non_null(t.client);
	for (size_t i = 0; i < POSTS_MAX; i++) {
		secret_init(&t.posts[i].body, GRANT_MAX_BYTES);
		assert_true(secret_append_str(&t.posts[i].body, FORM));
	}
	talk();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	http2_free(t.client);
	nghttp2_session_del(t.server);
	for (size_t i = 0; i < POSTS_MAX; i++)
		secret_clear(&t.posts[i].body);
	return 0;
}

/* Posts, without a word being sent. The first post gets the id 1, then 3, and so on. */
static struct post *post(size_t index)
{
	struct post *post = &t.posts[index];

	post->stream = (struct http2_stream){
		.body = &post->body, .on_header = on_header, .on_data = on_data, .on_end = on_end};
	assert_true(http2_post(t.client, &post->stream, &target));
	assert_int_equal(post->stream.id, 2 * index + 1);
	return post;
}

static void expect_end(const struct post *post, enum http2_end end)
{
	assert_int_equal(post->ends, 1);
	assert_int_equal(post->end, end);
	assert_int_equal(post->stream.id, 0);
}

static void expect_answer(const struct post *post)
{
	expect_end(post, HTTP2_ANSWERED);
	assert_string_equal(post->head, ":status: 200\nretry-after: 7\n");
	assert_string_equal(post->data, ANSWER);
}

/* ---- the tests ---- */

static void test_post_arrives(void **state)
{
	(void)state;
	post(0);
	talk();
	assert_string_equal(t.seen[1].head, ":method: POST\n"
					    ":scheme: https\n"
					    ":authority: tokens.test:8443\n"
					    ":path: /auth/token/\n"
					    "content-type: application/x-www-form-urlencoded\n"
					    "content-length: 48\n"
					    "accept: application/json\n"
					    "user-agent: bakrypt-login/" VERSION "\n");
	assert_string_equal(t.seen[1].body, FORM);
	assert_true(t.seen[1].is_whole);
	assert_int_equal(t.posts[0].ends, 0);
}

static void test_answers_come_in_any_order(void **state)
{
	struct post *first = post(0);
	struct post *second = post(1);

	(void)state;
	talk();
	answer(3);
	talk();
	expect_answer(second);
	assert_int_equal(first->ends, 0);
	answer(1);
	talk();
	expect_answer(first);
	assert_true(http2_takes_streams(t.client));
	assert_false(http2_is_over(t.client));
}

static void test_answer_comes_byte_by_byte(void **state)
{
	struct post *only = post(0);

	(void)state;
	talk();
	answer(1);
	talk_by(1);
	expect_answer(only);
}

static void test_refusals(void **state)
{
	static const struct {
		uint32_t code;
		bool is_begun; /* the answer */
		enum http2_end end;
	} rows[] = {
		{NGHTTP2_REFUSED_STREAM, false, HTTP2_REFUSED},
		{NGHTTP2_REFUSED_STREAM, true, HTTP2_BROKEN},
		{NGHTTP2_CANCEL, false, HTTP2_BROKEN},
		{NGHTTP2_NO_ERROR, true, HTTP2_BROKEN},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct post *next = post(i);

		talk();
		if (rows[i].is_begun)
			begin_answer(2 * (int32_t)i + 1);
		reset(2 * (int32_t)i + 1, rows[i].code);
		expect_end(next, rows[i].end);
	}
	assert_true(http2_takes_streams(t.client));
}

static void test_farewell_refuses_what_is_above_its_number(void **state)
{
	struct post *below = post(0);
	struct post *above = post(1);

	(void)state;
	talk();
	say_farewell(1);
	talk();
	expect_end(above, HTTP2_REFUSED);
	assert_int_equal(below->ends, 0);
	assert_false(http2_takes_streams(t.client));
	assert_false(http2_is_over(t.client));
	answer(1);
	talk();
	expect_answer(below);
	assert_true(http2_is_over(t.client));
}

static void test_post_behind_a_farewell_is_not_sent(void **state)
{
	struct post *late;

	(void)state;
	post(0);
	talk();
	say_farewell(1);
	late = post(1);
	/* The farewell comes first. */
	const uint8_t *data;
	ssize_t len = nghttp2_session_mem_send(t.server, &data);
	assert_true(http2_receive(t.client, data, (size_t)len));
	talk();
	expect_end(late, HTTP2_REFUSED);
	assert_string_equal(t.seen[3].head, "");
}

static void test_cancelled(void **state)
{
	struct post *sent = post(0);
	struct post *unsent;

	(void)state;
	talk();
	unsent = post(1);
	http2_cancel(t.client, &sent->stream);
	http2_cancel(t.client, &unsent->stream);
	http2_cancel(t.client, &unsent->stream);
	answer(1);
	talk();
	assert_int_equal(t.seen[1].reset, NGHTTP2_CANCEL);
	assert_string_equal(t.seen[3].body, "");
	assert_int_equal(sent->ends, 0);
	assert_int_equal(unsent->ends, 0);
	assert_string_equal(sent->head, "");
	struct post *third = post(2);
	talk();
	answer(5);
	talk();
	expect_answer(third);
}

static void test_answers_that_are_not_wanted(void **state)
{
	struct post *by_head = post(0);
	struct post *by_data = post(1);

	(void)state;
	by_head->refuses_head = true;
	by_data->refuses_data = true;
	talk();
	answer(1);
	answer(3);
	talk();
	expect_end(by_head, HTTP2_BROKEN);
	expect_end(by_data, HTTP2_BROKEN);
	assert_string_equal(by_head->data, "");
	assert_int_not_equal(t.seen[1].reset, 0);
	assert_int_equal(t.seen[3].reset, NGHTTP2_CANCEL);
}

static void test_answer_before_the_form_was_let_in(void **state)
{
	struct post *only;

	(void)state;
	set(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
	only = post(0);
	talk();
	assert_string_equal(t.seen[1].body, "");
	assert_int_equal(only->stream.body_at, 0);
	answer(1);
	talk();
	expect_answer(only);
	assert_int_equal(t.seen[1].reset, NGHTTP2_CANCEL);
}

static void test_number_of_streams_follows_the_settings(void **state)
{
	(void)state;
	assert_int_equal(http2_streams_max(t.client), STREAMS_PER_CONNECTION);
	set(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 3);
	assert_int_equal(http2_streams_max(t.client), 3);
	set(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0);
	assert_int_equal(http2_streams_max(t.client), 0);
	assert_true(http2_takes_streams(t.client));
	set(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000000);
	assert_int_equal(http2_streams_max(t.client), STREAMS_PER_CONNECTION);
}

static void test_breaches_of_the_protocol_end_it(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {
		{"HTTP/1.1 400 Bad Request\r\n\r\n", 28},
		{"\x00\x00\x01\x00\x00\x00\x00\x00\x09x", 10}, /* DATA of a stream that is not */
		{"\x00\x00\x05\x06\x00\x00\x00\x00\x00ping!", 14},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const uint8_t *data;
		struct post *only = post(0);

		talk();
		if (http2_receive(t.client, rows[i].bytes, rows[i].len)) {
			while (http2_output(t.client, &data) > 0)
				;
			assert_true(http2_is_over(t.client));
			assert_false(http2_takes_streams(t.client));
		}
		tear_down(NULL);
		assert_int_equal(only->ends, 0); /* freeing calls nothing back */
		set_up(NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_post_arrives, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_answers_come_in_any_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_answer_comes_byte_by_byte, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_farewell_refuses_what_is_above_its_number,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_post_behind_a_farewell_is_not_sent, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_answers_that_are_not_wanted, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_answer_before_the_form_was_let_in, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_number_of_streams_follows_the_settings, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_breaches_of_the_protocol_end_it, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
