"""The doors through lighttpd, with the files of deploy/lighttpd/."""
import os
import shutil
import signal

from servers import folders, ports, procfs
from servers.door import DEPLOY, Door
from servers.nginx import substitute
from servers.process import Process, ServerError

SHIPPED = DEPLOY / "lighttpd"

# Like Debian's lighttpd.conf in what matters here.
MAIN = """\
server.modules = ( "mod_access", "mod_alias" )
server.document-root = "{folder}/html"
server.upload-dirs = ( "{folder}/uploads" )
server.errorlog = "{folder}/logs/error.log"
{user}
server.bind = "127.0.0.1"
server.port = {port}
include "{login_conf}"
server.modules += ( "mod_staticfile" )
"""

USER = 'server.username = "{}"\nserver.groupname = "{}"'


OWN_413 = (413, "lighttpd looks at the length itself, and its answer is a file without an id")


def binary():
    """lighttpd's path, or None. /usr/sbin is not everybody's PATH."""
    return shutil.which("lighttpd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Lighttpd(Process):
    """lighttpd with a shipped file. What is replaced in that: its paths."""

    def __init__(self, folder, login_conf):
        self.port = ports.free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        user = folders.web_user()
        conf = folder / "lighttpd.conf"
        conf.write_text(MAIN.format(folder=folder, port=self.port, login_conf=login_conf,
                                    user=USER.format(*user) if user else ""), encoding="utf-8")
        super().__init__([binary(), "-D", "-f", conf], name="lighttpd")

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


class LighttpdDoor(Door):
    """lighttpd, which starts the program and speaks FastCGI to it."""

    name = "lighttpd-fastcgi"
    shipped = "bakrypt-login.conf"
    has_socket = True
    differences = dict.fromkeys(
        ("oversize", "oversize chunked", "huge", "huge chunked"), OWN_413)
    # Once it has read a request, lighttpd does not look at the client before it has the reply.
    sees_abort = False

    @classmethod
    def missing(cls):
        return None if binary() else "lighttpd is not installed"

    def open(self):
        for name in ("bin", "html", "uploads", "logs", "run"):
            self.make_web_folder(name)
        self.program = self.install_program(self.folder / "bin" / "bakrypt-login")
        self.install_ca_file()
        login_conf = self.folder / self.shipped
        login_conf.write_text(substitute(SHIPPED / self.shipped, self.paths()), encoding="utf-8")
        self.front = self.run(Lighttpd(self.folder, login_conf))
        self.origin = self.front.origin

    def paths(self):
        """What stands in the place of the shipped file's paths."""
        places = {
            "/usr/local/bin/bakrypt-login": str(self.program),
            "/etc/bakrypt-login.conf": str(self.write_settings(self.folder / "settings")),
            "/usr/local/share/bakrypt-login/lighttpd/": f"{self.install_errors()}/",
            "/var/log/lighttpd/": f"{self.folder}/logs/",
        }
        if self.has_socket:
            places["/run/lighttpd/"] = f"{self.folder}/run/"
        return places

    def install_errors(self):
        """Copies lighttpd's own answers to where its user can read them."""
        copy = self.make_web_folder("errors")
        for answer in (SHIPPED / "errors").iterdir():
            (copy / answer.name).write_bytes(answer.read_bytes())
        return copy

    def make_web_folder(self, name):
        """A folder that belongs to the web server's user."""
        path = self.folder / name
        path.mkdir(mode=0o700)
        if folders.web_user():
            shutil.chown(path, *folders.web_user())
        return path

    def log_lines(self):
        # Under -D, as Debian's unit starts it, what it started writes to its own standard error.
        return self.front.lines

    def front_log(self):
        """What lighttpd logged, errors and accesses."""
        logs = (self.folder / "logs").iterdir()
        return "".join(log.read_text("utf-8", "replace") for log in logs)

    def break_program(self):
        """Ends the program, and keeps it from coming back."""
        (self.folder / "settings").unlink()
        for pid in procfs.find(str(self.program)):
            os.kill(pid, signal.SIGKILL)


class LighttpdCgiDoor(LighttpdDoor):
    """lighttpd, which starts the program once for each login."""

    name = "lighttpd-cgi"
    shipped = "bakrypt-login-cgi.conf"
    has_socket = False

    def break_program(self):
        # One process may still be about to end, and its file cannot be written to.
        broken = self.folder / "broken"
        broken.write_text("#!/bin/false\n", encoding="ascii")
        broken.chmod(0o755)
        broken.replace(self.program)
