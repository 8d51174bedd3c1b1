"""How long a login takes while others attack: relative to the quiet moments just before.

The same clients log in at a steady rate, by way of nginx, with and without an attack, in turn. The
attackers speak FastCGI to the program's own socket, or HTTP to nginx.
"""
import dataclasses
import json
import time

from servers import client, fastcgi
from servers.fastcgi import ABORT_REQUEST, PARAMS, STDIN, begin, pair, record, stream
from servers.process import Process, ServerError

from bench import figures, load, ours, table, tree, upstream

ROUNDS = 5
SECONDS = 3  # of each half of a round: a pause of the machine is to spoil few rounds
RAMP_S = 0.5  # from the attack's begin until logins count
CALM_S = 0.5  # from its end
BODY = client.json_body(f"{upstream.USER_PREFIX}hostile", "correct horse battery staple")
MB = b"x" * 1_000_000


@dataclasses.dataclass(frozen=True)
class Attack:
    """rate: pieces a second, of `piece` bytes (0: all of data), by so many connections in turn.
    mode: as attack/main.c takes it."""
    label: str
    is_http: bool
    data: bytes
    connections: int
    rate: int
    piece: int = 0
    mode: str = "again"

    @property
    def name(self):
        return f"{self.label}, {'HTTP' if self.is_http else 'FastCGI'}"


def request(body=BODY, **options):
    return fastcgi.Request(body, id=None, **options)


def http(body=BODY, *lines, length=None):
    head = ["POST /login HTTP/1.1", "Host: localhost", f"Content-Type: {client.JSON}",
            f"Content-Length: {len(body) if length is None else length}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


WHOLE = request().encode(keep=True)
ALIVE = request(b"", method="GET", target="/healthz").encode(keep=True)
ATTACKS = (
    Attack("logins byte by byte", False, WHOLE, 1000, 100000, 1),
    Attack("logins in records of one byte", False,
           request(b" " * 10000 + BODY).encode(keep=True, piece=1), 20, 50000, 9),
    Attack("aborted logins", False, WHOLE + record(ABORT_REQUEST), 100, 2500, mode="close"),
    Attack("parameters of 60 KB", False,
           request(more={"HTTP_COOKIE": "c" * 60000}).encode(keep=True), 100, 1000),
    Attack("20,000 tiny parameters", False,
           begin() + stream(PARAMS, pair("A", "") * 20000) + record(STDIN), 100, 2500,
           mode="close"),
    Attack("bodies of 10 MB", False, request(MB * 10).encode(keep=True), 20, 5000, 65536),
    Attack("garbage after a login", False, WHOLE + b"GET / HTTP/1.1\r\n\r\n" * 1000, 100, 2500,
           mode="close"),
    Attack("1,000 requests at once", False, ALIVE * 1000, 100, 50),
    Attack("replies never read", False, request(b"{}").encode(keep=True) * 100, 100, 100,
           mode="unread"),
    Attack("connections and nothing else", False, b"", 100, 25000, mode="close"),
    Attack("logins byte by byte", True, http(), 1000, 20000, 1),
    Attack("header lines of 24 KB", True, http(BODY, *["X-Long: " + "x" * 7900] * 3), 100, 1500),
    Attack("4,000 tiny header lines", True, http(BODY, *["a: b"] * 4000), 100, 1500),
    Attack("bodies of 10 MB", True, http(MB * 10), 20, 5000, 65536),
    Attack("garbage after a login", True, http() + b"\0GET / HTTP/9.9\r\n\r\n" * 1000, 100, 1500,
           mode="close"),
    Attack("logins given up", True, http(), 100, 2500, mode="close"),
    Attack("connections and nothing else", True, b"", 100, 5000, mode="close"),
)


@dataclasses.dataclass(frozen=True)
class Round:
    """CPU is that of each second of the attack."""
    quiet: load.Outcome
    attacked: load.Outcome
    pieces_per_s: float
    bytes_per_s: float
    attacker_cpu: float
    program_cpu: float
    front_cpu: float

    @property
    def p99_ratio(self):
        return figures.ratio(self.attacked.p99_ms, self.quiet.p99_ms)

    @property
    def p50_ratio(self):
        return figures.ratio(self.attacked.p50_ms, self.quiet.p50_ms)


def argv(place, subject, attack, seconds):
    """Only where nobody else wants the processor (SCHED_IDLE), as if they had one of their own:
    what is measured is the program's way with them, and not whose turn it is."""
    file = place.folder / "attack"
    file.write_bytes(attack.data)
    target = subject.port if attack.is_http else subject.program.target
    return ["chrt", "--idle", "0", place.build / "attack", target, file, attack.piece,
            attack.connections, attack.rate, seconds, attack.mode]


def run_round(place, subject, attack, seconds):
    def log_in():
        return load.at_rate(place, subject.port, rate=table.RATE, seconds=seconds)

    quiet = log_in()
    whole_s = seconds + 2 * RAMP_S
    servers = (subject.program, subject.front)
    with Process(map(str, argv(place, subject, attack, whole_s)), name="attack") as attacker:
        time.sleep(RAMP_S)
        pids = [attacker.pid, *(server.pid for server in servers)]
        before = [tree.cpu_seconds(pid) for pid in pids]
        began = time.monotonic()
        attacked = log_in()
        took_s = time.monotonic() - began
        cpu = [(tree.cpu_seconds(pid) - cpu_s) / took_s for pid, cpu_s in zip(pids, before)]
        if attacker.wait(whole_s + 30) != 0:
            raise ServerError(f"the attack ended\n{attacker.tail()}")
    told = json.loads(attacker.lines[-1])
    time.sleep(CALM_S)
    return Round(quiet, attacked, told["pieces"] / whole_s, told["bytes"] / whole_s, *cpu)


def run(place, *, attacks, rounds, seconds, say):
    """{attack: [Round]}."""
    found = {attack: [] for attack in attacks}
    with ours.Ours(place) as subject:
        load.wrk_closed(subject.port, clients=64, seconds=1)
        for number in range(rounds):
            for attack in attacks:
                result = run_round(place, subject, attack, seconds)
                found[attack].append(result)
                say(f"  round {number + 1}, {attack.name}: p99 {result.quiet.p99_ms:.2f} ms, "
                    f"attacked {result.attacked.p99_ms:.2f} ms, "
                    f"{result.attacked.errors} errors")
    return found
