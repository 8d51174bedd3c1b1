/* When requests go to the token server, when they do not, and when a probe is to find out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "breaker.h"
#include "ceilings.h"

#define MS UINT64_C(1000)
#define S (1000 * MS)

/* What every test has: a breaker, and a clock. */
static struct breaker b;
static uint64_t now;

static int set_up(void **state)
{
	(void)state;
	b = (struct breaker){0};
	now = 100 * S;
	return 0;
}

/* The same close before the clock wraps around. */
static int set_up_late(void **state)
{
	set_up(state);
	now = UINT64_MAX - 500 * MS;
	return 0;
}

/* A request that is answered after a millisecond. */
static enum breaker_turn hear(enum breaker_news news, enum fault fault)
{
	uint64_t asked = now;

	now += MS;
	return breaker_hear(&b, news, fault, asked, now);
}

static enum breaker_turn hear_down(void)
{
	return hear(BREAKER_DOWN, FAULT_UPSTREAM_UNREACHABLE);
}

static enum breaker_turn hear_doubtful(void)
{
	return hear(BREAKER_DOUBTFUL, FAULT_UPSTREAM_WAF);
}

static enum breaker_turn hear_good(void)
{
	return hear(BREAKER_GOOD, FAULT_NONE);
}

static enum breaker_turn probe(enum breaker_news news, enum fault fault, unsigned retry_after_s)
{
	breaker_begin_probe(&b, now);
	now += MS;
	return breaker_end_probe(&b, news, fault, retry_after_s, now);
}

static enum breaker_turn probe_down(void)
{
	return probe(BREAKER_DOWN, FAULT_UPSTREAM_UNREACHABLE, 0);
}

static enum breaker_way admit(void)
{
	return breaker_admit(&b, now);
}

static void open_it(void)
{
	assert_int_equal(hear(BREAKER_REJECTED, FAULT_CLIENT_REJECTED), BREAKER_OPENS);
}

/* ---- closed ---- */

static void test_lets_through_at_first(void **state)
{
	(void)state;
	assert_int_equal(admit(), BREAKER_PASS);
	assert_int_equal(hear_good(), BREAKER_STAYS);
	assert_int_equal(admit(), BREAKER_PASS);
}

static void test_opens_at_the_first_word_that_the_client_is_not_known(void **state)
{
	(void)state;
	assert_int_equal(hear_good(), BREAKER_STAYS);
	open_it();
	assert_int_equal(admit(), BREAKER_REFUSE);
	assert_int_equal(b.fault, FAULT_CLIENT_REJECTED);
}

static void test_opens_after_a_row_of_failures_to_reach_it(void **state)
{
	(void)state;
	for (int i = 1; i < BREAKER_FAULTS_MAX; i++) {
		assert_int_equal(hear_down(), BREAKER_STAYS);
		assert_int_equal(admit(), BREAKER_PASS);
	}
	assert_int_equal(hear_down(), BREAKER_OPENS);
	assert_int_equal(admit(), BREAKER_REFUSE);
	assert_int_equal(b.fault, FAULT_UPSTREAM_UNREACHABLE);
}

static void test_good_answer_ends_the_row(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		for (int k = 1; k < BREAKER_FAULTS_MAX; k++) {
			assert_int_equal(hear_down(), BREAKER_STAYS);
			assert_int_equal(hear_doubtful(), BREAKER_STAYS);
		}
		assert_int_equal(hear_good(), BREAKER_STAYS);
	}
	assert_int_equal(admit(), BREAKER_PASS);
}

static void test_what_tells_nothing_neither_adds_to_the_row_nor_ends_it(void **state)
{
	(void)state;
	for (int i = 1; i < BREAKER_FAULTS_MAX; i++) {
		assert_int_equal(hear_down(), BREAKER_STAYS);
		assert_int_equal(hear(BREAKER_NO_NEWS, FAULT_OVERLOADED), BREAKER_STAYS);
	}
	assert_int_equal(hear_down(), BREAKER_OPENS);
}

/* Sent before the last good answer to anybody, as by a server that was started anew. */
static void test_faults_of_the_past_do_not_count(void **state)
{
	uint64_t asked = now;

	(void)state;
	now += S;
	hear_good();
	now += S;
	for (int i = 0; i < 5 * BREAKER_FAULTS_MAX; i++) {
		assert_int_equal(breaker_hear(&b, BREAKER_DOWN, FAULT_UPSTREAM_TLS, asked, now),
				 BREAKER_STAYS);
		assert_int_equal(
			breaker_hear(&b, BREAKER_REJECTED, FAULT_CLIENT_REJECTED, asked, now),
			BREAKER_STAYS);
	}
	assert_int_equal(admit(), BREAKER_PASS);
}

/* ---- doubts ---- */

static void doubt(void)
{
	for (int i = 1; i < BREAKER_FAULTS_MAX; i++)
		assert_int_equal(hear_doubtful(), BREAKER_STAYS);
	assert_int_equal(hear_doubtful(), BREAKER_DOUBTS);
}

static void test_row_of_doubts_is_a_reason_to_ask_and_no_more(void **state)
{
	(void)state;
	doubt();
	assert_int_equal(admit(), BREAKER_PASS);
	assert_int_equal(probe(BREAKER_GOOD, FAULT_NONE, 0), BREAKER_STAYS);
	assert_int_equal(admit(), BREAKER_PASS);
}

static void test_opens_if_the_probe_fails_too(void **state)
{
	(void)state;
	doubt();
	assert_int_equal(probe(BREAKER_DOUBTFUL, FAULT_UPSTREAM_5XX, 0), BREAKER_OPENS);
	assert_int_equal(admit(), BREAKER_REFUSE);
	assert_int_equal(b.fault, FAULT_UPSTREAM_5XX);
}

static void test_doubts_while_the_probe_is_under_way_ask_for_no_other(void **state)
{
	(void)state;
	doubt();
	breaker_begin_probe(&b, now);
	for (int i = 0; i < 5 * BREAKER_FAULTS_MAX; i++) {
		now += S;
		assert_int_equal(hear_doubtful(), BREAKER_STAYS);
		assert_int_equal(admit(), BREAKER_PASS);
	}
}

/* One user alone, whose requests fail all the time. */
static void test_doubts_ask_once_in_a_while(void **state)
{
	unsigned count = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		if (hear_doubtful() == BREAKER_DOUBTS) {
			assert_int_equal(probe(BREAKER_GOOD, FAULT_NONE, 0), BREAKER_STAYS);
			count++;
		}
	}
	assert_in_range(count, 5, 10000 / BREAKER_PAUSE_MIN_MS + 1);
	assert_int_equal(admit(), BREAKER_PASS);
}

static void test_good_answer_meanwhile_counts_more_than_the_probe(void **state)
{
	(void)state;
	doubt();
	breaker_begin_probe(&b, now);
	hear_good();
	assert_int_equal(breaker_end_probe(&b, BREAKER_DOUBTFUL, FAULT_UPSTREAM_5XX, 0, now + S),
			 BREAKER_STAYS);
	assert_int_equal(admit(), BREAKER_PASS);
	assert_int_equal(b.fault, FAULT_NONE);
}

/* The probe of /readyz: it may be the probe alone that the server does not like. */
static void test_probe_alone_opens_only_where_there_is_no_doubt(void **state)
{
	(void)state;
	assert_int_equal(probe(BREAKER_DOUBTFUL, FAULT_UPSTREAM_5XX, 0), BREAKER_STAYS);
	assert_int_equal(admit(), BREAKER_PASS);
	assert_int_equal(b.fault, FAULT_UPSTREAM_5XX);
	assert_int_equal(probe_down(), BREAKER_OPENS);
	assert_int_equal(admit(), BREAKER_REFUSE);
}

/* ---- open ---- */

static void test_first_request_after_the_pause_brings_about_one_probe(void **state)
{
	(void)state;
	open_it();
	now += BREAKER_PAUSE_MIN_MS * MS - 1;
	assert_int_equal(admit(), BREAKER_REFUSE);
	now++;
	assert_int_equal(admit(), BREAKER_PROBE);
	breaker_begin_probe(&b, now);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(admit(), BREAKER_REFUSE);
		now += S;
	}
}

static void test_good_probe_closes_it(void **state)
{
	(void)state;
	open_it();
	now += S;
	assert_int_equal(probe(BREAKER_GOOD, FAULT_NONE, 0), BREAKER_CLOSES);
	assert_int_equal(admit(), BREAKER_PASS);
	assert_int_equal(b.fault, FAULT_NONE);
	/* And all begins anew. */
	for (int i = 1; i < BREAKER_FAULTS_MAX; i++)
		assert_int_equal(hear_down(), BREAKER_STAYS);
	assert_int_equal(hear_down(), BREAKER_OPENS);
	assert_int_equal(b.pause_ms, BREAKER_PAUSE_MIN_MS);
}

static void test_good_answer_to_an_earlier_request_closes_it(void **state)
{
	(void)state;
	open_it();
	assert_int_equal(hear_good(), BREAKER_CLOSES);
	assert_int_equal(admit(), BREAKER_PASS);
}

static void test_bad_answers_to_earlier_requests_change_nothing(void **state)
{
	struct breaker before;

	(void)state;
	open_it();
	before = b;
	for (int i = 0; i < 5 * BREAKER_FAULTS_MAX; i++) {
		assert_int_equal(hear_down(), BREAKER_STAYS);
		assert_int_equal(hear_doubtful(), BREAKER_STAYS);
		assert_int_equal(hear(BREAKER_REJECTED, FAULT_CLIENT_REJECTED), BREAKER_STAYS);
	}
	assert_memory_equal(&b, &before, sizeof(b));
}

static void test_pause_is_doubled_up_to_its_maximum(void **state)
{
	unsigned pause_ms = BREAKER_PAUSE_MIN_MS;

	(void)state;
	open_it();
	for (int i = 0; i < 12; i++) {
		assert_int_equal(b.pause_ms, pause_ms);
		now += pause_ms * MS - 1;
		assert_int_equal(admit(), BREAKER_REFUSE);
		now++;
		assert_int_equal(admit(), BREAKER_PROBE);
		probe_down();
		pause_ms =
			2 * pause_ms < BREAKER_PAUSE_MAX_MS ? 2 * pause_ms : BREAKER_PAUSE_MAX_MS;
	}
	assert_int_equal(pause_ms, BREAKER_PAUSE_MAX_MS);
}

static void test_server_that_names_a_time_is_left_alone_until_then(void **state)
{
	(void)state;
	doubt();
	assert_int_equal(probe(BREAKER_DOUBTFUL, FAULT_UPSTREAM_429, 120), BREAKER_OPENS);
	assert_int_equal(breaker_retry_after_s(&b, now), 120);
	now += 119 * S;
	assert_int_equal(admit(), BREAKER_REFUSE);
	now += S;
	assert_int_equal(admit(), BREAKER_PROBE);
	/* And no longer than that: what grows is the pause of our own. */
	probe_down();
	assert_int_equal(b.pause_ms, 2 * BREAKER_PAUSE_MIN_MS);
}

static void test_probe_that_found_no_room_is_tried_again(void **state)
{
	(void)state;
	open_it();
	now += S;
	assert_int_equal(probe(BREAKER_NO_NEWS, FAULT_OVERLOADED, 0), BREAKER_STAYS);
	assert_int_equal(admit(), BREAKER_PROBE);
}

static void test_other_reason_is_told(void **state)
{
	(void)state;
	open_it();
	assert_int_equal(probe_down(), BREAKER_OPENS);
	assert_int_equal(b.fault, FAULT_UPSTREAM_UNREACHABLE);
	assert_int_equal(probe_down(), BREAKER_STAYS);
}

static void test_trial_after_many_probes_in_vain(void **state)
{
	unsigned probes = 0;

	(void)state;
	assert_false(breaker_allows_trial(&b));
	open_it();
	for (; !breaker_allows_trial(&b); probes++)
		probe(BREAKER_DOUBTFUL, FAULT_UPSTREAM_5XX, 0);
	assert_int_equal(probes, 5);
	assert_int_equal(b.pause_ms, BREAKER_PAUSE_MAX_MS);
	hear_good();
	assert_false(breaker_allows_trial(&b));
}

static void test_time_to_come_again(void **state)
{
	(void)state;
	open_it();
	assert_int_equal(breaker_retry_after_s(&b, now), 1);
	probe_down();
	probe_down();
	assert_int_equal(breaker_retry_after_s(&b, now), 4);
	assert_int_equal(breaker_retry_after_s(&b, now + 1), 4);
	assert_int_equal(breaker_retry_after_s(&b, now + S), 3);
	assert_int_equal(breaker_retry_after_s(&b, now + 3500 * MS), 1);
	assert_int_equal(breaker_retry_after_s(&b, now + 4 * S), 1);
	assert_int_equal(breaker_retry_after_s(&b, now + 3600 * S), 1);
}

static void test_refused_requests_are_counted_anew_each_time(void **state)
{
	(void)state;
	for (unsigned count = 3; count < 6; count++) {
		open_it();
		for (unsigned i = 0; i < count; i++)
			assert_int_equal(admit(), BREAKER_REFUSE);
		assert_int_equal(b.refused, count);
		hear_good();
	}
}

/* ---- what /readyz is told ---- */

static enum breaker_way inquire_after(uint64_t us)
{
	return breaker_inquire(&b, now + us);
}

static void test_nothing_is_known_at_first(void **state)
{
	(void)state;
	assert_int_equal(inquire_after(0), BREAKER_PROBE);
	breaker_begin_probe(&b, now);
	assert_int_equal(inquire_after(0), BREAKER_REFUSE);
	breaker_end_probe(&b, BREAKER_GOOD, FAULT_NONE, 0, now);
	assert_int_equal(inquire_after(0), BREAKER_PASS);
}

static void test_good_news_are_believed_for_a_while(void **state)
{
	(void)state;
	hear_good();
	assert_int_equal(inquire_after(HEALTH_FRESH_MS * MS - 1), BREAKER_PASS);
	assert_int_equal(inquire_after(HEALTH_FRESH_MS * MS), BREAKER_PROBE);
}

static void test_doubtful_news_are_believed_for_less(void **state)
{
	(void)state;
	hear_good();
	hear_doubtful();
	assert_int_equal(inquire_after(HEALTH_RETRY_MS * MS - 2 * MS), BREAKER_PASS);
	assert_int_equal(inquire_after(HEALTH_RETRY_MS * MS), BREAKER_PROBE);
	assert_int_equal(b.fault, FAULT_NONE);
}

static void test_while_open_the_pause_counts(void **state)
{
	(void)state;
	open_it();
	assert_int_equal(inquire_after(BREAKER_PAUSE_MIN_MS * MS - 1), BREAKER_PASS);
	assert_int_equal(inquire_after(BREAKER_PAUSE_MIN_MS * MS), BREAKER_PROBE);
	breaker_begin_probe(&b, now);
	assert_int_equal(inquire_after(3600 * S), BREAKER_PASS);
	assert_int_equal(b.fault, FAULT_CLIENT_REJECTED);
}

/* ---- off ---- */

static void test_switched_off_it_lets_all_through(void **state)
{
	(void)state;
	open_it();
	b.is_off = true;
	assert_int_equal(admit(), BREAKER_PASS);
	assert_int_equal(breaker_inquire(&b, now), BREAKER_PASS);
	b = (struct breaker){.is_off = true};
	for (int i = 0; i < 5 * BREAKER_FAULTS_MAX; i++) {
		assert_int_equal(hear_down(), BREAKER_STAYS);
		assert_int_equal(hear_doubtful(), BREAKER_STAYS);
		assert_int_equal(hear(BREAKER_REJECTED, FAULT_CLIENT_REJECTED), BREAKER_STAYS);
		assert_int_equal(probe_down(), BREAKER_STAYS);
	}
	assert_int_equal(admit(), BREAKER_PASS);
	assert_int_equal(b.fault, FAULT_NONE);
	assert_int_equal(breaker_inquire(&b, now + 3600 * S), BREAKER_PASS);
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)
/* Both far from where the clock wraps around and across it. */
#define TWICE(function) \
	TEST(function), \
	{ \
#function "_late", function, set_up_late, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lets_through_at_first),
		TEST(test_opens_at_the_first_word_that_the_client_is_not_known),
		TEST(test_opens_after_a_row_of_failures_to_reach_it),
		TEST(test_good_answer_ends_the_row),
		TEST(test_what_tells_nothing_neither_adds_to_the_row_nor_ends_it),
		TWICE(test_faults_of_the_past_do_not_count),
		TEST(test_row_of_doubts_is_a_reason_to_ask_and_no_more),
		TEST(test_opens_if_the_probe_fails_too),
		TEST(test_doubts_while_the_probe_is_under_way_ask_for_no_other),
		TWICE(test_doubts_ask_once_in_a_while),
		TWICE(test_good_answer_meanwhile_counts_more_than_the_probe),
		TEST(test_probe_alone_opens_only_where_there_is_no_doubt),
		TWICE(test_first_request_after_the_pause_brings_about_one_probe),
		TEST(test_good_probe_closes_it),
		TEST(test_good_answer_to_an_earlier_request_closes_it),
		TEST(test_bad_answers_to_earlier_requests_change_nothing),
		TWICE(test_pause_is_doubled_up_to_its_maximum),
		TWICE(test_server_that_names_a_time_is_left_alone_until_then),
		TEST(test_probe_that_found_no_room_is_tried_again),
		TEST(test_other_reason_is_told),
		TEST(test_trial_after_many_probes_in_vain),
		TWICE(test_time_to_come_again),
		TEST(test_refused_requests_are_counted_anew_each_time),
		TEST(test_nothing_is_known_at_first),
		TWICE(test_good_news_are_believed_for_a_while),
		TEST(test_doubtful_news_are_believed_for_less),
		TWICE(test_while_open_the_pause_counts),
		TEST(test_switched_off_it_lets_all_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
