"""While the token server is plainly down, or does not know our client, no password is sent to it.

What opens and closes the breaker is shown to the last case by the unit tests; here, what that means
for those who ask, and for the server.
"""
import contextlib
import signal
import time

import pytest

from servers import cgi, client, fastcgi, source, upstream
from servers.chain import Chains
from servers.dot import USERS, Dot
from servers.process import wait_until
from servers.program import CLIENT_SECRET
from servers.service import PASSWORD, USER, Service, good_login

FAULTS_MAX = source.ceiling("BREAKER_FAULTS_MAX")
PAUSE_MIN_S = source.ceiling("BREAKER_PAUSE_MIN_MS") / 1000
PAUSE_MAX_S = source.ceiling("BREAKER_PAUSE_MAX_MS") / 1000
PROBE_WAIT_S = source.ceiling("PROBE_WAIT_MS") / 1000

MADE_UP = ["bakrypt-login-asks-whether-its-client-is-accepted"]
REJECTED = upstream.error("invalid_client", 401)
ACCEPTED = upstream.error("invalid_grant")  # the made-up token is refused, the client is not
FAR = 300
LONG_BUSY = upstream.status(503, "{}", "application/json", [("Retry-After", str(FAR))])

BODIES = {"/login": None, "/refresh": b'{"refresh_token":"kennwort"}',
          "/logout": b'{"refresh_token":"kennwort"}'}


def ask(service, route):
    return service.post(BODIES[route], target=route)


def ask_ready(service):
    return service.send(fastcgi.Request(method="GET", target="/readyz", content_type=None,
                                        length=None))


def is_probe(request):
    return request.form.get("refresh_token") == MADE_UP


def probes(server):
    return [request for request in server.requests if is_probe(request)]


def others(server):
    return [request for request in server.requests if not is_probe(request)]


def check_refused(service, reply, reason, *, least=1, most=1):
    """At once, for that reason, and with a time to come again."""
    seconds = int(reply.header("retry-after") or 0)
    assert least <= seconds <= most, reply
    entry = service.check_fault(reply, "UPSTREAM_DOWN", retry_after=seconds)
    assert entry["note"] == f"after {reason}"
    assert "upstream_status" not in entry
    return entry


def open_for_long(service):
    """Three faults, and a probe that is told to come again much later."""
    service.upstream.script(*[upstream.status(500)] * FAULTS_MAX)
    service.upstream.always = LONG_BUSY
    for _ in range(FAULTS_MAX):
        service.check_fault(service.post(), "UPSTREAM_5XX")
    service.program.wait_for_event("breaker_open", reason="upstream_5xx")


def open_by_rejection(service):
    service.upstream.script(REJECTED)
    service.check_fault(service.post(), "CLIENT_REJECTED")
    assert service.program.wait_for_event("breaker_open")["reason"] == "client_rejected"


def let_the_pause_pass():
    time.sleep(PAUSE_MIN_S + 0.1)


@contextlib.contextmanager
def held_at(service, held, login=None):
    """The connection of a login, while the server holds back what it answers to it: to the login
    itself, or to the probe that it waits for."""
    before = len(service.upstream.requests)
    service.upstream.script(held)
    with service.connect() as connection:
        connection.send((login or good_login()).encode())
        service.upstream.wait_for_requests(before + 1)
        yield connection


def wait_until_served(service, seconds):
    wait_until(lambda: service.post().status == 200, seconds, "a login that is served")


# Down, and back -----------------------------------------------------------------------------------

def test_server_that_goes_and_comes_back(start, authority):
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        service = start(server=server)
        service.check_token(service.post())
        port = server.port
    for _ in range(FAULTS_MAX):
        service.check_fault(service.post(), "UPSTREAM_UNREACHABLE")
    entry = service.program.wait_for_event("breaker_open")
    assert (entry["level"], entry["reason"]) == ("error", "upstream_unreachable")
    refused = 5
    for _ in range(refused):
        check_refused(service, service.post(), "upstream_unreachable")
    with upstream.Upstream(leaf.certificate, leaf.key, port=port):
        wait_until_served(service, PAUSE_MIN_S + 3)
        entry = service.program.wait_for_event("breaker_closed")
        assert entry["level"] == "info"
        assert entry["refused"] >= refused
        assert 1000 * PAUSE_MIN_S <= entry["open_ms"] < 5000
        service.check_token(service.post())
    assert len(service.program.find_events("breaker_open")) == 1


@pytest.mark.parametrize("door, reason, symbol", [
    (upstream.hang_up_before_tls, "upstream_unreachable", "UPSTREAM_UNREACHABLE"),
    (upstream.plain_http, "upstream_tls", "UPSTREAM_TLS")], ids=["unreachable", "TLS"])
def test_no_connection_is_tried(start, door, reason, symbol):
    service = start()
    service.upstream.doors(*[door] * 1000)
    for _ in range(FAULTS_MAX):
        service.check_fault(service.post(), symbol)
    before = service.upstream.connections
    due = time.monotonic() + PAUSE_MIN_S / 2
    count = 0
    while time.monotonic() < due:
        check_refused(service, service.post(), reason)
        count += 1
    assert count > 10
    assert service.upstream.connections == before


def test_refused_at_once(start):
    """Whatever is asked for, and without reading it."""
    service = start()
    open_for_long(service)
    before = len(service.upstream.requests)
    times = []
    for _ in range(100):
        for route in BODIES:
            entry = check_refused(service, ask(service, route), "upstream_5xx", least=FAR - 60,
                                  most=FAR)
            assert (entry["route"], entry["level"]) == (route, "warn")
            times.append(entry["ms"]["total"])
    assert sorted(times)[len(times) // 2] < 1
    assert sorted(times)[len(times) * 9 // 10] < 5
    check_refused(service, service.post(b"no JSON at all"), "upstream_5xx", least=FAR - 60,
                  most=FAR)
    assert len(service.upstream.requests) == before


def test_one_fault_is_none(start):
    """Nor are two; and a good answer between begins the row anew."""
    service = start()
    for _ in range(3):
        service.upstream.script(*[upstream.hang_up] * (FAULTS_MAX - 1))
        for _ in range(FAULTS_MAX - 1):
            service.check_fault(service.post(), "UPSTREAM_LOST")
        service.check_token(service.post())
    assert not probes(service.upstream)
    assert not service.program.find_events("breaker_open")


# The client is not known --------------------------------------------------------------------------

def test_password_is_sent_once_to_who_does_not_know_us(start):
    """And after every pause, which grows, one probe without any."""
    service = start()
    service.upstream.always = REJECTED
    service.check_fault(service.post(), "CLIENT_REJECTED")
    due = time.monotonic() + 8 * PAUSE_MIN_S
    while time.monotonic() < due:
        reply = service.post()
        check_refused(service, reply, "client_rejected", most=8)
    sent = service.upstream.requests
    assert len(others(service.upstream)) == 1
    assert all("password" not in request.form for request in sent[1:])
    pauses = [after.at - before.at for before, after in zip(sent, sent[1:])]
    assert len(pauses) == 3
    for number, pause in enumerate(pauses):
        assert pause >= PAUSE_MIN_S * 2 ** number
    assert len(service.program.find_events("breaker_open")) == 1


def test_secret_that_is_put_right_at_the_server(start):
    """The first who comes after the pause need not come again."""
    service = start()
    open_by_rejection(service)
    let_the_pause_pass()
    service.upstream.script(ACCEPTED)
    service.check_token(service.post())
    assert service.program.find_events("breaker_closed")
    login, probe, again = service.upstream.requests
    assert [is_probe(each) for each in (login, probe, again)] == [False, True, False]
    assert again.form["password"] == [PASSWORD]


def test_secret_that_is_put_right_here(folder, authority):
    """SIGHUP: what has been learned with the old one counts no more."""
    secret = folder / "breaker-secret"
    secret.write_text("an-old-secret\n", encoding="ascii")
    secret.chmod(0o600)
    with Service(folder, authority, settings={
            "BAKRYPT_CLIENT_SECRET": None, "BAKRYPT_CLIENT_SECRET_FILE": secret}) as service:
        open_by_rejection(service)
        check_refused(service, service.post(), "client_rejected")
        secret.write_text(CLIENT_SECRET, encoding="ascii")
        service.reload()
        service.check_token(service.post())
        assert service.upstream.requests[-1].form["client_secret"] == [CLIENT_SECRET]


@pytest.mark.parametrize("code", ["unauthorized_client", "unsupported_grant_type",
                                  "invalid_scope"])
@pytest.mark.parametrize("route", ["/login", "/refresh"])
def test_grant_that_is_not_allowed_is_no_reason_to_refuse_others(start, route, code):
    service = start()

    def answer(wire, request):
        is_refused = not is_probe(request) and \
            request.form["grant_type"] == ["password" if route == "/login" else "refresh_token"]
        behaviour = upstream.error(code) if is_refused else ACCEPTED if is_probe(request) \
            else upstream.token()
        behaviour(wire, request)

    service.upstream.always = answer
    other = "/refresh" if route == "/login" else "/login"
    for _ in range(2 * FAULTS_MAX):
        service.check_fault(ask(service, route), "CLIENT_REJECTED")
    assert ask(service, other).status == 200
    assert not service.program.find_events("breaker_open")


# One user is not all of them ----------------------------------------------------------------------

POISON = {
    "wall": upstream.status(403), "fault": upstream.status(500), "lost": upstream.hang_up,
    "nonsense": upstream.status(200, "nonsense"), "redirect": upstream.status(302),
    "contract": upstream.error("invalid_request"), "limit": upstream.status(429),
    "out of service": LONG_BUSY,
}


@pytest.mark.parametrize("behaviour", POISON.values(), ids=POISON)
def test_one_users_password_shuts_nobody_out(start, behaviour):
    """Whatever it does to a firewall, or to the server."""
    service = start()

    def answer(wire, request):
        if is_probe(request):
            ACCEPTED(wire, request)
        elif request.form["username"] == ["ulrike-poison"]:
            behaviour(wire, request)
        else:
            upstream.token()(wire, request)

    service.upstream.always = answer
    poison = fastcgi.login_json("ulrike-poison", "kennwort' OR 1=1 --")
    for _ in range(10):
        for _ in range(FAULTS_MAX + 1):
            assert service.post(poison).status >= 302
        service.check_token(service.post())
    assert not service.program.find_events("breaker_open")
    assert 1 <= len(probes(service.upstream)) <= 10


OUTAGES = {
    "wall": ("upstream_waf", upstream.status(403)),
    "fault": ("upstream_5xx", upstream.status(500)),
    "lost": ("upstream_lost", upstream.hang_up),
    "silence": ("upstream_timeout", upstream.silence),
    "nonsense": ("upstream_malformed", upstream.status(200, "nonsense")),
    "redirect": ("upstream_redirect", upstream.status(301)),
    "limit": ("upstream_429", upstream.status(429)),
}


@pytest.mark.parametrize("reason, behaviour", OUTAGES.values(), ids=OUTAGES)
def test_same_for_the_probe_is_an_outage(start, reason, behaviour):
    service = start()
    service.upstream.always = behaviour
    for _ in range(FAULTS_MAX):
        assert service.log_of(service.post())["event"] == reason
    assert service.program.wait_for_event("breaker_open")["reason"] == reason
    check_refused(service, service.post(), reason)
    assert (len(others(service.upstream)), len(probes(service.upstream))) == (FAULTS_MAX, 1)
    service.upstream.always = upstream.token()
    wait_until_served(service, PAUSE_MIN_S + 3)


@pytest.mark.parametrize("status, reason", [(429, "upstream_429"), (503, "upstream_5xx")])
def test_server_that_names_a_time_is_left_alone_until_then(start, status, reason):
    service = start()
    service.upstream.always = upstream.status(status, "{}", "application/json",
                                              [("Retry-After", "120")])
    for _ in range(FAULTS_MAX):
        assert service.post().header("retry-after") == "120"
    service.program.wait_for_event("breaker_open")
    time.sleep(2 * PAUSE_MIN_S)
    check_refused(service, service.post(), reason, least=100, most=119)
    assert len(service.upstream.requests) == FAULTS_MAX + 1


def test_probe_that_the_server_dislikes_does_not_shut_out_for_ever(start):
    """Once the pause has grown to its maximum one login goes all the same. The slow one here."""
    service = start()
    service.upstream.script(*[upstream.status(500)] * (FAULTS_MAX + 1))
    service.upstream.always = lambda wire, request: \
        (upstream.status(500) if is_probe(request) else upstream.token())(wire, request)
    for _ in range(FAULTS_MAX):
        service.check_fault(service.post(), "UPSTREAM_5XX")
    service.program.wait_for_event("breaker_open")
    opened = time.monotonic()
    wait_until_served(service, 2 * PAUSE_MAX_S + 10)
    assert time.monotonic() - opened >= PAUSE_MAX_S
    assert len(others(service.upstream)) == FAULTS_MAX + 1
    service.check_token(service.post())


# One probe at a time ------------------------------------------------------------------------------

def test_thousand_at_once_bring_about_one_probe(start):
    count = 1000
    service = start(settings={"BAKRYPT_TIMEOUT_MS": 20000, "BAKRYPT_LOG_LEVEL": "info"})
    open_by_rejection(service)
    held = upstream.Held(ACCEPTED)
    let_the_pause_pass()
    with held_at(service, held) as first, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(service.connect()) for _ in range(count - 1)]
        for each in clients:
            each.send(good_login().encode())
        replies = [each.read_reply() for each in clients]
        held.release()
        assert first.read_reply().status in (200, 503)  # it need not wait for so many
    assert {reply.status for reply in replies} == {503}
    assert {reply.header("retry-after") for reply in replies} == {"1"}
    service.program.wait_for_event("breaker_closed")
    assert len(probes(service.upstream)) == 1
    service.check_token(service.post())


def test_nobody_waits_for_long(start):
    service = start(settings={"BAKRYPT_TIMEOUT_MS": 20000})
    open_by_rejection(service)
    held = upstream.Held(ACCEPTED)
    service.upstream.script(held)
    let_the_pause_pass()
    entry = check_refused(service, service.post(), "client_rejected")
    assert 1000 * PROBE_WAIT_S <= entry["ms"]["total"] < 1000 * PROBE_WAIT_S + 1500
    check_refused(service, service.post(), "client_rejected")
    held.release()
    service.program.wait_for_event("breaker_closed")
    service.check_token(service.post())
    assert len(others(service.upstream)) == 2


def test_who_leaves_while_the_probe_is_under_way_is_not_logged_in(start):
    service = start()
    open_by_rejection(service)
    held = upstream.Held(ACCEPTED)
    let_the_pause_pass()
    login = good_login()
    with held_at(service, held, login):
        pass
    service.program.wait_for_event("client_abort", request_id=login.id)
    held.release()
    service.program.wait_for_event("breaker_closed")
    service.check_token(service.post())
    assert len(others(service.upstream)) == 2
    assert not service.program.find_events("orphan_revoked")


def test_no_room_for_the_probe(start, authority):
    """Another server's revocation has it all."""
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as revoker:
        service = start(settings={"BAKRYPT_MAX_IN_FLIGHT": 1, "BAKRYPT_TIMEOUT_MS": 20000,
                                  "BAKRYPT_REVOKE_URL": revoker.url})
        open_by_rejection(service)
        held = upstream.Held(upstream.status(200, ""))
        revoker.script(held)
        with service.connect() as busy:
            busy.send(fastcgi.Request(BODIES["/logout"], target="/logout").encode())
            revoker.wait_for_requests(1)
            let_the_pause_pass()
            for _ in range(2):
                check_refused(service, service.post(), "client_rejected")
            held.release()
            assert busy.read_reply().status == 204
        service.check_token(service.post())
        assert len(probes(service.upstream)) == 1


# What was under way -------------------------------------------------------------------------------

def test_login_under_way_is_answered_and_closes_it(start):
    service = start(settings={"BAKRYPT_TIMEOUT_MS": 20000})
    held = upstream.Held()
    with held_at(service, held) as connection:
        open_by_rejection(service)
        check_refused(service, service.post(), "client_rejected")
        held.release()
        service.check_token(connection.read_reply())
    service.program.wait_for_event("breaker_closed")
    service.check_token(service.post())
    assert not probes(service.upstream)


def test_orphan_of_a_login_under_way_is_revoked(start):
    service = start(settings={"BAKRYPT_TIMEOUT_MS": 20000})
    held = upstream.Held()
    login = good_login()
    with held_at(service, held, login):
        open_by_rejection(service)
    service.program.wait_for_event("client_abort", request_id=login.id)
    service.upstream.script(upstream.status(200, ""))
    held.release()
    service.program.wait_for_event("orphan_revoked", login=login.id)


def test_bad_news_of_the_past_open_nothing(start):
    """Logins of the outage, whose time is over only after it."""
    service = start(settings={"BAKRYPT_TIMEOUT_MS": 20000})
    held = upstream.Held(REJECTED)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(held_at(service, held)) for _ in range(5)]
        service.check_token(service.post())
        held.release()
        for each in clients:
            service.check_fault(each.read_reply(), "CLIENT_REJECTED")
    service.check_token(service.post())
    assert not service.program.find_events("breaker_open")


def test_reload_while_one_waits_for_the_probe(start):
    service = start()
    open_by_rejection(service)
    held = upstream.Held(ACCEPTED)
    let_the_pause_pass()
    with held_at(service, held) as connection:
        service.reload()
        service.check_token(service.post())
        held.release()
        service.check_token(connection.read_reply())
    assert not service.program.find_events("breaker_closed")


@pytest.mark.parametrize("behaviour", [ACCEPTED, REJECTED], ids=["good", "bad"])
def test_stop_while_one_waits_for_the_probe(folder, authority, behaviour):
    with Service(folder, authority) as service:
        open_by_rejection(service)
        held = upstream.Held(behaviour)
        let_the_pause_pass()
        with held_at(service, held) as connection:
            service.program.send_signal(signal.SIGTERM)
            held.release()
            assert connection.read_reply().status == (200 if behaviour is ACCEPTED else 503)
        assert service.program.wait(5) == 0


# Other ways in, and other places to go ------------------------------------------------------------

def test_revocation_at_a_server_of_its_own_goes_on(start, authority):
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as revoker:
        revoker.always = upstream.status(200, "")
        service = start(settings={"BAKRYPT_REVOKE_URL": revoker.url})
        open_for_long(service)
        assert ask(service, "/logout").status == 204
        assert len(revoker.requests) == 1
        check_refused(service, ask(service, "/refresh"), "upstream_5xx", least=FAR - 60, most=FAR)


def test_failed_revocations_keep_no_login_out(start):
    service = start()
    service.upstream.script(*[REJECTED] * 2 * FAULTS_MAX)
    for _ in range(2 * FAULTS_MAX):
        service.check_fault(ask(service, "/logout"), "CLIENT_REJECTED")
    service.check_token(service.post())


def test_readyz_agrees(start):
    service = start()
    service.check_token(service.post())
    assert ask_ready(service).status == 200
    open_by_rejection(service)
    before = len(service.upstream.requests)
    reply = ask_ready(service)
    assert (reply.status, reply.json["reason"]) == (503, "client_rejected")
    assert reply.header("retry-after") == "1"
    assert len(service.upstream.requests) == before
    # Whoever asks brings about the probe, and so closes it.
    service.upstream.always = ACCEPTED
    let_the_pause_pass()
    reply = ask_ready(service)
    assert (reply.status, reply.json) == (200, {"status": "ready"})
    service.program.wait_for_event("breaker_closed")
    service.upstream.always = upstream.token()
    service.check_token(service.post())
    assert len(probes(service.upstream)) == 1


def test_readyz_that_finds_it_down_spares_the_logins_that_come(start):
    service = start()
    service.upstream.doors(*[upstream.hang_up_before_tls] * 1000)
    reply = ask_ready(service)
    assert (reply.status, reply.json["reason"]) == (503, "upstream_unreachable")
    before = service.upstream.connections
    check_refused(service, service.post(), "upstream_unreachable")
    assert service.upstream.connections == before


def test_each_process_of_cgi_asks_for_itself(authority):
    leaf = authority.leaf()
    body = good_login().body
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        server.always = REJECTED
        for _ in range(FAULTS_MAX + 1):
            run = cgi.request(body, cgi.settings(server.url, authority.file))
            assert run.entry["event"] == "client_rejected"
        assert len(others(server)) == len(server.requests) == FAULTS_MAX + 1


# The real thing -----------------------------------------------------------------------------------

def test_real_server_with_a_wrong_secret(folder, authority, dot, has_nginx):
    chains = Chains(folder, authority)
    chain = chains.get(token_url=dot.token_url,
                       settings={"BAKRYPT_CLIENT_SECRET": f"not-{CLIENT_SECRET}"})
    try:
        before = dot.count_requests()
        replies = [chain.login_json("alice", USERS["alice"]) for _ in range(5)]
        assert [reply.status for reply in replies] == [500, 503, 503, 503, 503]
        assert replies[1].headers.get_all("Retry-After") == ["1"]
        assert dot.count_requests() <= before + 2
    finally:
        chains.close()


def test_real_server_that_goes_and_comes_back(folder, authority, require, has_nginx):
    server = Dot(folder, authority)
    chains = Chains(folder, authority)
    body = client.json_body("alice", USERS["alice"])
    try:
        server.start()
        chain = chains.get(token_url=server.token_url)
        assert chain.send(body).status == 200
        server.stop()
        replies = [chain.send(body) for _ in range(FAULTS_MAX + 2)]
        events = [chain.log_of(reply)["event"] for reply in replies]
        assert events[-2:] == ["upstream_down"] * 2
        server.start()
        wait_until(lambda: chain.send(body).status == 200, PAUSE_MAX_S, "a login that is served")
        assert chain.program.find_events("breaker_closed")
    finally:
        chains.close()
        server.stop()
