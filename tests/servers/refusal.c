/*
 * A malloc() that refuses: preloaded into the program under test, the libraries included.
 *
 * The file that REFUSAL_FILE names is mapped and shared with the test, which counts allocations by
 * it and says which ones are refused. REFUSAL_FROM_MAIN has the counting begin with main(), for
 * what is over too soon to be told; before that the loader and the libraries' constructors run,
 * which are nobody's login.
 *
 * Compiled by the Makefile, loaded by LD_PRELOAD. The program has a malloc(), a free() and a
 * realloc() of its own, which come first; they take new blocks by __libc_malloc().
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What refusal.py maps as well. Numbers of allocations count from 1. */
struct orders {
	_Atomic uint64_t is_armed;
	_Atomic uint64_t seen;     /* since it was armed */
	_Atomic uint64_t first;    /* of those to be refused */
	_Atomic uint64_t last;     /* likewise; below first: none */
	_Atomic uint64_t refused;  /* since it was armed */
	_Atomic uint64_t is_asked; /* how much memory is in use */
	_Atomic uint64_t used;     /* the answer, in bytes */
};

static struct orders *orders;

/* Those of the C library, or of a sanitizer. */
static struct {
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t count, size_t size);
	void *(*realloc)(void *block, size_t size);
	void *(*memalign)(size_t alignment, size_t size);
} next;

/* place: of a pointer to a function, which ISO C does not let a void * become. */
static void find(const char *name, void *place)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (!found)
		abort();
	memcpy(place, &found, sizeof(found));
}

/* dlsym() needs no memory where it finds something. */
static void find_next(void)
{
	find("calloc", &next.calloc);
	find("realloc", &next.realloc);
	find("memalign", &next.memalign);
	find("malloc", &next.malloc);
}

static void answer(void)
{
	struct mallinfo2 info;

	if (!atomic_exchange(&orders->is_asked, 0))
		return;
	info = mallinfo2();
	atomic_store(&orders->used, info.uordblks + info.hblkhd);
}

static int is_refused(void)
{
	uint64_t number;

	if (!next.malloc)
		find_next();
	if (!orders)
		return 0;
	if (atomic_load(&orders->is_asked))
		answer();
	if (!atomic_load(&orders->is_armed))
		return 0;
	number = atomic_fetch_add(&orders->seen, 1) + 1;
	if (number < atomic_load(&orders->first) || number > atomic_load(&orders->last))
		return 0;
	atomic_fetch_add(&orders->refused, 1);
	errno = ENOMEM;
	return 1;
}

void *__libc_malloc(size_t size); /* NOLINT(bugprone-reserved-identifier) */

void *__libc_malloc(size_t size)
{
	return is_refused() ? NULL : next.malloc(size);
}

void *malloc(size_t size)
{
	return is_refused() ? NULL : next.malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return is_refused() ? NULL : next.calloc(count, size);
}

void *realloc(void *block, size_t size)
{
	return is_refused() ? NULL : next.realloc(block, size);
}

void *memalign(size_t alignment, size_t size)
{
	return is_refused() ? NULL : next.memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **ret_block, size_t alignment, size_t size)
{
	void *block = memalign(alignment, size);

	if (!block)
		return ENOMEM;
	*ret_block = block;
	return 0;
}

__attribute__((constructor)) static void open_orders(void)
{
	const char *path = getenv("REFUSAL_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		abort();
	orders = map;
}

/* ---- from main() on ---- */

typedef int main_function(int argc, char **argv, char **environment);
typedef int start_function(main_function *main, int argc, char **argv, void (*init)(void),
			   void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

static main_function *real_main;

static int armed_main(int argc, char **argv, char **environment)
{
	int status;

	atomic_store(&orders->is_armed, 1);
	status = real_main(argc, argv, environment);
	atomic_store(&orders->is_armed, 0);
	return status;
}

start_function __libc_start_main; /* NOLINT(bugprone-reserved-identifier) */

/* NOLINTNEXTLINE(bugprone-reserved-identifier) */
int __libc_start_main(main_function *main, int argc, char **argv, void (*init)(void),
		      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	start_function *start;

	find("__libc_start_main", &start);
	real_main = main;
	if (orders && getenv("REFUSAL_FROM_MAIN"))
		main = armed_main;
	return start(main, argc, argv, init, fini, rtld_fini, stack_end);
}
