/*
 * The certificate authorities that this system trusts, wherever it keeps them.
 *
 * Floor 0. Every distribution has a place of its own, and a libcurl built for another one looks in
 * the wrong place. A directory hashed for OpenSSL (openssl-rehash(1)) is best: from it only the one
 * authority that is needed is read. A bundle is parsed as a whole, which takes 25 ms and 3 MB.
 */
#ifndef TRUST_H
#define TRUST_H

/* At most one of them is not NULL: libcurl, given both, would parse the bundle all the same. With
 * neither no certificate is trusted. */
struct trust {
	const char *directory;
	const char *file;
};

/* ca_file: what is to be trusted instead of the system's, lent for as long as the result is used;
 * or "". root: "", or a directory to look in as if it were "/". */
struct trust trust_find(const char *ca_file, const char *root);

#endif
