/*
 * The service: a door, the settings in force and the upstream they lead to, on one loop; what is
 * built and taken down in which order, and what a signal does to it.
 *
 * Floor 5. Called by main() alone.
 */
#ifndef SERVICE_H
#define SERVICE_H

struct service_options {
	const char *listen;       /* an address for listener_open(), or NULL */
	const char *socket_group; /* or NULL */
	const char *config_file;  /* or NULL */
	long workers;
};

/* Serves by FastCGI until a signal ends it. Returns an exit status of sysexits.h, other than EX_OK
 * after one line that says why: EX_USAGE without a socket, EX_CONFIG after a bad setting or with a
 * socket that cannot be used, EX_TEMPFAIL where it has to be started anew, EX_OSERR if the start
 * failed otherwise. */
int service_run(const struct service_options *options);

/* Serves one request by CGI, with an error reply if need be. Returns EX_OK. */
int service_run_cgi(const char *config_file);

#endif
