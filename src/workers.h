/*
 * Several loops as processes: a parent that starts them, starts one again that dies, and passes
 * signals on.
 *
 * Floor 4. Processes and not threads: no locks, and a crash takes one loop's work alone.
 */
#ifndef WORKERS_H
#define WORKERS_H

#include <stdbool.h>

struct workers_plan {
	long count;
	int (*work)(void *context);         /* in a child: returns its exit status */
	void (*before_stop)(void *context); /* in the parent, once, ahead of the children's end */
	bool (*reload)(void *context);      /* in the parent, at SIGHUP; false: refused */
	void *context;
};

/* Runs the children until a signal asks for the end (SIGTERM, SIGINT, SIGUSR1), then asks them, and
 * returns when the last has ended: 0 if all ended with 0, else 1. A reload that was not refused is
 * passed on to them as SIGHUP. */
int workers_run(const struct workers_plan *plan);

#endif
