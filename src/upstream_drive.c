#include "upstream_drive.h"

#include <stdlib.h>
#include <sys/epoll.h>

/* A descriptor that libcurl wants watched. */
struct watch {
	struct loop_io io;
	struct upstream_drive *drive;
};

static void act(struct upstream_drive *drive, curl_socket_t fd, int mask)
{
	int running;

	if (curl_multi_socket_action(drive->multi, fd, mask, &running) != CURLM_OK)
		drive->has_failed = true;
	drive->on_progress(drive);
}

static void on_watch_ready(struct loop_io *io, uint32_t events)
{
	/* The watch may be gone when libcurl returns. */
	struct upstream_drive *drive = CONTAINER(io, struct watch, io)->drive;
	int mask = ((events & EPOLLIN) ? CURL_CSELECT_IN : 0) |
		   ((events & EPOLLOUT) ? CURL_CSELECT_OUT : 0) |
		   ((events & (EPOLLERR | EPOLLHUP)) ? CURL_CSELECT_ERR : 0);

	act(drive, io->fd, mask);
}

static void on_curl_timer(struct loop_timer *timer)
{
	act(CONTAINER(timer, struct upstream_drive, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int want_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct upstream_drive *drive = context;

	(void)multi;
	if (timeout_ms < 0 || drive->has_failed)
		loop_timer_cancel(drive->loop, &drive->timer);
	else
		loop_timer_set(drive->loop, &drive->timer, (uint64_t)timeout_ms);
	return 0;
}

static struct watch *watch_new(struct upstream_drive *drive, curl_socket_t fd, uint32_t events)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->io = (struct loop_io){.fd = fd, .on_ready = on_watch_ready};
	watch->drive = drive;
	if (loop_add(drive->loop, &watch->io, events))
		return watch;
	free(watch);
	return NULL;
}

/* Always 0: at anything else libcurl gives up all transfers, without an end that one could see. */
static int want_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *attached)
{
	struct upstream_drive *drive = context;
	struct watch *watch = attached;
	uint32_t events =
		((what & CURL_POLL_IN) ? EPOLLIN : 0u) | ((what & CURL_POLL_OUT) ? EPOLLOUT : 0u);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watch)
			loop_remove(drive->loop, &watch->io);
		free(watch);
	} else if (watch) {
		loop_change(drive->loop, &watch->io, events);
	} else {
		watch = watch_new(drive, fd, events);
		if (watch)
			curl_multi_assign(drive->multi, fd, watch);
		else
			drive->has_failed = true;
	}
	return 0;
}

/* ---- the drive's life ---- */

void upstream_drive_open(struct upstream_drive *drive, struct loop *loop,
			 void (*on_progress)(struct upstream_drive *drive))
{
	*drive = (struct upstream_drive){.loop = loop, .on_progress = on_progress};
	drive->timer.on_fire = on_curl_timer;
}

void upstream_drive_use(struct upstream_drive *drive, CURLM *multi)
{
	drive->multi = multi;
	drive->has_failed = false;
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, drive);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(multi, CURLMOPT_TIMERDATA, drive);
}

void upstream_drive_rest(struct upstream_drive *drive)
{
	if (drive->loop)
		loop_timer_cancel(drive->loop, &drive->timer);
}
