/*
 * Several loops as processes: a parent that starts them, starts one again that dies, and passes
 * signals on.
 *
 * Floor 4. Processes and not threads: no locks, and a crash takes one loop's work alone.
 */
#ifndef WORKERS_H
#define WORKERS_H

/* Runs work(context) in `count` children until a signal asks for the end (SIGTERM, SIGINT,
 * SIGUSR1), then asks the children, and returns when the last has ended: 0 if all ended with 0,
 * else 1. work returns the child's exit status. before_stop is called in the parent once, ahead of
 * the children's end. */
int workers_run(long count, int (*work)(void *context), void (*before_stop)(void *context),
		void *context);

#endif
