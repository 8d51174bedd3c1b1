"""A door: one web server with one way of reaching the program, the program included.

    with SomeDoor(folder, {"BAKRYPT_TOKEN_URL": url, ...}) as door:
        reply = client.send(door.origin, body, path=door.login_path)
        entry = door.entry_for(reply.headers["X-Request-Id"])

A subclass says how it is opened, with the files of nginx/ or deploy/, in open(); whatever it
starts by run() is stopped again in reverse order.
"""
import itertools
import json
import os
import pathlib
import shutil

from servers import folders, program
from servers.opened import Opened
from servers.process import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

_numbers = itertools.count(1)


class Door(Opened):
    """What all doors have. Subclasses set the class's attributes, and define open() and
    log_lines().

    name: the test parameter's name.
    login_path: to be added to `origin`, which open() sets ("http://127.0.0.1:PORT").
    differences: {case: (status, why)}, where the web server itself answers before the program.
    sees_abort: whether the program learns that a client left in the middle of a login.
    has_health: whether /healthz and /readyz are served, to this machine alone.
    settings: the program's, all text. folder: the door's own, for the web server's workers to
    pass through; from folders.make_folder().
    """

    name = None
    login_path = "/login"
    differences = {}
    sees_abort = None
    has_health = True

    @classmethod
    def missing(cls):
        """What the machine lacks for it, as a sentence; or None."""
        return None

    def __init__(self, folder, settings):
        super().__init__()
        self.folder = folders.make_subfolder(folder, f"door-{next(_numbers)}")
        self.settings = {name: str(value) for name, value in settings.items()
                         if value is not None}
        self.origin = None

    # For subclasses

    def open(self):
        """Starts all there is to start, and sets `origin`."""
        raise NotImplementedError

    def log_lines(self):
        """The lines of the log that the program's stderr goes to, so far."""
        raise NotImplementedError

    def install_program(self, path):
        """Copies the program to where the web server's user can run it."""
        shutil.copyfile(program.binary(), path)
        os.chmod(path, 0o755)
        return path

    def install_ca_file(self):
        """Copies the trusted certificates to where the web server's user can read them."""
        known = self.settings.get("BAKRYPT_CA_FILE")
        if known:
            own = self.folder / "trusted.pem"
            shutil.copyfile(known, own)
            own.chmod(0o644)
            self.settings["BAKRYPT_CA_FILE"] = str(own)

    def write_settings(self, path):
        """Writes a settings file, for the web server's user alone."""
        path = pathlib.Path(path)
        lines = (f"{name}={value}\n" for name, value in sorted(self.settings.items()))
        path.touch(mode=0o600)
        path.write_text("".join(lines), encoding="utf-8")
        if folders.web_user():
            shutil.chown(path, *folders.web_user())
        return path

    # For tests

    def path_of(self, route):
        """Where a route of the program is: "/refresh"."""
        return self.login_path.removesuffix("/login") + route

    def entries(self):
        """The program's log entries so far."""
        found = map(read_entry, self.log_lines())
        return [entry for entry in found if entry is not None]

    def entry_for(self, request_id, timeout=10):
        """The program's log entry of one request, as soon as it is there."""
        def look():
            return [entry for entry in self.entries() if entry.get("request_id") == request_id]
        found = wait_until(look, timeout, f"the log line of {request_id}")
        assert len(found) == 1, found
        return found[0]


class ProgramDoor(Door):
    """A door to a program that was started on its own, with --listen, and its settings in the
    environment. Subclasses define open_front(target), which gives the origin."""

    listen = "unix"

    def open_front(self, target):
        """Starts the web server before a socket: a path or (host, port)."""
        raise NotImplementedError

    def open(self):
        self.program = self.run(program.Program(self.folder, listen=self.listen,
                                                settings=self.settings))
        self.origin = self.open_front(self.program.target)

    def log_lines(self):
        return self.program.lines


def settings_for(token_url, authority):
    """The settings of a door before this token server, which an authority vouches for."""
    return {"BAKRYPT_TOKEN_URL": token_url, "BAKRYPT_CA_FILE": authority.file,
            "BAKRYPT_CLIENT_ID": program.CLIENT_ID,
            "BAKRYPT_CLIENT_SECRET": program.CLIENT_SECRET}


def read_entry(line):
    """The JSON object that a log line ends with, whatever the web server put before it."""
    _, brace, rest = line.partition('{"')
    if not brace:
        return None
    try:
        entry = json.loads(brace + rest)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
