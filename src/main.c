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
#include "check.h"
#include "config.h"
#include "listener.h"
#include "memory.h"
#include "service.h"
#include "token.h"
#include "upstream.h"

enum command { SERVE = 1, CHECK = 2, TOKEN = 4, HELP = 8, VERSIONS = 16 };

#define EVERY (SERVE | CHECK | TOKEN | HELP | VERSIONS)

struct options {
	enum command command;
	struct service_options service;
	struct check_options check;
	struct token_options token;
};

static int serve(const struct options *options)
{
	return service_run(&options->service);
}

static int check(const struct options *options)
{
	struct check_options check = options->check;

	check.config_file = options->service.config_file;
	return check_run(&check);
}

static int token(const struct options *options)
{
	struct token_options token = options->token;

	token.config_file = options->service.config_file;
	return token_run(&token);
}

static int print_version(const struct options *options)
{
	(void)options;
	printf("bakrypt-login " VERSION "\n%s\n", upstream_version());
	return EX_OK;
}

static int print_help(const struct options *options);

/* What the program can be asked to do. word: as the first argument. */
static const struct {
	enum command command;
	const char *word;
	int (*run)(const struct options *options);
} command_table[] = {
	{SERVE, NULL, serve},     {TOKEN, "token", token},
	{CHECK, NULL, check}, /* by an option; so with the others */
	{HELP, NULL, print_help}, {VERSIONS, NULL, print_version},
};

#define COMMAND_COUNT (sizeof(command_table) / sizeof(command_table[0]))

static const struct {
	struct option option;
	const char *argument;
	const char *help;
	unsigned commands; /* it belongs to */
	enum command asks; /* for this one; 0: for none */
} option_table[] = {
	{{"listen", required_argument, NULL, 'l'},
	 " ADDRESS",
	 "open a FastCGI socket: /path/to.sock, HOST:PORT or [IPV6]:PORT",
	 SERVE,
	 0},
	{{"socket-group", required_argument, NULL, 'g'},
	 " GROUP",
	 "who besides us may use /path/to.sock (its mode is 0660)",
	 SERVE,
	 0},
	{{"workers", required_argument, NULL, 'w'}, " N", "loops, as processes (1)", SERVE, 0},
	{{"config", required_argument, NULL, 'c'},
	 " FILE",
	 "read settings from FILE, not from $BAKRYPT_CONFIG",
	 EVERY,
	 0},
	{{"check", no_argument, NULL, 'k'},
	 "",
	 "try settings and token server, say what is wrong",
	 CHECK,
	 CHECK},
	{{"offline", no_argument, NULL, 'o'}, "", "with --check: the settings alone", CHECK, 0},
	{{"json", no_argument, NULL, 'j'}, "", "with --check: print one JSON object", CHECK, 0},
	{{"user", required_argument, NULL, 'u'},
	 " NAME",
	 "token: whose, else it asks; also -u NAME",
	 TOKEN,
	 0},
	{{"password-file", required_argument, NULL, 'p'},
	 " FILE",
	 "token: read the password from FILE (-: standard input)",
	 TOKEN,
	 0},
	{{"refresh-token-file", required_argument, NULL, 'r'},
	 " FILE",
	 "token: refresh what is in FILE, instead of logging in",
	 TOKEN,
	 0},
	{{"revoke", no_argument, NULL, 'R'},
	 "",
	 "token: revoke what is in --refresh-token-file",
	 TOKEN,
	 0},
	{{"help", no_argument, NULL, 'h'}, "", "this text", EVERY, HELP},
	{{"version", no_argument, NULL, 'V'},
	 "",
	 "versions of the program and of libcurl",
	 EVERY,
	 VERSIONS},
};

#define OPTION_COUNT (sizeof(option_table) / sizeof(option_table[0]))

static int print_help(const struct options *options)
{
	(void)options;
	puts("bakrypt-login [OPTION...]\n"
	     "Takes POST /login from a web server by FastCGI, adds the client secret, and answers\n"
	     "with Bakrypt's token. Without --listen it serves the socket it was started with\n"
	     "(systemd, spawn-fcgi, lighttpd), or by CGI the one request it was started for.\n\n"
	     "bakrypt-login token [OPTION...]\n"
	     "Asks for a password, or reads it from standard input, and prints the token's JSON:\n"
	     "bakrypt-login token -u alice | jq -r .access_token\n\n"
	     "Options:");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char left[40];
		snprintf(left, sizeof(left), "--%s%s", option_table[i].option.name,
			 option_table[i].argument);
		printf("  %-25s %s\n", left, option_table[i].help);
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

static bool take_argument(struct options *options, int letter, const char *argument)
{
	switch (letter) {
	case 'l':
		options->service.listen = argument;
		break;
	case 'g':
		options->service.socket_group = argument;
		break;
	case 'c':
		options->service.config_file = argument;
		break;
	case 'w':
		return read_workers(argument, &options->service.workers);
	case 'o':
		options->check.is_offline = true;
		break;
	case 'j':
		options->check.is_json = true;
		break;
	case 'u':
		options->token.user = argument;
		break;
	case 'p':
		options->token.password_file = argument;
		break;
	case 'r':
		options->token.refresh_token_file = argument;
		break;
	case 'R':
		options->token.is_revocation = true;
		break;
	default:
		break;
	}
	return true;
}

/* The rest of the argument may be a password that somebody gave in the wrong place. */
static bool refuse(const char *argument, const char *complaint)
{
	size_t len = argument[1] == '-' ? strcspn(argument, "=") : 2;

	fprintf(stderr, "bakrypt-login: %.*s %s; see --help\n", (int)len, argument, complaint);
	return false;
}

/* The option that getopt_long() found; OPTION_COUNT if the argument is no option as it stands: it
 * takes the beginning of a name as well, so that --password would be --password-file. */
static size_t find_option(int letter, const char *argument)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const char *name = option_table[i].option.name;

		if (option_table[i].option.val != letter)
			continue;
		if (argument[1] != '-' || (strncmp(argument + 2, name, strlen(name)) == 0 &&
					   strchr("=", argument[2 + strlen(name)])))
			return i;
	}
	return OPTION_COUNT;
}

static bool take_command(struct options *options, const char *word)
{
	for (size_t i = 0; i < COMMAND_COUNT && options->command == SERVE; i++) {
		if (command_table[i].word && strcmp(word, command_table[i].word) == 0) {
			options->command = command_table[i].command;
			return true;
		}
	}
	fputs(options->command == TOKEN
		      ? "bakrypt-login: token takes options alone, and no password; see --help\n"
		      : "bakrypt-login: there is an argument that is no option; see --help\n",
	      stderr);
	return false;
}

/* The options up to the next word that is none, and which commands these belong to. */
static bool take_options(struct options *options, int argc, char **argv, unsigned *commands)
{
	struct option longs[OPTION_COUNT + 1] = {0};
	int at = optind;
	int letter;

	for (size_t i = 0; i < OPTION_COUNT; i++)
		longs[i] = option_table[i].option;
	while ((letter = getopt_long(argc, argv, "+:u:", longs, NULL)) != -1) {
		size_t i = find_option(letter, argv[at]);

		if (letter == ':')
			return refuse(argv[at], "needs an argument");
		if (i == OPTION_COUNT)
			return refuse(argv[at], "is no option, or takes no argument");
		*commands &= option_table[i].commands;
		if (option_table[i].asks)
			options->command = option_table[i].asks;
		if (!take_argument(options, letter, optarg))
			return false;
		at = optind;
	}
	return true;
}

static bool read_options(struct options *options, int argc, char **argv)
{
	unsigned commands = EVERY;

	opterr = 0;
	if (!take_options(options, argc, argv, &commands))
		return false;
	while (optind < argc) {
		if (!take_command(options, argv[optind]))
			return false;
		optind++;
		commands &= options->command;
		if (!take_options(options, argc, argv, &commands))
			return false;
	}
	if (options->command & (commands | HELP | VERSIONS))
		return true;
	fputs("bakrypt-login: these options do not go together; see --help\n", stderr);
	return false;
}

/* Whoever reads an empty report takes it for a good one: what was not written is told. */
static int finish_output(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fputs("bakrypt-login: standard output cannot be written\n", stderr);
	return status == EX_OK ? EX_OSERR : status;
}

static int run(const struct options *options)
{
	size_t i = 0;

	while (command_table[i].command != options->command)
		i++;
	return finish_output(command_table[i].run(options));
}

/* A descriptor opened later must not take the place of one of these: what is written for the log
 * would go to a client. Standard output is opened so that writing to it fails: a token that went
 * nowhere would stay alive. */
static bool open_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		int mode = fd == STDOUT_FILENO ? O_RDONLY : O_RDWR;

		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", mode) < 0)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct options options = {.command = SERVE, .service.workers = 1};

	memory_protect();
	signal(SIGPIPE, SIG_IGN);
	if (!open_standard_descriptors())
		return EX_OSERR;
	if (cgi_is_asked() && !listener_is_handed_over())
		return service_run_cgi(NULL);
	/* A web server's doing: see cgi_is_asked(). */
	if (!read_options(&options, cgi_is_asked() ? 1 : argc, argv))
		return EX_USAGE;
	return run(&options);
}
