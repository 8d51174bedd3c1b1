/*
 * The event loop: epoll(7), one-shot timers, signals.
 *
 * Floor 0. One loop per process, one thread. Callbacks may add, change and remove anything,
 * themselves included. Nothing here allocates after loop_open(), but for loop_reserve().
 */
#ifndef LOOP_H
#define LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct loop;

/* The owner of a struct that is embedded in its own, from a pointer to the former. */
#define CONTAINER(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Readiness of one descriptor. The owner keeps the struct alive while it is added, and embeds it in
 * its own. */
struct loop_io {
	int fd;
	void (*on_ready)(struct loop_io *io, uint32_t epoll_events);
};

/* Fires once. The owner keeps the struct alive while it is set, and zeroes it before first use. */
struct loop_timer {
	void (*on_fire)(struct loop_timer *timer);
	uint64_t due_us;
	size_t slot; /* position in the heap plus 1; 0: not set */
};

/* Something to be done at the end of each turn, before the loop waits again. The owner keeps the
 * struct alive while it is added. */
struct loop_turn {
	TAILQ_ENTRY(loop_turn) entry;
	void (*on_end)(struct loop_turn *turn);
};

/* Opens a loop for at most timers_max timers set at one time. NULL with errno on failure. */
struct loop *loop_open(size_t timers_max);
void loop_close(struct loop *loop);

/* Room for at least timers_max timers from now on. False without memory. */
bool loop_reserve(struct loop *loop, size_t timers_max);

/* Runs until loop_stop(). Log lines are kept until the end of a turn. False with errno if epoll
 * fails. */
bool loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* epoll_events as for epoll_ctl(2). False with errno. */
bool loop_add(struct loop *loop, struct loop_io *io, uint32_t epoll_events);
bool loop_change(struct loop *loop, struct loop_io *io, uint32_t epoll_events);

/* Removes before the descriptor is closed. Events already fetched for it are dropped. */
void loop_remove(struct loop *loop, struct loop_io *io);

/* The same for a descriptor that no other process has and that was not duplicated: closes it, which
 * takes it out of epoll too and saves a system call (0.5 us of a connection). */
void loop_close_io(struct loop *loop, struct loop_io *io);

void loop_turn_add(struct loop *loop, struct loop_turn *turn);
void loop_turn_remove(struct loop *loop, struct loop_turn *turn);

/* Sets the timer, anew if it was set. The owner keeps within timers_max. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

/* CLOCK_MONOTONIC in microseconds, read anew. */
uint64_t loop_clock_us(void);

/* Blocks the signals in the process and calls on_signal from the loop for each. Once per loop.
 * signals ends in 0. False with errno. */
bool loop_catch_signals(struct loop *loop, const int *signals,
			void (*on_signal)(void *context, int signal), void *context);

#endif
