/*
 * bakrypt-login: the options, and what they choose.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ceilings.h"
#include "cgi.h"
#include "config.h"
#include "listener.h"
#include "memory.h"
#include "service.h"
#include "upstream.h"

struct options {
	struct service_options service;
	int (*action)(const struct options *options);
};

static int serve(const struct options *options)
{
	return service_run(&options->service);
}

static void print_finding(void *context, bool is_fault, const char *text)
{
	(void)context;
	printf("%s  %s\n", is_fault ? "fail" : "warn", text);
}

static int check(const struct options *options)
{
	struct config config;
	bool is_good =
		config_load(&config, options->service.config_file, NULL, print_finding, NULL);

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
	     "(systemd, spawn-fcgi, lighttpd), or by CGI the one request it was started for.\n\n"
	     "Options:");
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
		options->service.listen = argument;
		return true;
	case 'g':
		options->service.socket_group = argument;
		return true;
	case 'c':
		options->service.config_file = argument;
		return true;
	case 'w':
		return read_workers(argument, &options->service.workers);
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

/* A descriptor opened later must not take the place of one of these: what is written for the log
 * would go to a client. */
static bool open_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct options options = {.service.workers = 1, .action = serve};

	memory_protect();
	signal(SIGPIPE, SIG_IGN);
	if (!open_standard_descriptors())
		return EX_OSERR;
	if (cgi_is_asked() && !listener_is_handed_over())
		return service_run_cgi(NULL);
	/* A web server's doing: see cgi_is_asked(). */
	if (!read_options(&options, cgi_is_asked() ? 1 : argc, argv))
		return EX_USAGE;
	return options.action(&options);
}
