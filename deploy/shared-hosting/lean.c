/*
 * What OpenSSL does for one login, and no more.
 *
 * It is made for programs that live: at its start it reads, seeds, names and lists much that a
 * process of one handshake never comes to. Counted are the instructions of one login by CGI.
 */
/* RAND_METHOD: to replace OpenSSL's generators there is no other way in OpenSSL 3.0. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/random.h>

/*
 * ---- random numbers ----
 *
 * OpenSSL would build three generators of its own, each seeded from the kernel's. This takes the
 * kernel's numbers as they come: they are as good as the seed, and a login needs few of them.
 */
static int fill_randomly(unsigned char *bytes, int len)
{
	while (len > 0) {
		ssize_t got = getrandom(bytes, (size_t)len, 0);

		if (got < 0 && errno != EINTR)
			return 0;
		if (got > 0) {
			bytes += got;
			len -= (int)got;
		}
	}
	return 1;
}

static int is_seeded(void)
{
	return 1;
}

static void take_random_numbers_from_the_kernel(void)
{
	static const RAND_METHOD kernel = {
		.bytes = fill_randomly,
		.pseudorand = fill_randomly,
		.status = is_seeded,
	};

	RAND_set_rand_method(&kernel);
}

/* ---- before main() ---- */

__attribute__((constructor)) static void start_lean(void)
{
	/* openssl.cnf may list modules to load; see alone.c. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	take_random_numbers_from_the_kernel();
}
