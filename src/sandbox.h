/*
 * Confinement: what the process gives up, for good, once it is ready to serve.
 *
 * Floor 1. It depends on no service manager, so that by CGI, too, whoever takes the program over
 * finds it without other programs, other people's files, and a way to become anybody else. Three
 * layers, each where the kernel has it: no new privileges, a seccomp filter (sandbox_filter.c says
 * which system calls, and why), and Landlock: a few files to be read, none to be written, no TCP
 * port to be opened, no signal to others.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>

#include "config.h"

enum sandbox_role {
	SANDBOX_LOOP,   /* serves logins, or makes one */
	SANDBOX_PARENT, /* starts loops, which enter by themselves; reads every file */
};

struct sandbox_plan {
	enum sandbox_role role;
	const struct config *config; /* borrowed */
	bool has_reload; /* settings and secret are read again: they and their folders stay open */
	const char *socket; /* to be removed at the end, with lookalikes in its folder; or NULL */
};

struct sandbox {
	char in_force[40];   /* "seccomp, Landlock 7", or less, or "off" */
	const char *missing; /* a sentence about what this system lacks; NULL: nothing */
};

/* Enters, as far as the kernel can and BAKRYPT_SANDBOX allows. What is called again later is opened
 * before: the socket, libcurl. It may be called before fork() as parent and after it as loop. Takes
 * about 0.3 ms. */
struct sandbox sandbox_enter(const struct sandbox_plan *plan);

/* One of the files by which names are looked up that is there, but new since sandbox_enter(), so
 * that it cannot be read; a constant. NULL: there is none. */
const char *sandbox_find_hidden(void);

#endif
