#include "upstream_drive.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* A descriptor that libcurl wants watched. */
struct watch {
	LIST_ENTRY(watch) entry;
	LIST_ENTRY(watch) changed_entry; /* while has_changed */
	bool has_changed;
	struct loop_io io;
	struct upstream_drive *drive;
	uint32_t wanted;  /* events, by libcurl */
	uint32_t watched; /* events, by the loop */
	bool is_blocked;  /* what was written waits until the socket takes it */
};

static void on_watch_ready(struct loop_io *io, uint32_t events)
{
	/* The watch may be gone when libcurl returns. */
	struct upstream_drive *drive = CONTAINER(io, struct watch, io)->drive;
	int running;
	int mask = ((events & EPOLLIN) ? CURL_CSELECT_IN : 0) |
		   ((events & EPOLLOUT) ? CURL_CSELECT_OUT : 0) |
		   ((events & (EPOLLERR | EPOLLHUP)) ? CURL_CSELECT_ERR : 0);

	curl_multi_socket_action(drive->multi, io->fd, mask, &running);
	drive->on_progress(drive);
}

static void on_curl_timer(struct loop_timer *timer)
{
	struct upstream_drive *drive = CONTAINER(timer, struct upstream_drive, timer);
	int running;

	curl_multi_socket_action(drive->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	drive->on_progress(drive);
}

static int want_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct upstream_drive *drive = context;

	(void)multi;
	if (timeout_ms < 0)
		loop_timer_cancel(drive->loop, &drive->timer);
	else
		loop_timer_set(drive->loop, &drive->timer, (uint64_t)timeout_ms);
	return 0;
}

static void note_change(struct watch *watch)
{
	if (watch->has_changed)
		return;
	watch->has_changed = true;
	LIST_INSERT_HEAD(&watch->drive->changed, watch, changed_entry);
}

static void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	if (watch->has_changed)
		LIST_REMOVE(watch, changed_entry);
	loop_remove(watch->drive->loop, &watch->io);
	LIST_REMOVE(watch, entry);
	free(watch);
}

static struct watch *watch_new(struct upstream_drive *drive, int fd, uint32_t events)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->io = (struct loop_io){.fd = fd, .on_ready = on_watch_ready};
	watch->drive = drive;
	watch->watched = events;
	if (!loop_add(drive->loop, &watch->io, events)) {
		free(watch);
		return NULL;
	}
	LIST_INSERT_HEAD(&drive->watches, watch, entry);
	return watch;
}

/* What libcurl wants of a socket that is watched already is taken up at the turn's end: for each
 * login it wants to write, and then no more. */
static int want_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *attached)
{
	struct upstream_drive *drive = context;
	struct watch *watch = attached;
	uint32_t events =
		((what & CURL_POLL_IN) ? EPOLLIN : 0u) | ((what & CURL_POLL_OUT) ? EPOLLOUT : 0u);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		watch_free(watch);
		return 0;
	}
	if (!watch) {
		watch = watch_new(drive, fd, events);
		if (!watch)
			return -1;
		curl_multi_assign(drive->multi, fd, watch);
	}
	watch->wanted = events;
	if (watch->watched != events)
		note_change(watch);
	return 0;
}

static bool on_blocked(void *context, int fd, bool is_blocked)
{
	struct upstream_drive *drive = context;
	struct watch *watch = LIST_FIRST(&drive->watches);

	while (watch && watch->io.fd != fd)
		watch = LIST_NEXT(watch, entry);
	if (!watch)
		return false;
	watch->is_blocked = is_blocked;
	note_change(watch);
	return true;
}

/* Should it be refused, it is tried again at the next turn's end. */
static bool take_up(struct watch *watch)
{
	uint32_t events = watch->wanted | (watch->is_blocked ? EPOLLOUT : 0u);

	if (events != watch->watched && !loop_change(watch->drive->loop, &watch->io, events))
		return false;
	watch->watched = events;
	return true;
}

static void on_turn_end(struct loop_turn *turn)
{
	struct upstream_drive *drive = CONTAINER(turn, struct upstream_drive, turn);
	struct watch *next;

	tls_send_all(&drive->writers, on_blocked, drive);
	for (struct watch *watch = LIST_FIRST(&drive->changed); watch; watch = next) {
		next = LIST_NEXT(watch, changed_entry);
		if (!take_up(watch))
			continue;
		LIST_REMOVE(watch, changed_entry);
		watch->has_changed = false;
	}
}

/* CURLINFO_ACTIVESOCKET tells nothing before the end of a transfer. */
static int find_socket(const struct upstream_drive *drive, int local_port)
{
	const struct watch *watch;

	for (watch = LIST_FIRST(&drive->watches); watch; watch = LIST_NEXT(watch, entry)) {
		union {
			struct sockaddr any;
			struct sockaddr_in v4;
			struct sockaddr_in6 v6;
		} local = {.any.sa_family = AF_UNSPEC};
		socklen_t len = sizeof(local);

		if (getsockname(watch->io.fd, &local.any, &len) == 0 &&
		    (local.any.sa_family == AF_INET || local.any.sa_family == AF_INET6) &&
		    ntohs(local.v4.sin_port) == local_port)
			return watch->io.fd;
	}
	return -1;
}

/* Its handshake is over, and nothing of a login was written to it yet. */
void upstream_drive_take(struct upstream_drive *drive, CURL *easy, int local_port)
{
	struct curl_tlssessioninfo *tls = NULL;
	int fd;

	if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK ||
	    tls->backend != CURLSSLBACKEND_OPENSSL || !tls->internals ||
	    !tls_is_shared(tls->internals))
		return;
	fd = find_socket(drive, local_port);
	if (fd >= 0)
		tls_take(&drive->writers, tls->internals, fd);
}

/* ---- the drive's life ---- */

void upstream_drive_open(struct upstream_drive *drive, struct loop *loop,
			 void (*on_progress)(struct upstream_drive *drive))
{
	*drive = (struct upstream_drive){.loop = loop, .on_progress = on_progress};
	drive->timer.on_fire = on_curl_timer;
	drive->turn.on_end = on_turn_end;
	LIST_INIT(&drive->watches);
	LIST_INIT(&drive->changed);
	LIST_INIT(&drive->writers);
	loop_turn_add(loop, &drive->turn);
}

void upstream_drive_use(struct upstream_drive *drive, CURLM *multi)
{
	drive->multi = multi;
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, drive);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(multi, CURLMOPT_TIMERDATA, drive);
}

void upstream_drive_rest(struct upstream_drive *drive)
{
	loop_timer_cancel(drive->loop, &drive->timer);
}

void upstream_drive_close(struct upstream_drive *drive)
{
	upstream_drive_rest(drive);
	loop_turn_remove(&drive->turn);
}
