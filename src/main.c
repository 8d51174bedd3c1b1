/*
 * bakrypt-login: the options, the choice of a door, and the order in which all is built and taken
 * down.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "ceilings.h"
#include "config.h"
#include "fastcgi.h"
#include "gateway.h"
#include "listener.h"
#include "log.h"
#include "loop.h"
#include "memory.h"
#include "upstream.h"
#include "workers.h"

struct options {
	const char *listen;
	const char *socket_group;
	const char *config_file;
	long workers;
	int (*action)(const struct options *options);
};

/* SIGUSR1 is how multiwatch asks for the same. */
static const int stop_signals[] = {SIGTERM, SIGINT, SIGUSR1, 0};

/* One process's loop, and what is on it. */
struct service {
	const struct options *options;
	struct config config;
	struct listener listener;
	struct loop *loop;
	struct upstream *upstream;
	struct gateway gateway;
	struct fastcgi *door;
	struct loop_timer stop_timer;
};

/* ---- one loop ---- */

static void on_drained(void *context)
{
	struct service *service = context;

	loop_stop(service->loop);
}

static void on_stop_timer(struct loop_timer *timer)
{
	struct service *service =
		(struct service *)(void *)((char *)timer - offsetof(struct service, stop_timer));

	loop_stop(service->loop);
}

static void on_signal(void *context, int signal)
{
	struct service *service = context;

	(void)signal;
	if (service->gateway.is_stopping)
		return;
	service->gateway.is_stopping = true;
	if (service->options->workers == 1)
		listener_unlink(&service->listener);
	/* Every request ends by its own deadline; this is for a peer that does not take its reply.
	 */
	loop_timer_set(service->loop, &service->stop_timer,
		       (uint64_t)service->config.timeout_ms + LINGER_MS);
	fastcgi_stop(service->door);
}

/* The descriptors, shared out: the web server's connections, the token server's, and the rest. */
static void share_descriptors(const struct config *config, long *ret_upstream, long *ret_door)
{
	struct rlimit limit = {1024, 1024};
	long total;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	getrlimit(RLIMIT_NOFILE, &limit);
	total = limit.rlim_cur > 2 * CONNECTIONS_MAX ? 2 * CONNECTIONS_MAX : (long)limit.rlim_cur;
	total = total > SPARE_FDS + 2 ? total - SPARE_FDS : 2;
	*ret_upstream = config->max_in_flight < total / 2 ? config->max_in_flight : total / 2;
	*ret_door = total - *ret_upstream;
}

static bool build(struct service *service, const char **ret_fault)
{
	long upstream_max;
	long door_max;

	*ret_fault = NULL;
	share_descriptors(&service->config, &upstream_max, &door_max);
	/* A timer for each connection and each call, and a few of the rooms' own. */
	service->loop = loop_open((size_t)(door_max + service->config.max_in_flight + 8));
	if (!service->loop || !loop_catch_signals(service->loop, stop_signals, on_signal, service))
		return false;
	service->upstream = upstream_open(service->loop, &service->config, upstream_max, ret_fault);
	if (!service->upstream)
		return false;
	service->gateway.session = (struct session){&service->config, service->upstream};
	service->stop_timer.on_fire = on_stop_timer;
	service->door = fastcgi_open(service->loop, &service->gateway, &service->listener,
				     (size_t)door_max, on_drained, service);
	return service->door != NULL;
}

static void log_start(const struct service *service)
{
	struct log_line line;

	log_open(&line, LOG_INFO, "start");
	log_str(&line, "version", VERSION);
	log_str(&line, "listen",
		service->options->listen ? service->options->listen : "a socket handed over");
	log_str(&line, "token_url", service->config.token_url);
	log_int(&line, "workers", service->options->workers);
	log_int(&line, "pid", getpid());
	log_close(&line);
}

static int run_loop(void *context)
{
	struct service *service = context;
	const char *fault;
	bool has_run = false;

	if (build(service, &fault)) {
		if (service->options->workers == 1)
			log_start(service);
		has_run = loop_run(service->loop);
	} else {
		log_event(LOG_CRIT, "start_failed", fault ? fault : strerror(errno));
	}
	/* Calls end before the exchanges that wait for them. */
	upstream_close(service->upstream);
	fastcgi_close(service->door);
	loop_close(service->loop);
	return has_run ? EX_OK : EX_OSERR;
}

/* ---- start ---- */

struct findings {
	bool has_fault;
	struct buf notices; /* one a line */
};

static void on_finding(void *context, bool is_fault, const char *text)
{
	struct findings *findings = context;

	if (!is_fault)
		buf_printf(&findings->notices, "%s\n", text);
	else if (!findings->has_fault)
		fprintf(stderr, "bakrypt-login: %s\n", text);
	findings->has_fault |= is_fault;
}

/* What is worth knowing of the settings, but no fault, goes to the log. */
static void log_notices(struct findings *findings)
{
	char *line = findings->notices.data;
	char *end;

	for (; line && (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		log_event(LOG_WARN, "setting_notice", line);
	}
}

static bool load_settings(struct service *service)
{
	struct findings findings = {0};
	bool is_loaded;

	buf_init(&findings.notices, SETTINGS_FILE_MAX_BYTES);
	is_loaded =
		config_load(&service->config, service->options->config_file, on_finding, &findings);
	if (is_loaded) {
		log_set_level(service->config.log_level);
		log_notices(&findings);
	}
	buf_clear(&findings.notices);
	return is_loaded;
}

/* The socket that the program was started with. EX_OK, or the exit status after a line that says
 * why not; so too with open_door(). */
static int find_door(struct service *service)
{
	const char *complaint = NULL;

	switch (listener_find(&service->listener, &complaint)) {
	case 1:
		return EX_OK;
	case 0:
		fputs("bakrypt-login: no socket was handed over; start it with --listen "
		      "/path/to.sock or --listen HOST:PORT, or see --help\n",
		      stderr);
		return EX_USAGE;
	default:
		fprintf(stderr, "bakrypt-login: %s\n", complaint);
		return EX_CONFIG;
	}
}

static int open_door(struct service *service)
{
	char fault[512];

	if (listener_open(&service->listener, service->options->listen,
			  service->options->socket_group, fault, sizeof(fault)))
		return EX_OK;
	fprintf(stderr, "bakrypt-login: %s\n", fault);
	return EX_CONFIG;
}

static void remove_path(void *context)
{
	struct service *service = context;

	listener_unlink(&service->listener);
}

static int run_workers(struct service *service)
{
	log_start(service);
	return workers_run(service->options->workers, run_loop, remove_path, service);
}

/* From the first moment on a signal means an end in order: it waits until the loop, or the parent
 * of the loops, takes it. */
static void hold_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	for (const int *signal = stop_signals; *signal; signal++)
		sigaddset(&signals, *signal);
	sigprocmask(SIG_BLOCK, &signals, NULL);
}

static int serve(const struct options *options)
{
	struct service service = {.options = options, .listener.fd = -1};
	int status = options->listen ? EX_OK : find_door(&service);

	hold_signals();
	if (status == EX_OK && !load_settings(&service))
		status = EX_CONFIG;
	if (status == EX_OK && options->listen)
		status = open_door(&service);
	if (status == EX_OK) {
		status = options->workers == 1 ? run_loop(&service) : run_workers(&service);
		log_event(LOG_INFO, "stop", NULL);
	}
	listener_unlink(&service.listener);
	listener_close(&service.listener);
	config_clear(&service.config);
	return status;
}

/* ---- the other actions ---- */

static void print_finding(void *context, bool is_fault, const char *text)
{
	(void)context;
	printf("%s  %s\n", is_fault ? "fail" : "warn", text);
}

static int check(const struct options *options)
{
	struct config config;
	bool is_good = config_load(&config, options->config_file, print_finding, NULL);

	if (is_good) {
		config_print(&config, stdout);
		puts("ok    the settings are complete");
	}
	config_clear(&config);
	return is_good ? EX_OK : EX_CONFIG;
}

static int print_version(const struct options *options)
{
	(void)options;
	printf("bakrypt-login " VERSION "\n%s\n", upstream_version());
	return EX_OK;
}

static int print_help(const struct options *options);

static const struct {
	struct option option;
	const char *argument;
	const char *help;
	int (*action)(const struct options *options);
} option_table[] = {
	{{"listen", required_argument, NULL, 'l'},
	 " ADDRESS",
	 "open a FastCGI socket: /path/to.sock, HOST:PORT or [IPV6]:PORT",
	 NULL},
	{{"socket-group", required_argument, NULL, 'g'},
	 " GROUP",
	 "who besides us may use /path/to.sock (its mode is 0660)",
	 NULL},
	{{"workers", required_argument, NULL, 'w'}, " N", "loops, as processes (1)", NULL},
	{{"config", required_argument, NULL, 'c'},
	 " FILE",
	 "read settings from FILE, not from $BAKRYPT_CONFIG",
	 NULL},
	{{"check", no_argument, NULL, 'k'}, "", "read the settings, say what is wrong", check},
	{{"help", no_argument, NULL, 'h'}, "", "this text", print_help},
	{{"version", no_argument, NULL, 'V'},
	 "",
	 "versions of the program and of libcurl",
	 print_version},
};

#define OPTION_COUNT (sizeof(option_table) / sizeof(option_table[0]))

static int print_help(const struct options *options)
{
	(void)options;
	puts("bakrypt-login [OPTION...]\n"
	     "Takes POST /login from a web server by FastCGI, adds the client secret, and answers\n"
	     "with Bakrypt's token. Without --listen it serves the socket it was started with\n"
	     "(systemd, spawn-fcgi, lighttpd).\n\nOptions:");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char left[40];
		snprintf(left, sizeof(left), "--%s%s", option_table[i].option.name,
			 option_table[i].argument);
		printf("  %-22s %s\n", left, option_table[i].help);
	}
	puts("\nSettings, from the environment or a file of NAME=value lines (the environment "
	     "wins):");
	config_print_help(stdout);
	return EX_OK;
}

static bool read_workers(const char *text, long *ret_workers)
{
	char *end;
	long workers = strtol(text, &end, 10);

	if (*end || end == text || workers < 1 || workers > WORKERS_MAX) {
		fprintf(stderr, "bakrypt-login: --workers takes a number from 1 to %d\n",
			WORKERS_MAX);
		return false;
	}
	*ret_workers = workers;
	return true;
}

static bool take_option(struct options *options, int letter, const char *argument)
{
	switch (letter) {
	case 'l':
		options->listen = argument;
		return true;
	case 'g':
		options->socket_group = argument;
		return true;
	case 'c':
		options->config_file = argument;
		return true;
	case 'w':
		return read_workers(argument, &options->workers);
	default:
		for (size_t i = 0; i < OPTION_COUNT; i++) {
			if (option_table[i].option.val == letter)
				options->action = option_table[i].action;
		}
		return letter != '?'; /* getopt has said what is wrong */
	}
}

static bool read_options(struct options *options, int argc, char **argv)
{
	struct option longs[OPTION_COUNT + 1] = {0};
	int letter;

	for (size_t i = 0; i < OPTION_COUNT; i++)
		longs[i] = option_table[i].option;
	while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (!take_option(options, letter, optarg))
			return false;
	}
	if (optind == argc)
		return true;
	fprintf(stderr, "bakrypt-login: \"%s\" is no option; see --help\n", argv[optind]);
	return false;
}

int main(int argc, char **argv)
{
	struct options options = {.workers = 1, .action = serve};

	memory_protect();
	signal(SIGPIPE, SIG_IGN);
	if (!read_options(&options, argc, argv))
		return EX_USAGE;
	return options.action(&options);
}
