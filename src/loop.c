#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define EVENTS_MAX 64

struct loop {
	int epoll_fd;
	bool is_running;

	/* The events of the present turn, so that loop_remove() can take one back. */
	struct epoll_event events[EVENTS_MAX];
	int event_count;
	int event_next;

	/* A binary heap by due time; a timer knows its slot. */
	struct loop_timer **timers;
	size_t timer_count;
	size_t timers_max;

	TAILQ_HEAD(loop_turns, loop_turn) turns;

	struct loop_io signal_io;
	void (*on_signal)(void *context, int signal);
	void *signal_context;
};

struct loop *loop_open(size_t timers_max)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	if (!loop)
		return NULL;
	loop->signal_io.fd = -1;
	TAILQ_INIT(&loop->turns);
	loop->timers_max = timers_max;
	loop->timers = calloc(timers_max, sizeof(struct loop_timer *));
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!loop->timers || loop->epoll_fd < 0) {
		loop_close(loop);
		return NULL;
	}
	return loop;
}

bool loop_reserve(struct loop *loop, size_t timers_max)
{
	struct loop_timer **timers;

	if (timers_max <= loop->timers_max)
		return true;
	timers = realloc(loop->timers, timers_max * sizeof(struct loop_timer *));
	if (!timers)
		return false;
	loop->timers = timers;
	loop->timers_max = timers_max;
	return true;
}

void loop_close(struct loop *loop)
{
	if (!loop)
		return;
	if (loop->signal_io.fd >= 0)
		close(loop->signal_io.fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	free(loop->timers);
	free(loop);
}

void loop_stop(struct loop *loop)
{
	loop->is_running = false;
}

uint64_t loop_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- descriptors ---- */

static bool control(struct loop *loop, int operation, struct loop_io *io, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = io};

	return epoll_ctl(loop->epoll_fd, operation, io->fd, &event) == 0;
}

bool loop_add(struct loop *loop, struct loop_io *io, uint32_t epoll_events)
{
	return control(loop, EPOLL_CTL_ADD, io, epoll_events);
}

bool loop_change(struct loop *loop, struct loop_io *io, uint32_t epoll_events)
{
	return control(loop, EPOLL_CTL_MOD, io, epoll_events);
}

static void drop_events(struct loop *loop, const struct loop_io *io)
{
	for (int i = loop->event_next; i < loop->event_count; i++) {
		if (loop->events[i].data.ptr == io)
			loop->events[i].data.ptr = NULL;
	}
}

void loop_remove(struct loop *loop, struct loop_io *io)
{
	control(loop, EPOLL_CTL_DEL, io, 0);
	drop_events(loop, io);
}

void loop_close_io(struct loop *loop, struct loop_io *io)
{
	close(io->fd);
	io->fd = -1;
	drop_events(loop, io);
}

/* ---- the end of a turn ---- */

void loop_turn_add(struct loop *loop, struct loop_turn *turn)
{
	TAILQ_INSERT_TAIL(&loop->turns, turn, entry);
}

void loop_turn_remove(struct loop *loop, struct loop_turn *turn)
{
	TAILQ_REMOVE(&loop->turns, turn, entry);
}

static void end_turn(struct loop *loop)
{
	struct loop_turn *next;

	for (struct loop_turn *turn = TAILQ_FIRST(&loop->turns); turn; turn = next) {
		next = TAILQ_NEXT(turn, entry);
		turn->on_end(turn);
	}
	log_flush();
}

/* ---- timers ---- */

static void place(struct loop *loop, struct loop_timer *timer, size_t index)
{
	loop->timers[index] = timer;
	timer->slot = index + 1;
}

/* Finds the timer's place, starting from the free one at index: up, or down. */
static void settle(struct loop *loop, struct loop_timer *timer, size_t index)
{
	struct loop_timer **heap = loop->timers;

	while (index > 0 && heap[(index - 1) / 2]->due_us > timer->due_us) {
		place(loop, heap[(index - 1) / 2], index);
		index = (index - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * index + 1;
		if (child + 1 < loop->timer_count && heap[child + 1]->due_us < heap[child]->due_us)
			child++;
		if (child >= loop->timer_count || heap[child]->due_us >= timer->due_us)
			break;
		place(loop, heap[child], index);
		index = child;
	}
	place(loop, timer, index);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	if (timer->slot == 0)
		return;

	size_t index = timer->slot - 1;
	struct loop_timer *last = loop->timers[--loop->timer_count];
	timer->slot = 0;
	if (last != timer)
		settle(loop, last, index);
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms)
{
	loop_timer_cancel(loop, timer);
	if (loop->timer_count == loop->timers_max)
		abort(); /* a counting fault of the owner: going on would lose a deadline */
	timer->due_us = loop_clock_us() + delay_ms * 1000;
	settle(loop, timer, loop->timer_count++);
}

static void fire_due_timers(struct loop *loop)
{
	if (loop->timer_count == 0)
		return;

	/* Timers set while others fire wait for the next turn, or a chain could keep the loop here.
	 */
	uint64_t now_us = loop_clock_us();
	while (loop->timer_count > 0 && loop->timers[0]->due_us <= now_us && loop->is_running) {
		struct loop_timer *timer = loop->timers[0];
		loop_timer_cancel(loop, timer);
		timer->on_fire(timer);
	}
}

/* Milliseconds for epoll_wait: -1 without a timer, rounded up so as not to wake too early. */
static int wait_ms(const struct loop *loop)
{
	if (loop->timer_count == 0)
		return -1;

	uint64_t now_us = loop_clock_us();
	uint64_t due_us = loop->timers[0]->due_us;
	if (due_us <= now_us)
		return 0;
	uint64_t wait = (due_us - now_us + 999) / 1000;
	return wait > 3600000 ? 3600000 : (int)wait;
}

/* ---- running ---- */

bool loop_run(struct loop *loop)
{
	bool is_good = true;

	log_set_batching(true);
	loop->is_running = true;
	while (loop->is_running) {
		end_turn(loop);
		int count = epoll_wait(loop->epoll_fd, loop->events, EVENTS_MAX, wait_ms(loop));
		if (count < 0 && errno != EINTR) {
			is_good = false;
			break;
		}
		loop->event_count = count > 0 ? count : 0;
		for (loop->event_next = 0; loop->event_next < loop->event_count;) {
			struct epoll_event *event = &loop->events[loop->event_next++];
			struct loop_io *io = event->data.ptr;
			if (io)
				io->on_ready(io, event->events);
		}
		loop->event_count = 0;
		fire_due_timers(loop);
	}
	end_turn(loop);
	log_set_batching(false);
	return is_good;
}

/* ---- signals ---- */

static void on_signal_ready(struct loop_io *io, uint32_t events)
{
	struct loop *loop = CONTAINER(io, struct loop, signal_io);
	struct signalfd_siginfo info;

	(void)events;
	while (read(io->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		loop->on_signal(loop->signal_context, (int)info.ssi_signo);
}

bool loop_catch_signals(struct loop *loop, const int *signals,
			void (*on_signal)(void *context, int signal), void *context)
{
	sigset_t set;

	sigemptyset(&set);
	for (const int *signal = signals; *signal; signal++)
		sigaddset(&set, *signal);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return false;
	loop->on_signal = on_signal;
	loop->signal_context = context;
	loop->signal_io.on_ready = on_signal_ready;
	loop->signal_io.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return loop->signal_io.fd >= 0 && loop_add(loop, &loop->signal_io, EPOLLIN);
}
