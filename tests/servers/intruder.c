/*
 * Code that an attacker got to run inside the program, once that serves: a library for LD_PRELOAD.
 *
 * $INTRUDER_DOES names what it tries when the program waits for the first time, $INTRUDER_PATH a
 * path for it. It reports errno, or 0, by a line like those of the program's log.
 * $INTRUDER_IS_PARENT: in the process that waits for signals, not in one that waits for
 * descriptors.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT "{\"event\":\"intruder\",\"error\":%d}\n"

static int run_program(const char *path)
{
	char *const arguments[] = {(char *)"sh", (char *)"-c",
				   (char *)"echo '{\"event\":\"intruder\",\"error\":0}' >&2", NULL};

	return execve(path, arguments, environ);
}

static int run_descriptor(const char *path)
{
	char *const arguments[] = {(char *)"true", NULL};

	return (int)syscall(SYS_execveat, AT_FDCWD, path, arguments, environ, 0);
}

static int read_file(const char *path)
{
	return open(path, O_RDONLY);
}

static int list_folder(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY);
}

static int write_file(const char *path)
{
	return open(path, O_WRONLY | O_CREAT, 0600);
}

static int remove_file(const char *path)
{
	return unlink(path);
}

static int make_listener(int family, const struct sockaddr *address, socklen_t size)
{
	int fd = socket(family, SOCK_STREAM, 0);

	return fd < 0 || bind(fd, address, size) < 0 ? -1 : listen(fd, 1);
}

static int bind_port(const char *path)
{
	struct sockaddr_in address = {.sin_family = AF_INET};

	(void)path;
	return make_listener(AF_INET, (struct sockaddr *)&address, sizeof(address));
}

/* The kernel gives a name. */
static int listen_locally(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)path;
	return make_listener(AF_UNIX, (struct sockaddr *)&address, sizeof(sa_family_t));
}

static int connect_abstract(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path + 1, path, sizeof(address.sun_path) - 2);
	return connect(fd, (struct sockaddr *)&address,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(path)));
}

static int make_process(const char *path)
{
	pid_t pid = fork();

	(void)path;
	if (pid == 0)
		_exit(0);
	return pid < 0 ? -1 : waitpid(pid, NULL, 0);
}

static int trace(const char *path)
{
	(void)path;
	return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int read_memory(const char *path)
{
	char from = 'x';
	char to;
	struct iovec here = {&to, 1};
	struct iovec there = {&from, 1};

	(void)path;
	return (int)process_vm_readv(getpid(), &here, 1, &there, 1, 0);
}

static int change_user(const char *path)
{
	(void)path;
	return setuid(getuid());
}

static int leave_namespace(const char *path)
{
	(void)path;
	return unshare(CLONE_FS);
}

static int make_runnable(const char *path)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)path;
	return page == MAP_FAILED ? -1 : mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static int map_runnable(const char *path)
{
	(void)path;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED
		       ? -1
		       : 0;
}

static int become_dumpable(const char *path)
{
	(void)path;
	return prctl(PR_SET_DUMPABLE, 1);
}

static int raise_core_limit(const char *path)
{
	const struct rlimit none = {0, 0};

	(void)path;
	return setrlimit(RLIMIT_CORE, &none);
}

static int signal_parent(const char *path)
{
	(void)path;
	return kill(getppid(), 0);
}

static int signal_self(const char *path)
{
	(void)path;
	return kill(getpid(), 0);
}

static int open_raw_socket(const char *path)
{
	(void)path;
	return socket(AF_UNIX, SOCK_RAW | SOCK_CLOEXEC, 0) < 0 &&
			       socket(AF_NETLINK, SOCK_RAW, 15 /* NETLINK_KOBJECT_UEVENT */) < 0
		       ? -1
		       : 0;
}

static const struct {
	const char *name;
	int (*act)(const char *path);
} acts[] = {
	{"run_program", run_program},
	{"run_descriptor", run_descriptor},
	{"read_file", read_file},
	{"list_folder", list_folder},
	{"write_file", write_file},
	{"remove_file", remove_file},
	{"bind_port", bind_port},
	{"listen_locally", listen_locally},
	{"connect_abstract", connect_abstract},
	{"make_process", make_process},
	{"trace", trace},
	{"read_memory", read_memory},
	{"change_user", change_user},
	{"leave_namespace", leave_namespace},
	{"make_runnable", make_runnable},
	{"map_runnable", map_runnable},
	{"become_dumpable", become_dumpable},
	{"raise_core_limit", raise_core_limit},
	{"signal_parent", signal_parent},
	{"signal_self", signal_self},
	{"open_raw_socket", open_raw_socket},
};

static void intrude(bool is_parent)
{
	static bool is_done;
	const char *name = getenv("INTRUDER_DOES");
	const char *path = getenv("INTRUDER_PATH");
	char line[64];
	int error;

	if (is_done || !name || is_parent != (getenv("INTRUDER_IS_PARENT") != NULL))
		return;
	is_done = true;
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		if (strcmp(acts[i].name, name) != 0)
			continue;
		error = acts[i].act(path ? path : "") < 0 ? errno : 0;
		if (write(STDERR_FILENO, line,
			  (size_t)snprintf(line, sizeof(line), REPORT, error)) < 0)
			return;
	}
}

int epoll_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms)
{
	static int (*real)(int, struct epoll_event *, int, int);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "epoll_wait");
	intrude(false);
	return real(epoll_fd, events, max, timeout_ms);
}

int sigwaitinfo(const sigset_t *signals, siginfo_t *info)
{
	static int (*real)(const sigset_t *, siginfo_t *);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "sigwaitinfo");
	intrude(true);
	return real(signals, info);
}
