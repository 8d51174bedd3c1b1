#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ceilings.h"

/* sd_listen_fds(3): where the first socket that was handed over is. */
#define HANDED_OVER_FD 3
#define SOCKET_MODE 0660
#define ADDRESS_LIST "FCGI_WEB_SERVER_ADDRS"
#define ADDRESS_LIST_FAULT \
	ADDRESS_LIST " is not a list of IP addresses separated by commas; set it to one or unset " \
		     "it"

/* Another starter holds the lock for a few system calls. */
#define LOCK_ATTEMPTS 200
#define LOCK_PAUSE_NS 10000000L

/* Where the sentence about a failure goes. */
struct complaint {
	char *text;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static bool complain(const struct complaint *complaint,
							   const char *format, ...)
{
	va_list args;

	if (complaint->size == 0)
		return false;
	va_start(args, format);
	vsnprintf(complaint->text, complaint->size, format, args);
	va_end(args);
	/* The address is repeated as it was given; the sentence stays one line. */
	for (char *c = complaint->text; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7F)
			*c = '?';
	}
	return false;
}

static bool option_is_set(int fd, int name, int wanted)
{
	int value = 0;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 && value == wanted;
}

static bool is_listening(int fd)
{
	return option_is_set(fd, SO_ACCEPTCONN, 1);
}

static bool flags_set(int fd)
{
	int status = fcntl(fd, F_GETFL);

	return status >= 0 && fcntl(fd, F_SETFL, status | O_NONBLOCK) == 0 &&
	       fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* TCP connections inherit these from the listener. Those over Unix sockets inherit nothing; there
 * it is the peer's send buffer that counts for what the peer sends. */
static void buffers_set(int fd, bool is_tcp)
{
	int size = SOCKET_BUFFER_BYTES;
	int yes = 1;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (!is_tcp)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

static bool address_parse(const char *text, struct sockaddr_storage *ret_address)
{
	struct sockaddr_storage address = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		address.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		address.ss_family = AF_INET6;
	else
		return false;
	*ret_address = address;
	return true;
}

/* Reads one entry of the list, up to a comma or the end. */
static bool entry_read(const char *text, size_t len, struct sockaddr_storage *ret_address)
{
	char copy[INET6_ADDRSTRLEN];

	while (len > 0 && *text == ' ') {
		text++;
		len--;
	}
	while (len > 0 && text[len - 1] == ' ')
		len--;
	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return address_parse(copy, ret_address);
}

/* A list that is there but cannot be read must not let everybody in: false, also without memory. */
static bool allowed_read(struct listener *listener)
{
	const char *list = getenv(ADDRESS_LIST);
	size_t count = 1;

	if (!list || *list == '\0')
		return true;
	for (const char *c = list; *c != '\0'; c++)
		count += *c == ',';
	listener->allowed = calloc(count, sizeof(*listener->allowed));
	if (!listener->allowed)
		return false;
	for (size_t i = 0; i < count; i++) {
		size_t len = strcspn(list, ",");

		if (!entry_read(list, len, &listener->allowed[i]))
			return false;
		list += len + 1;
	}
	listener->allowed_count = count;
	return true;
}

/* mod_fcgid names its sockets by the number of its own process, a dot and a counter; it leaves no
 * other trace. */
static bool is_mod_fcgids(const struct sockaddr_un *address)
{
	const char *slash = strrchr(address->sun_path, '/');
	size_t digits = slash ? strspn(slash + 1, "0123456789") : 0;
	const char *dot = slash ? slash + 1 + digits : "";

	return digits > 0 && *dot == '.' && dot[1] != '\0' &&
	       dot[1 + strspn(dot + 1, "0123456789")] == '\0';
}

/* Takes a descriptor that listens. NULL, or a sentence. */
static const char *handed_over_take(struct listener *listener, int fd)
{
	struct sockaddr_storage address = {0};
	socklen_t size = sizeof(address);

	if (!option_is_set(fd, SO_TYPE, SOCK_STREAM) ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		return "the socket that was handed over is not a stream socket; make it one";
	switch (address.ss_family) {
	case AF_UNIX:
		listener->is_mod_fcgids = is_mod_fcgids((const struct sockaddr_un *)&address);
		break;
	case AF_INET:
	case AF_INET6:
		listener->is_tcp = true;
		break;
	default:
		return "the socket that was handed over is neither a Unix nor a TCP socket; make "
		       "it one";
	}
	if (!flags_set(fd))
		return "the socket that was handed over cannot be made non-blocking; hand over "
		       "another";
	buffers_set(fd, listener->is_tcp);
	listener->fd = fd;
	return NULL;
}

static bool number_parse(const char *text, long max, long *ret_number)
{
	size_t len = strlen(text);
	long number;

	if (len == 0 || len > 10 || strspn(text, "0123456789") != len)
		return false;
	number = strtol(text, NULL, 10);
	if (number > max)
		return false;
	*ret_number = number;
	return true;
}

static bool listen_fds_are_ours(void)
{
	const char *text = getenv("LISTEN_PID");
	long pid = 0;

	return text && getenv("LISTEN_FDS") && number_parse(text, INT32_MAX, &pid) &&
	       pid == getpid();
}

bool listener_is_handed_over(void)
{
	return listen_fds_are_ours() || is_listening(STDIN_FILENO);
}

/* The number of descriptors that LISTEN_FDS hands over to this very process, 0 without one, -1 if
 * it cannot be read. Children must not take the variables for theirs. */
static long listen_fds_take(void)
{
	const char *text = getenv("LISTEN_FDS");
	long count = 0;

	if (text && listen_fds_are_ours() && !number_parse(text, INT32_MAX, &count))
		count = -1;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return count;
}

static const char *find(struct listener *listener)
{
	long count = listen_fds_take();

	if (count < 0)
		return "LISTEN_FDS is not a number; start the program through systemd or "
		       "systemd-socket-activate";
	if (count > 1)
		return "LISTEN_FDS hands over more than one socket; give this program one alone";
	if (count == 1 && !is_listening(HANDED_OVER_FD))
		return "LISTEN_FDS is 1, but descriptor 3 is not a listening socket; use "
		       "Accept=no";
	if (count == 1)
		return handed_over_take(listener, HANDED_OVER_FD);
	if (is_listening(STDIN_FILENO))
		return handed_over_take(listener, STDIN_FILENO);
	return NULL;
}

int listener_find(struct listener *listener, const char **ret_fault)
{
	const char *fault;

	*listener = (struct listener){.fd = -1};
	fault = find(listener);
	if (!fault && listener->fd >= 0 && !allowed_read(listener))
		fault = ADDRESS_LIST_FAULT;
	if (fault) {
		listener->fd = -1;
		listener_close(listener);
		*ret_fault = fault;
		return -1;
	}
	return listener->fd >= 0 ? 1 : 0;
}

/* Opens and locks the directory of path, so that two programs starting at one time do not both take
 * the other's fresh socket for a stale one. -1 with a complaint. */
static int directory_lock(const char *path, const struct complaint *complaint)
{
	size_t len = (size_t)(strrchr(path, '/') - path);
	struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int fd;

	memcpy(directory, path, len > 0 ? len : 1);
	directory[len > 0 ? len : 1] = '\0';
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		complain(complaint,
			 "the directory %s cannot be opened (%s); create it, readable and writable "
			 "for this user",
			 directory, strerror(errno));
		return -1;
	}
	for (int i = 0; i < LOCK_ATTEMPTS; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		nanosleep(&pause, NULL);
	}
	complain(complaint,
		 "the directory %s stays locked by another program; use a directory of its own",
		 directory);
	close(fd);
	return -1;
}

/* What became of an attempt to connect: 0, or an errno. */
static int connect_probe(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int result = 0;

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		result = errno;
	if (fd >= 0)
		close(fd);
	return result;
}

/* Removes a socket that nobody listens on, and nothing else. */
static bool path_clear(const struct sockaddr_un *address, const struct complaint *complaint)
{
	const char *path = address->sun_path;
	struct stat facts;
	int result;

	if (lstat(path, &facts) < 0) {
		if (errno == ENOENT)
			return true;
		return complain(complaint, "%s cannot be looked at (%s); choose another path", path,
				strerror(errno));
	}
	if (!S_ISSOCK(facts.st_mode))
		return complain(complaint,
				"%s is there and is not a socket; remove it or choose another path",
				path);
	result = connect_probe(address);
	if (result == 0 || result == EAGAIN)
		return complain(complaint,
				"%s is in use by a running program; stop that one or choose "
				"another path",
				path);
	if (result != ECONNREFUSED && result != ENOENT)
		return complain(complaint,
				"%s cannot be tried (%s); remove it or choose another path", path,
				strerror(result));
	if (unlink(path) < 0 && errno != ENOENT)
		return complain(complaint,
				"the stale socket %s cannot be removed (%s); remove it or let this "
				"user write to its directory",
				path, strerror(errno));
	return true;
}

/* A group by name or number. NULL: *ret_group stays as it is. */
static bool group_find(const char *name, const struct complaint *complaint, gid_t *ret_group)
{
	const struct group *entry;
	long number;

	if (!name)
		return true;
	entry = getgrnam(name);
	if (entry) {
		*ret_group = entry->gr_gid;
		return true;
	}
	if (number_parse(name, INT32_MAX, &number)) {
		*ret_group = (gid_t)number;
		return true;
	}
	return complain(complaint,
			"there is no group %s; create it or give another as socket group", name);
}

/* Binds, with the socket's mode right from its first moment, and listens. */
static bool unix_bind(struct listener *listener, const struct sockaddr_un *address, gid_t group,
		      const struct complaint *complaint)
{
	const char *path = address->sun_path;
	struct stat facts;
	mode_t old = umask(0777 & ~SOCKET_MODE);
	int result = bind(listener->fd, (const struct sockaddr *)address, sizeof(*address));
	int error = errno;

	umask(old);
	if (result < 0 || lstat(path, &facts) < 0)
		return complain(complaint,
				"%s cannot be created (%s); let this user write to its directory",
				path, strerror(result < 0 ? error : errno));
	listener->device = facts.st_dev;
	listener->inode = facts.st_ino;
	listener->path = strdup(path);
	if (!listener->path) {
		unlink(path);
		return complain(complaint, "there is no memory left; free some and start again");
	}
	if (group != (gid_t)-1 && lchown(path, (uid_t)-1, group) < 0)
		return complain(complaint,
				"the group of %s cannot be changed (%s); start as root or as a "
				"member of that group",
				path, strerror(errno));
	if (listen(listener->fd, LISTEN_BACKLOG) < 0)
		return complain(complaint, "%s cannot be listened on (%s); choose another path",
				path, strerror(errno));
	return true;
}

static bool unix_open(struct listener *listener, const char *path, const char *socket_group,
		      const struct complaint *complaint)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int lock = -1;
	gid_t group = (gid_t)-1;
	bool is_open = false;

	if (strlen(path) >= sizeof(address.sun_path))
		return complain(complaint, "the path %.40s... is longer than %zu bytes; shorten it",
				path, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path));
	if (!group_find(socket_group, complaint, &group))
		return false;
	lock = directory_lock(path, complaint);
	if (lock < 0 || !path_clear(&address, complaint))
		goto out;
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener->fd < 0) {
		complain(complaint, "no socket can be made for %s (%s); raise the limits", path,
			 strerror(errno));
		goto out;
	}
	buffers_set(listener->fd, false);
	is_open = unix_bind(listener, &address, group, complaint);
out:
	if (lock >= 0)
		close(lock);
	return is_open;
}

struct endpoint {
	char host[256];
	char port[6];
};

/* Takes "HOST:PORT" or "[IPv6]:PORT" apart. */
static bool endpoint_parse(const char *text, const struct complaint *complaint,
			   struct endpoint *ret_endpoint)
{
	const char *colon = strrchr(text, ':');
	bool has_brackets = *text == '[' && colon && colon > text + 1 && colon[-1] == ']';
	const char *host = has_brackets ? text + 1 : text;
	size_t len = colon ? (size_t)(colon - host) - (has_brackets ? 1 : 0) : 0;
	long port;

	if (!colon)
		return complain(complaint,
				"%s is no address to listen on; write a path with a slash, or "
				"HOST:PORT",
				text);
	if (len == 0)
		return complain(complaint,
				"%s names no host, which would mean every network; write "
				"127.0.0.1:%s",
				text, colon + 1);
	if (len >= sizeof(ret_endpoint->host) || (!has_brackets && memchr(host, ':', len)))
		return complain(complaint,
				"%s is no address to listen on; write HOST:PORT, and an IPv6 "
				"address in brackets, as in [::1]:9000",
				text);
	if (!number_parse(colon + 1, UINT16_MAX, &port) || port == 0)
		return complain(complaint,
				"%s has no valid port; write one from 1 to %d behind "
				"the last colon",
				text, UINT16_MAX);
	memcpy(ret_endpoint->host, host, len);
	ret_endpoint->host[len] = '\0';
	snprintf(ret_endpoint->port, sizeof(ret_endpoint->port), "%u", (unsigned)port & UINT16_MAX);
	return true;
}

/* A listening socket, or -1 with errno. */
static int tcp_bind(const struct addrinfo *address)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int yes = 1;
	int error;

	if (fd < 0)
		return -1;
	buffers_set(fd, true);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (address->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

static const char *tcp_advice(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "stop the program that uses it or choose another port";
	case EACCES:
		return "choose a port above 1023";
	default:
		return "use an address of this machine";
	}
}

static bool tcp_open(struct listener *listener, const char *text, const struct complaint *complaint)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	struct endpoint endpoint;
	int result;

	if (!endpoint_parse(text, complaint, &endpoint))
		return false;
	result = getaddrinfo(endpoint.host, endpoint.port, &hints, &found);
	if (result != 0)
		return complain(complaint, "the host of %s is not known (%s); write an IP address",
				text, gai_strerror(result));
	/* A name may have addresses of a kind that is switched off here, IPv6 for one. An address
	 * in use ends the search, or a second program would start beside the first. */
	for (struct addrinfo *a = found; a && listener->fd < 0; a = a->ai_next) {
		listener->fd = tcp_bind(a);
		if (listener->fd < 0 && errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT)
			break;
	}
	if (listener->fd < 0) {
		int error = errno;

		complain(complaint, "%s cannot be listened on (%s); %s", text, strerror(error),
			 tcp_advice(error));
	}
	freeaddrinfo(found);
	listener->is_tcp = true;
	return listener->fd >= 0;
}

bool listener_open(struct listener *listener, const char *address, const char *socket_group,
		   char *fault, size_t fault_size)
{
	const struct complaint complaint = {.text = fault, .size = fault_size};
	bool is_unix = strchr(address, '/') != NULL;
	bool is_open;

	*listener = (struct listener){.fd = -1, .is_ours = true};
	if (!allowed_read(listener))
		is_open = complain(&complaint, "%s", ADDRESS_LIST_FAULT);
	else if (!is_unix && socket_group)
		is_open = complain(&complaint,
				   "%s has no group; leave the socket group out, or "
				   "listen on a path",
				   address);
	else if (is_unix)
		is_open = unix_open(listener, address, socket_group, &complaint);
	else
		is_open = tcp_open(listener, address, &complaint);
	if (!is_open) {
		listener_unlink(listener);
		listener_close(listener);
	}
	return is_open;
}

/* Every address as IPv6, IPv4 ones mapped (RFC 4291 section 2.5.5.2). False for other families. */
static bool address_widen(const struct sockaddr *address, struct in6_addr *ret_address)
{
	if (address->sa_family == AF_INET6) {
		*ret_address = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
		return true;
	}
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)address;
		struct in6_addr wide = {.s6_addr = {[10] = 0xFF, [11] = 0xFF}};

		memcpy(&wide.s6_addr[12], &v4->sin_addr, sizeof(v4->sin_addr));
		*ret_address = wide;
		return true;
	}
	return false;
}

bool listener_allows(const struct listener *listener, const struct sockaddr *peer)
{
	struct in6_addr peer_address;
	struct in6_addr allowed;

	if (peer->sa_family == AF_UNIX || listener->allowed_count == 0)
		return true;
	if (!address_widen(peer, &peer_address))
		return false;
	for (size_t i = 0; i < listener->allowed_count; i++) {
		if (address_widen((const struct sockaddr *)&listener->allowed[i], &allowed) &&
		    memcmp(&allowed, &peer_address, sizeof(allowed)) == 0)
			return true;
	}
	return false;
}

void listener_tell_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	int fds[2];

	if (len == 0 || len >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, len);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	unsetenv("NOTIFY_SOCKET");
	/* Not socket(): systemd forbids it for this family, by our unit's RestrictAddressFamilies=.
	 */
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) < 0)
		return;
	sendto(fds[0], "READY=1", strlen("READY=1"), MSG_DONTWAIT | MSG_NOSIGNAL,
	       (const struct sockaddr *)&address, size);
	close(fds[0]);
	close(fds[1]);
}

void listener_unlink(struct listener *listener)
{
	struct stat facts;

	/* While our descriptor is open, no other file gets this inode number. */
	if (listener->path && lstat(listener->path, &facts) == 0 &&
	    facts.st_dev == listener->device && facts.st_ino == listener->inode)
		unlink(listener->path);
	free(listener->path);
	listener->path = NULL;
}

void listener_close(struct listener *listener)
{
	if (!listener)
		return;
	if (listener->fd >= 0)
		close(listener->fd);
	free(listener->path);
	free(listener->allowed);
	*listener = (struct listener){.fd = -1};
}
