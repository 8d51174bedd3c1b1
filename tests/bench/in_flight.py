"""Thousands of logins in flight: what share of the ideal rate is reached, what each costs, memory,
connections. And bursts: all at once.
"""
import dataclasses
import resource

from bench import figures, load, others, ours, tree, upstream

OTHER_FILES = 600  # descriptors that are for no login in flight
DOOR_SHARE = 5 / 8  # of the program's descriptors: for the web server's connections
FLOOR = others.Floor
OURS = ours.Ours


def most_clients():
    """As many as the program has room for."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(upstream.CLIENTS_MAX, int((files - OTHER_FILES) * DOOR_SHARE))


@dataclasses.dataclass(frozen=True)
class Case:
    """So many clients, each with a login in flight at all times, before an upstream that answers
    after delay_s."""
    kind: type
    clients: int
    delay_s: float = 0.3
    is_http2: bool = True

    @property
    def label(self):
        name = "nginx `proxy_pass` (floor)" if self.kind is FLOOR else "bakrypt-login"
        return f"{name}, {'HTTP/2' if self.is_http2 else 'HTTP/1.1'}"

    def subject(self, place):
        """The program over TCP, since a full queue of a Unix socket makes nginx answer 502, and
        nginx keeps as many connections to it as there are clients."""
        more = {}
        if issubclass(self.kind, OURS):
            more = {"settings": {"BAKRYPT_MAX_IN_FLIGHT": max(4096, self.clients),
                                 "BAKRYPT_LOG_LEVEL": "warn"},
                    "listen": "tcp", "keepalive": self.clients}
        return self.kind(place, delay_s=self.delay_s, is_http2=self.is_http2,
                         clients=self.clients, **more)


@dataclasses.dataclass(frozen=True)
class Flight:
    """What came of a case. cpu_per_1000: CPU seconds per 1000 logins, once all clients were at it,
    of program and web server; program_per_1000: of it the program's; upstream_busy: the token
    server's CPU seconds in each second; rss_per_login: bytes of the program alone that each login
    in flight added at most."""
    case: Case
    outcome: load.Outcome
    cpu_per_1000: float
    program_per_1000: float
    upstream_busy: float
    connections: int
    rss_per_login: float

    @property
    def of_ideal(self):
        """The rate, relative to that of clients which never wait for anything but upstream; None
        if that does not make them wait."""
        return self.outcome.rate * self.case.delay_s / self.case.clients or None


def cases_in_full():
    most = most_clients()
    cases = []
    for delay_s, counts in ((0, (10, 100, 1000, most)), (0.3, (10, 100, 1000, 5000, most))):
        for clients in counts:
            cases += [Case(FLOOR, clients, delay_s, is_http2=False), Case(OURS, clients, delay_s)]
    cases += [Case(OURS, clients, is_http2=False) for clients in (1000, 5000)]
    cases += [Case(FLOOR, most, 3, is_http2=False), Case(OURS, most, 3)]
    return cases


def whole_waits(seconds, delay_s):
    """About so long, in whole waits for upstream, three at least: clients that began together are
    answered together."""
    return max(3, round(seconds / delay_s)) * delay_s if delay_s else seconds


def measure(place, case, seconds):
    """Starts a subject for it alone."""
    with case.subject(place) as subject:
        pid = subject.program.pid
        load.closed(place, subject.port, clients=1, seconds=0.5, warm_s=0)
        idle_rss = tree.rss_bytes(pid)
        opened = place.upstream.connections()
        marks = []

        def on_mark():
            marks.append((subject.cpu_seconds(), tree.cpu_seconds(pid),
                          tree.cpu_seconds(place.upstream.pid),
                          place.upstream.connections() - opened,
                          tree.peak_rss_bytes(pid) - idle_rss))

        outcome = load.closed(place, subject.port, clients=case.clients,
                              seconds=whole_waits(seconds, case.delay_s),
                              warm_s=max(2, 2 * case.delay_s), on_mark=on_mark)
        (*cpu_before, _, _), (*cpu_after, connections, rss) = marks
        stack_s, program_s, upstream_s = (after - before for before, after
                                          in zip(cpu_before, cpu_after))
        logins = outcome.logins
        return Flight(case, outcome, figures.ratio(1000 * stack_s, logins),
                      figures.ratio(1000 * program_s, logins), upstream_s / outcome.seconds,
                      connections, rss / case.clients)


def run(place, *, cases, seconds, say):
    flights = []
    for case in cases:
        flight = measure(place, case, seconds)
        share = f"{flight.of_ideal:.0%} of the ideal rate, " if flight.of_ideal else ""
        say(f"  {case.label}, {case.clients:,} at {case.delay_s * 1000:.0f} ms: {share}"
            f"{flight.outcome.errors} errors")
        flights.append(flight)
    return flights


@dataclasses.dataclass(frozen=True)
class Burst:
    """The same burst of logins before an upstream of 300 ms, twice: just after the start, and
    again. connections: those that each opened."""
    case: Case
    cold: load.Outcome
    cold_connections: int
    warm: load.Outcome
    warm_connections: int


def run_bursts(place, *, clients, say):
    bursts = []
    for case in (Case(FLOOR, clients, is_http2=False), Case(OURS, clients)):
        found = []
        with case.subject(place) as subject:
            for _ in range(2):
                opened = place.upstream.connections()
                outcome = load.burst(place, subject.port, clients=clients)
                found += [outcome, place.upstream.connections() - opened]
        bursts.append(Burst(case, *found))
        say(f"  {case.label}, {clients:,} at once: cold {found[0].seconds:.2f} s, "
            f"warm {found[2].seconds:.2f} s")
    return bursts
