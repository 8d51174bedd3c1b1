/* The stack and the registers after they are wiped. What free() leaves is looked for in the running
 * program, by tests/e2e/test_secrets.py. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory.h"

#define STEP_BYTES 4096
#define DEEP_BYTES (256 * 1024)
#define MARK_BYTES 16

/* Of a page of the stack; not on it. */
static char page[STEP_BYTES];

/* The mark itself is nowhere but where it is looked for. */
static char mark_byte(size_t i)
{
	return (char)(0xa0 + i % MARK_BYTES);
}

static size_t count_marks(const char *bytes, size_t len)
{
	size_t found = 0;
	size_t run = 0;

	for (size_t i = 0; i < len; i++) {
		run = bytes[i] == mark_byte(run) ? run + 1 : bytes[i] == mark_byte(0);
		if (run == MARK_BYTES) {
			found++;
			run = 0;
		}
	}
	return found;
}

/* Between the caller's frame and so many bytes below, as the kernel sees it. */
static __attribute__((noinline)) size_t count_marks_below(const char *frame, size_t bytes)
{
	int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	size_t found = 0;

	assert_true(memory >= 0);
	for (const char *at = frame - bytes; at < frame; at += sizeof(page)) {
		ssize_t len = pread(memory, page, sizeof(page), (off_t)(uintptr_t)at);
		if (len > 0)
			found += count_marks(page, (size_t)len);
	}
	close(memory);
	return found;
}

static __attribute__((noinline, no_sanitize("address"))) void leave_marks(size_t bytes)
{
	volatile char frame[DEEP_BYTES];

	for (size_t i = 0; i < bytes; i++)
		frame[sizeof(frame) - bytes + i] = mark_byte(i);
}

static void test_stack_holds_nothing_of_earlier_calls(void **state)
{
	const char *frame = __builtin_frame_address(0);

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	skip(); /* between its frames there is room that none of them writes to */
#endif
	leave_marks(DEEP_BYTES);
	assert_true(count_marks_below(frame, DEEP_BYTES + STEP_BYTES) > 1000);
	memory_wipe_remains();
	assert_int_equal(count_marks_below(frame, DEEP_BYTES + STEP_BYTES), 0);
}

static void test_the_callers_own_frame_is_left_alone(void **state)
{
	volatile char own[8 * STEP_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(own); i++)
		own[i] = mark_byte(i);
	memory_wipe_remains();
	for (size_t i = 0; i < sizeof(own); i++)
		assert_int_equal(own[i], mark_byte(i));
}

#ifdef __x86_64__

/* What no call uses in between: a register that is neither first nor, with AVX-512, among the old
 * sixteen. */
static void test_vector_registers_are_zero(void **state)
{
	char mark[64];
	char after[64];

	(void)state;
	for (size_t i = 0; i < sizeof(mark); i++)
		mark[i] = mark_byte(i);
	__asm__ volatile("movdqu %0, %%xmm13" : : "m"(mark) : "xmm13");
	memory_wipe_remains();
	__asm__ volatile("movdqu %%xmm13, %0" : "=m"(after));
	assert_int_equal(count_marks(after, 16), 0);
	if (!__builtin_cpu_supports("avx512f"))
		return;
	__asm__ volatile("vmovdqu64 %0, %%zmm29" : : "m"(mark));
	memory_wipe_remains();
	__asm__ volatile("vmovdqu64 %%zmm29, %0" : "=m"(after));
	assert_int_equal(count_marks(after, sizeof(after)), 0);
}

static void test_rounding_and_masked_faults_stay_as_they_are_set_at_the_start(void **state)
{
	uint32_t mxcsr = 0;
	uint16_t x87_control = 0;

	(void)state;
	memory_wipe_remains();
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(x87_control));
	assert_int_equal(mxcsr, 0x1f80);
	assert_int_equal(x87_control, 0x037f);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stack_holds_nothing_of_earlier_calls),
		cmocka_unit_test(test_the_callers_own_frame_is_left_alone),
#ifdef __x86_64__
		cmocka_unit_test(test_vector_registers_are_zero),
		cmocka_unit_test(test_rounding_and_masked_faults_stay_as_they_are_set_at_the_start),
#endif
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
