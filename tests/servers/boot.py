"""systemd, booted with the shipped units in namespaces of its own, and the program under it.

    with Boot(folder) as boot:
        boot.write_settings({"BAKRYPT_TOKEN_URL": url, ...}, secret=CLIENT_SECRET)
        boot.systemctl("start", "bakrypt-login.service")
        ... talk FastCGI to boot.socket_path ...

Only root can do that. The network is the machine's.
"""
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import threading

from servers import folders, procfs
from servers.process import Process, wait_until
from servers.program import ROOT, binary

SCRIPT = pathlib.Path(__file__).with_name("boot.sh")
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--ipc", "--uts", "--cgroup"]
SERVICE = "bakrypt-login.service"
SOCKET = "bakrypt-login.socket"
RESOLVER = "127.0.0.77"


def missing():
    """What the machine lacks for it, as a sentence; or None."""
    if not os.path.exists("/usr/lib/systemd/systemd"):
        return "systemd is not installed"
    return None


def forbidden():
    """Why this process may not boot anything; or None."""
    if os.geteuid() != 0:
        return "only root can boot systemd in a namespace"
    probe = "mount -t tmpfs none /mnt && mount -t tmpfs none /sys/fs/cgroup"
    done = subprocess.run([*UNSHARE, "sh", "-c", probe], capture_output=True, check=False)
    return None if done.returncode == 0 else "the machine does not let root make namespaces"


class ControlGroup:
    """A group of our own in each hierarchy that systemd uses; removed at the end."""

    def __init__(self, name):
        self.folders = [place / name for place in self._places()]

    @staticmethod
    def _places():
        """The folders of the groups that we are in."""
        groups = [line.split(":", 2)[1:] for line in
                  pathlib.Path("/proc/self/cgroup").read_text("ascii").splitlines()]
        for line in pathlib.Path("/proc/self/mountinfo").read_text("ascii").splitlines():
            left, _, right = line.partition(" - ")
            kind, _, options = right.split(" ", 2)
            name = "" if kind == "cgroup2" else "name=systemd"
            if kind == "cgroup2" or (kind == "cgroup" and name in options.split(",")):
                mount = pathlib.Path(left.split()[4])
                yield from (mount / group.lstrip("/") for wanted, group in groups
                            if wanted == name)

    def make(self):
        for folder in self.folders:
            folder.mkdir(exist_ok=True)

    def enter_command(self):
        """The beginning of a shell line that puts the shell into it."""
        return "".join(f"echo $$ >{folder}/cgroup.procs && " for folder in self.folders)

    def remove(self):
        for folder in self.folders:
            for path, _, _ in os.walk(folder, topdown=False):
                wait_until(lambda p=path: self._is_removed(p), 5, f"{path} is empty")

    @staticmethod
    def _is_removed(path):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


class Boot(Process):
    """systemd. folder: from folders.make_folder()."""

    def __init__(self, folder):
        self.folder = folders.make_subfolder(folder, "boot")
        self.shared = folders.make_subfolder(self.folder, "run")
        self._root = self.folder / "root"
        self._root.mkdir(exist_ok=True)
        self._group = ControlGroup(f"bakrypt-login-{os.getpid()}")
        command = [*UNSHARE, "sh", SCRIPT, self._root, ROOT, binary(), RESOLVER, self.shared]
        enter = self._group.enter_command() + 'exec "$@"'
        super().__init__(["sh", "-c", enter, "sh", *command], name="systemd")
        self.socket_path = str(self.shared / "fcgi.sock")

    def start(self, timeout=30):
        self._group.make()
        super().start()
        try:
            self.wait_until_live(lambda: self._first() and self._is_up(), timeout,
                                 "its first target is reached")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """Ends its first process, and with it all others."""
        if self.is_running and self._first():
            os.kill(self._first(), signal.SIGKILL)
        status = super().stop()
        self._group.remove()
        shutil.rmtree(self.folder, ignore_errors=True)
        return status

    def _first(self):
        """The process id, on this machine, of its first process."""
        children = procfs.children(self.pid)
        return children[0] if children else None

    def _is_up(self):
        return self.systemctl("is-active", "sockets.target", check=False).returncode == 0

    def run(self, *command, check=True):
        """A command in its namespaces; gives a subprocess.CompletedProcess with texts."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._first()), "--mount", "--pid", "--ipc", "--uts", "--cgroup",
             "--root", "--wd=/", "env", "-i", "PATH=/usr/sbin:/usr/bin", *map(str, command)],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def systemctl(self, *arguments, check=True):
        return self.run("systemctl", "--no-pager", *arguments, check=check)

    def property(self, name, unit=SERVICE):
        return self.systemctl("show", "--value", "-p", name, unit).stdout.strip()

    def journal(self, unit=SERVICE):
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    def wait_for_journal(self, text, timeout=10):
        wait_until(lambda: text in self.journal(), timeout, f"{text!r} in the journal")

    def path(self, inside):
        """Where this machine finds a file of its own."""
        return pathlib.Path(f"/proc/{self._first()}/root") / inside.lstrip("/")

    def program_pid(self):
        """The id, on this machine, of the program."""
        inside = self.property("MainPID")
        return next(int(entry) for entry in os.listdir("/proc") if entry.isdigit()
                    and self._is_inside(entry, inside))

    def _is_inside(self, pid, inside):
        try:
            numbers = procfs.status(pid, "NSpid").split()
        except (OSError, KeyError):
            return False
        return len(numbers) > 1 and numbers[1] == inside and os.path.samefile(
            f"/proc/{pid}/ns/pid", f"/proc/{self._first()}/ns/pid")

    # Settings

    def write_settings(self, settings, secret=None):
        """As the administrator leaves them: secret None removes it."""
        folder = self.path("/etc/bakrypt-login")
        conf = folder / "bakrypt-login.conf"
        conf.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self.run("chgrp", "bakrypt-login", "/etc/bakrypt-login/bakrypt-login.conf")
        conf.chmod(0o640)
        path = folder / "client_secret"
        path.unlink(missing_ok=True)
        if secret is not None:
            path.touch(mode=0o600)
            path.write_text(secret)


class Resolver:
    """A name server that knows one name, as 127.0.0.1."""

    def __init__(self, name, address=RESOLVER):
        self._question = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self.asked = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()

    def _serve(self):
        while True:
            query, peer = self._socket.recvfrom(512)
            if not query:
                return
            self.asked += 1
            end = query.index(b"\0", 12) + 5
            is_known = query[12:end - 5].lower() == self._question
            is_ipv4 = query[end - 4:end - 2] == b"\0\1"
            answer = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 60, 4) + b"\x7f\0\0\1"
            head = query[:2] + struct.pack(">HHHHH", 0x8180 if is_known else 0x8183, 1,
                                           int(is_known and is_ipv4), 0, 0)
            self._socket.sendto(head + query[12:end] + (answer if is_known and is_ipv4 else b""),
                                peer)
