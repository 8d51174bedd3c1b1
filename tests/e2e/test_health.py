"""GET /healthz and GET /readyz: what they say, and how seldom upstream is asked for it."""
import signal

import pytest

from servers import cgi, fastcgi, ports, source, upstream
from servers.process import wait_until
from servers.program import CLIENT_SECRET
from servers.service import Service, check_headers, good_login
from servers.upstream import PATH

ACCEPTED = upstream.error("invalid_grant")  # the made-up token is refused, the client is not
FRESH_S = source.ceiling("HEALTH_FRESH_MS") / 1000
PAUSE_S = source.ceiling("BREAKER_PAUSE_MIN_MS") / 1000
RETRY_S = source.ceiling("HEALTH_RETRY_MS") / 1000


def ask(service, route="/readyz", method="GET", **request):
    return service.send(fastcgi.Request(method=method, target=route, content_type=None,
                                        length=None, **request))


def check_ready(service, **request):
    reply = ask(service, **request)
    assert (reply.status, reply.json) == (200, {"status": "ready"}), reply
    check_headers(reply, {})
    entry = service.log_of(reply)
    assert (entry["event"], entry["level"], entry["status"]) == ("ready", "debug", 200)
    return entry


def check_unready(service, reason, level="debug"):
    """level: that of the reason where upstream was asked, or debug for what is known already."""
    reply = ask(service)
    assert reply.status == 503, reply
    assert reply.json == {"status": "unavailable", "reason": reason}
    check_headers(reply, {"retry-after": reply.header("retry-after")})
    entry = service.log_of(reply)
    assert (entry["level"], entry["status"], entry["route"]) == (level, 503, "/readyz")
    return entry


def probes(service):
    """The requests that asked whether our client is accepted."""
    return [request for request in service.upstream.requests
            if request.form["grant_type"] == ["refresh_token"]]


# The process lives --------------------------------------------------------------------------------

@pytest.mark.parametrize("target", ["/healthz", "/api/healthz", "/healthz.cgi", "/healthz?x=1"])
def test_alive(start, target):
    service = start()
    reply = ask(service, target)
    assert (reply.status, reply.json) == (200, {"status": "alive"})
    check_headers(reply, {})
    entry = service.log_of(reply)
    assert (entry["event"], entry["level"], entry["route"]) == ("alive", "debug", "/healthz")
    assert not service.upstream.connections


def test_alive_whatever_upstream_does(start):
    with upstream.ClosedPort() as port:
        service = start(token_url=port.url)
        assert service.post().status == 503
        assert ask(service, "/healthz").status == 200


@pytest.mark.parametrize("route", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT"])
def test_other_methods(start, route, method):
    service = start()
    reply = ask(service, route, method)
    assert (reply.status, reply.header("allow")) == (405, "GET, OPTIONS")
    assert reply.json["error"] == "invalid_request"
    assert service.log_of(reply)["event"] == "bad_method"
    reply = ask(service, route, "OPTIONS")
    assert (reply.status, reply.header("allow")) == (204, "GET, OPTIONS")
    assert not service.upstream.connections


# A login would work -------------------------------------------------------------------------------

def test_first_question_is_asked_upstream_and_the_next_ones_are_not(start):
    service = start()
    service.upstream.always = ACCEPTED
    assert check_ready(service)["upstream_status"] == 400
    sent, = service.upstream.requests
    assert sent.path == PATH
    assert sent.form["client_secret"] == [CLIENT_SECRET]
    assert set(sent.form) == {"client_id", "client_secret", "grant_type", "refresh_token"}
    for _ in range(50):
        assert "upstream_status" not in check_ready(service)
    assert len(service.upstream.requests) == 1


@pytest.mark.parametrize("answer", [upstream.token(), ACCEPTED, upstream.error("invalid_grant"),
                                    upstream.status(403, "{}", "application/json")],
                         ids=["token", "refused", "wrong password", "denied"])
def test_what_a_login_tells_need_not_be_asked(start, answer):
    service = start()
    service.upstream.script(answer)
    service.post()
    check_ready(service)
    assert len(service.upstream.requests) == 1


EVERYBODYS = {
    "wrong secret": ("client_rejected", upstream.error("invalid_client", 401), "crit"),
}
SOMEBODYS = {
    "redirect": ("upstream_redirect", upstream.status(301), "error"),
    "out of service": ("upstream_5xx", upstream.status(503, "", None, [("Retry-After", "9")]),
                       "error"),
    "asked to wait": ("upstream_429", upstream.status(429, "{}"), "warn"),
    "wall": ("upstream_waf", upstream.status(403), "error"),
    "fault": ("upstream_5xx", upstream.status(500), "error"),
    "nonsense": ("upstream_malformed", upstream.status(200, "nonsense"), "error"),
    "contract": ("upstream_contract", upstream.error("invalid_request"), "error"),
    "silence": ("upstream_timeout", upstream.silence, "error"),
    "lost": ("upstream_lost", upstream.hang_up, "error"),
}
FAULTS = {**EVERYBODYS, **SOMEBODYS}


@pytest.mark.parametrize("reason, answer, level", FAULTS.values(), ids=FAULTS)
def test_reason(start, reason, answer, level):
    """It is logged once: what is known already is told at level debug."""
    service = start()
    service.upstream.script(answer)
    assert check_unready(service, reason, level)["event"] == reason
    check_unready(service, reason)
    assert len(service.upstream.requests) == 1


@pytest.mark.parametrize("reason, answer, level", EVERYBODYS.values(), ids=EVERYBODYS)
def test_reason_that_a_login_found(start, reason, answer, level):
    service = start()
    service.upstream.script(answer)
    assert service.log_of(service.post())["level"] == level
    check_unready(service, reason)
    assert len(service.upstream.requests) == 1


@pytest.mark.parametrize("route", ["/login", "/refresh"])
@pytest.mark.parametrize("reason, answer, level", SOMEBODYS.values(), ids=SOMEBODYS)
def test_no_user_can_make_it_look_ill(start, route, reason, answer, level):
    """A firewall may be offended by one password, upstream may stumble over one token."""
    service = start()
    check_ready_after_login(service)
    service.upstream.script(answer)
    body = good_login().body if route == "/login" else b'{"refresh_token":"kennwort"}'
    reply = service.post(body, target=route)
    assert (service.log_of(reply)["event"], reply.status >= 429) == (reason, True)
    check_ready(service)
    assert len(service.upstream.requests) == 2


def check_ready_after_login(service):
    service.check_token(service.post())
    check_ready(service)


def test_doubt_is_cleared_soon(start):
    """After a fault that may have been one user's, upstream is asked sooner than else."""
    service = start()
    service.check_token(service.post())
    service.upstream.script(upstream.status(500))
    service.post()
    service.upstream.always = upstream.status(500)
    wait_until(lambda: ask(service).status == 503, RETRY_S + 3, "a new question")
    assert len(probes(service)) == 1


def test_nobody_listens(start):
    with upstream.ClosedPort() as port:
        service = start(token_url=port.url)
        check_unready(service, "upstream_unreachable", "error")
        check_unready(service, "upstream_unreachable")


def test_certificate_that_cannot_be_trusted(start, authority):
    leaf = authority.expired()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        service = start(server=server)
        check_unready(service, "upstream_tls", "crit")


def test_recovery_is_seen_soon(start):
    service = start()
    service.upstream.script(upstream.error("invalid_client", 401))
    assert service.post().status == 500
    service.upstream.always = ACCEPTED
    wait_until(lambda: ask(service).status == 200, PAUSE_S + 3, "a new question")
    assert len(probes(service)) == 1


def test_recovery_is_seen_by_a_login(start):
    """One that was under way."""
    service = start()
    held = upstream.Held()
    service.upstream.script(held, upstream.error("invalid_client", 401))
    with service.connect() as connection:
        connection.send(good_login().encode())
        service.upstream.wait_for_requests(1)
        check_unready(service, "client_rejected", "crit")
        held.release()
        service.check_token(connection.read_reply())
    check_ready(service)
    assert len(service.upstream.requests) == 2


def test_good_news_grow_old_as_well(start):
    """The one slow test here."""
    service = start()
    service.upstream.always = ACCEPTED
    check_ready(service)
    wait_until(lambda: ask(service).status == 200 and len(probes(service)) > 1, FRESH_S + 5,
               "a new question")
    first, second = probes(service)
    assert second.at - first.at >= FRESH_S


# One question at a time ---------------------------------------------------------------------------

def test_one_question_at_a_time(start):
    service = start()
    held = upstream.Held(ACCEPTED)
    service.upstream.script(held)
    with service.connect() as first:
        first.send(fastcgi.Request(method="GET", target="/readyz").encode())
        service.upstream.wait_for_requests(1)
        for _ in range(20):
            assert check_unready(service, "unchecked")["event"] == "unchecked"
        assert ask(service, "/healthz").status == 200
        held.release()
        assert first.read_reply().json == {"status": "ready"}
    check_ready(service)
    assert len(service.upstream.requests) == 1


def test_login_meanwhile_tells_enough(start):
    service = start()
    held = upstream.Held(ACCEPTED)
    service.upstream.script(held)
    with service.connect() as first:
        first.send(fastcgi.Request(method="GET", target="/readyz").encode())
        service.upstream.wait_for_requests(1)
        service.check_token(service.post())
        check_ready(service)
        held.release()
        assert first.read_reply().status == 200


def test_client_that_leaves_does_not_hinder_the_next(start):
    service = start()
    held = upstream.Held(ACCEPTED)
    service.upstream.script(held)
    with service.connect() as first:
        first.send(fastcgi.Request(method="GET", target="/readyz").encode())
        service.upstream.wait_for_requests(1)
    service.program.wait_for_event("client_abort", route="/readyz")
    held.release()
    wait_until(lambda: ask(service).status == 200, 5, "the answer to what the first one asked")
    assert len(service.upstream.requests) == 1


def test_no_room_for_the_question(start):
    """Nothing is known, and a login would be told to come again as well."""
    service = start(settings={"BAKRYPT_MAX_IN_FLIGHT": 1})
    held = upstream.Held()
    service.upstream.script(held)
    with service.connect() as busy:
        busy.send(good_login().encode())
        service.upstream.wait_for_requests(1)
        check_unready(service, "overloaded")
        held.release()
        service.check_token(busy.read_reply())
    check_ready(service)
    assert len(service.upstream.requests) == 1


# Stop, reload, bad settings -----------------------------------------------------------------------

def test_stopping(folder, authority):
    """Said from the first moment on, though logins are still served."""
    held = upstream.Held()
    with Service(folder, authority) as service:
        service.check_token(service.post())
        service.upstream.script(held)
        with service.connect() as busy, service.connect() as kept, service.connect() as alive:
            busy.send(good_login().encode())
            service.upstream.wait_for_requests(2)
            check_ready(service)  # so the other two have been accepted, too
            service.program.send_signal(signal.SIGTERM)
            wait_until(lambda: not ports.is_listening(service.address), 5, "it listens no more")
            kept.send(fastcgi.Request(method="GET", target="/readyz").encode())
            reply = kept.read_reply()
            assert (reply.status, reply.json["reason"]) == (503, "stopping")
            alive.send(fastcgi.Request(method="GET", target="/healthz").encode())
            assert alive.read_reply().status == 200
            held.release()
            service.check_token(busy.read_reply())
        assert service.program.wait(5) == 0


def test_reload_knows_nothing_yet(start):
    service = start()
    service.upstream.script(upstream.error("invalid_client", 401))
    check_unready(service, "client_rejected", "crit")
    service.reload()
    service.upstream.script(ACCEPTED)
    check_ready(service)
    assert len(probes(service)) == 2


def test_reload_while_the_question_is_under_way(start):
    """Its answer is about the old settings."""
    service = start()
    held = upstream.Held(upstream.error("invalid_client", 401))
    service.upstream.script(held, ACCEPTED)
    with service.connect() as first:
        first.send(fastcgi.Request(method="GET", target="/readyz").encode())
        service.upstream.wait_for_requests(1)
        service.reload()
        check_ready(service)
        held.release()
        assert first.read_reply().json["reason"] == "client_rejected"
    check_ready(service)


@pytest.mark.parametrize("route, status, body", [
    ("/healthz", 200, {"status": "alive"}),
    ("/readyz", 503, {"status": "unavailable", "reason": "config_bad"})])
def test_bad_settings_in_cgi(route, status, body):
    run = cgi.request(b"", {}, method="GET", target=route)
    assert (run.reply.status, run.reply.json) == (status, body)
    if status == 503:
        assert (run.entry["event"], run.entry["level"]) == ("config_bad", "crit")
        assert "BAKRYPT_CLIENT_ID" in run.entry["note"]


def test_good_settings_in_cgi(authority):
    """Each hit is a process of its own, and must not ask upstream all the same."""
    with upstream.ClosedPort() as port:
        run = cgi.request(b"", cgi.settings(port.url, authority.file), method="GET",
                          target="/readyz")
    assert (run.reply.status, run.reply.json) == (200, {"status": "ready"})


def test_nothing_secret_is_told(start):
    service = start()
    service.upstream.script(upstream.error("invalid_client", 401))
    text = ask(service).text()
    assert CLIENT_SECRET not in text and upstream.GOSSIP not in text


# With the real authorization server ---------------------------------------------------------------

def test_real_server(folder, authority, dot):
    with Service(folder, authority, token_url=dot.token_url) as service:
        check_ready(service)
    with Service(folder, authority, token_url=dot.token_url,
                 settings={"BAKRYPT_CLIENT_SECRET": "not-the-secret"}) as service:
        check_unready(service, "client_rejected", "crit")
