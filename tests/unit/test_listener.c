/* Listening sockets, on real ones: what is opened, what is refused, and what is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ceilings.h"
#include "listener.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define PATH "./x.sock"
#define FREE_FD_MIN 20 /* above the descriptors that are handed over */

static char fault[256];

static bool open_it(struct listener *listener, const char *address, const char *group)
{
	fault[0] = '\0';
	return listener_open(listener, address, group, fault, sizeof(fault));
}

static void refuse(const char *address, const char *group, const char *sentence)
{
	struct listener listener;

	assert_false(open_it(&listener, address, group));
	assert_string_equal(fault, sentence);
	assert_int_equal(listener.fd, -1);
	assert_null(listener.path);
	listener_close(&listener);
}

static int unix_socket(int type, const char *path, bool is_to_listen)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (is_to_listen)
		assert_int_equal(listen(fd, 0), 0);
	return fd;
}

static int unix_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int option(int fd, int level, int name)
{
	int value = 0;
	socklen_t size = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
	return value;
}

static void assert_ready(const struct listener *listener)
{
	assert_int_equal(option(listener->fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
	assert_true(fcntl(listener->fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(listener->fd, F_GETFD) & FD_CLOEXEC);
	assert_true(option(listener->fd, SOL_SOCKET, SO_SNDBUF) >= SOCKET_BUFFER_BYTES);
}

static bool is_there(const char *path)
{
	struct stat facts;

	return lstat(path, &facts) == 0;
}

static void test_unix(void **state)
{
	mode_t mask = umask(0);
	struct listener listener;
	struct stat facts;
	int peer;

	(void)state;
	assert_true(open_it(&listener, PATH, NULL));
	assert_int_equal(umask(mask), 0);
	assert_int_equal(lstat(PATH, &facts), 0);
	assert_int_equal(facts.st_mode, S_IFSOCK | 0660);
	assert_int_equal(facts.st_gid, getegid());
	assert_true(listener.is_ours);
	assert_false(listener.is_tcp);
	assert_string_equal(listener.path, PATH);
	assert_ready(&listener);
	peer = unix_connect(PATH);
	assert_true(peer >= 0);
	close(peer);
	listener_unlink(&listener);
	assert_false(is_there(PATH));
	listener_unlink(&listener);
	listener_close(&listener);
	listener_close(&listener);
	listener_close(NULL);
}

static void test_unix_group(void **state)
{
	const struct group *other = getgrnam("daemon");
	gid_t group = geteuid() == 0 && other ? other->gr_gid : getegid();
	const struct group *entry = getgrgid(group);
	struct listener listener;
	struct stat facts;
	char texts[2][64];

	(void)state;
	snprintf(texts[0], sizeof(texts[0]), "%u", (unsigned)group);
	snprintf(texts[1], sizeof(texts[1]), "%s", entry ? entry->gr_name : texts[0]);
	for (size_t i = 0; i < COUNT(texts); i++) {
		assert_true(open_it(&listener, PATH, texts[i]));
		assert_int_equal(lstat(PATH, &facts), 0);
		assert_int_equal(facts.st_gid, group);
		assert_int_equal(facts.st_mode, S_IFSOCK | 0660);
		listener_unlink(&listener);
		listener_close(&listener);
	}
	refuse(PATH, "no such group",
	       "there is no group no such group; create it or give another as socket group");
	refuse(PATH, "-1", "there is no group -1; create it or give another as socket group");
	refuse(PATH, "4294967295",
	       "there is no group 4294967295; create it or give another as socket group");
	assert_false(is_there(PATH));
}

static void test_unix_stale(void **state)
{
	struct listener listener;

	(void)state;
	assert_true(open_it(&listener, PATH, NULL));
	listener_close(&listener);
	assert_true(is_there(PATH));
	assert_true(open_it(&listener, PATH, NULL));
	listener_unlink(&listener);
	listener_close(&listener);
}

#define IN_USE PATH " is in use by a running program; stop that one or choose another path"

static void test_unix_live(void **state)
{
	struct listener listener;
	int peer;

	(void)state;
	assert_true(open_it(&listener, PATH, NULL));
	refuse(PATH, NULL, IN_USE);
	peer = unix_connect(PATH);
	assert_true(peer >= 0);
	close(peer);
	listener_unlink(&listener);
	listener_close(&listener);
}

/* A program too busy to accept is a running one. */
static void test_unix_live_with_full_backlog(void **state)
{
	int server = unix_socket(SOCK_STREAM, PATH, true);
	int peers[8];
	size_t count = 0;

	(void)state;
	while (count < COUNT(peers) && (peers[count] = unix_connect(PATH)) >= 0)
		count++;
	assert_int_equal(errno, EAGAIN);
	refuse(PATH, NULL, IN_USE);
	assert_true(is_there(PATH));
	while (count > 0)
		close(peers[--count]);
	close(server);
	unlink(PATH);
}

static void test_unix_path_taken(void **state)
{
	static const char sentence[] =
		PATH " is there and is not a socket; remove it or choose another path";
	int other;

	(void)state;
	close(open(PATH, O_CREAT | O_WRONLY, 0600));
	refuse(PATH, NULL, sentence);
	assert_true(is_there(PATH));
	unlink(PATH);

	assert_int_equal(symlink("nowhere", PATH), 0);
	refuse(PATH, NULL, sentence);
	assert_true(is_there(PATH));
	unlink(PATH);

	assert_int_equal(mkdir(PATH, 0700), 0);
	refuse(PATH, NULL, sentence);
	assert_int_equal(rmdir(PATH), 0);

	other = unix_socket(SOCK_DGRAM, PATH, false);
	refuse(PATH, NULL,
	       PATH " cannot be tried (Protocol wrong type for socket); remove it or choose "
		    "another path");
	assert_true(is_there(PATH));
	close(other);
	unlink(PATH);
}

static void test_unix_bad_paths(void **state)
{
	char path[120];
	size_t longest = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	struct listener listener;

	(void)state;
	refuse("nowhere/x.sock", NULL,
	       "the directory nowhere cannot be opened (No such file or directory); create it, "
	       "readable and writable for this user");
	refuse("no\nwhere/x.sock", NULL,
	       "the directory no?where cannot be opened (No such file or directory); create it, "
	       "readable and writable for this user");
	memset(path, 'a', sizeof(path));
	memcpy(path, "./", 2);
	path[longest + 1] = '\0';
	refuse(path, NULL,
	       "the path ./aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa... is longer than 107 bytes; "
	       "shorten it");
	path[longest] = '\0';
	assert_true(open_it(&listener, path, NULL));
	listener_unlink(&listener);
	listener_close(&listener);
	assert_false(is_there(path));
}

/* What took the place of our socket is not ours to remove. */
static void test_unlink_own_alone(void **state)
{
	struct listener listener;
	int other;

	(void)state;
	assert_true(open_it(&listener, PATH, NULL));
	assert_int_equal(unlink(PATH), 0);
	other = unix_socket(SOCK_STREAM, PATH, true);
	listener_unlink(&listener);
	assert_true(is_there(PATH));
	listener_close(&listener);
	close(other);
	unlink(PATH);
}

static void test_directory_lock_is_awaited(void **state)
{
	int directory = open(".", O_RDONLY | O_DIRECTORY);

	(void)state;
	assert_true(directory >= 0);
	assert_int_equal(flock(directory, LOCK_EX), 0);
	refuse(PATH, NULL,
	       "the directory . stays locked by another program; use a directory of its own");
	close(directory);
}

#define STARTERS 4
#define ROUNDS 25

/* Tells through results whether it got the socket, and keeps it until go_on is closed. */
static pid_t starter_fork(const int ready[2], const int results[2], const int go_on[2])
{
	struct listener listener;
	pid_t pid = fork();
	char byte;

	if (pid != 0)
		return pid;
	close(ready[1]);
	close(go_on[1]);
	if (read(ready[0], &byte, 1) != 0)
		_exit(2);
	byte = open_it(&listener, PATH, NULL) ? 'y' : 'n';
	if (write(results[1], &byte, 1) != 1 || read(go_on[0], &byte, 1) != 0)
		_exit(3);
	_exit(0);
}

static void pipe_close(int ends[2])
{
	close(ends[0]);
	close(ends[1]);
}

/* Many starters at one time, over a stale socket: one gets it. */
static void race(void)
{
	int ready[2], results[2], go_on[2];
	pid_t pids[STARTERS];
	size_t winners = 0;

	close(unix_socket(SOCK_STREAM, PATH, true));
	assert_int_equal(pipe(ready) | pipe(results) | pipe(go_on), 0);
	for (size_t i = 0; i < STARTERS; i++) {
		pids[i] = starter_fork(ready, results, go_on);
		assert_true(pids[i] > 0);
	}
	close(ready[1]);
	ready[1] = -1;
	for (size_t i = 0; i < STARTERS; i++) {
		char byte;

		assert_int_equal(read(results[0], &byte, 1), 1);
		winners += byte == 'y';
	}
	pipe_close(go_on);
	for (size_t i = 0; i < STARTERS; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	close(ready[0]);
	pipe_close(results);
	assert_int_equal(winners, 1);
	assert_int_equal(unlink(PATH), 0);
}

static void test_unix_race(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROUNDS; i++)
		race();
}

#define NO_PORT " has no valid port; write one from 1 to 65535 behind the last colon"
#define NO_ADDRESS " is no address to listen on; write "

static void test_tcp_bad_addresses(void **state)
{
	static const struct {
		const char *address;
		const char *sentence;
	} rows[] = {
		{":9000", ":9000 names no host, which would mean every network; write "
			  "127.0.0.1:9000"},
		{"[]:9000", "[]:9000 names no host, which would mean every network; write "
			    "127.0.0.1:9000"},
		{"9000", "9000" NO_ADDRESS "a path with a slash, or HOST:PORT"},
		{"", NO_ADDRESS "a path with a slash, or HOST:PORT"},
		{"::1:9000", "::1:9000" NO_ADDRESS "HOST:PORT, and an IPv6 address in brackets, "
			     "as in [::1]:9000"},
		{"[::1]", "[::1]" NO_ADDRESS "HOST:PORT, and an IPv6 address in brackets, as in "
			  "[::1]:9000"},
		{"127.0.0.1:", "127.0.0.1:" NO_PORT},
		{"127.0.0.1:0", "127.0.0.1:0" NO_PORT},
		{"127.0.0.1:65536", "127.0.0.1:65536" NO_PORT},
		{"127.0.0.1:-1", "127.0.0.1:-1" NO_PORT},
		{"127.0.0.1:+9", "127.0.0.1:+9" NO_PORT},
		{"127.0.0.1:http", "127.0.0.1:http" NO_PORT},
		{"127.0.0.1:9000 ", "127.0.0.1:9000 " NO_PORT},
		{"127.0.0.1:99999999999999999999", "127.0.0.1:99999999999999999999" NO_PORT},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		refuse(rows[i].address, NULL, rows[i].sentence);
	refuse("127.0.0.1:9000", "daemon",
	       "127.0.0.1:9000 has no group; leave the socket group out, or listen on a path");
}

/* A listening or merely bound TCP socket on a port of the kernel's choice. */
static int tcp_socket(int family, unsigned *ret_port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	bool is_v6 = family == AF_INET6;
	struct sockaddr *address = is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
	socklen_t size = is_v6 ? sizeof(v6) : sizeof(v4);
	int fd = socket(family, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, address, size) < 0 || listen(fd, 1) < 0 ||
	    getsockname(fd, address, &size) < 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	*ret_port = ntohs(is_v6 ? v6.sin6_port : v4.sin_port);
	return fd;
}

static int tcp_connect(const struct listener *listener)
{
	struct sockaddr_storage address = {0};
	socklen_t size = sizeof(address);
	int fd;

	assert_int_equal(getsockname(listener->fd, (struct sockaddr *)&address, &size), 0);
	fd = socket(address.ss_family, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, size), 0);
	return fd;
}

static void check_tcp(int family, const char *host)
{
	struct listener listener;
	char address[64];
	unsigned port = 0;
	int peer, connection, other = tcp_socket(family, &port);

	if (other < 0)
		skip();
	snprintf(address, sizeof(address), "%s:%u", host, port);
	assert_false(open_it(&listener, address, NULL));
	assert_non_null(strstr(fault, "Address already in use"));
	assert_non_null(strstr(fault, "stop the program that uses it or choose another port"));
	close(other);

	assert_true(open_it(&listener, address, NULL));
	assert_true(listener.is_tcp);
	assert_true(listener.is_ours);
	assert_null(listener.path);
	assert_ready(&listener);
	peer = tcp_connect(&listener);
	connection = accept(listener.fd, NULL, NULL);
	assert_true(connection >= 0);
	assert_true(option(connection, SOL_SOCKET, SO_RCVBUF) >= SOCKET_BUFFER_BYTES);
	assert_true(option(connection, SOL_SOCKET, SO_SNDBUF) >= SOCKET_BUFFER_BYTES);
	assert_int_not_equal(option(connection, IPPROTO_TCP, TCP_NODELAY), 0);
	close(connection);
	close(peer);
	listener_unlink(&listener);
	listener_close(&listener);

	/* The connection just closed keeps the port busy for others, not for us. */
	assert_true(open_it(&listener, address, NULL));
	listener_close(&listener);
}

static void test_tcp(void **state)
{
	(void)state;
	check_tcp(AF_INET, "127.0.0.1");
	check_tcp(AF_INET, "localhost");
}

static void test_tcp_v6(void **state)
{
	(void)state;
	check_tcp(AF_INET6, "[::1]");
}

static struct sockaddr_storage peer_address(const char *text)
{
	struct sockaddr_storage address = {0};

	if (strcmp(text, "unix") == 0) {
		address.ss_family = AF_UNIX;
	} else if (strchr(text, ':')) {
		address.ss_family = AF_INET6;
		assert_int_equal(
			inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&address)->sin6_addr),
			1);
	} else if (*text != '\0') {
		address.ss_family = AF_INET;
		assert_int_equal(
			inet_pton(AF_INET, text, &((struct sockaddr_in *)&address)->sin_addr), 1);
	}
	return address;
}

static void test_allowed(void **state)
{
	static const struct {
		const char *list; /* NULL: not set */
		const char *peer; /* "": of no known family */
		bool is_allowed;
	} rows[] = {
		{NULL, "192.0.2.1", true},
		{"", "192.0.2.1", true},
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "127.0.0.2", false},
		{"127.0.0.1", "unix", true},
		{"127.0.0.1", "", false},
		{"127.0.0.1, 192.0.2.1 ,2001:db8::1", "192.0.2.1", true},
		{"127.0.0.1,192.0.2.1,2001:db8::1", "2001:db8::1", true},
		{"127.0.0.1,192.0.2.1,2001:db8::1", "2001:db8::2", false},
		{"127.0.0.1", "::ffff:127.0.0.1", true},
		{"::ffff:127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "::127.0.0.1", false},
		{"127.0.0.1", "::1", false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sockaddr_storage peer = peer_address(rows[i].peer);
		struct listener listener;

		unsetenv("FCGI_WEB_SERVER_ADDRS");
		if (rows[i].list)
			setenv("FCGI_WEB_SERVER_ADDRS", rows[i].list, 1);
		assert_true(open_it(&listener, PATH, NULL));
		assert_int_equal(listener_allows(&listener, (struct sockaddr *)&peer),
				 rows[i].is_allowed);
		listener_unlink(&listener);
		listener_close(&listener);
	}
	unsetenv("FCGI_WEB_SERVER_ADDRS");
}

#define BAD_LIST \
	"FCGI_WEB_SERVER_ADDRS is not a list of IP addresses separated by commas; set it to one " \
	"or unset it"

static void test_bad_lists(void **state)
{
	static const char *const lists[] = {
		" ",
		",",
		"127.0.0.1,",
		"localhost",
		"127.0.0.1;127.0.0.2",
		"127.0.0.1 127.0.0.2",
		"127.0.0.0/8",
		"127.1",
		"[::1]",
		"127.0.0.1,0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(lists); i++) {
		setenv("FCGI_WEB_SERVER_ADDRS", lists[i], 1);
		refuse(PATH, NULL, BAD_LIST);
		assert_false(is_there(PATH));
	}
	unsetenv("FCGI_WEB_SERVER_ADDRS");
}

enum kind { NOTHING, UNIX, TCP, SEQPACKET, CONNECTED, PLAIN_FILE };

static int kind_make(enum kind kind)
{
	unsigned port;
	int ends[2];

	switch (kind) {
	case UNIX:
		return unix_socket(SOCK_STREAM, PATH, true);
	case SEQPACKET:
		return unix_socket(SOCK_SEQPACKET, PATH, true);
	case TCP:
		return tcp_socket(AF_INET, &port);
	case CONNECTED:
		return socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 ? ends[0] : -1;
	default:
		return open("/dev/null", O_RDONLY);
	}
}

/* Puts one there, and leaves no other descriptor of it behind. */
static void kind_put(enum kind kind, int target)
{
	int fd, high;

	close(target);
	if (kind == NOTHING)
		return;
	unlink(PATH);
	fd = kind_make(kind);
	high = fcntl(fd, F_DUPFD, FREE_FD_MIN);
	close(fd);
	if (dup2(high, target) != target)
		_exit(2);
	close(high);
}

struct handed_over {
	const char *pid; /* NULL: ours; "" unset */
	const char *count;
	enum kind third, first;
	const char *outcome; /* "FD tcp", "FD unix", "none" or the sentence */
	const char *list;
};

/* In a process of its own, with descriptors as a starter would leave them: looks, and writes what
 * came of it to out. */
static void child_find(const struct handed_over *row, int out)
{
	struct listener listener;
	const char *sentence = "";
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	kind_put(row->first, STDIN_FILENO);
	kind_put(row->third, 3);
	if (!row->pid || *row->pid != '\0')
		setenv("LISTEN_PID", row->pid ? row->pid : pid, 1);
	if (row->count)
		setenv("LISTEN_FDS", row->count, 1);
	setenv("LISTEN_FDNAMES", "a", 1);
	if (row->list)
		setenv("FCGI_WEB_SERVER_ADDRS", row->list, 1);
	switch (listener_find(&listener, &sentence)) {
	case 1:
		assert_ready(&listener);
		dprintf(out, "%d %s", listener.fd, listener.is_tcp ? "tcp" : "unix");
		break;
	case 0:
		dprintf(out, "none");
		break;
	default:
		dprintf(out, "%s", sentence);
	}
	if (getenv("LISTEN_PID") || getenv("LISTEN_FDS") || getenv("LISTEN_FDNAMES"))
		dprintf(out, ", variables left");
	if (listener.is_ours || listener.path || listener.allowed_count != (row->list ? 1 : 0))
		dprintf(out, ", odd");
}

static void check_find(const struct handed_over *row)
{
	char outcome[256] = "";
	size_t len = 0;
	ssize_t got;
	int ends[2], out, status;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		out = fcntl(ends[1], F_DUPFD, FREE_FD_MIN);
		child_find(row, out);
		_exit(0);
	}
	close(ends[1]);
	while ((got = read(ends[0], outcome + len, sizeof(outcome) - 1 - len)) > 0)
		len += (size_t)got;
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink(PATH);
	assert_string_equal(outcome, row->outcome);
	assert_int_equal(status, 0);
}

#define NOT_LISTENING "LISTEN_FDS is 1, but descriptor 3 is not a listening socket; use Accept=no"
#define NO_NUMBER \
	"LISTEN_FDS is not a number; start the program through systemd or " \
	"systemd-socket-activate"
#define MORE_THAN_ONE "LISTEN_FDS hands over more than one socket; give this program one alone"
#define NO_STREAM "the socket that was handed over is not a stream socket; make it one"

static void test_find(void **state)
{
	static const struct handed_over rows[] = {
		{NULL, "1", UNIX, NOTHING, "3 unix", NULL},
		{NULL, "1", TCP, PLAIN_FILE, "3 tcp", NULL},
		{NULL, "1", TCP, UNIX, "3 tcp", NULL},
		{NULL, "1", TCP, NOTHING, "3 tcp", "::1"},
		{NULL, "1", CONNECTED, UNIX, NOT_LISTENING, NULL},
		{NULL, "1", PLAIN_FILE, UNIX, NOT_LISTENING, NULL},
		{NULL, "1", NOTHING, UNIX, NOT_LISTENING, NULL},
		{NULL, "1", SEQPACKET, NOTHING, NO_STREAM, NULL},
		{NULL, "2", UNIX, NOTHING, MORE_THAN_ONE, NULL},
		{NULL, "0", UNIX, TCP, "0 tcp", NULL},
		{NULL, "one", UNIX, NOTHING, NO_NUMBER, NULL},
		{NULL, "", UNIX, NOTHING, NO_NUMBER, NULL},
		{NULL, "-1", UNIX, NOTHING, NO_NUMBER, NULL},
		{NULL, NULL, UNIX, NOTHING, "none", NULL},
		{"1", "1", UNIX, NOTHING, "none", NULL},
		{"1", "1", UNIX, TCP, "0 tcp", NULL},
		{"x", "1", UNIX, UNIX, "0 unix", NULL},
		{"", "1", UNIX, PLAIN_FILE, "none", NULL},
		{"", NULL, NOTHING, UNIX, "0 unix", NULL},
		{"", NULL, NOTHING, CONNECTED, "none", NULL},
		{"", NULL, NOTHING, NOTHING, "none", NULL},
		{"", NULL, NOTHING, SEQPACKET, NO_STREAM, NULL},
		{"", NULL, NOTHING, TCP, "0 tcp", "127.0.0.1"},
	};
	static const struct handed_over bad_list = {"", NULL, NOTHING, TCP, BAD_LIST ", odd", "x"};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_find(&rows[i]);
	check_find(&bad_list);
}

static char folder[] = "/tmp/test_listener.XXXXXX";

static int folder_make(void **state)
{
	(void)state;
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int folder_remove(void **state)
{
	(void)state;
	return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_unix_group),
		cmocka_unit_test(test_unix_stale),
		cmocka_unit_test(test_unix_live),
		cmocka_unit_test(test_unix_live_with_full_backlog),
		cmocka_unit_test(test_unix_path_taken),
		cmocka_unit_test(test_unix_bad_paths),
		cmocka_unit_test(test_unlink_own_alone),
		cmocka_unit_test(test_directory_lock_is_awaited),
		cmocka_unit_test(test_unix_race),
		cmocka_unit_test(test_tcp_bad_addresses),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_tcp_v6),
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_bad_lists),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
