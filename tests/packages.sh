#!/bin/sh
# tests/packages.sh PACKAGE... - installs the Debian packages of these names that are missing.
#
# Says nothing where none is. Services among them (nginx) are not started.
set -eu

policy=/usr/sbin/policy-rc.d
output=

say() {
	printf '%s\n' "$*" >&2
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo -- "$@"
	fi
}

is_installed() {
	status=$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) || return 1
	[ "$status" = installed ]
}

# Quiet, unless it fails.
quietly() {
	if ! as_root env DEBIAN_FRONTEND=noninteractive "$@" >"$output" 2>&1; then
		cat "$output" >&2
		say "This failed: $*"
		exit 1
	fi
}

# Asked by Debian's scripts before they start a service; 101 means that they must not. One that
# is there already is the administrator's, and stays.
forbid_services() {
	[ ! -e "$policy" ] || return 0
	has_policy=yes
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
	as_root chmod 755 "$policy"
}

leave() {
	[ -z "${has_policy:-}" ] || as_root rm -f "$policy"
	[ -z "$output" ] || rm -f "$output"
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	say "This is not Debian: the following must be there, by whatever names: $*"
	exit 0
fi

missing=
for package in "$@"; do
	is_installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
	say "Missing packages; install them as root: apt-get install --no-install-recommends$missing"
	exit 1
fi

say "Installing from Debian (services are not started):$missing"
trap leave EXIT
trap 'exit 1' HUP INT TERM
output=$(mktemp)
forbid_services
quietly apt-get update
# The names are meant to be split.
# shellcheck disable=SC2086
quietly apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends $missing
