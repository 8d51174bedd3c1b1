/* TLS connections that are read without libcurl: no more at once than there is room for. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tls.h"

#define RECORD_BYTES 1000
#define RECORDS 60
#define UPDATES 160

/* Both ends of a connection, with the handshake behind them. */
static struct {
	int fds[2];
	SSL_CTX *contexts[2];
	SSL *server;
	SSL *client;
	struct tls tls; /* the client */
} t;

/* A certificate for nobody, which is good enough where nobody looks at it. */
static void certify(SSL_CTX *context)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();

	assert_true(key && certificate && X509_set_pubkey(certificate, key));
	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	assert_true(X509_sign(certificate, key, EVP_sha256()));
	assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static SSL *make_end(int which, const SSL_METHOD *method)
{
	SSL *ssl;

	t.contexts[which] = SSL_CTX_new(method);
	assert_non_null(t.contexts[which]);
	SSL_CTX_set_min_proto_version(t.contexts[which], TLS1_3_VERSION);
	ssl = SSL_new(t.contexts[which]);
	assert_non_null(ssl);
	fcntl(t.fds[which], F_SETFL, O_NONBLOCK);
	assert_int_equal(SSL_set_fd(ssl, t.fds[which]), 1);
	return ssl;
}

static int set_up(void **state)
{
	bool is_done;
	char byte;

	(void)state;
	memset(&t, 0, sizeof(t));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, t.fds) < 0)
		return -1;
	t.client = make_end(0, TLS_client_method());
	t.server = make_end(1, TLS_server_method());
	certify(t.contexts[1]);
	SSL_free(t.server);
	t.server = SSL_new(t.contexts[1]);
	SSL_set_fd(t.server, t.fds[1]);
	do {
		is_done = SSL_connect(t.client) == 1;
		is_done = SSL_accept(t.server) == 1 && is_done;
	} while (!is_done);
	SSL_read(t.client, &byte, 1); /* the tickets */
	t.tls.ssl = t.client;
	return tls_take(&t.tls, t.fds[0]) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	SSL_free(t.client);
	SSL_free(t.server);
	for (size_t i = 0; i < 2; i++) {
		SSL_CTX_free(t.contexts[i]);
		close(t.fds[i]);
	}
	return 0;
}

/* What the kernel holds for the client. */
static size_t waiting_bytes(void)
{
	int count = 0;

	assert_int_equal(ioctl(t.fds[0], FIONREAD, &count), 0);
	return (size_t)count;
}

static void test_no_more_is_received_than_there_is_room_for(void **state)
{
	char record[RECORD_BYTES], input[4 * RECORD_BYTES];
	size_t sent, taken, got = 0;
	unsigned turns = 0;

	(void)state;
	memset(record, 'r', sizeof(record));
	for (int i = 0; i < RECORDS; i++)
		assert_int_equal(SSL_write(t.server, record, sizeof(record)), sizeof(record));
	sent = waiting_bytes();
	for (; got < sizeof(record) * RECORDS; turns++) {
		size_t waiting = waiting_bytes();
		ssize_t len;

		t.tls.room = sizeof(input);
		while ((len = tls_read(&t.tls, input, sizeof(input))) > 0)
			got += (size_t)len;
		assert_int_equal(len, TLS_LATER);
		taken = waiting - waiting_bytes();
		assert_true(taken <= sizeof(input));
	}
	assert_int_equal(got, sizeof(record) * RECORDS);
	assert_in_range(turns, sent / sizeof(input), sent / sizeof(input) + 1);
}

/* OpenSSL deals with these by itself, and would do so for as long as they come. */
static void test_records_that_hold_nothing_take_room_as_well(void **state)
{
	char input[RECORD_BYTES];
	size_t sent;

	(void)state;
	for (int i = 0; i < UPDATES; i++) {
		assert_int_equal(SSL_key_update(t.server, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(t.server), 1);
	}
	sent = waiting_bytes();
	assert_true(sent > 4 * sizeof(input));
	t.tls.room = sizeof(input);
	assert_int_equal(tls_read(&t.tls, input, sizeof(input)), TLS_LATER);
	assert_int_equal(sent - waiting_bytes(), sizeof(input));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_more_is_received_than_there_is_room_for,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_records_that_hold_nothing_take_room_as_well,
						set_up, tear_down),
	};

	return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
