#include "workers.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ceilings.h"
#include "log.h"

struct worker {
	pid_t pid; /* 0: not running */
	uint64_t started_ms;
};

struct crew {
	struct worker *workers;
	const struct workers_plan *plan;
	bool is_stopping;
	bool has_failed;
};

static uint64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The child's end of it: never returns. */
static void run_worker(const struct crew *crew, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	/* The parent may have died before that call. */
	if (getppid() != parent)
		_exit(1);
	exit(crew->plan->work(crew->plan->context));
}

static void start_worker(struct crew *crew, struct worker *worker)
{
	pid_t parent = getpid();

	worker->started_ms = clock_ms();
	worker->pid = fork();
	if (worker->pid == 0)
		run_worker(crew, parent);
	if (worker->pid < 0) {
		log_event(LOG_ERROR, "worker_failed", "fork: no process to be had");
		worker->pid = 0;
	}
}

static void log_worker_end(pid_t pid, int status)
{
	struct log_line line;

	log_open(&line, LOG_ERROR, "worker_died");
	log_int(&line, "pid", pid);
	if (WIFSIGNALED(status))
		log_int(&line, "signal", WTERMSIG(status));
	else
		log_int(&line, "exit_status", WEXITSTATUS(status));
	log_close(&line);
}

static void reap(struct crew *crew)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		bool is_good = crew->is_stopping && WIFEXITED(status) && WEXITSTATUS(status) == 0;
		bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

		for (long i = 0; i < crew->plan->count; i++) {
			if (crew->workers[i].pid == pid)
				crew->workers[i].pid = 0;
		}
		if (!is_good)
			log_worker_end(pid, status);
		/* Killed is somebody's will, and may have come before the stop. */
		crew->has_failed |= crew->is_stopping && !is_good && !is_killed;
	}
}

/* Starts what is not running, unless it would spin. Milliseconds until the next look, -1 for never.
 */
static long start_missing(struct crew *crew)
{
	long wait_ms = -1;

	for (long i = 0; i < crew->plan->count; i++) {
		struct worker *worker = &crew->workers[i];
		uint64_t age_ms = clock_ms() - worker->started_ms;

		if (worker->pid > 0)
			continue;
		if (worker->started_ms == 0 || age_ms >= WORKER_RESTART_MS)
			start_worker(crew, worker);
		if (worker->pid == 0)
			wait_ms = WORKER_RESTART_MS;
	}
	return wait_ms;
}

static bool has_running(const struct crew *crew)
{
	for (long i = 0; i < crew->plan->count; i++) {
		if (crew->workers[i].pid > 0)
			return true;
	}
	return false;
}

static void signal_all(struct crew *crew, int signal)
{
	for (long i = 0; i < crew->plan->count; i++) {
		if (crew->workers[i].pid > 0)
			kill(crew->workers[i].pid, signal);
	}
}

static int wait_signal(const sigset_t *signals, long wait_ms)
{
	const struct timespec wait = {.tv_sec = wait_ms / 1000,
				      .tv_nsec = wait_ms % 1000 * 1000000};

	return wait_ms < 0 ? sigwaitinfo(signals, NULL) : sigtimedwait(signals, NULL, &wait);
}

static void take_signal(struct crew *crew, int signal)
{
	const struct workers_plan *plan = crew->plan;

	if (signal == SIGCHLD) {
		reap(crew);
	} else if (signal == SIGHUP) {
		if (!crew->is_stopping && plan->reload(plan->context))
			signal_all(crew, SIGHUP);
	} else if (signal > 0 && !crew->is_stopping) {
		crew->is_stopping = true;
		plan->before_stop(plan->context);
		signal_all(crew, SIGTERM);
	}
}

int workers_run(const struct workers_plan *plan)
{
	static const int caught[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGCHLD};
	struct crew crew = {.plan = plan};
	sigset_t signals;

	crew.workers = calloc((size_t)plan->count, sizeof(struct worker));
	if (!crew.workers)
		return 1;
	sigemptyset(&signals);
	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		sigaddset(&signals, caught[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	while (!crew.is_stopping || has_running(&crew)) {
		long wait_ms = crew.is_stopping ? -1 : start_missing(&crew);

		take_signal(&crew, wait_signal(&signals, wait_ms));
	}
	free(crew.workers);
	return crew.has_failed ? 1 : 0;
}
