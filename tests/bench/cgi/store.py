"""The system's store of certificate authorities with one more in it, for one process alone.

What a program spends on trust depends on the size of the store: a file with the test's authority
alone would flatter. So a copy of /etc/ssl/certs, the authority added both to its hashed links and to
its bundle, is mounted over it, in a mount namespace that ends with the process. /etc/hosts likewise.
"""
import ctypes
import os
import pathlib
import shutil
import subprocess

from servers import folders

HOSTS = pathlib.Path("/etc/hosts")
SYSTEM = pathlib.Path("/etc/ssl/certs")
BUNDLE = "ca-certificates.crt"

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000


def make(folder, authority):
    """A copy of the system's store, with the authority, below the folder."""
    copy = pathlib.Path(folder) / "store"
    shutil.copytree(SYSTEM, copy, symlinks=True)
    certificate = pathlib.Path(authority.file).read_text(encoding="ascii")
    digest = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", authority.file],
                            capture_output=True, text=True, check=True).stdout.strip()
    (copy / f"{digest}.0").write_text(certificate, encoding="ascii")
    with open(copy / BUNDLE, "a", encoding="ascii") as bundle:
        bundle.write(certificate)
    for path in (copy, *copy.iterdir()):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def make_bundle_only(folder, store):
    """What a system has that keeps no hashed links, but the bundle alone."""
    copy = pathlib.Path(folder) / "bundle-only"
    copy.mkdir(mode=0o755)
    shutil.copy(store / BUNDLE, copy)
    return copy


def make_hosts(folder, host):
    """A copy of /etc/hosts that knows the host to be this machine."""
    copy = pathlib.Path(folder) / "hosts"
    copy.write_text(f"{HOSTS.read_text(encoding='ascii')}\n127.0.0.1 {host}\n", encoding="ascii")
    copy.chmod(0o644)
    return copy


def size(store):
    """How many authorities it holds."""
    text = (store / BUNDLE).read_text(encoding="ascii")
    return text.count("-----BEGIN CERTIFICATE-----")


def _check(result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)}: a mount namespace of its own is needed")


def enter(store, hosts):
    """From now on this process and those it starts see the store and the hosts in the system's
    place. It must have one thread. OSError where the machine does not allow it."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    _check(libc.unshare(CLONE_NEWNS | (0 if folders.is_root() else CLONE_NEWUSER)))
    if not folders.is_root():
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"),
                           ("gid_map", f"{group} {group} 1")):
            pathlib.Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    _check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    for source, target in ((store, SYSTEM), (hosts, HOSTS)):
        _check(libc.mount(bytes(source), bytes(target), None, MS_BIND, None))
