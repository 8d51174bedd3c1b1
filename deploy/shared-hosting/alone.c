/*
 * What makes the static program stand on its own, before main().
 *
 * glibc looks names of hosts, users and groups up by modules that /etc/nsswitch.conf lists, and
 * loads them at run time; those of another glibc would crash this one. "files" and "dns" are within
 * the program, and are all it needs. Likewise OpenSSL would load what its openssl.cnf lists: see
 * lean.c.
 */
#include <nss.h>

__attribute__((constructor)) static void stand_alone(void)
{
	__nss_configure_lookup("hosts", "files dns");
	__nss_configure_lookup("passwd", "files");
	__nss_configure_lookup("group", "files");
	__nss_configure_lookup("services", "files");
}
