"""The door through HAProxy, with deploy/haproxy/bakrypt-login.cfg."""
import os
import pathlib
import shutil

from servers import folders, ports
from servers.door import DEPLOY, ProgramDoor
from servers.nginx import substitute
from servers.process import Process, ServerError

SHIPPED = DEPLOY / "haproxy" / "bakrypt-login.cfg"
SOCKET = "/run/bakrypt-login/fcgi.sock"

MAIN = """\
global
	log stderr format raw local0
	maxconn 2000
"""

# As Debian's haproxy.cfg has it.
AS_ROOT = """\
	chroot {folder}
	user {user}
	group {group}
"""

OWN_413 = (413, "HAProxy looks at the length itself, before the program")


def binary():
    """haproxy's path, or None. /usr/sbin is not everybody's PATH."""
    return shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class HaProxy(Process):
    """HAProxy before a socket, as root in a chroot. What is replaced in the shipped file: port and
    certificate, by plain HTTP on a port; and, without a chroot, the path of the socket."""

    def __init__(self, folder, target):
        self.port = ports.free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        changes = {"bind :443 ssl crt /etc/ssl/private/login.example.com.pem alpn h2,http/1.1":
                   f"bind 127.0.0.1:{self.port}"}
        main = MAIN
        if folders.is_root():
            user, group = folders.web_user()
            main += AS_ROOT.format(folder=folder, user=user, group=group)
        else:
            changes[SOCKET] = target
        paths = folder / "main.cfg", folder / "bakrypt-login.cfg"
        paths[0].write_text(main, encoding="utf-8")
        paths[1].write_text(substitute(SHIPPED, changes), encoding="utf-8")
        super().__init__([binary(), "-db", "-f", paths[0], "-f", paths[1]], name="haproxy")

    def start(self, timeout=15):
        """Starts it and waits until it takes connections."""
        super().start()
        try:
            self.wait_until_live(lambda: ports.is_listening(("127.0.0.1", self.port)), timeout,
                                 f"connections on port {self.port}")
        except ServerError:
            self.stop()
            raise
        return self


class HaProxyDoor(ProgramDoor):
    """HAProxy before the program's Unix socket."""

    name = "haproxy"
    differences = dict.fromkeys(
        ("oversize", "oversize chunked", "huge", "huge chunked"), OWN_413)
    sees_abort = True

    @classmethod
    def missing(cls):
        return None if binary() else "haproxy is not installed"

    def open(self):
        socket_folder = self.folder
        for name in pathlib.Path(SOCKET).parent.parts[1:]:
            socket_folder = folders.make_subfolder(socket_folder, name)
        self.listen = str(self.folder) + SOCKET
        super().open()

    def open_front(self, target):
        self.front = self.run(HaProxy(self.folder, target))
        return self.front.origin

    def front_log(self):
        """What HAProxy logged."""
        return "\n".join(self.front.lines)

    def break_program(self):
        self.program.stop()
