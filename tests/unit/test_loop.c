/* The event loop: timers in order, descriptors, signals, and callbacks that change all of them. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop.h"

#define TIMERS_MAX 300

/* What the callbacks share. They are told nothing but the loop_timer or loop_io that is theirs. */
static struct {
	struct loop *loop;
	struct loop_timer timers[TIMERS_MAX + 1];
	struct loop_timer *fired[TIMERS_MAX];
	size_t fired_count;
	size_t stop_after; /* the loop ends when so many have fired */
	struct loop_io ios[2];
	int peers[2];
	unsigned ready_counts[2];
	int signals[4];
	size_t signal_count;
} t;

static void note_fired(struct loop_timer *timer)
{
	assert_true(loop_clock_us() >= timer->due_us);
	assert_int_equal(timer->slot, 0);
	assert_true(t.fired_count < TIMERS_MAX);
	t.fired[t.fired_count++] = timer;
	if (t.fired_count == t.stop_after)
		loop_stop(t.loop);
}

/* For what must not happen. */
static void fail_fired(struct loop_timer *timer)
{
	(void)timer;
	fail_msg("a timer fired that was cancelled");
}

static void stop_fired(struct loop_timer *timer)
{
	(void)timer;
	loop_stop(t.loop);
}

static int set_up(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	t.loop = loop_open(TIMERS_MAX);
	for (size_t i = 0; i <= TIMERS_MAX; i++)
		t.timers[i].on_fire = note_fired;
	for (size_t i = 0; i < 2; i++) {
		int fds[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
			return -1;
		t.ios[i].fd = fds[0];
		t.peers[i] = fds[1];
	}
	return t.loop ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	loop_close(t.loop);
	for (size_t i = 0; i < 2; i++) {
		close(t.ios[i].fd);
		close(t.peers[i]);
	}
	return 0;
}

static void run_until_fired(size_t count)
{
	t.stop_after = count;
	assert_true(loop_run(t.loop));
	assert_int_equal(t.fired_count, count);
}

/* ---- timers ---- */

static void test_timer_is_due_after_its_delay(void **state)
{
	uint64_t before_us = loop_clock_us();

	(void)state;
	loop_timer_set(t.loop, &t.timers[0], 7);
	assert_in_range(t.timers[0].due_us, before_us + 7000, loop_clock_us() + 7000);
	run_until_fired(1);
	assert_true(loop_clock_us() >= before_us + 7000);
}

static void test_timers_fire_in_the_order_of_their_times(void **state)
{
	static const uint64_t delays_ms[] = {80, 20, 110, 0, 50, 60, 140, 30};
	static const size_t order[] = {3, 1, 7, 4, 5, 0, 2, 6};

	(void)state;
	for (size_t i = 0; i < 8; i++)
		loop_timer_set(t.loop, &t.timers[i], delays_ms[i]);
	run_until_fired(8);
	for (size_t i = 0; i < 8; i++)
		assert_ptr_equal(t.fired[i], &t.timers[order[i]]);
}

static void test_cancelled_timer_does_not_fire(void **state)
{
	(void)state;
	t.timers[1].on_fire = fail_fired;
	for (size_t i = 0; i < 3; i++)
		loop_timer_set(t.loop, &t.timers[i], i);
	loop_timer_cancel(t.loop, &t.timers[1]);
	loop_timer_cancel(t.loop, &t.timers[1]);
	loop_timer_cancel(t.loop, &t.timers[9]); /* never set */
	run_until_fired(2);
}

static void test_timer_set_anew_fires_once_at_its_new_time(void **state)
{
	(void)state;
	loop_timer_set(t.loop, &t.timers[0], 10);
	loop_timer_set(t.loop, &t.timers[1], 60);
	loop_timer_set(t.loop, &t.timers[2], 60000);
	loop_timer_set(t.loop, &t.timers[0], 110);
	loop_timer_set(t.loop, &t.timers[2], 10);
	run_until_fired(3);
	assert_ptr_equal(t.fired[0], &t.timers[2]);
	assert_ptr_equal(t.fired[1], &t.timers[1]);
	assert_ptr_equal(t.fired[2], &t.timers[0]);
}

/* Sets, moves and cancels at random, from a fixed seed. */
static void test_many_timers_keep_their_order(void **state)
{
	bool is_set[TIMERS_MAX] = {false};
	uint32_t random = 20261124;
	size_t count = 0;

	(void)state;
	for (int i = 0; i < 6000; i++) {
		size_t which;

		random = random * 1664525 + 1013904223;
		which = (random >> 8) % TIMERS_MAX;
		is_set[which] = (random >> 28) % 3 != 0;
		if (is_set[which])
			loop_timer_set(t.loop, &t.timers[which], (random >> 20) % 24);
		else
			loop_timer_cancel(t.loop, &t.timers[which]);
	}
	for (size_t i = 0; i < TIMERS_MAX; i++)
		count += is_set[i];
	run_until_fired(count);
	for (size_t i = 0; i < count; i++) {
		assert_true(is_set[t.fired[i] - t.timers]);
		assert_true(i == 0 || t.fired[i - 1]->due_us <= t.fired[i]->due_us);
	}
}

static void set_again_when_fired(struct loop_timer *timer)
{
	note_fired(timer);
	loop_timer_set(t.loop, timer, 0);
}

static void test_timer_may_set_itself_again(void **state)
{
	(void)state;
	t.timers[0].on_fire = set_again_when_fired;
	loop_timer_set(t.loop, &t.timers[0], 0);
	run_until_fired(50);
	loop_timer_cancel(t.loop, &t.timers[0]);
}

static void cancel_next_when_fired(struct loop_timer *timer)
{
	note_fired(timer);
	loop_timer_cancel(t.loop, timer + 1);
}

static void test_timer_that_is_due_may_be_cancelled_by_another(void **state)
{
	(void)state;
	t.timers[0].on_fire = cancel_next_when_fired;
	t.timers[1].on_fire = fail_fired;
	for (size_t i = 0; i < 3; i++)
		loop_timer_set(t.loop, &t.timers[i], i == 2);
	run_until_fired(2);
	assert_ptr_equal(t.fired[1], &t.timers[2]);
}

static void free_when_fired(struct loop_timer *timer)
{
	free(timer);
	loop_stop(t.loop);
}

static void test_timer_may_be_freed_when_it_fires(void **state)
{
	struct loop_timer *timer = calloc(1, sizeof(*timer));

	(void)state;
	assert_non_null(timer);
	timer->on_fire = free_when_fired;
	loop_timer_set(t.loop, timer, 0);
	assert_true(loop_run(t.loop));
}

static void test_loop_stops_between_timers_and_runs_on(void **state)
{
	(void)state;
	loop_timer_set(t.loop, &t.timers[0], 0);
	loop_timer_set(t.loop, &t.timers[1], 0);
	run_until_fired(1);
	run_until_fired(2);
}

static void test_timers_fill_the_loop_and_no_more(void **state)
{
	const struct rlimit no_core = {0, 0};
	int status;
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < TIMERS_MAX; i++)
		loop_timer_set(t.loop, &t.timers[i], 60000);
	loop_timer_set(t.loop, &t.timers[7], 60000); /* one that has its place */
	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		loop_timer_set(t.loop, &t.timers[TIMERS_MAX], 60000);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- descriptors ---- */

static void read_when_ready(struct loop_io *io, uint32_t events)
{
	char byte;

	assert_true(events & EPOLLIN);
	t.ready_counts[io - t.ios]++;
	assert_int_equal(read(io->fd, &byte, 1), 1);
	if (byte == '.')
		loop_stop(t.loop);
}

static void test_descriptor_is_told_ready_for_each_turn(void **state)
{
	(void)state;
	t.ios[0].on_ready = t.ios[1].on_ready = read_when_ready;
	assert_true(loop_add(t.loop, &t.ios[0], EPOLLIN));
	assert_true(loop_add(t.loop, &t.ios[1], EPOLLIN));
	assert_false(loop_add(t.loop, &t.ios[1], EPOLLIN));
	assert_int_equal(write(t.peers[0], "abc.", 4), 4);
	assert_true(loop_run(t.loop));
	assert_int_equal(t.ready_counts[0], 4);
	assert_int_equal(t.ready_counts[1], 0);
}

static void test_descriptor_that_is_not_asked_about_stays_silent(void **state)
{
	(void)state;
	t.ios[0].on_ready = t.ios[1].on_ready = read_when_ready;
	assert_true(loop_add(t.loop, &t.ios[0], EPOLLIN));
	assert_true(loop_change(t.loop, &t.ios[0], 0));
	assert_false(loop_change(t.loop, &t.ios[1], EPOLLIN));
	assert_int_equal(write(t.peers[0], ".", 1), 1);
	t.timers[0].on_fire = stop_fired;
	loop_timer_set(t.loop, &t.timers[0], 5);
	assert_true(loop_run(t.loop));
	assert_int_equal(t.ready_counts[0], 0);
	assert_true(loop_change(t.loop, &t.ios[0], EPOLLIN));
	assert_true(loop_run(t.loop));
	assert_int_equal(t.ready_counts[0], 1);
}

/* Of two, of which the other's event was fetched in the same turn. */
static void remove_both_when_ready(struct loop_io *io, uint32_t events)
{
	(void)events;
	t.ready_counts[io - t.ios]++;
	for (size_t i = 0; i < 2; i++)
		loop_remove(t.loop, &t.ios[i]);
}

static void close_both_when_ready(struct loop_io *io, uint32_t events)
{
	(void)events;
	t.ready_counts[io - t.ios]++;
	for (size_t i = 0; i < 2; i++)
		loop_close_io(t.loop, &t.ios[i]);
}

static void check_one_is_told(void (*on_ready)(struct loop_io *io, uint32_t events))
{
	for (size_t i = 0; i < 2; i++) {
		t.ios[i].on_ready = on_ready;
		assert_true(loop_add(t.loop, &t.ios[i], EPOLLIN));
		assert_int_equal(write(t.peers[i], "x", 1), 1);
	}
	t.timers[0].on_fire = stop_fired;
	loop_timer_set(t.loop, &t.timers[0], 5);
	assert_true(loop_run(t.loop));
	assert_int_equal(t.ready_counts[0] + t.ready_counts[1], 1);
}

static void test_event_of_a_removed_descriptor_is_dropped(void **state)
{
	(void)state;
	check_one_is_told(remove_both_when_ready);
}

static void test_event_of_a_closed_descriptor_is_dropped(void **state)
{
	int fds[2];

	(void)state;
	for (size_t i = 0; i < 2; i++)
		fds[i] = t.ios[i].fd;
	check_one_is_told(close_both_when_ready);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(t.ios[i].fd, -1);
		assert_int_equal(fcntl(fds[i], F_GETFD), -1);
	}
}

/* ---- signals ---- */

static void note_signal(void *context, int signal)
{
	assert_ptr_equal(context, &t);
	t.signals[t.signal_count++] = signal;
	if (signal == SIGTERM)
		loop_stop(t.loop);
}

static void test_signals_are_told_from_the_loop(void **state)
{
	static const int caught[] = {SIGUSR1, SIGTERM, 0};
	sigset_t before;

	(void)state;
	sigprocmask(SIG_BLOCK, NULL, &before);
	assert_true(loop_catch_signals(t.loop, caught, note_signal, &t));
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(raise(SIGUSR1), 0); /* taken together with the first */
	assert_int_equal(t.signal_count, 0);
	assert_int_equal(raise(SIGTERM), 0);
	assert_true(loop_run(t.loop));
	sigprocmask(SIG_SETMASK, &before, NULL);
	assert_int_equal(t.signal_count, 2);
	assert_int_equal(t.signals[0] + t.signals[1], SIGUSR1 + SIGTERM);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_timer_is_due_after_its_delay),
		TEST(test_timers_fire_in_the_order_of_their_times),
		TEST(test_cancelled_timer_does_not_fire),
		TEST(test_timer_set_anew_fires_once_at_its_new_time),
		TEST(test_many_timers_keep_their_order),
		TEST(test_timer_may_set_itself_again),
		TEST(test_timer_that_is_due_may_be_cancelled_by_another),
		TEST(test_timer_may_be_freed_when_it_fires),
		TEST(test_loop_stops_between_timers_and_runs_on),
		TEST(test_timers_fill_the_loop_and_no_more),
		TEST(test_descriptor_is_told_ready_for_each_turn),
		TEST(test_descriptor_that_is_not_asked_about_stays_silent),
		TEST(test_event_of_a_removed_descriptor_is_dropped),
		TEST(test_event_of_a_closed_descriptor_is_dropped),
		TEST(test_signals_are_told_from_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
