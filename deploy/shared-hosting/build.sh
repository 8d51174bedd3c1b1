#!/bin/sh
# build.sh FOLDER ARCHIVE - packs what one uploads to a shared host; called by `make shared-hosting`.
#
# The program in it is static, so that it runs on any Linux of this architecture, whatever libraries
# are there. Debian's libcurl cannot be linked so (it wants Kerberos, LDAP and a dozen others), and
# its cJSON has no static form: both are built here, from Debian's signed sources, in FOLDER.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
mkdir -p "$1"
work=$(cd "$1" && pwd)
archive=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
tree=$work/bakrypt-login-shared-hosting
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() {
	printf 'shared-hosting: %s\n' "$*" >&2
}

# Quiet, unless it fails.
quietly() {
	"$@" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; return 1; }
}

# apt with lists of its own: the machine's stay as they are. It checks the signature of the lists,
# and the sources against them.
apt() {
	mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
	for suite in debian/bookworm debian-security/bookworm-security; do
		echo "deb-src [signed-by=$keyring] http://deb.debian.org/${suite%/*} ${suite#*/} main"
	done >"$work/apt/sources.list"
	apt-get -q -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=- \
		-o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" \
		-o APT::Sandbox::User= "$@"
}

# Whether a file was made by this script as it is now.
is_newer() {
	[ -e "$1" ] && [ -z "$(find "$here/build.sh" -newer "$1")" ]
}

fetch_sources() {
	[ ! -e "$work/fetched" ] || return 0
	say "fetching the sources of curl and cJSON from Debian"
	(
		cd "$work"
		quietly apt update && quietly apt source --download-only curl cjson || exit 1
		rm -rf curl cjson
		# apt has checked the files; the maintainer's key is not at hand for a second time.
		quietly dpkg-source --no-check -x curl_*.dsc curl || exit 1
		quietly dpkg-source --no-check -x cjson_*.dsc cjson
	) || return 1
	touch "$work/fetched"
}

# HTTPS by HTTP/1.1 and HTTP/2, by way of a proxy too; everything else is left out.
build_curl() {
	! is_newer "$work/curl/built" || return 0
	say "building a small libcurl"
	off=
	for name in shared dependency-tracking manual openssl-auto-load-config ares unix-sockets \
		dict file ftp gopher imap ldap ldaps mqtt pop3 rtsp smb smtp telnet tftp \
		alt-svc aws cookies crypto-auth doh hsts libcurl-option mime netrc ntlm ntlm-wb \
		progress-meter tls-srp; do
		off="$off --disable-$name"
	done
	for name in brotli ca-bundle ca-path gssapi libidn2 libpsl librtmp libssh libssh2 zlib zstd; do
		off="$off --without-$name"
	done
	cd "$work/curl"
	# The options are meant to be split.
	# shellcheck disable=SC2086
	quietly ./configure $off --with-openssl --with-nghttp2 CFLAGS="$cflags"
	quietly make -C lib
	touch built
	cd "$root"
}

# Every malloc(), free() and realloc() of the program and its libraries is to be that of src/memory.c. In a
# static program glibc's own would clash with it, but for --wrap. The others are lean.c's.
build_program() {
	say "building a static bakrypt-login"
	is_newer "$work/program/bakrypt-login" || rm -rf "$work/program"
	rm -f "$work/program/bakrypt-login" # make does not know all that is linked
	wrapped=--wrap=malloc,--wrap=free,--wrap=realloc,--wrap=ossl_default_provider_init,--wrap=ERR_error_string_n
	for source in "$here/alone.c" "$here/lean.c" "$work/cjson/cJSON.c"; do
		# shellcheck disable=SC2086
		"${CC:-cc}" $cflags -Wall -Wextra -c -o "$work/$(basename "$source" .c).o" "$source"
	done
	quietly make -C "$root" BUILD="$work/program" CFLAGS="$cflags" \
		CPPFLAGS='-Dmalloc=__wrap_malloc -Dfree=__wrap_free -Drealloc=__wrap_realloc' \
		ALL_LDFLAGS="-static-pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code,-z,pack-relative-relocs,$wrapped" \
		LDLIBS="$work/alone.o $work/lean.o $work/cJSON.o $work/curl/lib/.libs/libcurl.a -lfcgi -lnghttp2 -lssl -lcrypto"
	! readelf --wide --dynamic "$work/program/bakrypt-login" | grep NEEDED
}

pack() {
	rm -rf "$tree" "$archive"
	mkdir -p "$tree/public" "$tree/public-fcgid" "$tree/home/.config" "$tree/licenses"
	cp "$here/README" "$tree/README.txt"
	cp "$here/htaccess-cgi" "$tree/public/.htaccess"
	strip -o "$tree/public/login.cgi" "$1"
	chmod 755 "$tree/public/login.cgi"
	cp "$here/htaccess-fcgid" "$tree/public-fcgid/.htaccess"
	install -m 755 "$here/login.fcgi" "$tree/public-fcgid/login.fcgi"
	install -m 600 "$here/settings" "$tree/home/.config/bakrypt-login.conf"
	for package in libc6-dev libcjson-dev libcurl4-openssl-dev libfcgi-dev libnghttp2-dev libssl-dev; do
		cp "/usr/share/doc/$package/copyright" "$tree/licenses/$package"
	done
	if readelf --wide --dynamic "$1" | grep NEEDED >"$work/needed"; then
		{ echo 'login.cgi needs these libraries on the host:'; cat "$work/needed"; } \
			>"$tree/NEEDS-LIBRARIES.txt"
	fi
	# A zip, since everybody who has FTP can open one; file modes are kept.
	(cd "$work" && python3 -m zipfile -c "$archive" "${tree##*/}")
}

cflags='-O2 -g -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3'
if fetch_sources; then
	build_curl
	build_program
	pack "$work/program/bakrypt-login"
	say "$archive holds a static program"
else
	say "no sources from Debian: the program will need the host to have Debian 12's libraries"
	quietly make -C "$root" BUILD="$work/dynamic"
	pack "$work/dynamic/bakrypt-login"
	say "$archive holds a DYNAMIC program; its NEEDS-LIBRARIES.txt says which"
fi
