/*
 * Listening sockets: found, or opened.
 *
 * Floor 0. The program never takes a socket path that another process is listening on.
 */
#ifndef LISTENER_H
#define LISTENER_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

struct listener {
	int fd;       /* -1: none. Non-blocking and close-on-exec */
	bool is_ours; /* opened here, not handed over */
	char *path;   /* of the Unix socket opened here, to be removed at the end; or NULL */
	dev_t device; /* identity of path, so that only our own socket is removed */
	ino_t inode;
	bool is_tcp;
	bool is_mod_fcgids;               /* handed over by Apache's mod_fcgid */
	struct sockaddr_storage *allowed; /* FCGI_WEB_SERVER_ADDRS: peers allowed over TCP */
	size_t allowed_count;             /* 0: no such list, everybody is */
};

/* Whether listener_find() would find one, or something wrong. */
bool listener_is_handed_over(void);

/* Looks for a socket that was handed over: LISTEN_FDS and LISTEN_PID (sd_listen_fds(3)), then a
 * listening descriptor 0 (FastCGI specification section 2.2). 1 if found, 0 if there is none,
 * -1 if what is there cannot be used, with a sentence in *ret_fault, a constant. */
int listener_find(struct listener *listener, const char **ret_fault);

/* Opens "/path.sock" (any text with a slash) or "HOST:PORT", IPv6 in brackets. The Unix
 * socket's mode is 0660 and its group socket_group (a name or number; NULL: the process's). On
 * failure: false and one sentence naming what is wrong and the fix in fault. */
bool listener_open(struct listener *listener, const char *address, const char *socket_group,
		   char *fault, size_t fault_size);

/* Whether the peer of an accepted connection may talk to us: FCGI_WEB_SERVER_ADDRS, a list of IPv4
 * and IPv6 addresses separated by commas, for TCP. */
bool listener_allows(const struct listener *listener, const struct sockaddr *peer);

/* Tells systemd, where it has set NOTIFY_SOCKET, that connections are taken (sd_notify(3)). */
void listener_tell_ready(void);

/* Removes our own socket's path, if it is still ours. */
void listener_unlink(struct listener *listener);

/* Closes the descriptor and releases; the path stays. NULL is allowed. */
void listener_close(struct listener *listener);

#endif
