#include "memory.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif
#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ceilings.h"

/* Deeper than the program and its libraries ever are, and less than the gap that the kernel keeps
 * below a stack (1 MB, stack_guard_gap): nothing else is there. */
#define STACK_MAX_BYTES ((size_t)512 * 1024)

#ifdef __x86_64__
#define PAGE_MAX_BYTES ((size_t)4096)
#else
#define PAGE_MAX_BYTES ((size_t)65536)
#endif

/* The sanitizers bring an allocator of their own, and read the process by ptrace. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

/* glibc's own, exported for exactly this. */
extern void *__libc_malloc(size_t size); /* NOLINT(bugprone-reserved-identifier) */
extern void __libc_free(void *block);    /* NOLINT(bugprone-reserved-identifier) */

/* Blocks above this are looked at before they are wiped. */
#define STEP_BYTES ((size_t)1024)

/*
 * How much of a block there is to be wiped. The libraries ask for 8 to 17 KB where they use a few
 * hundred bytes; what was wiped before, or never touched, is zero. It is not written again: pages
 * that only ever held zeros take no memory (a login in flight takes 22 KB instead of 54), and the
 * cache keeps what it had.
 */
static size_t used_bytes(const char *block, size_t size)
{
	static const char zeros[STEP_BYTES];

	while (size > STEP_BYTES && memcmp(block + size - STEP_BYTES, zeros, STEP_BYTES) == 0)
		size -= STEP_BYTES;
	return size;
}

/* What is lent where malloc() has nothing left. Untouched it takes no memory. */
static struct {
	_Alignas(max_align_t) char bytes[RESERVE_BYTES];
	size_t used;
	size_t blocks;   /* that are not given back yet */
	bool is_touched; /* since memory_lend() */
} reserve;

/* No other thread is to be lent anything. */
static _Thread_local bool is_lending;

static _Atomic unsigned long refusals;

static bool is_lent(const void *block)
{
	return (uintptr_t)block - (uintptr_t)reserve.bytes < sizeof(reserve.bytes);
}

/* Each block has its size before it. */
static void *lend(size_t size)
{
	const size_t head = sizeof(max_align_t);
	size_t room = sizeof(reserve.bytes) - reserve.used;
	char *block = reserve.bytes + reserve.used + head;

	if (size > room || (size + 2 * head - 1) / head * head > room)
		return NULL;
	size = (size + head - 1) / head * head;
	memcpy(block - head, &size, sizeof(size));
	reserve.used += head + size;
	reserve.blocks++;
	reserve.is_touched = true;
	return block;
}

static size_t size_of(void *block)
{
	size_t size;

	if (!is_lent(block))
		return malloc_usable_size(block);
	memcpy(&size, (char *)block - sizeof(max_align_t), sizeof(size));
	return size;
}

void memory_lend(void)
{
	if (reserve.blocks == 0)
		reserve.used = 0;
	reserve.is_touched = false;
	is_lending = true;
}

bool memory_has_lent(void)
{
	is_lending = false;
	return reserve.is_touched;
}

unsigned long memory_refusals(void)
{
	return refusals;
}

void *malloc(size_t size)
{
	void *block = __libc_malloc(size);

	if (block)
		return block;
	refusals++;
	return is_lending ? lend(size) : NULL;
}

void free(void *block)
{
	if (!block)
		return;
	explicit_bzero(block, used_bytes(block, size_of(block)));
	if (is_lent(block))
		reserve.blocks--;
	else
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

	size_t had = size_of(block);
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

void memory_protect(void)
{
}

void memory_lend(void)
{
}

bool memory_has_lent(void)
{
	return false;
}

unsigned long memory_refusals(void)
{
	return 0;
}

#endif

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t whole_pages(size_t bytes)
{
	return (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
}

char *memory_kept_new(size_t bytes)
{
	const size_t guard = page_bytes();
	const size_t size = whole_pages(bytes);
	char *all = mmap(NULL, size + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (all == MAP_FAILED)
		return NULL;
	if (mprotect(all + guard, size, PROT_READ | PROT_WRITE) == 0 &&
	    madvise(all + guard, size, MADV_DONTDUMP) == 0)
		return all + guard;
	munmap(all, size + 2 * guard);
	return NULL;
}

void memory_kept_free(char *kept, size_t bytes)
{
	const size_t guard = page_bytes();

	if (!kept)
		return;
	explicit_bzero(kept, bytes);
	munmap(kept - guard, whole_pages(bytes) + 2 * guard);
}

bool memory_kept_lock(const char *kept, size_t bytes)
{
	return mlock(kept, whole_pages(bytes)) == 0;
}

/* The pages below the one that is in use go back to the kernel: a write would touch them all. */
static __attribute__((noinline)) void discard_deep_stack(void)
{
	char *end = __builtin_frame_address(0);

	end -= (uintptr_t)end % page_bytes() + page_bytes();
	madvise(end - STACK_MAX_BYTES, STACK_MAX_BYTES, MADV_DONTNEED);
}

static __attribute__((noinline)) void wipe_near_stack(void)
{
	char frame[3 * PAGE_MAX_BYTES];

	explicit_bzero(frame, sizeof(frame));
}

#ifdef __x86_64__

/* As the processor sets itself up: all zero, but for two control words of rounding and faults
 * (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 10.5.1 and 13.4). */
static const struct {
	_Alignas(64) uint16_t x87_control;
	uint8_t zeros[22];
	uint32_t mxcsr;
	uint8_t more_zeros[4096 - 28];
} initial_registers = {.x87_control = 0x037f, .mxcsr = 0x1f80};

/* SSE, the upper halves of AVX, and AVX-512's three parts: those that there are. */
#define VECTOR_REGISTERS 0xe6

static __attribute__((noinline, target("xsave"))) void clear_vector_registers(void)
{
	_fxrstor64((void *)&initial_registers);
	if (__builtin_cpu_supports("avx"))
		_xrstor64((void *)&initial_registers, VECTOR_REGISTERS);
}

#else

/* Other processors' are left as they are. */
static void clear_vector_registers(void)
{
}

#endif

void memory_wipe_remains(void)
{
	discard_deep_stack();
	wipe_near_stack();
	clear_vector_registers();
}

/* Pages of a library or the program itself that are only read: the kernel has them in its cache,
 * and brings back what is wanted again. */
static int let_go(struct dl_phdr_info *object, size_t size, void *context)
{
	const uintptr_t page = page_bytes();

	(void)size;
	(void)context;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		uintptr_t begin = (object->dlpi_addr + part->p_vaddr) & ~(page - 1);
		uintptr_t end = object->dlpi_addr + part->p_vaddr + part->p_filesz;

		if (part->p_type == PT_LOAD && !(part->p_flags & PF_W))
			madvise((void *)begin, end - begin, MADV_DONTNEED);
	}
	return 0;
}

void memory_trim(void)
{
	malloc_trim(0);
	dl_iterate_phdr(let_go, NULL);
}
