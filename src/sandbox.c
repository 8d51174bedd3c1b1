#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox_filter.h"
#include "sandbox_pid.h"

/* The sanitizers read /proc, start a process to look for leaks, and make calls of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

/* ---- seccomp ---- */

/* Puts our own id where the filter has room for it. */
static void write_pid(struct sock_filter *steps, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (steps[i].k == SANDBOX_PID)
			steps[i].k = (uint32_t)getpid();
	}
}

static bool filter_calls(const struct sock_filter *filter, size_t count)
{
	struct sock_filter steps[BPF_MAXINSNS];
	const struct sock_fprog program = {.len = (unsigned short)count, .filter = steps};

	memcpy(steps, filter, count * sizeof(*steps));
	write_pid(steps, count);
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

#define STEPS(filter) (filter), sizeof(filter) / sizeof((filter)[0])

static bool enter_seccomp(enum sandbox_role role)
{
	return role == SANDBOX_PARENT ? filter_calls(STEPS(parent_filter))
				      : filter_calls(STEPS(loop_filter));
}

/* ---- Landlock ---- */

/*
 * Linux's <linux/landlock.h>, the numbers of which are the same everywhere: a program that was
 * built with an old one knows the newest all the same. A new "ABI" knows what older ones know.
 */
#define LANDLOCK_CREATE_RULESET 444
#define LANDLOCK_ADD_RULE 445
#define LANDLOCK_RESTRICT_SELF 446

#define ASK_VERSION 1U
#define PATH_BENEATH 1

#define READ_FILE (UINT64_C(1) << 2)
#define READ_DIR (UINT64_C(1) << 3)
#define REMOVE_FILE (UINT64_C(1) << 5)
#define READING (READ_FILE | READ_DIR)

struct ruleset {
	uint64_t files; /* what only rules allow */
	uint64_t network;
	uint64_t scoped; /* what ends at our own processes */
};

struct path_rule {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

/* By ABI: it and those above it know at least these. */
static const struct {
	int abi;
	struct ruleset known;
} generations[] = {
	{1, {.files = (UINT64_C(1) << 13) - 1}}, /* execute, write, read, make, remove */
	{2, {.files = UINT64_C(1) << 13}},       /* move to another folder */
	{3, {.files = UINT64_C(1) << 14}},       /* truncate */
	{4, {.network = 1}},                     /* TCP: bind */
	{5, {.files = UINT64_C(1) << 15}},       /* devices: ioctl */
	{6, {.scoped = 3}},                      /* abstract Unix sockets, signals */
};

/* What names are looked up by. Where a service renews one of them, it is a link to a folder of that
 * service, as a rule. */
static const char *const lookup_files[] = {
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
	"/etc/services",    NULL,
};

/* Folders and files that hold nothing but what anybody may know. */
static const char *const public_places[] = {
	/* modules for looking names up, and what they are linked with */
	"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache",
	/* certificate authorities, as in trust.c, and where links there lead */
	"/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem", "/etc/ca-certificates",
	"/etc/pki/tls/certs", "/etc/pki/ca-trust", "/usr/share/ca-certificates", "/usr/share/pki",
	"/usr/local/share/ca-certificates", "/var/lib/ca-certificates",
	/* the resolver's, before there is a file in it */
	"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
	/* random numbers for an OpenSSL that does not ask the kernel */
	"/dev/urandom", "/dev/random", "/dev/null", NULL};

/* Allows it for what is there, followed to where it really is. */
static void allow(int ruleset, const char *path, uint64_t wanted)
{
	struct path_rule rule = {.fd = open(path, O_PATH | O_CLOEXEC)};
	struct stat facts;

	if (rule.fd < 0)
		return;
	if (fstat(rule.fd, &facts) == 0) {
		rule.allowed = S_ISDIR(facts.st_mode) ? wanted : wanted & READ_FILE;
		syscall(LANDLOCK_ADD_RULE, ruleset, PATH_BENEATH, &rule, 0);
	}
	close(rule.fd);
}

static void allow_all(int ruleset, const char *const *paths)
{
	for (; *paths; paths++)
		allow(ruleset, *paths, READING);
}

/* Whether a folder is no one program's own: what else is in it stays closed. path is absolute. */
static bool is_shared(const char *path)
{
	static const char *const names[] = {"bin", "cgi-bin", ".config", "etc", "tmp", "lib"};
	static const char *const parents[] = {"/home/", "/usr/", "/var/"};
	const char *home = getenv("HOME");
	const char *name = strrchr(path, '/') + 1;

	if (name == path + 1 || (home && strcmp(path, home) == 0))
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]); i++) {
		size_t len = strlen(parents[i]);

		if ((size_t)(name - path) == len && strncmp(path, parents[i], len) == 0)
			return true;
	}
	return false;
}

/* The folder that a path is in, as a new absolute text without links; NULL: there is none. */
static char *find_folder(const char *path)
{
	const char *end = strrchr(path, '/');
	char *copy = end ? strndup(path, end == path ? 1 : (size_t)(end - path)) : strdup(".");
	char *folder = copy ? realpath(copy, NULL) : NULL;

	free(copy);
	return folder;
}

static void allow_own_folder(int ruleset, const char *path)
{
	char *folder = find_folder(path);

	if (folder && !is_shared(folder))
		allow(ruleset, folder, READING);
	free(folder);
}

/* A file that is read again when it may have been replaced: a new one of the same name in its
 * folder, or a link to one. */
static void allow_renewed(int ruleset, const char *path)
{
	char *real = *path ? realpath(path, NULL) : NULL;

	if (*path) {
		allow(ruleset, path, READING);
		allow_own_folder(ruleset, path);
	}
	if (real)
		allow_own_folder(ruleset, real);
	free(real);
}

static void allow_credentials(int ruleset)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");

	if (directory)
		allow(ruleset, directory, READING);
}

static void allow_files(int ruleset, const struct sandbox_plan *plan)
{
	const struct config *config = plan->config;

	allow_all(ruleset, public_places);
	allow_all(ruleset, lookup_files);
	if (*config->ca_file)
		allow(ruleset, config->ca_file, READING);
	if (!plan->has_reload)
		return;
	for (const char *const *path = lookup_files; *path; path++)
		allow_renewed(ruleset, *path);
	allow_renewed(ruleset, config->ca_file);
	allow_renewed(ruleset, config->settings_file);
	allow_renewed(ruleset, config->client_secret_file);
	allow_credentials(ruleset);
}

static void allow_removal(int ruleset, const char *socket)
{
	char *folder = socket ? find_folder(socket) : NULL;

	if (folder)
		allow(ruleset, folder, REMOVE_FILE);
	free(folder);
}

static struct ruleset find_rights(int abi)
{
	struct ruleset rights = {0};

	for (size_t i = 0; i < sizeof(generations) / sizeof(generations[0]); i++) {
		if (abi < generations[i].abi)
			continue;
		rights.files |= generations[i].known.files;
		rights.network |= generations[i].known.network;
		rights.scoped |= generations[i].known.scoped;
	}
	return rights;
}

/* The ABI that is in force, 0 for none. */
static int enter_landlock(const struct sandbox_plan *plan)
{
	int abi = (int)syscall(LANDLOCK_CREATE_RULESET, NULL, 0, ASK_VERSION);
	struct ruleset rights = find_rights(abi);
	int ruleset;
	bool is_in_force;

	if (abi < 1)
		return 0;
	ruleset = (int)syscall(LANDLOCK_CREATE_RULESET, &rights, sizeof(rights), 0);
	if (ruleset < 0)
		return 0;
	if (plan->role == SANDBOX_PARENT)
		allow(ruleset, "/", READING);
	else
		allow_files(ruleset, plan);
	allow_removal(ruleset, plan->socket);
	is_in_force = syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0;
	close(ruleset);
	return is_in_force ? abi : 0;
}

/* ---- both ---- */

static const char *find_missing(bool has_seccomp, int abi)
{
	if (!has_seccomp && abi == 0)
		return "this kernel has neither seccomp filters nor Landlock: nothing is given up";
	if (!has_seccomp)
		return "this kernel has no seccomp filters: no system call is given up";
	return abi == 0 ? "this kernel has no Landlock, or not switched on: files are open" : NULL;
}

struct sandbox sandbox_enter(const struct sandbox_plan *plan)
{
	struct sandbox sandbox = {.in_force = "off"};
	bool has_seccomp;
	int abi = 0;

	if (IS_SANITIZED || !plan->config->is_sandboxed)
		return sandbox;
	/* Without it, only root may enter the others. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		abi = enter_landlock(plan);
	has_seccomp = enter_seccomp(plan->role);
	if (abi > 0)
		snprintf(sandbox.in_force, sizeof(sandbox.in_force), "%sLandlock %d",
			 has_seccomp ? "seccomp, " : "", abi);
	else if (has_seccomp)
		snprintf(sandbox.in_force, sizeof(sandbox.in_force), "seccomp");
	sandbox.missing = find_missing(has_seccomp, abi);
	return sandbox;
}

const char *sandbox_find_hidden(void)
{
	for (const char *const *path = lookup_files; *path; path++) {
		int fd = open(*path, O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			close(fd);
		/* Landlock closes files, but does not hide that they could be read. */
		else if (errno == EACCES && access(*path, R_OK) == 0)
			return *path;
	}
	return NULL;
}
