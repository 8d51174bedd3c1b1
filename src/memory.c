#include "memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* The sanitizers bring an allocator of their own, and read the process by ptrace. */
#ifndef __SANITIZE_ADDRESS__

/* glibc's own, exported for exactly this. */
extern void __libc_free(void *block); /* NOLINT(bugprone-reserved-identifier) */

void free(void *block)
{
	if (!block)
		return;
	explicit_bzero(block, malloc_usable_size(block));
	__libc_free(block);
}

/* Nothing was written into it: to wipe it would only drive other memory out of the cache. */
static void give_back(void *block)
{
	__libc_free(block);
}

/* Always by way of a new block when it grows: glibc's realloc() leaves the old bytes behind. */
void *realloc(void *block, size_t size)
{
	if (!block)
		return malloc(size);
	if (size == 0) {
		free(block);
		return NULL;
	}

	size_t had = malloc_usable_size(block);
	if (size <= had && size >= had / 2)
		return block;
	void *moved = malloc(size);
	if (!moved)
		return NULL;
	memcpy(moved, block, had < size ? had : size);
	free(block);
	return moved;
}

void memory_protect(void)
{
	const struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
}

#else

static void give_back(void *block)
{
	free(block);
}

void memory_protect(void)
{
}

#endif

bool memory_is_there(size_t bytes)
{
	/* volatile: the compiler takes the pair for useless. */
	void *volatile block = malloc(bytes);
	bool is_there = block != NULL;

	give_back(block);
	return is_there;
}

void memory_trim(void)
{
	malloc_trim(0);
}
