"""Tokens that nobody is there for: the client left before the answer to its login came."""
import contextlib
import json
import signal

import pytest

from servers import cgi, fastcgi, ports, source, upstream
from servers.process import wait_until
from servers.program import CLIENT_ID, CLIENT_SECRET
from servers.service import MARKS, Service, good_login

REVOKED = upstream.status(200, "")
FIELD_MAX = source.ceiling("FIELD_MAX_BYTES")


def orphan(service, *answers, token=upstream.token()):
    """A login whose client leaves; then the token comes, and upstream answers the revocation.
    Gives the login's request id."""
    held = upstream.Held(token)
    service.upstream.script(held, *(answers or [REVOKED]))
    login = good_login()
    with service.connect() as connection:
        connection.send(login.encode())
        service.upstream.wait_for_requests(1)
    service.program.wait_for_event("client_abort", request_id=login.id)
    held.release()
    return login.id


def check_revocation(sent, token, hint):
    assert (sent.method, sent.path) == ("POST", upstream.REVOKE_PATH)
    assert sent.form == {"client_id": [CLIENT_ID], "client_secret": [CLIENT_SECRET],
                         "token": [token], "token_type_hint": [hint]}


def test_token_is_revoked(start):
    service = start()
    login = orphan(service)
    entry = service.program.wait_for_event("orphan_revoked", login=login)
    assert (entry["level"], entry["upstream_status"]) == ("info", 200)
    assert set(entry) == {"time", "level", "event", "login", "upstream_status"}
    check_revocation(service.upstream.requests[1], upstream.REFRESH_TOKEN, "refresh_token")
    assert len(service.program.find_events(request_id=login)) == 1


def test_token_whose_reply_is_not_taken_is_revoked(start):
    """The web server has left just so late that the login counts as answered."""
    service = start()
    held = upstream.Held(upstream.token())
    service.upstream.script(held, REVOKED)
    login = good_login()
    with service.connect() as connection:
        connection.send(login.encode())
        service.upstream.wait_for_requests(1)
        connection.refuse_to_read()
        held.release()
        service.program.wait_for_event("orphan_revoked", login=login.id)
    check_revocation(service.upstream.requests[1], upstream.REFRESH_TOKEN, "refresh_token")
    assert [entry["event"] for entry in service.program.find_events(request_id=login.id)] \
        == ["login_ok"]
    service.check_token(service.post())


def test_token_without_a_refresh_token(start):
    service = start()
    login = orphan(service, token=upstream.token(refresh_token=None))
    service.program.wait_for_event("orphan_revoked", login=login)
    check_revocation(service.upstream.requests[1], upstream.ACCESS_TOKEN, "access_token")


LEFT = {
    "wrong client": (upstream.error("invalid_client", 401), "client"),
    "fault": (upstream.status(500), "text/html"),
    "no such path": (upstream.status(404), "BAKRYPT_REVOKE_URL"),
    "redirect": (upstream.status(301), "slash"),
    "lost": (upstream.hang_up, "wait"),
    "silence": (upstream.silence, "1500 ms"),
}


@pytest.mark.parametrize("answer, words", LEFT.values(), ids=LEFT)
def test_token_that_cannot_be_revoked(start, answer, words):
    """It is tried once, and the log says that the token lives."""
    service = start()
    login = orphan(service, answer)
    entry = service.program.wait_for_event("orphan_left", login=login)
    assert entry["level"] == "warn"
    assert words in entry["note"]
    assert len(service.upstream.requests) == 2
    service.check_token(service.post())


def test_token_too_long_to_be_sent_back(start):
    service = start()
    login = orphan(service, token=upstream.token(refresh_token=None,
                                                 access_token="a" * (FIELD_MAX + 1)))
    service.program.wait_for_event("orphan_left", login=login)
    assert len(service.upstream.requests) == 1


@pytest.mark.parametrize("answer", [
    upstream.error("invalid_grant"), upstream.status(500), upstream.hang_up],
    ids=["wrong password", "fault", "lost"])
def test_login_that_failed_leaves_nothing_to_revoke(start, answer):
    service = start()
    orphan(service, upstream.token(), token=answer)
    service.check_token(service.post())
    assert {request.path for request in service.upstream.requests} == {upstream.PATH}
    assert not service.program.find_events("orphan_revoked")
    assert not service.program.find_events("orphan_left")


def test_as_many_as_may_be_under_way(start):
    """Each revocation takes the room of its login: none is left for want of it."""
    count = 8
    service = start(settings={"BAKRYPT_MAX_IN_FLIGHT": count})
    held = upstream.Held()
    service.upstream.script(*[held] * count)
    service.upstream.always = REVOKED
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(service.connect()).send(good_login().encode())
        service.upstream.wait_for_requests(count)
    service.program.wait_for_event("client_abort", count=count)
    held.release()
    service.program.wait_for_event("orphan_revoked", count=count)
    assert not service.program.find_events("orphan_left")


@pytest.mark.parametrize("answer, event", [
    (REVOKED, "orphan_revoked"), (upstream.status(500), "orphan_left")], ids=["", "in vain"])
def test_stop_waits_for_the_revocation(folder, authority, answer, event):
    held, held_revocation = upstream.Held(), upstream.Held(answer)
    service = Service(folder, authority)
    with service:
        service.upstream.script(held, held_revocation)
        login = good_login()
        with service.connect() as connection:
            connection.send(login.encode())
            service.upstream.wait_for_requests(1)
        service.program.wait_for_event("client_abort", request_id=login.id)
        service.program.send_signal(signal.SIGTERM)
        wait_until(lambda: not ports.is_listening(service.address), 5, "it listens no more")
        held.release()
        service.upstream.wait_for_requests(2)
        assert service.program.is_running
        held_revocation.release()
        assert service.program.wait(5) == 0
        assert service.program.find_events(event, login=login.id)


def test_reload_waits_for_the_revocation(start, authority):
    """The old settings hold for what follows from a login that began with them."""
    service = start()
    held = upstream.Held()
    service.upstream.script(held, REVOKED)
    with service.connect() as connection:
        connection.send(good_login().encode())
        service.upstream.wait_for_requests(1)
    service.program.wait_for_event("client_abort")
    service.program.send_signal(signal.SIGHUP)
    service.program.wait_for_event("reload")
    held.release()
    service.program.wait_for_event("orphan_revoked")
    service.check_token(service.post())


@pytest.mark.parametrize("number", [None, signal.SIGTERM], ids=["", "SIGTERM"])
@pytest.mark.parametrize("answer, event", [
    (REVOKED, "orphan_revoked"), (upstream.error("invalid_client", 401), "orphan_left")],
    ids=["revoked", "left"])
def test_cgi(authority, number, answer, event):
    """The web server closes the program's standard output."""
    leaf = authority.leaf()
    body = good_login().body
    held = upstream.Held()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        server.script(held, answer)
        process = cgi.start({**cgi.variables(length=len(body)),
                             **cgi.settings(server.url, authority.file)})
        process.stdin.write(body)
        process.stdin.flush()
        server.wait_for_requests(1)
        process.stdout.close()
        left = json.loads(process.stderr.readline())
        if number:
            process.send_signal(number)
        held.release()
        assert process.wait(timeout=20) == 0
        log = process.stderr.read().decode()
        process.stderr.close()
        process.stdin.close()
        entry = json.loads(log)
        assert (entry["event"], entry["login"]) == (event, left["request_id"])
        assert not [mark for mark in MARKS if mark.lower() in log.lower()]
        check_revocation(server.requests[1], upstream.REFRESH_TOKEN, "refresh_token")


def test_with_the_real_authorization_server(folder, authority, dot):
    """The token that was thrown away is dead: its revocation was asked for, and granted."""
    before = dot.count_requests("POST /auth/revoke_token/ 200")
    with Service(folder, authority, token_url=dot.token_url) as service:
        left = 0
        # The server answers at once: the client leaves right away, and may still be too late. One
        # by one, since many at once are a fault of the server's now and then, and no token.
        for _ in range(5):
            login = fastcgi.Request(fastcgi.login_json("alice", "Down the Rabbit-Hole 42"))
            with service.connect() as connection:
                connection.send(login.encode())
            if service.program.log_for(login.id)["event"] == "client_abort":
                service.program.wait_for_event("orphan_revoked", login=login.id)
                left += 1
        assert left > 0
        wait_until(lambda: dot.count_requests("POST /auth/revoke_token/ 200")
                   == before + service.program.counts["orphan_revoked"], 5,
                   "the revocations in the authorization server's log")
