"""What systemd and nginx's own start would do with an installed package, in a throwaway.Root."""
import collections
import pathlib

from servers import ports
from servers.process import Process, ServerError, wait_until
from servers.program import Program

UNITS = "/lib/systemd/system"
CREDENTIALS = "/run/credentials/bakrypt-login.service"


def read_unit(path):
    """{key: [values]} of a unit file."""
    found = collections.defaultdict(list)
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[key].append(value)
    return found


class Unit(Program):
    """The program by its installed units: the socket's path, mode and group, the service's user,
    credential and commands. It is started by the first connection. What the units say of
    sandboxing is systemd's own affair."""

    def __init__(self, root, units=UNITS):
        self.root = root
        self.socket = read_unit(root.path(f"{units}/bakrypt-login.socket"))
        self.service = read_unit(root.path(f"{units}/bakrypt-login.service"))
        self.path, = self.socket["ListenStream"]
        super().__init__("/", listen=self.path)
        self.argv = root.command("systemd-socket-activate", f"--listen={self.path}",
                                 f"--setenv=CREDENTIALS_DIRECTORY={CREDENTIALS}",
                                 *self._as_user(), *self.service["ExecStart"][0].split())

    def _as_user(self):
        user, group = self.service["User"][0], self.service["Group"][0]
        return ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups",
                "--no-new-privs"]

    def check(self):
        """What the service would find wrong with its settings; gives a CompletedProcess."""
        self._give_credential()
        return self.root.run(*self._as_user(), "env", f"CREDENTIALS_DIRECTORY={CREDENTIALS}",
                             *self.service["ExecStart"][0].split(), "--check", "--offline",
                             check=False)

    def start(self, timeout=15):
        """Starts to listen; the program comes with the first connection."""
        self._give_credential()
        self.root.run("mkdir", "-p", pathlib.Path(self.path).parent)
        Process.start(self)
        self.wait_for_line("Listening on", timeout)
        self.root.run("chgrp", self.socket["SocketGroup"][0], self.path)
        self.root.run("chmod", self.socket["SocketMode"][0], self.path)
        return self

    def _give_credential(self):
        name, _, path = self.service["LoadCredential"][0].partition(":")
        self.root.run("install", "-d", "-m", "0500", "-o", self.service["User"][0], CREDENTIALS)
        self.root.run("install", "-m", "0400", "-o", self.service["User"][0], path,
                      f"{CREDENTIALS}/{name}")


class Nginx(Process):
    """nginx with the settings that are installed in a root. port: where one of its sites
    listens."""

    def __init__(self, root, port):
        self.port = port
        super().__init__(root.command("nginx", "-g", "daemon off;"), name="nginx")

    def start(self, timeout=10):
        super().start()
        try:
            wait_until(lambda: ports.is_listening(("127.0.0.1", self.port)), timeout,
                       f"connections on port {self.port}")
        except ServerError:
            self.stop()
            raise
        return self
