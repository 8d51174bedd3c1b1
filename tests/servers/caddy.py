"""The door through Caddy, with deploy/caddy/Caddyfile."""
import os
import shutil

from servers import ports
from servers.door import DEPLOY, ProgramDoor
from servers.nginx import substitute
from servers.process import Process, ServerError

CADDYFILE = DEPLOY / "caddy" / "Caddyfile"


class Caddy(Process):
    """Caddy before a socket. What is replaced in the shipped file: the site's name, by plain HTTP
    on a port; the path of the socket; and the port of Caddy's own administration."""

    def __init__(self, folder, target):
        self.port = ports.free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        conf = folder / "Caddyfile"
        conf.write_text(substitute(CADDYFILE, {
            "login.example.com {":
            f"http://localhost:{self.port}, {self.origin} {{\n\tbind 127.0.0.1",
            "unix//run/bakrypt-login/fcgi.sock": f"unix/{target}",
            "localhost:2019": f"127.0.0.1:{ports.free_port()}",
        }), encoding="utf-8")
        env = {"PATH": os.defpath, "HOME": str(folder)}
        super().__init__([shutil.which("caddy"), "run", "--config", conf, "--adapter",
                          "caddyfile"], name="caddy", env=env, cwd=folder)

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


class CaddyDoor(ProgramDoor):
    """Caddy before the program's Unix socket."""

    name = "caddy"
    sees_abort = False

    @classmethod
    def missing(cls):
        return None if shutil.which("caddy") else "caddy is not installed"

    def open_front(self, target):
        self.front = self.run(Caddy(self.folder, target))
        return self.front.origin

    def front_log(self):
        """What Caddy logged."""
        return "\n".join(self.front.lines)

    def break_program(self):
        self.program.stop()
