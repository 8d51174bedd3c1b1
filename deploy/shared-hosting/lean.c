/*
 * What OpenSSL does for one login, and no more.
 *
 * It is made for programs that live: at its start it reads, seeds, names and lists much that a
 * process of one handshake never comes to. With all of it a login by CGI took 22.4 million
 * instructions; with none, 9.7. What each part saves is said in millions.
 */
/* RAND_METHOD: to replace OpenSSL's generators there is no other way in OpenSSL 3.0. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <errno.h>
#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

/*
 * ---- random numbers: 0.3 ----
 *
 * OpenSSL would build three generators of its own, each seeded from the kernel's. This takes the
 * kernel's numbers as they come: they are as good as the seed, and a login needs few of them. Nor
 * need the generators' own algorithms be among those below. Without getrandom(), as before Linux
 * 3.17, there is no login: as with Debian's OpenSSL.
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
	return getrandom(NULL, 0, GRND_NONBLOCK) == 0 || errno == EAGAIN;
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

/*
 * ---- algorithms: 7.4 ----
 *
 * OpenSSL's provider offers some 250, and the first question for one makes OpenSSL set up all of
 * its kind. These are what a client's handshake can come to: by what its first message offers, and
 * by the keys and signatures of a server's certificates. Left out are what that message never
 * offers, private keys, and DSA, which goes with none of its cipher suites. Names are the first
 * that the provider gives.
 */
static const char *const digests[] = {"SHA1",     "SHA2-224", "SHA2-256",
				      "SHA2-384", "SHA2-512", "SHAKE-256"};
static const char *const ciphers[] = {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305",
				      "AES-128-CBC", "AES-256-CBC"};
static const char *const keys[] = {"RSA",   "RSA-PSS", "EC",   "X25519", "X448",    "ED25519",
				   "ED448", "DH",      "HMAC", "HKDF",   "TLS1-PRF"};
static const char *const key_readers[] = {"RSA", "RSA-PSS", "EC", "ED25519", "ED448"};

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static OSSL_ALGORITHM chosen_digests[COUNT(digests) + 1];
static OSSL_ALGORITHM chosen_ciphers[COUNT(ciphers) + 1];
static OSSL_ALGORITHM chosen_keys[COUNT(keys) + 1];
static OSSL_ALGORITHM chosen_key_readers[COUNT(key_readers) + 1];

/* chosen ends with an empty row. property: of those alone that have it; or "". */
static const struct choice {
	int operation;
	const char *property;
	const char *const *names;
	size_t count;
	OSSL_ALGORITHM *chosen;
} choices[] = {
	{OSSL_OP_DIGEST, "", digests, COUNT(digests), chosen_digests},
	{OSSL_OP_CIPHER, "", ciphers, COUNT(ciphers), chosen_ciphers},
	{OSSL_OP_KEYMGMT, "", keys, COUNT(keys), chosen_keys},
	/* The form in which a certificate has its key. */
	{OSSL_OP_DECODER, ",structure=SubjectPublicKeyInfo", key_readers, COUNT(key_readers),
	 chosen_key_readers},
};

static OSSL_FUNC_provider_query_operation_fn *query_all;

static bool is_chosen(const struct choice *choice, const OSSL_ALGORITHM *algorithm)
{
	size_t len = strcspn(algorithm->algorithm_names, ":");

	if (!strstr(algorithm->property_definition, choice->property))
		return false;
	for (size_t i = 0; i < choice->count; i++) {
		if (strlen(choice->names[i]) == len &&
		    memcmp(choice->names[i], algorithm->algorithm_names, len) == 0)
			return true;
	}
	return false;
}

/* In place of the provider's own answer to what it has for an operation. */
static const OSSL_ALGORITHM *query_chosen(void *provider, int operation, int *ret_no_cache)
{
	const OSSL_ALGORITHM *all = query_all(provider, operation, ret_no_cache);
	const struct choice *choice = choices;
	size_t count = 0;

	while (choice < choices + COUNT(choices) && choice->operation != operation)
		choice++;
	if (!all || choice == choices + COUNT(choices))
		return all;
	if (choice->chosen->algorithm_names)
		return choice->chosen;
	for (; all->algorithm_names && count < choice->count; all++) {
		if (is_chosen(choice, all))
			choice->chosen[count++] = *all;
	}
	return choice->chosen;
}

/* The linker (--wrap) calls this one in place of the provider's start. */
extern OSSL_provider_init_fn __real_ossl_default_provider_init;
OSSL_provider_init_fn __wrap_ossl_default_provider_init;

int __wrap_ossl_default_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core,
				      const OSSL_DISPATCH **ret_functions, void **ret_provider)
{
	static OSSL_DISPATCH functions[16];
	const OSSL_DISPATCH *all;

	if (!__real_ossl_default_provider_init(handle, core, &all, ret_provider))
		return 0;
	for (size_t i = 0; all[i].function_id; i++) {
		if (i == COUNT(functions) - 1)
			return 0;
		functions[i] = all[i];
		if (all[i].function_id == OSSL_FUNC_PROVIDER_QUERY_OPERATION) {
			query_all = OSSL_FUNC_provider_query_operation(&all[i]);
			functions[i].function = (void (*)(void))query_chosen;
		}
	}
	*ret_functions = functions;
	return 1;
}

/*
 * ---- names: 3.3 ----
 *
 * Of the names that older programs look digests and ciphers up by, these remain: OpenSSL asks by
 * name how strong the digest of a certificate's signature is.
 */
static void add_names(void)
{
	EVP_add_digest(EVP_sha1());
	EVP_add_digest(EVP_sha224());
	EVP_add_digest(EVP_sha256());
	EVP_add_digest(EVP_sha384());
	EVP_add_digest(EVP_sha512());
}

/*
 * ---- texts of errors: 1.4 ----
 *
 * They are put into a table with the first thing that OpenSSL does, but read when something fails.
 * libcurl asks for them by this function alone. The linker (--wrap) calls this one in its place;
 * OpenSSL has public functions for the two tables no more.
 */
extern int ossl_err_load_crypto_strings(void);
extern int ossl_err_load_SSL_strings(void);
extern void __real_ERR_error_string_n(unsigned long error, char *text, size_t size);
void __wrap_ERR_error_string_n(unsigned long error, char *text, size_t size);

void __wrap_ERR_error_string_n(unsigned long error, char *text, size_t size)
{
	static bool is_loaded;

	if (!is_loaded)
		is_loaded = ossl_err_load_crypto_strings() && ossl_err_load_SSL_strings();
	__real_ERR_error_string_n(error, text, size);
}

/* ---- before main() ---- */

__attribute__((constructor)) static void start_lean(void)
{
	/* openssl.cnf may list modules to load; see alone.c. What OpenSSL has at the end, the end
	 * of the process takes: 0.3. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
				    OPENSSL_INIT_NO_ADD_ALL_DIGESTS |
				    OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS | OPENSSL_INIT_NO_ATEXIT,
			    NULL);
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_SSL_STRINGS, NULL);
	take_random_numbers_from_the_kernel();
	add_names();
}
