/*
 * Memory that forgets, and a process that leaves no core file.
 *
 * Cellar. libfcgi, libcurl, OpenSSL, nghttp2 and cJSON keep passwords and tokens in buffers of
 * their own, and give them back to malloc unwiped. So this program has its own malloc(), free() and
 * realloc(), which every library in the process uses, and which overwrite before they give back. A
 * secret that stays for as long as the process has pages of its own.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* No core file, no debugger, no /proc/PID/mem for others of the same user. To be called before the
 * first secret is read. */
void memory_protect(void);

/* Pages of their own for at least so many bytes, all zero: in no core file, and between two pages
 * that nobody may touch, so that who reads or writes past the end of other memory does not get
 * there. NULL without memory; to be given to memory_kept_free() with the same size, which wipes. */
char *memory_kept_new(size_t bytes);
void memory_kept_free(char *kept, size_t bytes);

/* Locks them, so that they are never written to swap space. Locks are of one process: after fork()
 * the child asks again. False where the kernel refuses, as by RLIMIT_MEMLOCK; they can be used all
 * the same. */
bool memory_kept_lock(const char *kept, size_t bytes);

/* For a library that ends the process where malloc() fails: from now on, in this thread, malloc()
 * then takes from a reserve of RESERVE_BYTES. */
void memory_lend(void);

/* The end of that. Whether anything came from the reserve: then all that the library has taken is
 * to be freed at once, or there is the less to be lent. */
bool memory_has_lent(void);

/* How often malloc() had nothing, since the start. */
unsigned long memory_refusals(void);

/* Wipes what earlier calls have left in the stack below the caller's frame and, on x86-64, in the
 * vector registers: memcpy() takes text through these, 64 bytes at a time, and a core has them too.
 * For the thread that main() runs in; 20 microseconds. */
void memory_wipe_remains(void);

/* Gives free memory back to the kernel, and lets go of what was touched of the program and its
 * libraries: at the start and where nothing is to do, when the cost does not matter. What is used
 * again costs a fault a page, altogether less than a millisecond. */
void memory_trim(void);

#endif
