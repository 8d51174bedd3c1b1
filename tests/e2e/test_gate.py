"""The FastCGI door: what no web server would send, and peers that are slow, rude or many.

Whatever one connection does, it gets what it deserves and all others are served as before.
"""
import contextlib
import resource
import struct
import threading
import time

import pytest

from servers import fastcgi, procfs, source, upstream
from servers.fastcgi import (ABORT_REQUEST, AUTHORIZER, BEGIN_REQUEST, DATA, END_REQUEST, FILTER,
                             GET_VALUES, KEEP_CONN, PARAMS, RESPONDER, STDIN, STDOUT, Request,
                             begin, pair, pairs, record, stream)
from servers.service import PASSWORD, USER, Service, good_login

AT_ONCE_S = 2.0  # for what takes milliseconds, on a busy machine
ARRIVAL_S = source.ceiling("REQUEST_ARRIVAL_MS") / 1000
REQUEST_MAX = source.ceiling("REQUEST_MAX_BYTES")


@pytest.fixture(scope="module", name="shared")
def shared_service(folder, authority):
    with Service(folder, authority) as service:
        yield service


@pytest.fixture(name="service")
def service_that_serves_on(shared):
    """Checks after each test that other logins are served as before."""
    shared.upstream.reset()
    yield shared
    shared.check_alive()
    shared.upstream.reset()
    shared.check_token(shared.post())
    shared.check_log()


def short_login(**more):
    """The fewest parameters that a login needs; no request id of its own."""
    body = b'{"username":"ulrike","password":"kennwort"}'
    drop = {name: None for name in Request(body).params()}
    keep = {"REQUEST_METHOD": "POST", "REQUEST_URI": "/login", "CONTENT_TYPE": fastcgi.JSON,
            "CONTENT_LENGTH": str(len(body))}
    return Request(body, more={**drop, **keep, **more})


def refused():
    """A request that is answered without upstream: 400."""
    return Request(b"{}")


def check_prompt(service):
    """A login elsewhere is not delayed."""
    started = time.monotonic()
    service.check_token(service.post())
    assert time.monotonic() - started < AT_ONCE_S


# Requests in pieces -------------------------------------------------------------------------------

def test_request_may_arrive_in_any_two_pieces(service):
    whole = short_login().encode()
    with service.connect() as other:
        for cut in range(1, len(whole)):
            with service.connect() as connection:
                connection.send(whole[:cut])
                # A whole exchange elsewhere, so that the first piece was looked at alone.
                other.send(refused().encode(keep=True))
                assert other.read_reply().status == 400
                connection.send(whole[cut:])
                assert connection.read_reply().json == upstream.token_members(), cut


def test_request_may_arrive_byte_by_byte(service):
    with service.connect() as connection:
        for byte in short_login().encode():
            connection.send(bytes([byte]))
        assert connection.read_reply().status == 200


def test_long_request_may_arrive_byte_by_byte_over_tcp(start):
    service = start(listen="tcp")
    with service.connect() as connection:
        for byte in good_login().encode():
            connection.send(bytes([byte]))
        service.check_token(connection.read_reply())


@pytest.mark.parametrize("padding", [1, 7, 255])
def test_padding_is_passed_over(service, padding):
    service.check_token(service.send(good_login(), padding=padding))


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100])
def test_parameters_may_come_in_many_records(service, piece):
    service.check_token(service.send(good_login(), params_piece=piece))


@pytest.mark.parametrize("piece", [1, 2, 7, 100])
def test_body_may_come_in_many_records(service, piece):
    service.check_token(service.send(good_login(), piece=piece))


def test_short_lengths_may_be_written_in_four_bytes(service):
    request = good_login()
    params = b"".join(pair(name, value, wide=True) for name, value in request.params().items())
    with service.connect() as connection:
        connection.send(begin() + stream(PARAMS, params) + stream(STDIN, request.body))
        service.check_token(connection.read_reply())


@pytest.mark.parametrize("number", [1, 2, 255, 256, 65535])
def test_reply_carries_the_request_id_of_its_request(service, number):
    with service.connect() as connection:
        connection.send(good_login().encode(number))
        reply = connection.read_reply(number)
    service.check_token(reply)
    assert (reply.app_status, reply.protocol_status) == (0, fastcgi.REQUEST_COMPLETE)
    assert reply.stderr == b""


@pytest.mark.parametrize("listen", ["unix", "tcp"])
def test_largest_request_is_served(start, listen):
    service = start(listen=listen)
    body = fastcgi.login_json(USER, PASSWORD)
    body += b" " * (source.ceiling("BODY_MAX_BYTES") - len(body))
    request = good_login(body)
    room = source.ceiling("PARAMS_MAX_BYTES") - len(pairs(request.params())) - 100
    request.more["HTTP_COOKIE"] = "c" * room
    service.check_token(service.send(request))


def test_five_hundred_parameters_are_served(service):
    more = {f"HTTP_X_{number}": "x" for number in range(490)}
    service.check_token(service.send(good_login(more=more)))


def test_request_without_parameters_is_answered(service):
    with service.connect() as connection:
        connection.send(begin() + record(PARAMS) + record(STDIN))
        assert connection.read_reply().status in (400, 404, 405)


# Slow peers ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("cut", [1, 7, 8, 15, 16, 20, 200, -1])
def test_incomplete_request_delays_nobody(service, cut):
    login = good_login()
    whole = login.encode()
    with service.connect() as connection:
        connection.send(whole[:cut])
        check_prompt(service)
        connection.send(whole[cut:])
        service.check_token(connection.read_reply())


def test_trickle_delays_nobody(service):
    whole = good_login().encode()
    with service.connect() as connection:
        for byte in whole[:60]:
            connection.send(bytes([byte]))
            check_prompt(service)
        connection.send(whole[60:])
        service.check_token(connection.read_reply())


def test_connections_that_say_nothing_delay_nobody(service):
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(service.connect())
        check_prompt(service)


def test_request_that_never_completes_is_given_up_and_an_idle_connection_is_not(service):
    """The one slow test here: the deadline of an arriving request."""
    patience = ARRIVAL_S + 5
    with service.connect(patience=patience) as silent, \
            service.connect(patience=patience) as partial, service.connect() as idle:
        idle.send(refused().encode(keep=True))
        assert idle.read_reply().status == 400
        started = time.monotonic()
        partial.send(good_login().encode()[:-9])
        assert silent.is_closed() and partial.is_closed()
        assert ARRIVAL_S - 1 <= time.monotonic() - started <= ARRIVAL_S + 4
        idle.send(good_login().encode(keep=True))
        service.check_token(idle.read_reply())


# What the gate refuses ----------------------------------------------------------------------------

GOOD_PARAMS = stream(PARAMS, pairs(Request().params()))
BOMB = b"\xff\xff\xff\xff"  # the length 0x7fffffff
REFUSED = {
    "version 0": begin(version=0) + GOOD_PARAMS,
    "version 2": begin(version=2) + GOOD_PARAMS,
    "version 2 later": begin() + record(PARAMS, version=2),
    "request id 0": good_login().encode(0),
    "foreign parameters": begin() + stream(PARAMS, pairs({"A": "b"}), 2) + GOOD_PARAMS,
    "foreign body": begin() + GOOD_PARAMS + record(STDIN, b"{}", 2) + record(STDIN),
    "foreign empty record": begin() + GOOD_PARAMS + record(STDIN, b"", 2) + record(STDIN),
    "foreign begin": begin() + begin(2) + GOOD_PARAMS,
    "role authorizer": begin(role=AUTHORIZER) + GOOD_PARAMS + record(STDIN),
    "role filter": begin(role=FILTER) + GOOD_PARAMS + record(STDIN),
    "role 0": begin(role=0) + GOOD_PARAMS + record(STDIN),
    "role 999": begin(role=999) + GOOD_PARAMS + record(STDIN),
    "unknown type": begin() + record(42),
    "unknown type first": record(200, b"x" * 100),
    "type 0": record(0),
    "get values": record(GET_VALUES, pairs({"FCGI_MAX_CONNS": ""}), 0),
    "get values, many names": record(GET_VALUES, pairs({f"FCGI_{i}": "" for i in range(9)}), 0),
    "get values, a flood": record(GET_VALUES, pairs({"FCGI_MPXS_CONNS": ""}) * 9, 0) * 1000,
    "get values in a request": begin() + record(GET_VALUES, pairs({"FCGI_MAX_REQS": ""}) * 9, 0)
    + GOOD_PARAMS + record(STDIN),
    "name of 2 GiB": begin() + record(PARAMS, BOMB + b"\x01" + b"x" * 100),
    "value of 2 GiB": begin() + record(PARAMS, b"\x01" + BOMB + b"x" * 100),
    "name and value of 2 GiB": begin() + record(PARAMS, BOMB * 2 + b"x" * 100),
    "lengths of 0x7ffffff0": begin() + record(PARAMS, b"\xff\xff\xff\xf0" * 2 + b"x" * 100),
    "100,000 parameters": begin() + stream(PARAMS, pair("A", "") * 100000) + record(STDIN),
    "100,000 empty names": begin() + stream(PARAMS, b"\0\0" * 100000) + record(STDIN),
    "parameters of 1 MB": begin() + stream(PARAMS, pair("HTTP_COOKIE", "c" * 1000000)),
    "parameters cut off": begin() + record(PARAMS, pair("A", "bcd")[:-1]) + record(PARAMS),
    "a length cut off": begin() + record(PARAMS, b"\x80\x00") + record(PARAMS),
    "data": begin() + GOOD_PARAMS + record(DATA, b"x") + record(STDIN),
    "second begin": begin() + begin() + GOOD_PARAMS,
    "begin in the body": begin() + GOOD_PARAMS + begin() + record(STDIN),
    "body before the end of the parameters": begin() + record(PARAMS, pair("A", "b"))
    + record(STDIN),
    "parameters after their end": begin() + GOOD_PARAMS + record(PARAMS, pair("A", "b")),
    "no begin": GOOD_PARAMS + record(STDIN),
    "begin of 0 bytes": record(BEGIN_REQUEST) + GOOD_PARAMS,
    "begin of 7 bytes": record(BEGIN_REQUEST, struct.pack(">HB4x", RESPONDER, KEEP_CONN)),
    "begin of 9 bytes": record(BEGIN_REQUEST, struct.pack(">HB6x", RESPONDER, KEEP_CONN)),
    "records of the other direction": begin() + record(STDOUT, b"x") + record(END_REQUEST, b"x"),
    "HTTP": b"POST /login HTTP/1.1\r\nHost: login.test\r\nContent-Length: 0\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"\0" * 200,
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_gate_refuses(service, data):
    before = len(service.program.find_events("fcgi_reject"))
    with service.connect() as connection:
        connection.try_send(data)
        with pytest.raises(fastcgi.HungUp, match="after 0 of"):
            connection.read_record()
    entry = service.program.wait_for_event("fcgi_reject", count=before + 1)
    assert (entry["level"], bool(entry["note"])) == ("warn", True)
    assert len(service.program.find_events("fcgi_reject")) == before + 1
    assert not service.upstream.requests


def test_gate_refuses_on_a_kept_connection_after_a_good_request(service):
    with service.connect() as connection:
        connection.send(good_login().encode(keep=True))
        service.check_token(connection.read_reply())
        connection.try_send(record(GET_VALUES, pairs({f"FCGI_{i}": "" for i in range(9)}), 0))
        assert connection.is_closed()


@pytest.mark.parametrize("cut", [begin(), begin() + record(PARAMS, pair("A", "b")),
                                 begin() + GOOD_PARAMS,
                                 begin() + GOOD_PARAMS + record(STDIN, b"{")],
                         ids=["begin", "parameters", "all parameters", "body"])
def test_request_may_be_aborted_before_it_is_complete(service, cut):
    with service.connect() as connection:
        connection.send(cut + record(ABORT_REQUEST))
        with contextlib.suppress(fastcgi.HungUp):
            connection.read_reply()
        assert connection.is_closed()
    assert not service.upstream.requests


def test_peer_may_leave_in_the_middle_of_a_request(service):
    for cut in range(0, len(good_login().encode()), 10):
        with service.connect() as connection:
            connection.send(good_login().encode()[:cut])
    check_prompt(service)
    assert len(service.upstream.requests) == 1


@pytest.mark.parametrize("megabytes", [1, 20])
def test_oversize_body_is_answered_although_the_peer_writes_all_of_it_first(service, megabytes):
    with service.connect() as connection:
        connection.try_send(Request(b"x" * megabytes * 1000000).encode())
        reply = connection.read_reply()
    service.check_fault(reply, "BODY_TOO_LARGE")


def test_oversize_body_over_tcp_is_answered(start):
    service = start(listen="tcp")
    with service.connect() as connection:
        connection.try_send(Request(b"x" * 1000000).encode())
        reply = connection.read_reply()
    service.check_fault(reply, "BODY_TOO_LARGE")


def test_body_in_too_many_tiny_records_is_too_large(service):
    body = b" " * 15000
    with service.connect() as connection:
        connection.try_send(Request(body).encode(piece=1))
        reply = connection.read_reply()
    service.check_fault(reply, "BODY_TOO_LARGE")


# Peers that leave ---------------------------------------------------------------------------------

def leave_by_abort(connection):
    connection.send(fastcgi.abort())


LEAVING = {"abort": leave_by_abort, "close": fastcgi.Connection.close,
           "reset": fastcgi.Connection.reset}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
@pytest.mark.parametrize("listen", ["unix", "tcp"])
def test_client_that_leaves_is_logged_once_and_its_answer_dropped(start, leave, listen):
    service = start(listen=listen)
    held = upstream.Held()
    service.upstream.script(held)
    request = good_login()
    with service.connect() as connection:
        connection.send(request.encode())
        service.upstream.wait_for_requests(1)
        leave(connection)
        entry = service.program.log_for(request.id)
        assert (entry["event"], entry["status"], entry["level"]) == ("client_abort", 499, "info")
        held.release()
        service.check_token(service.post())
    assert len(service.program.find_events(request_id=request.id)) == 1
    # What became of its token is shown in test_orphans.py.
    paths = [request.path for request in service.upstream.wait_for_requests(3)]
    assert sorted(paths) == [upstream.REVOKE_PATH, upstream.PATH, upstream.PATH]


def test_many_clients_that_leave_at_once(service):
    held = upstream.Held()
    service.upstream.always = held
    connections = [service.connect() for _ in range(50)]
    for connection in connections:
        connection.send(good_login().encode())
    service.upstream.wait_for_requests(len(connections))
    before = len(service.program.find_events("client_abort"))
    for connection in connections:
        connection.close()
    service.program.wait_for_event("client_abort", count=before + len(connections))
    held.release()


def test_client_that_leaves_when_upstream_never_answers(start):
    service = start(settings={"BAKRYPT_CONNECT_TIMEOUT_MS": 600, "BAKRYPT_TIMEOUT_MS": 600})
    service.upstream.script(upstream.silence)
    request = good_login()
    with service.connect() as connection:
        connection.send(request.encode())
        service.upstream.wait_for_requests(1)
    assert service.program.log_for(request.id)["event"] == "client_abort"
    threading.Event().wait(0.8)
    service.check_token(service.post())
    assert len(service.program.find_events(request_id=request.id)) == 1


def test_half_closed_connection_is_answered_or_counts_as_left(service):
    held = upstream.Held()
    service.upstream.script(held)
    request = good_login()
    with service.connect() as connection:
        connection.send(request.encode())
        connection.half_close()
        held.release()
        try:
            assert connection.read_reply().json == upstream.token_members()
        except fastcgi.HungUp:
            assert service.program.log_for(request.id)["event"] == "client_abort"


# Kept connections ---------------------------------------------------------------------------------

def test_connection_is_closed_after_its_reply_unless_it_is_to_be_kept(service):
    with service.connect() as connection:
        connection.send(refused().encode(keep=False))
        assert connection.read_reply().status == 400
        assert connection.is_closed()


def test_kept_connection_serves_many_requests_in_order(service):
    with service.connect() as connection:
        for number in range(1, 101):
            request = good_login() if number % 5 else refused()
            connection.send(request.encode(number, keep=True))
            reply = connection.read_reply(number)
            assert reply.status == (200 if number % 5 else 400)
            assert reply.header("x-request-id") == request.id


@pytest.mark.parametrize("change", [
    {"length": "5"}, {"method": "GET"}, {"target": "/other"}, {"content_type": "text/plain"},
    {"target": "/login?password=kennwort"}])
def test_refused_body_does_not_spoil_the_next_request(service, change):
    with service.connect() as connection:
        connection.send(good_login(**change).encode(keep=True))
        assert connection.read_reply().status >= 400
        connection.send(good_login().encode(keep=True))
        service.check_token(connection.read_reply())


def test_idle_kept_connections_starve_nobody(service):
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(service.connect()) for _ in range(200)]
        for connection in idle:
            connection.send(refused().encode(keep=True))
        for connection in idle:
            assert connection.read_reply().status == 400
        check_prompt(service)
        for connection in idle[::20]:
            connection.send(good_login().encode(keep=True))
            service.check_token(connection.read_reply())


def test_next_request_may_be_sent_before_the_first_is_answered(service):
    held = upstream.Held()
    service.upstream.script(held)
    first, second = good_login(), refused()
    with service.connect() as connection:
        connection.send(first.encode(1, keep=True) + second.encode(2, keep=True))
        service.upstream.wait_for_requests(1)
        held.release()
        service.check_token(connection.read_reply(1))
        reply = connection.read_reply(2)
        assert (reply.status, reply.header("x-request-id")) == (400, second.id)


def test_part_of_the_next_request_may_come_before_the_first_is_answered(service):
    held = upstream.Held()
    service.upstream.script(held)
    rest = refused().encode(2, keep=True)
    with service.connect() as connection:
        connection.send(good_login().encode(1, keep=True) + rest[:20])
        service.upstream.wait_for_requests(1)
        held.release()
        service.check_token(connection.read_reply(1))
        connection.send(rest[20:])
        assert connection.read_reply(2).status == 400


@pytest.mark.parametrize("listen", ["unix", "tcp"])
def test_peer_that_never_reads_is_hung_up_on_and_delays_nobody(start, listen):
    service = start(listen=listen)
    requests = Request(b"{}", id=None).encode(keep=True) * 20
    with service.connect() as connection:
        connection.socket.settimeout(AT_ONCE_S)
        for _ in range(1000):
            if not connection.try_send(requests):
                break
            check_prompt(service)
        else:
            pytest.fail("twenty thousand requests, no reply read, and it goes on")


# Too many -----------------------------------------------------------------------------------------

def test_logins_above_the_ceiling_are_shed_and_those_below_it_served(start):
    service = start(settings={"BAKRYPT_MAX_IN_FLIGHT": 2})
    held = upstream.Held()
    service.upstream.script(held, held)
    with service.connect() as first, service.connect() as second:
        first.send(good_login().encode())
        second.send(good_login().encode())
        service.upstream.wait_for_requests(2)
        service.check_fault(service.post(), "OVERLOADED")
        started = time.monotonic()
        for _ in range(300):
            reply = service.post()
            assert (reply.status, reply.header("retry-after")) == (503, "2")
        assert time.monotonic() - started < 2 * AT_ONCE_S
        held.release()
        for connection in (first, second):
            service.check_token(connection.read_reply())
    assert len(service.upstream.requests) == 2
    service.check_token(service.post())


def check_no_spin(pid, seconds=1.0):
    before = procfs.cpu_seconds(pid)
    threading.Event().wait(seconds)
    assert procfs.cpu_seconds(pid) - before < 0.3 * seconds


def test_more_connections_than_descriptors(start):
    service = start(wrapper=("prlimit", "--nofile=160:160"),
                    settings={"BAKRYPT_MAX_IN_FLIGHT": 20})
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(service.connect()) for _ in range(300)]
        check_no_spin(service.program.pid)
        assert procfs.open_files(service.program.pid) < 160
        for connection in connections[:150]:
            connection.close()
        last = connections[-1]
        last.send(good_login().encode())
        service.check_token(last.read_reply())
    check_prompt(service)


def test_descriptors_that_run_out_by_surprise(start):
    service = start()
    pid = service.program.pid
    service.check_token(service.post())
    few = procfs.open_files(pid) + 5
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, limits[1]))
        connections = [stack.enter_context(service.connect()) for _ in range(30)]
        check_no_spin(pid)
        for connection in connections[:-1]:
            connection.close()
        connections[-1].send(refused().encode())
        assert connections[-1].read_reply().status == 400
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    check_prompt(service)


def test_busy_and_idle_connections_cost_no_cpu_while_nothing_happens(service):
    held = upstream.Held()
    service.upstream.always = held
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(service.connect()) for _ in range(30)]
        for number, connection in enumerate(connections):
            whole = good_login().encode(keep=True)
            # Incomplete, complete, and complete with a part of the next.
            connection.send((whole[:-9], whole, whole + whole[:30])[number % 3])
        service.upstream.wait_for_requests(20)
        check_no_spin(service.program.pid)
        held.release()
        for number, connection in enumerate(connections):
            if number % 3:
                service.check_token(connection.read_reply())
