/*
 * The token server of the benchmark:
 *
 *	token_server CERTIFICATE KEY COUNTS PREFIX ANSWER WORKERS PROTOCOL:PORT:DELAY_MS...
 *
 * Listens with TLS on each PORT of 127.0.0.1 and ::1. PROTOCOL is "h1", or "h2" for HTTP/2 beside
 * HTTP/1.1. Every request is read whole. One for /auth/revoke_token/ is answered 200; another
 * without PREFIX in its body, 400; the others after DELAY_MS with ANSWER, a token's JSON.
 *
 * WORKERS processes do that. Each keeps two numbers in the file COUNTS, in 64 bytes of its own: how
 * many connections it accepted, and how many are open.
 *
 * Prints one line when it listens. SIGTERM ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker.h"

#define DELAY_MAX_MS 3600000UL
#define FIXED_ARGUMENTS 7 /* the program's name, and those before the endpoints */

void fail(const char *what, const char *thing, const char *reason)
{
	fprintf(stderr, "token_server: cannot %s %s: %s\n", what, thing, reason ? reason : "?");
	exit(2);
}

void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		fail("allocate", "memory", strerror(errno));
	return memory;
}

/* ---- the command line ---- */

/* Digits alone, from least to most. */
static bool read_number(const char *text, unsigned long least, unsigned long most,
			unsigned long *ret_number)
{
	char *end = NULL;
	unsigned long number;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno || *end || number < least || number > most)
		return false;
	*ret_number = number;
	return true;
}

static struct endpoint read_endpoint(const char *text)
{
	char protocol[3], port[6], delay[8];
	unsigned long port_number, delay_ms;
	int end = 0;

	if (sscanf(text, "%2[h12]:%5[0-9]:%7[0-9]%n", protocol, port, delay, &end) != 3 ||
	    text[end] || (strcmp(protocol, "h1") != 0 && strcmp(protocol, "h2") != 0))
		fail("read", text, "not h1|h2:PORT:DELAY_MS");
	if (!read_number(port, 1, UINT16_MAX, &port_number))
		fail("read", text, "no such port");
	if (!read_number(delay, 0, DELAY_MAX_MS, &delay_ms))
		fail("read", text, "not such a delay");
	return (struct endpoint){.port = (uint16_t)port_number,
				 .is_http2 = protocol[1] == '2',
				 .delay_ns = delay_ms * (SECOND_NS / 1000)};
}

static void read_options(struct options *options, int argc, char **argv)
{
	unsigned long workers = 0;

	if (argc <= FIXED_ARGUMENTS || argc > FIXED_ARGUMENTS + ENDPOINTS_MAX)
		fail("start", "so",
		     "usage: token_server CERTIFICATE KEY COUNTS PREFIX ANSWER WORKERS "
		     "h1|h2:PORT:DELAY_MS...");
	*options = (struct options){.certificate = argv[1],
				    .key = argv[2],
				    .counts = argv[3],
				    .prefix = argv[4],
				    .answer = argv[5]};
	if (!read_number(argv[6], 1, WORKERS_MAX, &workers))
		fail("start so many workers:", argv[6], "not from 1 to 64");
	options->workers = workers;
	for (int i = FIXED_ARGUMENTS; i < argc; i++)
		options->endpoints[options->endpoint_count++] = read_endpoint(argv[i]);
}

/* ---- the processes ---- */

static struct counts *map_counts(const struct options *options)
{
	size_t len = options->workers * sizeof(struct counts);
	int fd = open(options->counts, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	void *counts = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)len) == 0)
		counts = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (counts == MAP_FAILED)
		fail("use", options->counts, strerror(errno));
	close(fd);
	return counts;
}

/* Ends with its parent, however that ends. */
static _Noreturn void be_worker(struct worker *worker, SSL_CTX *tls, struct counts *counts,
				pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		exit(1);
	worker_run(worker, tls, counts);
}

/* Signals are blocked: those that end the process are waited for, and the end of a worker. */
static int watch(const sigset_t *signals, const pid_t *pids, size_t count)
{
	int number = sigwaitinfo(signals, NULL);

	for (size_t i = 0; i < count; i++)
		kill(pids[i], SIGTERM);
	for (size_t i = 0; i < count; i++)
		waitpid(pids[i], NULL, 0);
	if (number != SIGCHLD)
		return 0;
	fprintf(stderr, "token_server: a worker has ended\n");
	return 1;
}

int main(int argc, char **argv)
{
	static struct options options;
	static struct worker worker;
	struct rlimit files;
	struct counts *counts;
	pid_t pids[WORKERS_MAX];
	pid_t parent = getpid();
	sigset_t signals;
	SSL_CTX *tls;
	int status;

	read_options(&options, argc, argv);
	if (!reply_init(options.answer, options.prefix))
		fail("use", "PREFIX and ANSWER", "too long, or empty");
	tls = connection_make_context(options.certificate, options.key);
	counts = map_counts(&options);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	for (size_t i = 0; i < options.workers; i++) {
		worker_listen(&worker, &options);
		pids[i] = fork();
		if (pids[i] < 0)
			fail("start", "a worker", strerror(errno));
		if (pids[i] == 0)
			be_worker(&worker, tls, &counts[i], parent);
		worker_close(&worker);
	}
	puts("listening");
	fflush(stdout);
	status = watch(&signals, pids, options.workers);
	SSL_CTX_free(tls);
	return status;
}
