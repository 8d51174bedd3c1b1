"""What a scene plays on: a token server, the program with two workers, and nginx with the shipped
file before it; and what came of every login.

    with Stage(folder, authority, "HTTP/2", plan) as stage:
        with stage.crowd():
            ...
        stage.settle()
        found = stage.find()
"""
import collections
import dataclasses
import json
import re

from servers import folders, nginx, procfs, source
from servers.held import HeldProgram, HeldSocket
from servers.opened import Opened
from servers.process import ServerError, wait_until
from soak.crowd import Crowd
from soak.tokens import GARBLED, Tokens

WORKERS = 2
# Clients and token server share the machine: what is measured is not to wait for them.
FIRST = ("nice", "-n", "-10") if folders.is_root() else ()
CONNECT_TIMEOUT_MS = 700
OVERSHOOT_S = 0.1
IDLE_S = source.ceiling("UPSTREAM_IDLE_MS") / 1000
NGINX_WAITS_S = 20  # fastcgi_read_timeout of the shipped file
GROWTH_MAX_KIB = 4096  # of what is resident at rest, in all workers, and not a file's
STATUSES = {fault.status for fault in source.faults().values()} - {499} | {200}

# A line a login: the client's id, what it was told and after how long, and each try of nginx's.
TIMED = ("\tlog_format timed '$http_x_request_id $status $request_time \"$upstream_status\"';\n"
         "\taccess_log timed.log timed;\n")
LINE = re.compile(r'(\S+) (\d+) ([\d.]+) "([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many clients, how many logins a second of all, for how long; and the program's deadline.
    """
    clients: int = 2000
    rate: float = 150
    seconds: float = 20
    timeout_ms: int = 3000


@dataclasses.dataclass
class Found:
    """What came of a scene's logins."""
    sent: int = 0
    once: int = 0  # answered by exactly one reply
    twice: int = 0
    hung: int = 0
    lost: int = 0  # the connection ended without an answer
    by_nginx: int = 0  # of the answers: nginx's own, where the program gave none
    outside: int = 0  # of the answers: statuses that no table has
    calls_max: int = 0  # of one login, upstream
    called_twice: int = 0  # logins that were
    garbled: int = 0  # requests upstream that are no login
    tokens_unseen: int = 0  # answered with a token, and never seen upstream
    late: int = 0  # more than OVERSHOOT_S after the deadline
    slowest_s: float = 0.0
    fds: tuple = (0, 0)  # of all workers, before and after
    kib: tuple = (0, 0)  # resident at rest, not counting files
    statuses: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    @property
    def is_at_rest(self):
        """Whether all is as it was at the start."""
        return self.fds[1] <= self.fds[0] and self.kib[1] <= self.kib[0] + GROWTH_MAX_KIB


class Stage(Opened):
    """wrapper: as for servers.service.Service. host: of the token server."""

    def __init__(self, folder, authority, version, plan, *, wrapper=(), host="localhost"):
        super().__init__()
        self._folder, self._authority = folder, authority
        self.version, self.plan = version, plan
        self._wrapper, self._host = wrapper, host
        self.programs = []
        self._crowds = []
        self._floor = None

    def open(self):
        self.tokens = self.run(Tokens(self._authority, self.version,
                                      self.plan.timeout_ms / 1000, self._host))
        self._held = self.run(HeldSocket(self._folder))
        self.start_program()
        self.run(_StopsLast(self))
        self.front = nginx.Login(
            self._folder, self._held.path, more_http=TIMED, keep=100,
            connections=2 * self.plan.clients + 200, accepts_all=True)
        self.front.argv[:0] = FIRST
        self.run(self.front.start())
        self._floor = self._at_rest()

    @property
    def program(self):
        return self.programs[-1]

    @property
    def workers(self):
        return procfs.children(self.program.pid)

    def start_program(self):
        """On the socket that all programs of this stage serve, one after the other."""
        started = HeldProgram(
            self._held, token_url=self.tokens.url, ca_file=self._authority.file,
            arguments=("--workers", WORKERS),
            settings={"BAKRYPT_CONNECT_TIMEOUT_MS": CONNECT_TIMEOUT_MS,
                      "BAKRYPT_TIMEOUT_MS": self.plan.timeout_ms})
        started.argv[:0] = (*FIRST, *self._wrapper)
        self.programs.append(started.start())
        wait_until(lambda: len(self.workers) == WORKERS, 10, f"{WORKERS} workers")

    def crowd(self):
        self._crowds.append(Crowd(self.front.port, clients=self.plan.clients, rate=self.plan.rate,
                                  patience=NGINX_WAITS_S + 10))
        return self._crowds[-1]

    def _at_rest(self):
        """(open files, resident KiB that are no file's) of all workers."""
        pids = self.workers
        return (sum(map(procfs.open_files, pids)),
                sum(int(procfs.status(pid, "RssAnon").split()[0]) for pid in pids))

    def settle(self):
        """Waits until the program has dropped what it keeps for further logins, or ought to have.
        nginx would keep its connections for longer."""
        self.front.stop()
        try:
            wait_until(lambda: self._found_at_rest().is_at_rest, IDLE_S + 10, "rest")
        except ServerError:
            pass  # it is told, and judged, in figures

    def _found_at_rest(self):
        (files_before, kib_before), (files, kib) = self._floor, self._at_rest()
        return Found(fds=(files_before, files), kib=(kib_before, kib))

    def find(self):
        """What came of it. After settle()."""
        logins = [login for crowd in self._crowds for login in crowd.logins]
        found = self._found_at_rest()
        found.sent = len(logins)
        found.twice = sum(crowd.stray_answers for crowd in self._crowds)
        calls = self.tokens.calls()
        found.garbled = calls[GARBLED]
        for login in logins:
            self._count(found, login, calls[login.user])
        found.once -= found.twice
        self._read_times(found)
        return found

    @staticmethod
    def _count(found, login, calls):
        found.calls_max = max(found.calls_max, calls)
        found.called_twice += calls > 1
        if login.status is None:
            found.hung += login.is_hung
            found.lost += not login.is_hung
            return
        found.once += 1
        found.statuses[login.status] += 1
        found.outside += login.status not in STATUSES
        found.tokens_unseen += login.status == 200 and calls == 0
        found.by_nginx += login.status >= 400 and not _is_ours(login)

    def _read_times(self, found):
        """nginx's own, so that the clients' slowness is not counted."""
        deadline_s = self.plan.timeout_ms / 1000 + OVERSHOOT_S
        with open(self.front.folder / "timed.log", encoding="ascii") as log:
            for line in log:
                match = LINE.match(line)
                if match and match[1].startswith("crowd"):
                    found.slowest_s = max(found.slowest_s, float(match[3]))
                    found.late += float(match[3]) > deadline_s

    def check_programs(self):
        """What the programs did besides, as (name, sentence): nothing."""
        for program in self.programs:
            if program.stray_lines:
                yield "print", f"the program printed {program.stray_lines[0]!r}"
        ids = collections.Counter(entry["request_id"] for program in self.programs
                                  for entry in program.events if "request_id" in entry)
        repeated = [user for user, count in ids.items() if count > 1]
        if repeated:
            yield "log", f"{len(repeated)} logins have several lines in the log, {repeated[0]} for one"


class _StopsLast:
    """The program that runs at the end, whichever that is, stops in its place of the order."""

    def __init__(self, stage):
        self._stage = stage

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self._stage.programs:
            program.stop()


def _is_ours(login):
    """Told by the id in the body: that of the login, where nginx makes one of its own."""
    try:
        return json.loads(login.body).get("request_id") == login.user
    except ValueError:
        return login.body == b""
