"""Everything that a token server may do by HTTP/2 (RFC 9113), and what becomes of the login.

A scripted server answers. Each test looks at the reply, at its log line, at how often the server
has looked at the login (never twice), and at whether the next login works.
"""
import json

import pytest
from h2.errors import ErrorCodes

from servers import fastcgi, http2_upstream as up, procfs, source, upstream
from servers.service import PASSWORD, TIMEOUT_MS, USER, good_login

ANSWER_MAX = source.ceiling("ANSWER_MAX_BYTES")
HEAD_MAX = source.ceiling("ANSWER_HEAD_MAX_BYTES")
REFUSED_TRIES_MAX = source.ceiling("REFUSED_TRIES_MAX")
SOON_MS = TIMEOUT_MS / 2  # a call that ends sooner has not waited for its time-out


@pytest.fixture(name="launch")
def launcher(start, authority):
    """As start(), with a server by HTTP/2, which is found to have no complaints at the end."""
    servers = []

    def launch(*, settings=None, **options):
        leaf = authority.leaf()
        servers.append(up.Http2Upstream(leaf.certificate, leaf.key, **options))
        return start(server=servers[-1], settings=settings)

    yield launch
    for server in servers:
        server.stop()
        assert not server.faults


@pytest.fixture(name="service")
def launched(launch):
    return launch()


def check_next(service):
    """The next login works, and nothing is left over."""
    service.upstream.reset()
    service.check_token(service.post())
    assert service.upstream.logins() == {USER: 1}


def log_in_at_once(service, count, password=PASSWORD, *, first=0):
    """So many logins at the same time, by users with a number; open connections, to be read by
    read_all()."""
    clients = [fastcgi.Connection(service.address) for _ in range(count)]
    for number, client in enumerate(clients, first):
        client.send(good_login(fastcgi.login_json(f"{number}-{USER}", password)).encode())
    return clients


def read_all(clients):
    replies = [client.read_reply() for client in clients]
    for client in clients:
        client.close()
    return replies


def check_all(service, clients):
    """All get their token, and the server has looked at each login once."""
    for reply in read_all(clients):
        assert reply.status == 200, (reply, service.log_of(reply))
    assert set(service.upstream.logins().values()) == {1}
    assert len(service.upstream.logins()) == len(clients)


# Answers ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("behaviour", [
    pytest.param(up.token(), id="plain"),
    pytest.param(up.token_in_tiny_frames, id="tiny frames"),
    pytest.param(up.token_byte_by_byte, id="byte by byte"),
    pytest.param(up.in_turn(up.interim(103), up.interim(100), up.token()), id="1xx"),
    pytest.param(up.token(trailers=[("x-end", "1")]), id="trailers"),
    pytest.param(up.in_turn(up.ping, up.unknown_frame, up.token()), id="unknown frame"),
    pytest.param(up.early(up.token()), id="before the body was read"),
    pytest.param(up.in_turn(up.early(up.token()), up.reset_stream(ErrorCodes.NO_ERROR)),
                 id="the rest of the body is not wanted"),
    pytest.param(up.in_turn(up.token(), up.go_away()), id="with a farewell"),
    pytest.param(up.in_turn(up.go_away(), up.token()), id="after a farewell"),
    pytest.param(up.in_turn(up.token(), up.hang_up), id="then FIN"),
    pytest.param(up.in_turn(up.go_away(), up.token(), up.hang_up), id="farewell, then FIN"),
])
def test_token_comes_whole(service, behaviour):
    service.upstream.script(behaviour)
    entry = service.check_token(service.post())
    assert entry["upstream_status"] == 200
    assert entry["ms"]["total"] < SOON_MS
    assert len(service.upstream.requests) == 1
    check_next(service)


def test_ping_is_answered(service):
    service.upstream.script(up.in_turn(up.ping, up.token()))
    service.check_token(service.post())
    service.upstream.wait_for(lambda server: server.pings == 1)


@pytest.mark.parametrize("code, symbol", [("invalid_grant", "LOGIN_REFUSED"),
                                          ("invalid_client", "CLIENT_REJECTED")])
def test_refusal_is_read(service, code, symbol):
    service.upstream.script(up.answer(400, json.dumps({"error": code})))
    entry = service.check_fault(service.post(), symbol)
    assert (entry["upstream_status"], entry["upstream_error"]) == (400, code)
    if symbol == "LOGIN_REFUSED":  # or there is no next one, for now
        check_next(service)


def test_headers_are_read(service):
    service.upstream.script(up.answer(429, "{}", headers=[("Retry-After", "7")]),
                            up.answer(503, "<p>", "text/html", headers=[("CF-Ray", "8c-FRA")]))
    service.check_fault(service.post(), "UPSTREAM_429", retry_after=7)
    entry = service.check_fault(service.post(), "UPSTREAM_WAF")
    assert "cf-ray 8c-FRA" in entry["note"]


FULL_HEAD = up.head(200, [("content-type", "application/json")])
LONG_HEAD = FULL_HEAD + [(f"x-{number}", "~" * 4000) for number in range(HEAD_MAX // 4000 + 1)]


@pytest.mark.parametrize("behaviour, symbol", [
    pytest.param(up.token(length=7), "UPSTREAM_MALFORMED", id="longer than its length"),
    pytest.param(up.token(length=7000), "UPSTREAM_MALFORMED", id="shorter than its length"),
    pytest.param(up.answer(200, "~" * (ANSWER_MAX + 1)), "UPSTREAM_MALFORMED", id="huge body"),
    pytest.param(up.answer(200, "~" * 50 * ANSWER_MAX), "UPSTREAM_MALFORMED", id="endless body"),
    pytest.param(up.headers_block(LONG_HEAD), "UPSTREAM_MALFORMED", id="huge head"),
    pytest.param(up.headers_block(FULL_HEAD[1:], flags=["END_STREAM"]), "UPSTREAM_LOST",
                 id="no status"),
    pytest.param(up.headers_block(FULL_HEAD, flags=["END_STREAM"]), "UPSTREAM_MALFORMED",
                 id="no body"),
])
def test_unusable_answers(service, behaviour, symbol):
    service.upstream.script(behaviour)
    entry = service.check_fault(service.post(), symbol)
    assert entry["ms"]["total"] < SOON_MS
    assert service.upstream.logins() == {USER: 1}
    check_next(service)
    assert service.upstream.connections == 0


# Ends of streams ----------------------------------------------------------------------------------

ENDS = [
    pytest.param(up.reset_stream(ErrorCodes.CANCEL), id="CANCEL"),
    pytest.param(up.reset_stream(ErrorCodes.INTERNAL_ERROR), id="INTERNAL_ERROR"),
    pytest.param(up.reset_stream(ErrorCodes.NO_ERROR), id="NO_ERROR"),
    pytest.param(up.hang_up, id="FIN"),
    pytest.param(up.reset_connection, id="RST"),
    pytest.param(up.garbage, id="garbage"),
    pytest.param(up.frame_on_idle_stream, id="frame on an idle stream"),
]
REFUSAL_TOO_LATE = pytest.param(up.reset_stream(ErrorCodes.REFUSED_STREAM), id="REFUSED_STREAM")


@pytest.mark.parametrize("end", ENDS)
def test_end_before_the_answer(service, end):
    service.upstream.script(end)
    entry = service.check_fault(service.post(), "UPSTREAM_LOST")
    assert entry["ms"]["total"] < SOON_MS
    assert "upstream_status" not in entry
    assert len(service.upstream.requests) == 1
    check_next(service)


@pytest.mark.parametrize("end", [*ENDS, REFUSAL_TOO_LATE])
@pytest.mark.parametrize("count", [0, 10], ids=["in the head", "in the body"])
def test_end_in_the_answer(service, count, end):
    """Whoever has begun to answer has looked at the login, whatever is said then."""
    service.upstream.script(up.in_turn(up.part(count), end))
    entry = service.check_fault(service.post(), "UPSTREAM_MALFORMED")
    assert entry["ms"]["total"] < SOON_MS
    assert entry["upstream_status"] == 200
    assert len(service.upstream.requests) == 1
    check_next(service)


def test_no_answer(service):
    service.upstream.script(up.silence)
    service.check_fault(service.post(), "UPSTREAM_TIMEOUT")
    assert service.upstream.logins() == {USER: 1}
    check_next(service)


def test_answer_that_stops_half_way(service):
    service.upstream.script(up.part(10))
    service.check_fault(service.post(), "UPSTREAM_TIMEOUT")
    assert service.upstream.logins() == {USER: 1}
    check_next(service)


# What nobody has looked at is sent again ----------------------------------------------------------

@pytest.mark.parametrize("refusal", [
    pytest.param(up.refuse(), id="REFUSED_STREAM"),
    pytest.param(up.early(up.go_away(0)), id="GOAWAY"),
    pytest.param(up.in_turn(up.early(up.go_away(0)), up.hang_up), id="GOAWAY, FIN"),
    pytest.param(up.early(up.go_away(0, ErrorCodes.ENHANCE_YOUR_CALM)), id="GOAWAY with a reason"),
])
def test_refused_login_is_sent_again(service, refusal):
    service.upstream.script(refusal, refusal)
    service.check_token(service.post())
    assert len(service.upstream.requests) == 3
    assert service.upstream.logins() == {USER: 1}
    check_next(service)


@pytest.mark.parametrize("refusal", [
    pytest.param(up.refuse(), id="REFUSED_STREAM"),
    pytest.param(up.early(up.go_away(0)), id="GOAWAY"),
])
def test_who_refuses_all_is_not_asked_for_ever(service, refusal):
    service.upstream.always = refusal
    service.check_fault(service.post(), "UPSTREAM_UNREACHABLE")
    assert len(service.upstream.requests) == REFUSED_TRIES_MAX + 1
    check_next(service)


def test_farewell_below_some_of_the_logins_under_way(service):
    """Those up to its number are answered where they are, the others by the next connection."""
    server = service.upstream
    server.always = server.hold
    clients = log_in_at_once(service, 10)
    server.wait_for(lambda _: server.held_count == 10)
    last_id = sorted(stream.id for stream in server.requests)[3]
    server.always = up.token()
    server.on_each_wire(lambda wire: up.farewell(wire, last_id))
    server.wait_for(lambda _: len(server.logins()) == 10)
    server.release(lambda wire, stream: stream.is_refused or up.token()(wire, stream))
    check_all(service, clients)
    assert server.connections == 2


@pytest.mark.parametrize("door", [up.garbage_at_once, up.hang_up_at_once],
                         ids=["garbage", "FIN"])
def test_connections_that_are_of_no_use_from_the_start(service, door):
    """The login is lost if it was written before that was known, else sent again."""
    service.upstream.every_door = door
    reply = service.post()
    assert reply.status in (503, 504)
    assert service.log_of(reply)["ms"]["total"] < SOON_MS
    assert service.upstream.connections <= 2
    check_next(service)


# Limits of the server -----------------------------------------------------------------------------

@pytest.mark.parametrize("count", [1, 3])
def test_server_that_takes_few_at_a_time(service, count):
    """Also those that come before the program knows of it."""
    service.upstream.every_door = up.with_streams_max(count)
    for _ in range(3):
        service.upstream.requests.clear()
        check_all(service, log_in_at_once(service, 30))


def test_server_that_takes_none_for_a_while(service):
    """Logins wait for it, and no connections are opened that would not help."""
    server = service.upstream
    service.check_token(service.post())
    server.reset()
    server.every_door = up.with_streams_max(100, told=0)
    server.on_each_wire(server.every_door)
    server.on_each_wire(lambda wire: up.ping(wire, None))
    server.wait_for(lambda _: server.pings == 1)  # it knows now
    clients = log_in_at_once(service, 3)
    service.send(fastcgi.Request(method="GET", target="/healthz"))  # it has read them
    server.every_door = up.with_streams_max(100)
    server.on_each_wire(server.every_door)
    check_all(service, clients)
    assert server.connections <= 1


def test_no_attempts_without_end_while_others_have_to_wait(launch):
    """The one connection is full and no other can be made: that is tried now and then, and not as
    often as the processor can."""
    service = launch(settings={"BAKRYPT_TIMEOUT_MS": 10000, "BAKRYPT_CONNECT_TIMEOUT_MS": 9000})
    server = service.upstream
    server.every_door = up.with_streams_max(1)
    service.check_token(service.post())
    server.always = server.hold
    server.requests.clear()
    clients = log_in_at_once(service, 1)
    server.wait_for(lambda _: server.held_count == 1)
    server.stop_listening()
    before = procfs.cpu_seconds(service.program.pid)
    server.always = up.token()
    clients += log_in_at_once(service, 5, first=1)
    server.stopping.wait(1)
    assert procfs.cpu_seconds(service.program.pid) - before < 0.2
    server.release(up.token())
    check_all(service, clients)


@pytest.mark.parametrize("size, grant", [(1, 1), (0, 7), (0, 65535)])
def test_windows_that_let_little_in(service, size, grant):
    service.upstream.every_door = up.with_window(size, grant)
    service.check_token(service.post())
    service.upstream.reset()
    check_all(service, log_in_at_once(service, 20))


def test_answer_before_a_body_that_has_no_way_in(service):
    service.upstream.every_door = up.with_window(0)
    service.check_token(service.post())
    for symbol, behaviour in (("UPSTREAM_429", up.answer(429, "{}")),
                              ("UPSTREAM_5XX", up.answer(500, "{}"))):
        service.upstream.script(up.early(behaviour))
        entry = service.check_fault(service.post(), symbol)
        assert entry["ms"]["total"] < SOON_MS


def test_body_that_has_no_way_in(service):
    """Nothing of the login was sent: it may be tried again."""
    service.upstream.doors(up.with_window(0))
    service.check_token(service.post())
    service.check_fault(service.post(), "UPSTREAM_UNREACHABLE")
    check_next(service)


def test_writes_that_have_to_wait(launch):
    """A server that reads slowly, and more logins than its and our kernel's memory take."""
    service = launch(receive_buffer=4096, segment=500,
                     settings={"BAKRYPT_TIMEOUT_MS": 20000, "BAKRYPT_CONNECT_TIMEOUT_MS": 5000})
    server = service.upstream
    server.every_door = up.with_huge_windows
    service.check_token(service.post())
    server.reset()
    clients = log_in_at_once(service, 300, "\u20ac" * (source.ceiling("FIELD_MAX_BYTES") // 3))
    check_all(service, clients)
    assert server.connections == 2


# HTTP/1.1 instead ---------------------------------------------------------------------------------

@pytest.mark.parametrize("protocols", [["http/1.1"], ["spdy/3"], None],
                         ids=["http/1.1", "another", "no ALPN"])
def test_server_that_does_not_speak_http2(start, authority, protocols):
    leaf = authority.leaf()
    context = upstream.server_context(leaf.certificate, leaf.key, protocols=protocols)
    with upstream.Upstream(context=context) as server:
        service = start(server=server)
        for _ in range(3):
            service.check_token(service.post())
        # The first was to find out.
        assert (len(server.requests), server.connections) == (3, 2)


def test_each_server_is_spoken_to_in_its_own_way(launch, authority):
    """Tokens come by HTTP/2, and are revoked at a host that speaks HTTP/1.1 alone."""
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as revoker:
        revoker.always = upstream.status(200, "{}", "application/json")
        service = launch(settings={"BAKRYPT_REVOKE_URL": revoker.url})
        for _ in range(2):
            service.check_token(service.post())
            logout = service.post(json.dumps({"refresh_token": "kennwort"}), target="/logout")
            assert logout.status == 204
        assert len(revoker.requests) == 2
    assert service.upstream.connections == 1


# Connections that may have died unseen -------------------------------------------------------------

def test_connection_that_was_idle_for_long_is_not_used(launch):
    """While others are: the idle one may have been forgotten by what is in between."""
    service = launch(settings={"BAKRYPT_TIMEOUT_MS": 60000})
    server = service.upstream
    server.every_door = up.with_streams_max(1)
    service.check_token(service.post())
    server.requests.clear()
    server.always = server.hold
    clients = log_in_at_once(service, 2)
    server.wait_for(lambda _: server.held_count == 2)
    assert server.connections == 2
    server.release(up.token(), 1)  # one is idle now, and one is busy
    server.stopping.wait(source.ceiling("UPSTREAM_IDLE_MS") / 1000 + 0.5)
    server.always = up.token()
    clients += log_in_at_once(service, 1, first=2)
    server.wait_for(lambda _: server.connections == 3)
    server.release(up.token())
    check_all(service, clients)
