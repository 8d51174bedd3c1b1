/*
 * Memory that forgets, and a process that leaves no core file.
 *
 * Cellar. libfcgi, libcurl, OpenSSL, nghttp2 and cJSON keep passwords and tokens in buffers of
 * their own, and give them back to malloc unwiped. So this program has its own free() and
 * realloc(), which every library in the process uses, and which overwrite before they give back.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* No core file, no debugger, no /proc/PID/mem for others of the same user. To be called before the
 * first secret is read. */
void memory_protect(void);

/* Whether malloc() would give so much in one piece. */
bool memory_is_there(size_t bytes);

/* Gives free memory back to the kernel, and lets go of what was touched of the program and its
 * libraries: at the start and where nothing is to do, when the cost does not matter. What is used
 * again costs a fault a page, altogether less than a millisecond. */
void memory_trim(void);

#endif
