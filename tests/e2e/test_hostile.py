"""Hostile peers in numbers: whatever they send, everybody else logs in as before, and afterwards the
program is what it was.

All of it is real: HTTP clients, nginx with the shipped file, the program, and an nginx that answers
logins with tokens. One client logs in all the time, by way of nginx; the peers attack the program's
FastCGI socket, or nginx as HTTP clients.
"""
import contextlib
import dataclasses
import os
import signal
import threading
import time

import pytest
from hyperframe import frame

from servers import client, fastcgi, http2_upstream as up, load, nginx, procfs, source
from servers.fastcgi import (ABORT_REQUEST, DATA, END_REQUEST, GET_VALUES, PARAMS,
                             STDIN, Request, begin, pair, record, stream)
from servers.process import wait_until
from servers.program import Program
from servers.service import TIMEOUT_MS, good_login
from servers.swarm import Swarm

RATE = 20000  # logins a second that the token server would answer: it is not the bottleneck
MANY = 1000
KIB = 1024

PARAMS_MAX = source.ceiling("PARAMS_MAX_BYTES")
PARAMS_COUNT_MAX = source.ceiling("PARAMS_MAX_COUNT")
LINES_MAX = source.ceiling("REJECT_LINES_MAX")
ARRIVAL_S = source.ceiling("REQUEST_ARRIVAL_MS") / 1000
TOO_LATE = {(), (400,)}  # what is answered to a request that was longer on its way
IDLE_S = source.ceiling("UPSTREAM_IDLE_MS") / 1000

# By nginx, and to the token server, until they are idle for long.
OPEN_MORE = nginx.KEEPALIVE + source.ceiling("UPSTREAM_CONNECTION_FDS") * (
    3 * MANY // source.ceiling("STREAMS_PER_CONNECTION") + 2)
RSS_MORE_KIB = 4 * KIB


def is_about_a_login(entry):
    return "request_id" in entry or "login" in entry


class Site:
    """The program between both nginx."""

    def __init__(self, folder, token_server, authority, listen):
        self.program = Program(folder, token_url=token_server.token_url, ca_file=authority.file,
                               listen=listen)
        self.program.start()
        self.files = procfs.open_files(self.program.pid)
        self.front = nginx.Login(folder, self.program.target, connections=8192)
        self.front.start()
        self.http = ("127.0.0.1", self.front.port)
        self.log_in()
        self.rss_kib = self.read_rss_kib()

    def log_in(self):
        reply = client.send(self.front.origin, client.json_body("ada", "secret-of-ada"))
        assert reply.status == 200

    def read_rss_kib(self):
        return int(procfs.status(self.program.pid, "VmRSS").split()[0])

    @contextlib.contextmanager
    def busy(self):
        """With a client that logs in all the time, each time with success; afterwards the program
        has let go of all connections but those that are kept, and has not logged more lines than
        there were logins and a flood may have."""
        lines = len(self.program.lines)
        with load.Load(self.front.origin, clients=1) as normal:
            normal.wait_for_more(3)
            yield normal
            normal.wait_for_more(3)
        assert not normal.lost
        faults = [entry for entry in self.program.events[lines:] if entry.get("status", 0) >= 500]
        assert normal.answered == {200: normal.sent}, faults[:5]
        wait_until(lambda: procfs.open_files(self.program.pid) <= self.files + OPEN_MORE, 5,
                   "the program closes what it has opened")
        entries = self.program.events[lines:]
        assert sum(1 for entry in entries if not is_about_a_login(entry)) <= 2 * LINES_MAX
        assert self.program.is_running
        assert not self.program.stray_lines and not self.program.sanitizer_reports

    def stop_front(self):
        self.front.stop()

    def check_rest(self):
        """Nobody is there any more, and nothing is left of them."""
        wait_until(lambda: procfs.open_files(self.program.pid) <= self.files, IDLE_S + 15,
                   "the program has no connection")
        if os.environ.get("BAKRYPT_LOGIN_SANITIZED") != "1":  # its allocator keeps what it frees
            wait_until(lambda: self.read_rss_kib() <= self.rss_kib + RSS_MORE_KIB, 15,
                       "the program has given its memory back")
        assert self.program.stop() == 0


@pytest.fixture(scope="module")
def sites(folder, authority, has_nginx):
    with load.TokenServer(folder, authority, rate=RATE) as token_server:
        made = {listen: Site(folder, token_server, authority, listen)
                for listen in ("unix", "tcp")}
        yield made
        for site in made.values():
            site.stop_front()
        for site in made.values():
            site.check_rest()


@pytest.fixture(params=["unix", "tcp"])
def site(request, sites):
    return sites[request.param]


@dataclasses.dataclass(frozen=True)
class Attack:
    """What each of so many peers sends, and the statuses that it may be answered with before the
    connection is closed. piece: bytes at a time; None: all at once."""
    data: bytes
    answers: tuple
    count: int = 200
    piece: int = None

    def run(self, address):
        began = time.monotonic()
        with Swarm(address, self.count) as swarm:
            if self.piece:
                swarm.trickle(self.data, self.piece)
            else:
                swarm.send(self.data)
            answers = swarm.answers()
        allowed = set(self.answers)
        if self.piece and time.monotonic() - began > ARRIVAL_S:
            allowed |= TOO_LATE
        assert set(answers) <= allowed, answers


# By FastCGI ---------------------------------------------------------------------------------------

def login(**options):
    """A login, of which every peer may send the same: without a request id."""
    return good_login(client.json_body("ada", "secret-of-ada"), id=None, **options)


NEEDED = {"REQUEST_METHOD", "REQUEST_URI", "CONTENT_TYPE", "CONTENT_LENGTH"}
SHORT = login(more={name: None for name in set(login().params()) - NEEDED})


def with_cookie(count):
    room = count - len(fastcgi.pairs(login().params()))
    return login(more={"HTTP_COOKIE": "c" * (room - len("HTTP_COOKIE") - 8)})


TEN_MB = b"x" * 10_000_000
WHOLE_PARAMS = stream(PARAMS, fastcgi.pairs(login().params()))

BY_FASTCGI = {
    "slow logins": Attack(SHORT.encode(), [(200,)], MANY, 1),
    "slow logins in tiny records": Attack(SHORT.encode(piece=1, params_piece=1), [(200,)],
                                          MANY // 4, 9),
    "parameters at their ceiling": Attack(with_cookie(PARAMS_MAX).encode(), [(200,)]),
    "parameters above their ceiling": Attack(with_cookie(PARAMS_MAX + 100).encode(), [()]),
    "thousands of tiny parameters": Attack(
        begin() + stream(PARAMS, pair("A", "") * 20000) + record(STDIN), [()]),
    "parameters without end": Attack(begin() + record(PARAMS, pair("A", "b")) * 50000, [()], 50),
    "huge names": Attack(begin() + record(PARAMS, b"\xff" * 8 + b"n" * 60000), [()]),
    "bodies of 10 MB": Attack(Request(TEN_MB, id=None).encode(), [(413,)], 10),
    "bodies of 10 MB without a length": Attack(
        Request(TEN_MB, id=None, length=None).encode(), [(413,)], 10),
    "bodies of 10 MB instead of 10 bytes": Attack(
        Request(TEN_MB, id=None, length="10").encode(), [(413,)], 10),
    "garbage after a login": Attack(login().encode(keep=True) + b"GET / HTTP/1.1\r\n\r\n" * 1000,
                                    [(200,), ()]),
    "empty records after a login": Attack(
        login().encode(keep=True) + record(STDIN) * 20000, [(200,), ()]),
    "aborts": Attack(login().encode(keep=True) + record(ABORT_REQUEST) * 1000, [(200,), ()], MANY),
    "aborts in the middle": Attack(begin() + WHOLE_PARAMS + record(ABORT_REQUEST), [()], MANY),
    "aborts of nothing": Attack(record(ABORT_REQUEST) * 1000, [()], MANY),
    "questions": Attack(record(GET_VALUES, pair("FCGI_MAX_CONNS", "") * 9, 0) * 100, [()], MANY),
    "another version": Attack(begin(version=2) * 1000, [()], MANY),
    "another request": Attack(begin() + WHOLE_PARAMS + record(STDIN, b"{}", 2) * 1000, [()]),
    "another type": Attack(begin() + record(DATA, b"x") * 1000, [()]),
    "begins": Attack(begin() * 5000, [()]),
    "ends": Attack(record(END_REQUEST, b"\0" * 8) * 1000, [()]),
}


@pytest.mark.parametrize("attack", BY_FASTCGI.values(), ids=BY_FASTCGI)
def test_by_fastcgi(site, attack):
    with site.busy():
        attack.run(site.program.target)


def test_connections_by_fastcgi_that_say_nothing(site):
    with site.busy() as normal:
        with Swarm(site.program.target, MANY), Swarm(site.program.target, MANY) as swarm:
            swarm.trickle(login().encode()[:5])
            normal.wait_for_more(50)


def test_connections_by_fastcgi_that_end_at_once(site):
    with site.busy():
        for _ in range(5):
            Swarm(site.program.target, MANY).close()
        for _ in range(5):
            with Swarm(site.program.target, MANY // 2) as swarm:
                for peer in swarm.peers:
                    peer.connection.reset()


def test_peers_by_fastcgi_that_say_they_are_done(site):
    """Each has sent a part of a login, and the end of its stream."""
    data = login().encode()
    with site.busy():
        for cut in (1, 20, len(data) // 2, len(data) - 1):
            with Swarm(site.program.target, MANY // 4) as swarm:
                swarm.send(data[:cut])
                for peer in swarm.peers:
                    peer.connection.half_close()
                assert set(swarm.answers()) <= {(), (400,)}


def test_logins_by_fastcgi_that_are_given_up(site):
    with site.busy():
        for _ in range(3):
            with Swarm(site.program.target, MANY) as swarm:
                swarm.send(login().encode())


def test_replies_by_fastcgi_that_are_never_read(site):
    """A hundred thousand requests, of which each has a reply in the kernel until that is full."""
    with site.busy():
        with Swarm(site.program.target, 20, reads=False) as swarm:
            swarm.send(Request(b"{}", id=None).encode(keep=True) * 5000)


# As HTTP clients, by nginx ------------------------------------------------------------------------

BODY = client.json_body("ada", "secret-of-ada")


def http(body=BODY, *lines, length=None, ends=True):
    """A login's bytes. lines: more header lines."""
    more = [f"Content-Length: {len(body) if length is None else length}", *lines]
    if ends:
        more.append("Connection: close")
    head = ["POST /login HTTP/1.1", "Host: localhost", f"Content-Type: {client.JSON}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def chunked(body, size=b"%x"):
    head = http(b"", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    return head + size % len(body) + b"\r\n" + body + b"\r\n0\r\n\r\n"


BY_HTTP = {
    "slow logins": Attack(http(), [(200,)], MANY, 1),
    "slow logins, chunked": Attack(chunked(BODY), [(200,)], MANY // 4, 1),
    "long header lines": Attack(http(BODY, *["X-Long: " + "x" * 7900] * 3), [(200,)]),
    "header lines above nginx's ceiling": Attack(http(BODY, *["X-Long: " + "x" * 7900] * 5),
                                                 [(400,)]),
    "a header line without end": Attack(http(BODY, "X-Long: " + "x" * 1_000_000), [(400,)], 50),
    "thousands of tiny header lines": Attack(http(BODY, *["a: b"] * 4000), [(400,), (502,)]),
    "bodies of 10 MB": Attack(http(TEN_MB), [(413,)], 10),
    "bodies of 10 MB, chunked": Attack(chunked(TEN_MB), [(413,)], 10),
    "bodies of 10 MB instead of 10 bytes": Attack(http(TEN_MB, length=10), [(400,)], 10),
    "a body that is not sent": Attack(http(b"", length=10_000_000_000), [(413,)]),
    "a chunk of more than there are bytes": Attack(chunked(BODY, b"%xfffffffffffffffff"),
                                                   [(400,)]),
    "garbage": Attack(bytes(range(256)) * 100, [(), (400,)], MANY),
    "garbage after a login": Attack(http(ends=False) + b"\0GET / HTTP/9.9\r\n\r\n" * 1000,
                                    [(200, 400)]),
    "many logins at once": Attack(http(ends=False) * 99 + http(), [(200,) * 100], 20),
    "TLS": Attack(bytes.fromhex("16030100c8010000c40303") + b"\0" * 200, [(), (400,)]),
}


@pytest.mark.parametrize("attack", BY_HTTP.values(), ids=BY_HTTP)
def test_by_http(site, attack):
    with site.busy():
        attack.run(site.http)


def test_logins_by_http_in_two_pieces(site):
    """Each cut at another byte."""
    data = http()
    with site.busy(), Swarm(site.http, len(data) - 1) as swarm:
        for cut, peer in enumerate(swarm.peers, 1):
            peer.send(data[:cut])
        site.log_in()
        for cut, peer in enumerate(swarm.peers, 1):
            peer.send(data[cut:])
        assert set(swarm.answers()) == {(200,)}


def test_connections_by_http_that_say_nothing(site):
    with site.busy() as normal:
        with Swarm(site.http, MANY), Swarm(site.http, MANY) as swarm:
            swarm.trickle(http()[:5])
            normal.wait_for_more(50)


def test_logins_by_http_that_are_given_up(site):
    with site.busy():
        for _ in range(3):
            with Swarm(site.http, MANY) as swarm:
                swarm.send(http())
                for peer in swarm.peers:
                    peer.connection.reset()


def test_replies_by_http_that_are_never_read(site):
    with site.busy():
        with Swarm(site.http, 20, reads=False) as swarm:
            swarm.send(http(b"{}", ends=False) * 500)


# In turns -----------------------------------------------------------------------------------------

def test_thousand_requests_at_once_wait_for_those_of_others(start):
    """One peer has sent them in one piece before another sent one. The latter is answered in the
    first turn."""
    service = start()
    health = {name: None for name in Request().params()}
    crowd = Request(method="GET", target="/healthz", id=None).encode(keep=True) * 1000
    single = Request(method="GET", target="/healthz", more={**health, "REQUEST_METHOD": "GET",
                     "REQUEST_URI": "/healthz", "HTTP_X_REQUEST_ID": "single"})
    with service.connect() as many, service.connect() as one:
        for connection in (many, one):
            connection.send(Request(b"{}").encode(keep=True))
            assert connection.read_reply().status == 400
        service.program.send_signal(signal.SIGSTOP)
        many.socket.setblocking(False)
        many.socket.send(crowd)
        one.send(single.encode(keep=True))
        service.program.send_signal(signal.SIGCONT)
        assert one.read_reply().status == 200
        service.program.wait_for_event("alive", count=100)
    alive = [entry["request_id"] for entry in service.program.find_events("alive")]
    assert alive.index("single") <= 2 * source.ceiling("QUEUE_BATCH")


def test_requests_at_once_are_answered_in_their_order(start):
    service = start()
    with service.connect() as connection:
        connection.send(b"".join(Request(b"{}", id=f"n-{number}").encode(number, keep=True)
                                 for number in range(1, 301)))
        for number in range(1, 301):
            assert connection.read_reply(number).header("x-request-id") == f"n-{number}"
        connection.send(good_login().encode(keep=True))
        service.check_token(connection.read_reply())


def test_slow_peers_give_way_when_there_is_no_room(start):
    """They have every place there is, and would have it for ten seconds."""
    service = start(wrapper=("prlimit", "--nofile=160:160"),
                    settings={"BAKRYPT_MAX_IN_FLIGHT": 20})
    with Swarm(service.address, 300) as swarm:
        swarm.trickle(good_login().encode()[:20])
        for _ in range(5):
            entry = service.check_token(service.post())
            assert entry["ms"]["total"] < 1000
        assert not service.program.find_events("accept_paused")


# Token servers ------------------------------------------------------------------------------------

STREAM = 1  # the first login's
FLOODS = {
    "PING": frame.PingFrame(0, b"8 bytes!"),
    "SETTINGS": frame.SettingsFrame(0, {3: 100}),
    "SETTINGS of 16 KiB": frame.SettingsFrame(0, {number: 1 for number in range(100, 2800)}),
    "acknowledged SETTINGS": frame.SettingsFrame(0, flags=["ACK"]),
    "WINDOW_UPDATE": frame.WindowUpdateFrame(STREAM, window_increment=1),
    "WINDOW_UPDATE above 2^31": frame.WindowUpdateFrame(0, window_increment=2**31 - 1),
    "DATA of 0 bytes": frame.DataFrame(STREAM),
    "PRIORITY": frame.PriorityFrame(STREAM, depends_on=3),
    "RST_STREAM": frame.RstStreamFrame(STREAM, error_code=8),
    "GOAWAY": frame.GoAwayFrame(0, last_stream_id=2**31 - 1),
    "PUSH_PROMISE": frame.PushPromiseFrame(STREAM, promised_stream_id=2, data=b"\x82",
                                           flags=["END_HEADERS"]),
    "ALTSVC": frame.AltSvcFrame(STREAM, field=b"h2=\":1\""),
    "CONTINUATION of nothing": frame.ContinuationFrame(STREAM),
    "1xx": frame.HeadersFrame(STREAM, data=b"\x08\x03103", flags=["END_HEADERS"]),
    "an unknown frame": up.Unknown(STREAM),
}
# One entry of nearly all the table, named again by each of many single bytes.
BOMB = b"\x88\x40\x01x\x7f\xc1\x1e" + b"v" * 4000 + b"\xbe" * 12000
FIRST = {
    "CONTINUATION of nothing": frame.HeadersFrame(STREAM, data=b"\x88"),
    "a head from a few bytes": frame.HeadersFrame(STREAM, data=BOMB, flags=["END_HEADERS"]),
}
FLOODS["a head from a few bytes"] = frame.HeadersFrame(STREAM, data=b"\xbe" * 16000,
                                                       flags=["END_HEADERS"])


@pytest.fixture(name="server")
def hostile_server(authority):
    leaf = authority.leaf()
    with up.Http2Upstream(leaf.certificate, leaf.key) as server:
        yield server


def peak_kib(pid):
    return int(procfs.status(pid, "VmHWM").split()[0])


@pytest.mark.parametrize("name", FLOODS)
def test_token_server_that_floods(start, server, name):
    """One login is lost. All that needs no token is answered meanwhile, and the next login is on
    another connection."""
    service = start(server=server)
    pid = service.program.pid
    before_kib = peak_kib(pid)
    first = FIRST[name].serialize() if name in FIRST else b""
    server.script(up.flood(FLOODS[name].serialize(), first))
    with service.connect() as lost, service.connect() as other:
        lost.send(good_login().encode())
        server.wait_for(lambda _: len(server.requests) == 1)
        for _ in range(20):
            other.send(Request(b"{}").encode(keep=True))
            reply = other.read_reply()
            assert reply.status == 400
            assert service.log_of(reply)["ms"]["total"] < 500
        assert lost.read_reply().status in (502, 504)
    server.reset()
    service.check_token(service.post())
    assert server.connections == 1
    cpu_s = procfs.cpu_seconds(pid)
    threading.Event().wait(0.5)
    assert procfs.cpu_seconds(pid) - cpu_s < 0.2
    assert peak_kib(pid) - before_kib < RSS_MORE_KIB


def test_token_server_that_says_much_before_it_answers(start, server):
    """More than is received at once: who comes in the middle is answered before."""
    service = start(server=server)
    server.always = server.hold
    padding = up.Unknown(0, b"x" * 1000).serialize() * 300
    with service.connect() as login_first, service.connect() as other:
        login_first.send(good_login().encode())
        other.send(Request(b"{}", id="before").encode(keep=True))
        assert other.read_reply().status == 400
        server.wait_for(lambda _: server.held_count == 1)
        service.program.send_signal(signal.SIGSTOP)
        has_begun = threading.Event()
        sender = threading.Thread(target=server.release, args=(up.in_turn(
            lambda wire, _: wire.send(padding[:1009]), lambda wire, _: has_begun.set(),
            lambda wire, _: wire.send(padding[1009:]), up.token()),))
        sender.start()
        assert has_begun.wait(10)
        other.send(Request(b"{}", id="meanwhile").encode(keep=True))
        service.program.send_signal(signal.SIGCONT)
        assert other.read_reply().status == 400
        service.check_token(login_first.read_reply())
        sender.join()
    ids = [entry.get("request_id") for entry in service.program.events]
    assert ids.index("meanwhile") < ids.index(service.program.find_events("login_ok")[0]
                                              ["request_id"])


DRIPS = {
    "head": (frame.HeadersFrame(STREAM, data=b"\x88"), frame.ContinuationFrame(STREAM, b"")),
    "body": (frame.HeadersFrame(STREAM, data=b"\x88", flags=["END_HEADERS"]),
             frame.DataFrame(STREAM, b" ")),
    "heads before it": (frame.PingFrame(0, b"8 bytes!"), FLOODS["1xx"]),
}


@pytest.mark.parametrize("frames", DRIPS.values(), ids=DRIPS)
def test_token_server_that_answers_slowly_for_ever(start, server, frames):
    """Each byte in time, and the whole never."""
    service = start(server=server)
    server.script(up.drip(*(each.serialize() for each in frames)))
    reply = service.post()
    assert reply.status in (502, 504)
    assert service.log_of(reply)["ms"]["total"] < 2 * TIMEOUT_MS
    service.check_token(service.post())
