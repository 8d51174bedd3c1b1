/*
 * Prints src/sandbox.c's seccomp filters as C, when the program is built.
 *
 * Not a part of the program. libseccomp takes 0.3 ms to work a filter out, and as long to be
 *loaded, which a login by CGI would pay each time; what comes out depends on nothing but this file.
 *The only file that knows libseccomp.
 *
 * Every system call is of one of three kinds:
 *
 *	allowed  what serving logins takes, in any glibc;
 *	fatal    what serving logins never takes, and an attacker would: the process is ended;
 *	others   fail with ENOSYS, as on a kernel without them. A glibc or OpenSSL newer than this
 *	         list then does without (clone3, openat2); EPERM would be taken for an answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox_pid.h"

/* What there is only on some architectures, or only in a newer libseccomp, has no number here. */
static const char *const allowed[] = {
	/* descriptors */
	"read", "write", "readv", "writev", "pread64", "close", "lseek", "_llseek", "fcntl",
	"fcntl64", "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6",
	"pselect6_time64", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
	"epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "pipe", "pipe2", "signalfd4",
	/* files, which Landlock narrows; open and openat are below */
	"stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "newfstatat", "fstatat64",
	"statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd",
	"getdents64", "unlink", "unlinkat",
	/* the network; socket is below */
	"socketpair", "connect", "bind", "accept", "accept4", "getsockname", "getpeername",
	"setsockopt", "getsockopt", "send", "sendto", "sendmsg", "sendmmsg", "recv", "recvfrom",
	"recvmsg", "recvmmsg", "recvmmsg_time64", "shutdown",
	/* memory; mmap and mprotect are below */
	"munmap", "mremap", "brk", "madvise", "mlock",
	/* threads and signals */
	"futex", "futex_time64", "set_robust_list", "get_robust_list", "set_tid_address", "rseq",
	"sched_yield", "sched_getaffinity", "membarrier", "sigaltstack", "rt_sigaction",
	"rt_sigprocmask", "rt_sigreturn", "sigreturn", "restart_syscall", "exit", "exit_group",
	/* the clock, and who and where we are */
	"clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64",
	"clock_nanosleep", "clock_nanosleep_time64", "nanosleep", "gettimeofday", "time", "getpid",
	"gettid", "getppid", "getuid", "getuid32", "geteuid", "geteuid32", "getgid", "getgid32",
	"getegid", "getegid32", "uname", "sysinfo", "getrandom", "getrlimit", "ugetrlimit",
	"getrusage", NULL};

static const char *const fatal[] = {
	/* other programs, and other processes' memory and descriptors */
	"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise",
	"pidfd_getfd", "kcmp", "fork", "vfork",
	/* a back door */
	"listen",
	/* another identity */
	"setuid", "setuid32", "setgid", "setgid32", "setreuid", "setreuid32", "setregid",
	"setregid32", "setresuid", "setresuid32", "setresgid", "setresgid32", "setfsuid",
	"setfsuid32", "setfsgid", "setfsgid32", "setgroups", "setgroups32", "capset",
	/* another view of the system */
	"chroot", "pivot_root", "unshare", "setns", "mount", "umount", "umount2", "fsopen",
	"fsconfig", "fsmount", "fspick", "open_tree", "move_mount", "mount_setattr", "personality",
	"open_by_handle_at",
	/* parts of the kernel that attacks on it begin with */
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
	"io_uring_register", "keyctl", "add_key", "request_key", "modify_ldt", "vmsplice",
	/* the machine */
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot",
	"swapon", "swapoff", "syslog", "acct", "quotactl", "settimeofday", "clock_settime",
	"clock_settime64", "adjtimex", "clock_adjtime", "stime", "sethostname", "setdomainname",
	"ioperm", "iopl", NULL};

/* What the parent of several loops needs besides: for them (Landlock, their own filter, the limit
 * of descriptors), and for waiting. */
static const char *const allowed_to_parent[] = {"kill",
						"wait4",
						"rt_sigtimedwait",
						"rt_sigtimedwait_time64",
						"seccomp",
						"landlock_create_ruleset",
						"landlock_add_rule",
						"landlock_restrict_self",
						"inotify_init1",
						"inotify_add_watch",
						NULL};

static void fail(const char *what, int error)
{
	errno = -error;
	perror(what);
	exit(1);
}

/* Adds a rule, for a call of any arguments or of those compared. */
static void add(scmp_filter_ctx filter, uint32_t action, const char *name, unsigned count,
		const struct scmp_arg_cmp *compared)
{
	int number = seccomp_syscall_resolve_name(name);
	int error;

	if (number == __NR_SCMP_ERROR)
		return;
	error = seccomp_rule_add_array(filter, action, number, count, compared);
	if (error < 0)
		fail(name, error);
}

static void add_all(scmp_filter_ctx filter, uint32_t action, const char *const *names)
{
	for (; *names; names++)
		add(filter, action, *names, 0, NULL);
}

/* Allows a call whose argument has one of these values. */
static void allow_values(scmp_filter_ctx filter, const char *name, unsigned argument,
			 const uint64_t *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct scmp_arg_cmp compared = SCMP_CMP(argument, SCMP_CMP_EQ, values[i]);

		add(filter, SCMP_ACT_ALLOW, name, 1, &compared);
	}
}

/* Allows a call whose argument has none of these bits. */
static void allow_without(scmp_filter_ctx filter, const char *name, unsigned argument,
			  uint64_t bits)
{
	struct scmp_arg_cmp compared = SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, bits, 0);

	add(filter, SCMP_ACT_ALLOW, name, 1, &compared);
}

/* Allows a call whose argument has none of these bits; with one it fails with EACCES. */
static void refuse_bits(scmp_filter_ctx filter, const char *name, unsigned argument, uint64_t bits)
{
	allow_without(filter, name, argument, bits);
	for (uint64_t bit = 1; bit <= bits; bit <<= 1) {
		const struct scmp_arg_cmp compared =
			SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, bit, bit);

		if (bits & bit)
			add(filter, SCMP_ACT_ERRNO(EACCES), name, 1, &compared);
	}
}

/* Files are opened to be read. */
static void add_files(scmp_filter_ctx filter)
{
	const uint64_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;

	refuse_bits(filter, "open", 1, writing);
	refuse_bits(filter, "openat", 2, writing);
}

/* Memory is written or run, and none of it becomes runnable: libraries are mapped so that it is. */
static void add_memory(scmp_filter_ctx filter)
{
	const char *const maps[] = {"mmap", "mmap2"};
	const uint64_t both = PROT_WRITE | PROT_EXEC;
	const struct scmp_arg_cmp is_runnable = SCMP_A2(SCMP_CMP_MASKED_EQ, both, PROT_EXEC);
	const struct scmp_arg_cmp is_both = SCMP_A2(SCMP_CMP_MASKED_EQ, both, both);

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		allow_without(filter, maps[i], 2, PROT_EXEC);
		add(filter, SCMP_ACT_ALLOW, maps[i], 1, &is_runnable);
		add(filter, SCMP_ACT_ERRNO(EACCES), maps[i], 1, &is_both);
	}
	refuse_bits(filter, "mprotect", 2, PROT_EXEC);
}

/* The web server, the token server, the resolver's own socket and what glibc asks the kernel of the
 * machine's addresses. */
static void add_sockets(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp addresses[] = {SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
						 SCMP_A2(SCMP_CMP_EQ, 0)};
	const int families[] = {AF_INET, AF_INET6, AF_UNIX};
	const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	const uint64_t flags = SOCK_NONBLOCK | SOCK_CLOEXEC;

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
			const struct scmp_arg_cmp compared[] = {
				SCMP_A0(SCMP_CMP_EQ, (uint64_t)families[i]),
				SCMP_A1(SCMP_CMP_MASKED_EQ, ~flags & UINT32_MAX,
					(uint64_t)types[k])};

			add(filter, SCMP_ACT_ALLOW, "socket", 2, compared);
		}
	}
	add(filter, SCMP_ACT_ALLOW, "socket", 2, addresses);
}

static void add_small_matters(scmp_filter_ctx filter)
{
	/* Whether it is a terminal (stdio); how much there is to read; the interface of a
	 * link-local address (SIOCGIFINDEX, SIOCGIFNAME). TIOCSTI would type for who looks on. */
	const uint64_t requests[] = {TCGETS, FIONREAD, FIONBIO, 0x8933, 0x8910};
	/* A thread's name, and that of a piece of memory. Not PR_SET_DUMPABLE. */
	const uint64_t options[] = {PR_SET_NAME, PR_GET_NAME, 0x53564d41};

	allow_values(filter, "ioctl", 1, requests, sizeof(requests) / sizeof(requests[0]));
	allow_values(filter, "prctl", 0, options, sizeof(options) / sizeof(options[0]));
	/* To ask for a limit, not to set one. */
	allow_values(filter, "prlimit64", 2, &(uint64_t){0}, 1);
}

/* libcurl looks names up in threads. glibc makes one by clone3 and, where there is none, by clone,
 * whose flags can be seen. */
static void add_threads(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);

	add(filter, SCMP_ACT_ALLOW, "clone", 1, &thread);
}

/* No processes (glibc's fork() is a clone); and signals go to this process alone. */
static void add_loop(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp process = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
	const uint64_t self = SANDBOX_PID;

	add_threads(filter);
	add(filter, SCMP_ACT_KILL_PROCESS, "clone", 1, &process);
	allow_values(filter, "kill", 0, &self, 1);
	allow_values(filter, "tgkill", 0, &self, 1);
}

static void add_parent(scmp_filter_ctx filter)
{
	const uint64_t spaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
				CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
	const struct scmp_arg_cmp limit[] = {SCMP_A0(SCMP_CMP_EQ, 0),
					     SCMP_A1(SCMP_CMP_EQ, RLIMIT_NOFILE)};
	const uint64_t options[] = {PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP};

	add_all(filter, SCMP_ACT_ALLOW, allowed_to_parent);
	allow_without(filter, "clone", 0, spaces);
	add(filter, SCMP_ACT_ALLOW, "tgkill", 0, NULL);
	add(filter, SCMP_ACT_ALLOW, "prlimit64", 2, limit);
	allow_values(filter, "setrlimit", 0, &(uint64_t){RLIMIT_NOFILE}, 1);
	allow_values(filter, "prctl", 0, options, sizeof(options) / sizeof(options[0]));
}

/* The filter as the kernel takes it. A pipe holds more than the 4096 instructions that may be. */
static void print(scmp_filter_ctx filter, const char *name)
{
	struct {
		uint16_t code;
		uint8_t jump_true, jump_false;
		uint32_t value;
	} step;
	int fds[2];
	int error;

	if (pipe(fds) < 0)
		fail("pipe", -errno);
	error = seccomp_export_bpf(filter, fds[1]);
	if (error < 0)
		fail("seccomp_export_bpf", error);
	close(fds[1]);
	printf("static const struct sock_filter %s[] = {\n", name);
	while (read(fds[0], &step, sizeof(step)) == (ssize_t)sizeof(step))
		printf("\t{0x%02x, %u, %u, 0x%08x},\n", step.code, step.jump_true, step.jump_false,
		       step.value);
	puts("};\n");
	close(fds[0]);
}

static void make(const char *name, void (*add_own)(scmp_filter_ctx filter))
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));

	if (!filter)
		fail("seccomp_init", -ENOMEM);
	/* Found by halving, where the kernel does not remember which calls it always allows. */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	add_all(filter, SCMP_ACT_ALLOW, allowed);
	add_all(filter, SCMP_ACT_KILL_PROCESS, fatal);
	add_files(filter);
	add_memory(filter);
	add_sockets(filter);
	add_small_matters(filter);
	add_own(filter);
	print(filter, name);
	seccomp_release(filter);
}

int main(void)
{
	/* Of the kernel that the filters will meet, not of that which builds them: an older one
	 * takes "end the process" for "end the thread". */
	seccomp_api_set(3);
	puts("/* Made by sandbox_filter.c. */");
	make("loop_filter", add_loop);
	make("parent_filter", add_parent);
	return fflush(stdout) == 0 ? 0 : 1;
}
