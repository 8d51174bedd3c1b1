/* Buffers: their ceilings, and that a secret leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"

/* The last regions that were wiped, oldest first. */
static struct {
	const void *data;
	size_t len;
} wiped[16];
static size_t wiped_count;

/* Stands in for glibc's, under its plain and its fortified name, and keeps a record. */
void explicit_bzero(void *data, size_t len)
{
	volatile unsigned char *bytes = data;

	for (size_t i = 0; i < len; i++)
		bytes[i] = 0;
	wiped[wiped_count % 16].data = data;
	wiped[wiped_count++ % 16].len = len;
}

/* NOLINTNEXTLINE(bugprone-reserved-identifier) */
void __explicit_bzero_chk(void *data, size_t len, size_t size);
/* NOLINTNEXTLINE(bugprone-reserved-identifier) */
void __explicit_bzero_chk(void *data, size_t len, size_t size)
{
	(void)size;
	explicit_bzero(data, len);
}

/* Whether just that region was wiped of late. */
static bool was_wiped(const void *data, size_t len)
{
	for (size_t i = 0; i < 16; i++) {
		if (wiped[i].data == data && wiped[i].len == len)
			return true;
	}
	return false;
}

static bool is_zero(const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i])
			return false;
	}
	return true;
}

static int forget_wipes(void **state)
{
	(void)state;
	memset(wiped, 0, sizeof(wiped));
	wiped_count = 0;
	return 0;
}

static void test_empty_buffer_is_empty_text(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_null(b.data);
	assert_string_equal(buf_str(&b), "");
	assert_true(buf_append(&b, NULL, 0));
	assert_null(b.data);
	buf_clear(&b);
	buf_clear(NULL);
}

static void test_append_adds_and_terminates(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_true(buf_append(&b, "a\0b", 3));
	assert_true(buf_append_str(&b, "cd"));
	assert_int_equal(b.len, 5);
	assert_memory_equal(buf_str(&b), "a\0bcd", 6);
	buf_clear(&b);
	assert_null(b.data);
	assert_int_equal(b.max, 100);
}

static void test_ceiling_is_exact(void **state)
{
	static const struct {
		size_t max, first, second;
		bool is_taken;
	} rows[] = {
		{0, 0, 0, true},      {0, 0, 1, false},       {1, 0, 1, true},
		{1, 1, 1, false},     {1, 1, 0, true},        {200, 0, 200, true},
		{200, 0, 201, false}, {200, 199, 1, true},    {200, 199, 2, false},
		{200, 128, 72, true}, {200, 200, 200, false},
	};
	static const char bytes[300];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b;
		buf_init(&b, rows[i].max);
		assert_true(buf_append(&b, bytes, rows[i].first));
		assert_int_equal(buf_append(&b, bytes, rows[i].second), rows[i].is_taken);
		assert_int_equal(b.len, rows[i].first + (rows[i].is_taken ? rows[i].second : 0));
		assert_true(b.cap <= rows[i].max + 1);
		buf_clear(&b);
	}
}

static void test_refused_append_changes_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 5);
	assert_true(buf_append_str(&b, "abc"));
	assert_false(buf_append_str(&b, "def"));
	assert_false(buf_printf(&b, "%d", 123));
	assert_string_equal(buf_str(&b), "abc");
	assert_true(buf_printf(&b, "%d", 12));
	assert_string_equal(buf_str(&b), "abc12");
	buf_clear(&b);
}

static void test_printf_takes_any_length(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, SIZE_MAX);
	assert_true(buf_printf(&b, "%s", ""));
	assert_true(buf_printf(&b, "%d-%s", 7, "x"));
	assert_true(buf_printf(&b, "%5000d", 1));
	assert_int_equal(b.len, 5003);
	assert_memory_equal(buf_str(&b), "7-x   ", 6);
	assert_int_equal(strlen(buf_str(&b)), 5003);
	buf_clear(&b);
}

static void test_growth_is_amortised(void **state)
{
	size_t moves = 0;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	for (size_t i = 0; i < 1 << 20; i++) {
		size_t cap_before = b.cap;
		assert_true(buf_append(&b, "x", 1));
		moves += b.cap != cap_before;
	}
	assert_true(moves < 20);
	assert_false(buf_append(&b, "x", 1));
	buf_clear(&b);
}

static void test_secret_grows_by_a_wiped_move(void **state)
{
	struct secret s;
	char bytes[1000];

	(void)state;
	memset(bytes, 'p', sizeof(bytes));
	secret_init(&s, sizeof(bytes));
	assert_true(secret_append_str(&s, "hunter2"));
	const char *old = secret_str(&s);
	size_t old_cap = s.buf.cap;
	assert_true(secret_append(&s, bytes, 900));
	assert_ptr_not_equal(secret_str(&s), old);
	assert_true(was_wiped(old, old_cap));
	assert_int_equal(secret_len(&s), 907);
	assert_memory_equal(secret_str(&s), "hunter2ppp", 10);
	secret_clear(&s);
}

static void test_secret_clear_wipes_all_it_owns(void **state)
{
	struct secret s;

	(void)state;
	secret_init(&s, 100);
	assert_true(secret_append_str(&s, "hunter2"));
	const char *old = secret_str(&s);
	size_t old_cap = s.buf.cap;
	secret_clear(&s);
	assert_true(was_wiped(old, old_cap));
	assert_string_equal(secret_str(&s), "");
	assert_int_equal(s.buf.max, 100);
	secret_clear(&s);
	secret_clear(NULL);
}

static void test_secret_truncate_wipes_the_rest(void **state)
{
	struct secret s;

	(void)state;
	secret_init(&s, 100);
	secret_truncate(&s, 0);
	assert_true(secret_append_str(&s, "user:hunter2"));
	secret_truncate(&s, 12);
	secret_truncate(&s, 99);
	assert_string_equal(secret_str(&s), "user:hunter2");
	secret_truncate(&s, 4);
	assert_string_equal(secret_str(&s), "user");
	assert_true(was_wiped(s.buf.data + 4, 8));
	assert_true(is_zero(s.buf.data + 4, 9));
	secret_clear(&s);
}

static void test_secret_set_replaces(void **state)
{
	struct secret s;

	(void)state;
	secret_init(&s, 8);
	assert_true(secret_set(&s, "hunter2", 7));
	assert_true(secret_set(&s, "a\0b", 3));
	assert_int_equal(secret_len(&s), 3);
	assert_true(is_zero(s.buf.data + 3, 5));
	assert_false(secret_set(&s, "much too long", 13));
	assert_int_equal(secret_len(&s), 0);
	assert_string_equal(secret_str(&s), "");
	assert_true(is_zero(s.buf.data, 8));
	secret_clear(&s);
}

static void test_secret_refused_append_changes_nothing(void **state)
{
	struct secret s;

	(void)state;
	secret_init(&s, 5);
	assert_true(secret_append_str(&s, "abc"));
	assert_false(secret_append_str(&s, "def"));
	assert_string_equal(secret_str(&s), "abc");
	assert_true(secret_append(&s, NULL, 0));
	secret_clear(&s);
}

static void test_secret_is_written_in_place(void **state)
{
	struct secret s;

	(void)state;
	secret_init(&s, 300);
	assert_true(secret_reserve(&s, 0));
	assert_non_null(secret_end(&s));
	assert_true(secret_reserve(&s, 200));
	memcpy(secret_end(&s), "abcd", 4);
	secret_added(&s, 3);
	assert_string_equal(secret_str(&s), "abc");
	assert_true(secret_reserve(&s, 297));
	assert_memory_equal(secret_str(&s), "abc", 4);
	assert_false(secret_reserve(&s, 298));
	secret_clear(&s);
}

static void test_secret_added_stays_inside(void **state)
{
	struct secret s;

	(void)state;
	secret_init(&s, 20);
	secret_added(&s, 5); /* nothing was reserved */
	assert_int_equal(secret_len(&s), 0);
	assert_true(secret_reserve(&s, 10));
	memset(secret_end(&s), 'x', 10);
	secret_added(&s, SIZE_MAX);
	assert_true(secret_len(&s) < s.buf.cap);
	secret_clear(&s);
}

static void test_absurd_lengths_are_refused(void **state)
{
	static const size_t lengths[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 3, SIZE_MAX - 4};
	struct secret s;

	(void)state;
	secret_init(&s, SIZE_MAX);
	assert_true(secret_append_str(&s, "abcd"));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		assert_false(secret_reserve(&s, lengths[i]));
	assert_string_equal(secret_str(&s), "abcd");
	secret_clear(&s);
}

static void test_move_hands_over_and_wipes(void **state)
{
	struct secret from, to;

	(void)state;
	secret_init(&from, 50);
	secret_init(&to, 10);
	assert_true(secret_append_str(&from, "new"));
	assert_true(secret_append_str(&to, "old"));
	const char *data = secret_str(&from);
	const char *old = secret_str(&to);
	size_t old_cap = to.buf.cap;
	secret_move(&to, &from);
	assert_ptr_equal(secret_str(&to), data);
	assert_int_equal(to.buf.max, 50);
	assert_true(was_wiped(old, old_cap));
	assert_int_equal(secret_len(&from), 0);
	assert_null(from.buf.data);
	secret_move(&to, &to);
	assert_string_equal(secret_str(&to), "new");
	secret_clear(&to);
	secret_clear(&from);
}

/* What /proc/self/smaps says of the mapping that begins at an address, or ends there: its rights
 * ("rw-p") and its flags. */
struct mapping {
	char rights[8];
	char flags[128];
};

static struct mapping find_mapping(const char *at, bool is_end)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	struct mapping found = {0};
	char line[512];
	bool is_it = false;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		void *start, *end;
		char rights[8];

		if (sscanf(line, "%p-%p %7s", &start, &end, rights) == 3) {
			is_it = (is_end ? end : start) == (const void *)at;
			if (is_it)
				memcpy(found.rights, rights, sizeof(rights));
		}
		if (is_it)
			sscanf(line, "VmFlags: %127[^\n]", found.flags);
	}
	fclose(maps);
	return found;
}

/* The sanitizers put an mlock() that does nothing in the place of glibc's. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_LOCK false
#else
#define CAN_LOCK true
#endif

static bool is_locked(const char *kept)
{
	return strstr(find_mapping(kept, false).flags, "lo") != NULL;
}

static void test_kept_secret_is_locked_and_in_no_core(void **state)
{
	struct secret s;
	struct mapping mapping;

	(void)state;
	secret_init(&s, 100);
	assert_false(secret_lock(&s));
	assert_true(secret_set(&s, "hunter2", 7));
	const char *old = secret_str(&s);
	size_t old_cap = s.buf.cap;
	assert_true(secret_keep(&s));
	assert_true(was_wiped(old, old_cap));
	assert_string_equal(secret_str(&s), "hunter2");
	assert_int_equal(secret_len(&s), 7);

	const char *kept = secret_str(&s);
	mapping = find_mapping(kept, false);
	assert_string_equal(mapping.rights, "rw-p");
	assert_int_equal(is_locked(kept), CAN_LOCK);
	assert_non_null(strstr(mapping.flags, "dd"));
	assert_string_equal(find_mapping(kept, true).rights, "---p");
	assert_string_equal(find_mapping(kept + sysconf(_SC_PAGESIZE), false).rights, "---p");

	assert_true(secret_keep(&s));
	assert_ptr_equal(secret_str(&s), kept);
	secret_clear(&s);
	assert_true(was_wiped(kept, 8));
	assert_int_equal(secret_len(&s), 0);
	assert_string_equal(find_mapping(kept, false).rights, "");
}

static void test_kept_secret_stays_where_it_is(void **state)
{
	struct secret s, other;

	(void)state;
	secret_init(&s, 100);
	secret_init(&other, 100);
	assert_true(secret_set(&s, "hunter2", 7));
	assert_true(secret_keep(&s));
	assert_false(secret_append(&s, "x", 1));
	assert_string_equal(secret_str(&s), "hunter2");

	const char *kept = secret_str(&s);
	secret_move(&other, &s);
	assert_ptr_equal(secret_str(&other), kept);
	assert_true(secret_set(&s, "again", 5));
	assert_false(secret_lock(&s));
	secret_clear(&s);
	assert_true(secret_lock(&other));
	assert_true(secret_set(&other, "short", 5));
	assert_ptr_equal(secret_str(&other), kept);
	secret_clear(&other);
	assert_true(secret_keep(&s));
	assert_string_equal(secret_str(&s), "");
	secret_clear(&s);
}

/* The exit status of a child: 0, or which of its steps went wrong. */
static int lock_anew(const struct secret *s)
{
	if (is_locked(secret_str(s)))
		return 1;
	if (!secret_lock(s))
		return 2;
	return is_locked(secret_str(s)) == CAN_LOCK ? 0 : 3;
}

static void test_child_locks_what_is_kept_anew(void **state)
{
	struct secret s;
	int status;

	(void)state;
	secret_init(&s, 100);
	assert_true(secret_set(&s, "hunter2", 7));
	assert_true(secret_keep(&s));
	pid_t child = fork();
	if (child == 0)
		_exit(lock_anew(&s));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	secret_clear(&s);
}

static void test_equality(void **state)
{
	static const struct {
		const char *a, *b;
		size_t a_len, b_len;
		bool is_equal;
	} rows[] = {
		{"", "", 0, 0, true},          {"a", "a", 1, 1, true},
		{"a", "b", 1, 1, false},       {"a", "", 1, 0, false},
		{"ab", "a", 2, 1, false},      {"a\0b", "a\0b", 3, 3, true},
		{"a\0b", "a\0c", 3, 3, false}, {"\x80", "\0", 1, 1, false},
		{"xbc", "abc", 3, 3, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct secret a, b;
		secret_init(&a, 10);
		secret_init(&b, 20);
		assert_true(secret_set(&a, rows[i].a, rows[i].a_len));
		assert_true(secret_set(&b, rows[i].b, rows[i].b_len));
		assert_int_equal(secret_equals(&a, &b), rows[i].is_equal);
		secret_clear(&a);
		secret_clear(&b);
	}
}

static void test_wipe_overwrites(void **state)
{
	char bytes[] = "hunter2";

	(void)state;
	wipe(bytes, sizeof(bytes));
	assert_true(is_zero(bytes, sizeof(bytes)));
	assert_true(was_wiped(bytes, sizeof(bytes)));
	wipe(NULL, 0);
}

#define TEST(function) cmocka_unit_test_setup(function, forget_wipes)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_empty_buffer_is_empty_text),
		TEST(test_append_adds_and_terminates),
		TEST(test_ceiling_is_exact),
		TEST(test_refused_append_changes_nothing),
		TEST(test_printf_takes_any_length),
		TEST(test_growth_is_amortised),
		TEST(test_secret_grows_by_a_wiped_move),
		TEST(test_secret_clear_wipes_all_it_owns),
		TEST(test_secret_truncate_wipes_the_rest),
		TEST(test_secret_set_replaces),
		TEST(test_secret_refused_append_changes_nothing),
		TEST(test_secret_is_written_in_place),
		TEST(test_secret_added_stays_inside),
		TEST(test_absurd_lengths_are_refused),
		TEST(test_move_hands_over_and_wipes),
		TEST(test_kept_secret_is_locked_and_in_no_core),
		TEST(test_kept_secret_stays_where_it_is),
		TEST(test_child_locks_what_is_kept_anew),
		TEST(test_equality),
		TEST(test_wipe_overwrites),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
