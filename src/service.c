#include "service.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "ceilings.h"
#include "cgi.h"
#include "config.h"
#include "fastcgi.h"
#include "gateway.h"
#include "listener.h"
#include "log.h"
#include "loop.h"
#include "memory.h"
#include "sandbox.h"
#include "upstream.h"
#include "workers.h"

/* SIGUSR1 is how multiwatch asks for the end, SIGHUP how everybody asks for new settings. */
static const int signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP, 0};

/* Timers besides those of connections and calls: the door's pause, the stop. */
#define OTHER_TIMERS 8

/* Settings, and the upstream they lead to. After a reload the calls under way end with those they
 * began with. */
struct backend {
	LIST_ENTRY(backend) entry; /* in service->backends once its upstream is open */
	struct service *service;
	struct config config;
	struct upstream *upstream; /* NULL before the loop is there */
	struct session session;
};

/* One process's loop, and what is on it. */
struct service {
	const struct service_options *options;
	struct listener listener;
	struct loop *loop;
	struct backend *backend; /* the one in force; NULL: the settings are bad */
	LIST_HEAD(backend_list, backend) backends;
	struct gateway gateway;
	struct fastcgi *door;
	struct loop_timer refuse_timer;
	struct loop_timer stop_timer;
	struct loop_timer renew_timer;
	bool is_outdated;    /* names are not found until the program is started anew */
	long upstream_max;   /* descriptors for a backend */
	size_t timers_taken; /* by connections and all backends */
	struct sandbox sandbox;
	char complaint[512]; /* the first fault of the settings */
};

/* ---- settings ---- */

struct findings {
	char *complaint; /* the first fault */
	size_t complaint_size;
	struct buf notices; /* one a line */
};

static void on_finding(void *context, bool is_fault, const char *text)
{
	struct findings *findings = context;

	if (!is_fault)
		buf_printf(&findings->notices, "%s\n", text);
	else if (*findings->complaint == '\0')
		snprintf(findings->complaint, findings->complaint_size, "%s", text);
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

/* Ends its calls. It was opened. */
static void backend_close(struct backend *backend)
{
	session_close(&backend->session);
	upstream_close(backend->upstream);
	backend->upstream = NULL;
	LIST_REMOVE(backend, entry);
}

static void backend_free(struct backend *backend)
{
	if (!backend)
		return;
	if (backend->upstream)
		backend_close(backend);
	config_clear(&backend->config);
	free(backend);
}

/* Reads the settings. NULL after a fault, with service->complaint. */
static struct backend *backend_load(struct service *service)
{
	struct findings findings = {.complaint = service->complaint,
				    .complaint_size = sizeof(service->complaint)};
	struct backend *backend = calloc(1, sizeof(*backend));

	service->complaint[0] = '\0';
	if (!backend) {
		on_finding(&findings, true, "not enough memory for the settings");
		return NULL;
	}
	backend->service = service;
	buf_init(&findings.notices, SETTINGS_FILE_MAX_BYTES);
	if (config_load(&backend->config, service->options->config_file,
			service->backend ? &service->backend->config : NULL, on_finding,
			&findings)) {
		log_set_level(backend->config.log_level);
		log_notices(&findings);
	} else {
		backend_free(backend);
		backend = NULL;
	}
	buf_clear(&findings.notices);
	return backend;
}

/* Once for all workers: what the kernel refuses to the parent, it refuses to them as well. */
static void log_lock(const struct backend *backend)
{
	if (backend && !secret_lock(&backend->config.client_secret))
		log_event(LOG_WARN, "setting_notice",
			  "the client secret may be written to swap space, since memory cannot be "
			  "locked; raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)");
}

static size_t backend_timers(const struct backend *backend)
{
	return UPSTREAM_TIMERS(&backend->config) + SESSION_TIMERS;
}

/* Whether somebody starts the program, or this loop of it, again when it ends: the parent of
 * several loops, or systemd, whose socket stays open meanwhile. */
static bool is_restarted(const struct service *service)
{
	return service->options->workers > 1 ||
	       (!service->listener.is_ours && service->listener.fd > STDERR_FILENO);
}

/* A network service may put a new file in the place of one by which names are looked up, and to the
 * sandbox that is a stranger's. */
static void on_unknown_name(void *context)
{
	struct service *service = context;
	const char *hidden = service->is_outdated ? NULL : sandbox_find_hidden();
	char note[128];

	if (!hidden)
		return;
	service->is_outdated = true;
	snprintf(note, sizeof(note), "%s is new since the start, and closed; %s", hidden,
		 is_restarted(service) ? "starting anew" : "restart the program");
	log_event(LOG_ERROR, "sandbox", note);
	if (is_restarted(service))
		loop_timer_set(service->loop, &service->renew_timer, 0);
}

/* Gives it its upstream. *ret_fault says why not, or is NULL if errno does. */
static bool backend_open(struct backend *backend, const char **ret_fault)
{
	struct service *service = backend->service;
	size_t timers = service->timers_taken + backend_timers(backend);
	long connections_max = service->upstream_max;

	*ret_fault = NULL;
	if (!loop_reserve(service->loop, timers))
		return false;
	if (connections_max > backend->config.max_in_flight)
		connections_max = backend->config.max_in_flight;
	backend->upstream =
		upstream_open(service->loop, &backend->config, connections_max, ret_fault);
	if (!backend->upstream)
		return false;
	upstream_watch_names(backend->upstream, on_unknown_name, service);
	LIST_INSERT_HEAD(&service->backends, backend, entry);
	service->timers_taken = timers;
	return true;
}

/* Lets the gateway use it from now on. loop: NULL where there is one request, and then an end. */
static void backend_enter(struct backend *backend, struct loop *loop)
{
	struct service *service = backend->service;

	service->backend = backend;
	session_open(&backend->session, &backend->config, backend->upstream, loop);
	service->gateway.session = &backend->session;
	if (service->gateway.closed == FAULT_CONFIG)
		service->gateway.closed = FAULT_NONE;
}

static void on_retired(void *context)
{
	struct backend *backend = context;

	backend->service->timers_taken -= backend_timers(backend);
	backend_free(backend);
}

/* ---- signals ---- */

static void log_reload_refused(const struct service *service)
{
	log_event(LOG_ERROR, "reload_refused", service->complaint);
}

static void log_reload(const struct backend *backend)
{
	struct log_line line;

	log_open(&line, LOG_INFO, "reload");
	log_str(&line, "token_url", backend->config.token_url);
	log_int(&line, "pid", getpid());
	log_close(&line);
}

static void reload(struct service *service)
{
	struct backend *old = service->backend;
	struct backend *backend = backend_load(service);
	const char *fault;

	if (backend && !backend_open(backend, &fault)) {
		snprintf(service->complaint, sizeof(service->complaint), "%s",
			 fault ? fault : strerror(errno));
		backend_free(backend);
		backend = NULL;
	}
	if (!backend) {
		log_reload_refused(service);
		return;
	}
	backend_enter(backend, service->loop);
	if (old) {
		session_retire(&old->session);
		upstream_retire(old->upstream, on_retired, old);
	}
	log_reload(backend);
}

/* In the parent of the workers: for those that are started later. */
static bool reload_parent(void *context)
{
	struct service *service = context;
	struct backend *backend = backend_load(service);

	if (!backend) {
		log_reload_refused(service);
		return false;
	}
	backend_free(service->backend);
	service->backend = backend;
	return true;
}

static void on_drained(void *context)
{
	struct service *service = context;

	loop_stop(service->loop);
}

/* What comes now could outlast the stop. */
static void on_refuse_timer(struct loop_timer *timer)
{
	struct gateway *gateway = &CONTAINER(timer, struct service, refuse_timer)->gateway;

	gateway->closed = FAULT_STOPPING;
	gateway->closed_note = NULL;
}

static void on_stop_timer(struct loop_timer *timer)
{
	loop_stop(CONTAINER(timer, struct service, stop_timer)->loop);
}

static void stop(struct service *service)
{
	const struct backend *backend = LIST_FIRST(&service->backends);
	long timeout_ms = 0;

	if (service->gateway.is_stopping)
		return;
	service->gateway.is_stopping = true;
	for (; backend; backend = LIST_NEXT(backend, entry)) {
		if (timeout_ms < backend->config.timeout_ms)
			timeout_ms = backend->config.timeout_ms;
	}
	if (service->options->workers == 1)
		listener_unlink(&service->listener);
	loop_timer_set(service->loop, &service->refuse_timer, STOP_SERVES_MS);
	/* Every request ends by its own deadline; this is for a peer that does not take its reply.
	 */
	loop_timer_set(service->loop, &service->stop_timer, (uint64_t)timeout_ms + LINGER_MS);
	fastcgi_stop(service->door);
}

static void on_renew_timer(struct loop_timer *timer)
{
	stop(CONTAINER(timer, struct service, renew_timer));
}

static void on_signal(void *context, int signal)
{
	struct service *service = context;

	if (signal != SIGHUP)
		stop(service);
	else if (!service->gateway.is_stopping)
		reload(service);
}

/* From the first moment on a signal means an end in order: it waits until the loop, or the parent
 * of the loops, takes it. */
static void hold_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (const int *signal = signals; *signal; signal++)
		sigaddset(&set, *signal);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* ---- one loop ---- */

/* The descriptors, shared out: three eighths for the token server's connections, of which a login
 * in flight takes a hundredth over HTTP/2 and one over HTTP/1.1, and what is left for the web
 * server's, which are there between logins too. */
static void share_descriptors(long *ret_upstream, long *ret_door)
{
	struct rlimit limit = {1024, 1024};
	long total;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	getrlimit(RLIMIT_NOFILE, &limit);
	total = limit.rlim_cur > 2 * CONNECTIONS_MAX ? 2 * CONNECTIONS_MAX : (long)limit.rlim_cur;
	total = total > SPARE_FDS + 2 ? total - SPARE_FDS : 2;
	*ret_upstream = total > 2 ? total * 3 / 8 : 1;
	*ret_door = total - *ret_upstream;
	if (*ret_door > CONNECTIONS_MAX)
		*ret_door = CONNECTIONS_MAX;
}

static bool build(struct service *service, const char **ret_fault)
{
	long door_max;

	*ret_fault = NULL;
	share_descriptors(&service->upstream_max, &door_max);
	service->timers_taken = (size_t)door_max + OTHER_TIMERS;
	service->loop = loop_open(service->timers_taken);
	if (!service->loop || !loop_catch_signals(service->loop, signals, on_signal, service))
		return false;
	if (service->backend) {
		if (!backend_open(service->backend, ret_fault))
			return false;
		backend_enter(service->backend, service->loop);
	}
	service->refuse_timer.on_fire = on_refuse_timer;
	service->stop_timer.on_fire = on_stop_timer;
	service->renew_timer.on_fire = on_renew_timer;
	service->door = fastcgi_open(service->loop, &service->gateway, &service->listener,
				     (size_t)door_max, on_drained, service);
	return service->door != NULL;
}

/* All, also those that a reload has left behind. */
static void close_backends(struct service *service)
{
	struct backend *next;

	for (struct backend *backend = LIST_FIRST(&service->backends); backend; backend = next) {
		next = LIST_NEXT(backend, entry);
		if (backend == service->backend)
			backend_close(backend);
		else
			backend_free(backend);
	}
}

/* Without good settings there is no secret to keep. has_reload: the settings are read again. */
static void confine(struct service *service, enum sandbox_role role, bool has_reload)
{
	bool removes_socket = role == SANDBOX_PARENT || service->options->workers == 1;
	const struct sandbox_plan plan = {
		.role = role,
		.config = service->backend ? &service->backend->config : NULL,
		.has_reload = has_reload,
		.socket = removes_socket ? service->listener.path : NULL,
	};

	service->sandbox = (struct sandbox){.in_force = "off"};
	if (plan.config)
		service->sandbox = sandbox_enter(&plan);
}

/* What is not given up, and why, as a sentence; or NULL. */
static const char *find_gap(const struct service *service)
{
	if (service->backend && !service->backend->config.is_sandboxed)
		return "BAKRYPT_SANDBOX is off: nothing is given up";
	return service->sandbox.missing;
}

static void log_start(const struct service *service)
{
	const char *gap = find_gap(service);
	struct log_line line;

	log_open(&line, LOG_INFO, "start");
	log_str(&line, "version", VERSION);
	log_str(&line, "listen",
		service->options->listen ? service->options->listen : "a socket handed over");
	if (service->backend)
		log_str(&line, "token_url", service->backend->config.token_url);
	log_int(&line, "workers", service->options->workers);
	log_str(&line, "sandbox", service->sandbox.in_force);
	log_int(&line, "pid", getpid());
	log_close(&line);
	log_lock(service->backend);
	if (gap)
		log_event(LOG_WARN, "sandbox", gap);
}

/* Systemd is told before: it may listen where the sandbox lets nobody go any more. */
static void begin(struct service *service, enum sandbox_role role)
{
	listener_tell_ready();
	confine(service, role, true);
	log_start(service);
}

static int run_loop(void *context)
{
	struct service *service = context;
	const char *fault;
	bool has_run = false;

	/* A worker has the secret of its parent, but not the lock on it. */
	if (service->backend)
		secret_lock(&service->backend->config.client_secret);
	if (build(service, &fault)) {
		if (service->options->workers == 1)
			begin(service, SANDBOX_LOOP);
		else
			confine(service, SANDBOX_LOOP, true);
		memory_trim();
		has_run = loop_run(service->loop);
	} else {
		log_event(LOG_CRIT, "start_failed", fault ? fault : strerror(errno));
	}
	/* Calls end before the exchanges that wait for them. */
	close_backends(service);
	fastcgi_close(service->door);
	loop_close(service->loop);
	if (service->is_outdated && is_restarted(service))
		return EX_TEMPFAIL;
	return has_run ? EX_OK : EX_OSERR;
}

/* ---- the FastCGI door ---- */

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

static void close_gateway(struct service *service)
{
	service->gateway.closed = FAULT_CONFIG;
	service->gateway.closed_note = service->complaint;
}

/* EX_OK, or EX_CONFIG after a line that says why. mod_fcgid would start the program again and
 * again, and answer with a page of its own: there it serves the fault instead. */
static int load_settings(struct service *service)
{
	service->backend = backend_load(service);
	if (service->backend)
		return EX_OK;
	if (service->listener.is_mod_fcgids) {
		log_event(LOG_CRIT, "config_bad", service->complaint);
		close_gateway(service);
		return EX_OK;
	}
	fprintf(stderr, "bakrypt-login: %s\n", service->complaint);
	return EX_CONFIG;
}

static void remove_path(void *context)
{
	struct service *service = context;

	listener_unlink(&service->listener);
	if (service->listener.is_ours)
		listener_close(&service->listener);
}

static int run_workers(struct service *service)
{
	const struct workers_plan plan = {
		.count = service->options->workers,
		.work = run_loop,
		.before_stop = remove_path,
		.reload = reload_parent,
		.context = service,
	};

	begin(service, SANDBOX_PARENT);
	return workers_run(&plan);
}

int service_run(const struct service_options *options)
{
	struct service service = {.options = options, .listener.fd = -1};
	int status = options->listen ? EX_OK : find_door(&service);

	hold_signals();
	if (status == EX_OK)
		status = load_settings(&service);
	if (status == EX_OK && options->listen)
		status = open_door(&service);
	if (status == EX_OK) {
		status = options->workers == 1 ? run_loop(&service) : run_workers(&service);
		log_event(LOG_INFO, "stop", NULL);
	}
	listener_unlink(&service.listener);
	listener_close(&service.listener);
	backend_free(service.backend);
	return status;
}

/* ---- the CGI door ---- */

/* The loop and the upstream, or a gateway that says why there are none. */
static void build_cgi(struct service *service)
{
	const char *fault = NULL;
	const char *gap;

	service->backend = backend_load(service);
	if (!service->backend) {
		close_gateway(service);
		return;
	}
	service->backend->config.max_in_flight = 1;
	service->upstream_max = 1;
	service->loop = loop_open(OTHER_TIMERS);
	service->timers_taken = OTHER_TIMERS;
	if (service->loop && backend_open(service->backend, &fault)) {
		backend_enter(service->backend, NULL);
		confine(service, SANDBOX_LOOP, false);
		gap = find_gap(service);
		if (gap)
			log_event(LOG_DEBUG, "sandbox", gap);
		return;
	}
	snprintf(service->complaint, sizeof(service->complaint), "%s",
		 fault ? fault : strerror(errno));
	service->gateway.closed = FAULT_NO_MEMORY;
	service->gateway.closed_note = service->complaint;
}

int service_run_cgi(const char *config_file)
{
	const struct service_options options = {.config_file = config_file, .workers = 1};
	struct service service = {.options = &options, .listener.fd = -1};
	struct cgi cgi;

	/* The one request is finished, and has its own deadline. */
	hold_signals();
	build_cgi(&service);
	cgi_serve(&cgi, service.loop, &service.gateway);
	if (!cgi.is_done && !loop_run(service.loop))
		log_event(LOG_CRIT, "start_failed", strerror(errno));
	backend_free(service.backend);
	loop_close(service.loop);
	return EX_OK;
}
