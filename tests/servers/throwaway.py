"""A throw-away copy of this machine's root, to install packages into.

    with Root(folder) as root:
        root.run("dpkg", "--install", package)
        root.path("/etc/passwd").read_text()
        root.changes()      # {"/etc/passwd": CHANGED, "/usr/bin/hello": ADDED}

It is an overlay over / whose upper half is in memory, in a mount namespace of its own: nothing of
it reaches the machine, and all of it is gone, mounts included, as soon as the last process in it
ends. Needs root, and a kernel that grants namespaces and overlays; start() raises ServerError where
it does not. It is root on the machine's own network and in its own process table: no jail.
"""
import filecmp
import os
import pathlib
import stat
import subprocess

from servers import folders
from servers.process import Process

ADDED, CHANGED, REMOVED = "added", "changed", "removed"
SHUT_OUT = "#!/bin/sh\nexit 101\n"  # to whoever asks whether a service may be started

# $1: a folder for it; $2: one that is to be seen inside under the same path.
# The mounts are made private before all else, or the machine would see ours. nsenter takes that
# command to the namespace's own root: in a chroot, "/" is no mount that could be named.
ENTER = """
set -e
nsenter --mount=/proc/self/ns/mnt mount --make-rprivate /
mount -t tmpfs -o mode=0755 throw-away "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay throw-away -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --rbind /dev "$1/root/dev"
mount --rbind /proc "$1/root/proc"
mkdir -p "$1/root$2"
mount --bind "$2" "$1/root$2"
echo ready
exec sleep infinity
"""


class Root(Process):
    """Lives while the block does. folder: one of folders.make_folder(); it is the one folder of
    the machine that is seen, and can be written to, inside."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self._place = folders.make_subfolder(folder, "throw-away")
        super().__init__(["unshare", "--mount", "--propagation", "unchanged", "/bin/sh", "-c", ENTER,
                          "sh", self._place, self.folder], name="throw-away root")

    def start(self, timeout=20):
        super().start()
        self.wait_for_line("ready", timeout)
        policy = self.path("/usr/sbin/policy-rc.d")
        policy.unlink(missing_ok=True)
        policy.write_text(SHUT_OUT, encoding="ascii")
        policy.chmod(0o755)
        return self

    def path(self, inside):
        """Where the machine finds a path of the inside."""
        return pathlib.Path(f"/proc/{self.pid}/root{self._place}/root{inside}")

    def command(self, *argv):
        """A command line that runs argv inside, in the same process."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--root", "chroot",
                str(self._place / "root"), *map(str, argv)]

    def run(self, *argv, check=True, timeout=120):
        """Runs a command inside to its end; gives a subprocess.CompletedProcess with all that it
        said in stdout."""
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
               "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(self.command(*argv), env=env, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                              check=False)
        assert done.returncode == 0 or not check, f"{argv}:\n{done.stdout}"
        return done

    def changes(self):
        """What differs from the machine, without what only changed its time or its place."""
        upper = pathlib.Path(f"/proc/{self.pid}/root{self._place}/upper")
        found = {}
        for parent, folder_names, names in os.walk(upper):
            for name in folder_names + names:
                path = pathlib.Path(parent) / name
                inside = pathlib.Path("/") / path.relative_to(upper)
                kind = _compare(path, inside)
                if kind and inside != self.folder:
                    found[str(inside)] = kind
        return found


def _compare(path, original):
    facts = path.lstat()
    if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
        return REMOVED
    if not os.path.lexists(original):
        return ADDED
    old = original.lstat()
    same = (facts.st_mode, facts.st_uid, facts.st_gid) == (old.st_mode, old.st_uid, old.st_gid)
    if same and stat.S_ISREG(old.st_mode):
        same = filecmp.cmp(path, original, shallow=False)
    elif same and stat.S_ISLNK(old.st_mode):
        same = os.readlink(path) == os.readlink(original)
    return None if same else CHANGED
