/* The system's certificate authorities, in the shapes that distributions give them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trust.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static char root[] = "/tmp/trust-XXXXXX";

static int enter(void **state)
{
	(void)state;
	memcpy(root + sizeof(root) - 7, "XXXXXX", 6);
	return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *place)
{
	(void)facts;
	(void)kind;
	(void)place;
	return remove(path);
}

static int leave(void **state)
{
	(void)state;
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* An empty file below root, and the directories above it. */
__attribute__((format(printf, 1, 2))) static void make_file(const char *format, ...)
{
	char path[256];
	va_list arguments;
	size_t len = (size_t)snprintf(path, sizeof(path), "%s", root);

	va_start(arguments, format);
	vsnprintf(path + len, sizeof(path) - len, format, arguments);
	va_end(arguments);
	for (char *slash = path + len + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
}

static void make_links(const char *directory, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		make_file("%s/%08x.0", directory, 0xabcdef00u + i);
}

static void expect(const char *ca_file, const char *directory, const char *file)
{
	struct trust trust = trust_find(ca_file, root);

	if (directory)
		assert_string_equal(trust.directory, directory);
	else
		assert_null(trust.directory);
	if (file)
		assert_string_equal(trust.file, file);
	else
		assert_null(trust.file);
}

static void test_nothing(void **state)
{
	(void)state;
	expect("", NULL, NULL);
	make_file("/etc/ssl/certs/ca.pem");
	expect("", NULL, NULL);
}

static void test_hashed_directory(void **state)
{
	static const char *const directories[] = {"/etc/pki/tls/certs",
						  "/etc/pki/ca-trust/extracted/pem/directory-hash",
						  "/etc/ssl/certs"};

	(void)state;
	make_file("/etc/ssl/certs/ca-certificates.crt");
	make_file("/etc/pki/tls/certs/ca-bundle.crt");
	for (size_t i = 0; i < COUNT(directories); i++) {
		make_links(directories[i], 140);
		expect("", directories[i], NULL);
	}
}

static void test_bundle(void **state)
{
	static const char *const bundles[] = {"/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem",
					      "/etc/pki/tls/certs/ca-bundle.crt",
					      "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
					      "/etc/ssl/certs/ca-certificates.crt"};

	(void)state;
	for (size_t i = 0; i < COUNT(bundles); i++) {
		make_file("%s", bundles[i]);
		expect("", NULL, bundles[i]);
	}
}

/* CentOS, where the administrator added an authority to a directory that holds a bundle. */
static void test_few_links_are_no_store(void **state)
{
	(void)state;
	make_file("/etc/pki/tls/certs/ca-bundle.crt");
	make_links("/etc/pki/tls/certs", 15);
	expect("", NULL, "/etc/pki/tls/certs/ca-bundle.crt");
	make_links("/etc/pki/tls/certs", 16);
	expect("", "/etc/pki/tls/certs", NULL);
}

static void test_other_names_are_no_links(void **state)
{
	static const struct {
		const char *before, *after;
	} names[] = {{"abcde", ".0"},  {"abcdef0", ".0"},  {"abcdef", ""},   {"abcdef", "."},
		     {"abcdef", ".r"}, {"abcdef", ".pem"}, {"ABCDEF", ".0"}, {".abcde", ".0"}};

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		for (unsigned n = 0; n < 20; n++)
			make_file("/etc/ssl/certs/%s%02x%s", names[i].before, n, names[i].after);
	}
	expect("", NULL, NULL);
}

/* More entries than are read at once. */
static void test_links_among_many_others(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 300; n++)
		make_file("/etc/ssl/certs/Certificate_Authority_%u.pem", n);
	make_links("/etc/ssl/certs", 15);
	expect("", NULL, NULL);
	make_links("/etc/ssl/certs", 16);
	expect("", "/etc/ssl/certs", NULL);
}

static void test_file_of_the_settings(void **state)
{
	(void)state;
	make_file("/etc/ssl/certs/ca-certificates.crt");
	make_links("/etc/ssl/certs", 140);
	expect("/somewhere/ca.pem", NULL, "/somewhere/ca.pem");
}

int main(void)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, enter, leave)
	const struct CMUnitTest tests[] = {
		ROW(test_nothing),
		ROW(test_hashed_directory),
		ROW(test_bundle),
		ROW(test_few_links_are_no_store),
		ROW(test_other_names_are_no_links),
		ROW(test_links_among_many_others),
		ROW(test_file_of_the_settings),
	};

	return cmocka_run_group_tests_name("trust", tests, NULL, NULL);
}
