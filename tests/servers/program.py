"""The program under test: bakrypt-login on a socket of its own, and its log.

    with Program(folder, token_url=url, ca_file=authority.file) as program:
        ... talk FastCGI to program.address ...
        entry = program.log_for(request_id)
        assert entry["event"] == "login_ok"
"""
import collections
import itertools
import json
import os
import pathlib
import subprocess

from servers import folders, ports
from servers.process import Process, ServerError

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENT_ID = "test-client"
CLIENT_SECRET = "test-client-secret-b7f3"

# What the environment of the tests hands on to the program.
PASSED_ON = ("PATH", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
             "LLVM_PROFILE_FILE", "GCOV_PREFIX", "GCOV_PREFIX_STRIP", "BAKRYPT_SANDBOX")

_numbers = itertools.count(1)


def binary():
    """The program's path: $BAKRYPT_LOGIN_BINARY, or build/bakrypt-login."""
    build = os.environ.get("BAKRYPT_LOGIN_BUILD", "build")
    path = os.environ.get("BAKRYPT_LOGIN_BINARY", os.path.join(build, "bakrypt-login"))
    return str(ROOT / path)


def make_env(settings):
    """An environment with nothing of ours but the settings (a value of None leaves one out)."""
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env.update({name: str(value) for name, value in settings.items() if value is not None})
    return env


def run_once(*arguments, settings=None, timeout=20, **options):
    """Runs the program to its end, for --check, --help and faults at start; gives a
    subprocess.CompletedProcess with stdout and stderr as text."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([binary(), *map(str, arguments)], env=make_env(settings or {}),
                          capture_output=True, text=True, timeout=timeout, check=False,
                          **options)


class Program(Process):
    """bakrypt-login with --listen.

    folder: where its Unix socket goes.
    token_url, ca_file: its upstream; None leaves the setting out.
    listen: "unix" (default), "tcp", "tcp6", or an address as --listen takes it.
    settings: more environment, over the defaults; None leaves a setting out.
    arguments: more of the command line, e.g. ("--workers", 2).
    env: the whole environment, instead of all these settings.
    path: another program than binary().

    `address` is what --listen was given; `target` is a path or a (host, port), to connect to.
    """

    def __init__(self, folder, *, token_url=None, ca_file=None, listen="unix", settings=None,
                 arguments=(), env=None, path=None, keep=None, on_line=None):
        self.number = next(_numbers)
        self.address, self.target = self._place(pathlib.Path(folder), listen)
        self._events = collections.deque(maxlen=keep)
        self._stray_lines = collections.deque(maxlen=keep)
        self.counts = collections.Counter()  # of log entries, by event
        argv = [path or binary(), "--listen", self.address, *map(str, arguments)]
        if isinstance(self.target, str) and folders.web_group():
            argv += ["--socket-group", folders.web_group()]
        all_settings = {
            "BAKRYPT_TOKEN_URL": token_url,
            "BAKRYPT_CLIENT_ID": CLIENT_ID,
            "BAKRYPT_CLIENT_SECRET": CLIENT_SECRET,
            "BAKRYPT_CA_FILE": ca_file,
            **(settings or {}),
        }
        super().__init__(argv, name="bakrypt-login", on_line=on_line, keep=keep,
                         env=make_env(all_settings) if env is None else env)

    def _place(self, folder, listen):
        if listen == "unix":
            path = str(folder / f"login-{self.number}.sock")
            return path, path
        if listen in ("tcp", "tcp6"):
            host = "::1" if listen == "tcp6" else "127.0.0.1"
            port = ports.free_port(host)
            return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"), (host, port)
        if "/" in listen:
            return listen, listen
        host, _, port = listen.rpartition(":")
        return listen, (host.strip("[]"), int(port))

    def start(self, timeout=15):
        """Starts it and waits until it listens."""
        super().start()
        try:
            self.wait_for_event("start", timeout=timeout)
        except ServerError:
            self.stop()
            raise
        return self

    def take_line(self, line):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            self._events.append(entry)
            self.counts[entry.get("event")] += 1
        else:
            self._stray_lines.append(line)

    @property
    def events(self):
        """The log entries so far: those of its lines that are JSON objects."""
        with self._news:
            return list(self._events)

    @property
    def stray_lines(self):
        """Its other lines; there should be none."""
        with self._news:
            return list(self._stray_lines)

    def find_events(self, event=None, **members):
        """The log entries of this event whose members have these values."""
        wanted = dict(members, **({"event": event} if event else {}))
        return [entry for entry in self.events
                if all(entry.get(name) == value for name, value in wanted.items())]

    def wait_for_event(self, event=None, timeout=10, count=1, **members):
        """Waits until there are count such entries; returns the last of them."""
        what = f"event {event} {members or ''}".rstrip()
        found = self.wait_for(
            lambda: len(self.find_events(event, **members)) >= count
            and self.find_events(event, **members), timeout, what)
        return found[-1]

    def log_for(self, request_id, timeout=10):
        """The log entry of one request."""
        return self.wait_for_event(timeout=timeout, request_id=request_id)
