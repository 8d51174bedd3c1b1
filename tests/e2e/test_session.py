"""POST /refresh and POST /logout: every input, and every answer of upstream.

What a login has in common with them (paths, types, body limits, what upstream may do before it
answers) is shown in test_replies.py; here, that each route takes the same care.
"""
import json
import urllib.parse

import pytest

from servers import client, fastcgi, source, upstream
from servers.chain import Chains
from servers.dot import USERS
from servers.fastcgi import FORM, JSON
from servers.program import CLIENT_ID, CLIENT_SECRET
from servers.service import ALLOW, Service, check_headers

TOKEN = "kennwort-r3fresh+&=%\u00fc"  # holds one of service.MARKS: it must reach no log
ACCESS = "kennwort-acc3ss+&=%\u00fc"
FIELD_MAX = source.ceiling("FIELD_MAX_BYTES")
ROUTES = ("/refresh", "/logout")
REVOKED = upstream.status(200, "")  # as Django OAuth Toolkit answers: empty, text/html


@pytest.fixture(scope="module", name="shared")
def shared_service(folder, authority):
    """One program and upstream for all that leaves nothing behind."""
    with Service(folder, authority) as service:
        yield service


@pytest.fixture(name="service")
def clean_service(shared):
    shared.start_over()
    yield shared
    shared.check_alive()
    shared.check_log()


def encode(kind, fields):
    """A body of these (name, value) pairs, in which a name may come twice."""
    if kind == FORM:
        return urllib.parse.urlencode(fields).encode()
    members = (f"{json.dumps(name)}:{json.dumps(value)}" for name, value in fields)
    return ("{" + ",".join(members) + "}").encode()


def ask(service, route, fields=(("refresh_token", TOKEN),), kind=JSON, **request):
    body = fields if isinstance(fields, bytes) else encode(kind, fields)
    return service.send(fastcgi.Request(body, target=route, content_type=kind, **request))


def check_refreshed(service, reply):
    """A new token, logged as such."""
    assert reply.status == 200, reply
    assert reply.json == upstream.token_members()
    check_headers(reply, {})
    entry = service.log_of(reply)
    assert (entry["event"], entry["level"], entry["route"]) == ("refresh_ok", "info", "/refresh")
    return entry


def check_logged_out(service, reply):
    """204 without a body, logged as such."""
    assert (reply.status, reply.body) == (204, b""), reply
    assert reply.header("content-type") is None
    assert reply.header("cache-control") == "no-store"
    entry = service.log_of(reply)
    assert (entry["event"], entry["level"], entry["route"]) == ("logout_ok", "info", "/logout")
    return entry


# What is sent upstream ----------------------------------------------------------------------------

@pytest.mark.parametrize("kind", [JSON, FORM])
@pytest.mark.parametrize("name", ["refresh_token", "refreshToken"])
def test_refresh(service, kind, name):
    entry = check_refreshed(service, ask(service, "/refresh", [(name, TOKEN)], kind))
    assert entry["upstream_status"] == 200
    sent, = service.upstream.requests
    assert (sent.method, sent.path, sent.header("content-type")) == ("POST", upstream.PATH, FORM)
    assert sent.form == {"client_id": [CLIENT_ID], "client_secret": [CLIENT_SECRET],
                         "grant_type": ["refresh_token"], "refresh_token": [TOKEN]}


OF_REFRESH, OF_ACCESS = (TOKEN, "refresh_token"), (ACCESS, "access_token")
LOGOUTS = {
    "refresh token": ([("refresh_token", TOKEN)], [OF_REFRESH]),
    "refreshToken": ([("refreshToken", TOKEN)], [OF_REFRESH]),
    "access token": ([("access_token", ACCESS)], [OF_ACCESS]),
    "accessToken": ([("accessToken", ACCESS)], [OF_ACCESS]),
    "both": ([("access_token", ACCESS), ("refresh_token", TOKEN)], [OF_REFRESH, OF_ACCESS]),
    "both in camel case": ([("refreshToken", TOKEN), ("accessToken", ACCESS)],
                           [OF_REFRESH, OF_ACCESS]),
    "a whole token": (list(upstream.token_members().items()),
                      [(upstream.REFRESH_TOKEN, "refresh_token"),
                       (upstream.ACCESS_TOKEN, "access_token")]),
}


@pytest.mark.parametrize("kind", [JSON, FORM])
@pytest.mark.parametrize("fields, revoked", LOGOUTS.values(), ids=LOGOUTS)
def test_logout(service, kind, fields, revoked):
    service.upstream.always = REVOKED
    check_logged_out(service, ask(service, "/logout", fields, kind))
    for sent, (token, hint) in zip(service.upstream.requests, revoked, strict=True):
        assert (sent.method, sent.path) == ("POST", upstream.REVOKE_PATH)
        assert sent.form == {"client_id": [CLIENT_ID], "client_secret": [CLIENT_SECRET],
                             "token": [token], "token_type_hint": [hint]}


@pytest.mark.parametrize("answers", [[upstream.status(500)], [REVOKED, upstream.status(500)]],
                         ids=["first", "second"])
def test_logout_with_both_is_none_unless_both_are_revoked(service, answers):
    service.upstream.script(*answers)
    reply = ask(service, "/logout", LOGOUTS["both"][0])
    service.check_fault(reply, "UPSTREAM_5XX")
    assert len(service.upstream.requests) == len(answers)


def test_revocation_goes_where_the_setting_says(start):
    with upstream.ClosedPort() as port:
        service = start(settings={"BAKRYPT_REVOKE_URL": port.url})
        reply = ask(service, "/logout")
        service.check_fault(reply, "UPSTREAM_UNREACHABLE")
    service.check_token(service.post())


def test_scope_of_the_settings_is_for_logins_alone(start):
    service = start(settings={"BAKRYPT_SCOPE": "read"})
    check_refreshed(service, ask(service, "/refresh"))
    assert "scope" not in service.upstream.requests[0].form


@pytest.mark.parametrize("route", ROUTES)
def test_grant_fields_of_the_body_are_ignored_and_counted(service, route):
    reply = ask(service, route, [("refresh_token", TOKEN), ("client_id", "evil"),
                                 ("client_secret", "evil"), ("grant_type", "evil"),
                                 ("scope", "evil")])
    assert service.log_of(reply)["ignored"] == 4
    assert b"evil" not in service.upstream.requests[0].body


@pytest.mark.parametrize("missing", ["expires_in", "scope", "refresh_token"])
def test_field_that_upstream_leaves_out_stays_out(service, missing):
    service.upstream.script(upstream.token(**{missing: None}))
    assert ask(service, "/refresh").json == upstream.token_members(**{missing: None})


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("target", ["/api/v1{}", "//x/..{}", "{}.cgi", "/bin{}.fcgi", "{}?lang=en"])
def test_route_is_the_last_part_of_the_path(service, route, target):
    reply = ask(service, target.format(route))
    assert service.log_of(reply)["route"] == route
    assert reply.status in (200, 204)


@pytest.mark.parametrize("target", ["/refresh/", "/refresh.php", "/logout.cgi/x", "/Logout",
                                    "/refresh.cgi.cgi", "/.cgi", "/logout.", "/refreshh"])
def test_other_paths(service, target):
    service.check_fault(ask(service, target), "NOT_FOUND")
    assert not service.upstream.requests


# What is refused ----------------------------------------------------------------------------------

NO_TOKEN = {
    "none": [], "empty": [("refresh_token", "")], "null": [("refresh_token", None)],
    "number": [("refresh_token", 7)], "array": [("refresh_token", [TOKEN])],
    "another name": [("token", TOKEN)], "another letter case": [("Refresh_Token", TOKEN)],
    "a login": [("username", "ulrike"), ("password", "kennwort")],
}
REFUSED = {
    **{f"no token: {name}": ("TOKEN_MISSING", JSON, encode(JSON, fields))
       for name, fields in NO_TOKEN.items()},
    "no token in a form": ("TOKEN_MISSING", FORM, b"refresh_token"),
    "not an object": ("BODY_SYNTAX", JSON, b"[]"),
    "not JSON": ("BODY_SYNTAX", JSON, b"refresh_token=kennwort"),
    "empty": ("BODY_SYNTAX", JSON, b""),
    "NUL": ("FIELD_TEXT", JSON, rb'{"refresh_token":"kennwort\u0000"}'),
    "no UTF-8": ("FIELD_TEXT", FORM, b"refreshToken=%ff"),
    "too long": ("FIELD_TEXT", FORM, b"refresh_token=" + b"k" * (FIELD_MAX + 1)),
    "twice": ("FIELD_REPEATED", FORM, b"refresh_token=a&refresh_token=a"),
    "twice, in JSON": ("FIELD_REPEATED", JSON, b'{"refreshToken":"a","refreshToken":"a"}'),
    "in both spellings": ("FIELD_REPEATED", JSON, b'{"refresh_token":"a","refreshToken":"a"}'),
    "another type": ("CONTENT_TYPE", "text/plain", b"refresh_token=kennwort"),
    "no type": ("CONTENT_TYPE", None, b"refresh_token=kennwort"),
    "too large": ("BODY_TOO_LARGE", FORM, b"refresh_token=" + b"k" * 20000),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("symbol, kind, body", REFUSED.values(), ids=REFUSED)
def test_refused(service, route, symbol, kind, body):
    service.check_fault(ask(service, route, body, kind), symbol)
    assert not service.upstream.requests


@pytest.mark.parametrize("fields", [
    [("access_token", ACCESS), ("accessToken", ACCESS)], [("access_token", "a")] * 2,
    [("refresh_token", "r"), ("access_token", "a"), ("refreshToken", "r")]])
def test_logout_with_a_field_twice(service, fields):
    service.check_fault(ask(service, "/logout", fields), "FIELD_REPEATED")
    assert not service.upstream.requests


def test_refresh_does_not_take_an_access_token(service):
    reply = ask(service, "/refresh", [("access_token", ACCESS)])
    service.check_fault(reply, "TOKEN_MISSING")
    assert not service.upstream.requests


@pytest.mark.parametrize("route", [*ROUTES, "/login", "/readyz"])
@pytest.mark.parametrize("query", [
    "refresh_token=kennwort", "refreshToken=kennwort", "access_token=kennwort", "accessToken",
    "a=b&refresh%5Ftoken=kennwort", "refresh_token=%zz"])
def test_token_in_the_url(service, route, query):
    service.check_fault(ask(service, f"{route}?{query}"), "CREDENTIALS_IN_URL")
    assert not service.upstream.requests


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "post"])
def test_other_methods(service, route, method):
    service.check_fault(ask(service, route, method=method), "METHOD")
    assert not service.upstream.requests


@pytest.mark.parametrize("route", ROUTES)
def test_options_tells_the_methods(service, route):
    reply = ask(service, route, b"", None, method="OPTIONS")
    assert (reply.status, reply.body, reply.header("allow")) == (204, b"", ALLOW)


# What upstream answers ----------------------------------------------------------------------------

@pytest.mark.parametrize("status", [400, 401, 500])
def test_dead_refresh_token(service, status):
    service.upstream.script(upstream.error("invalid_grant", status))
    entry = service.check_fault(ask(service, "/refresh"), "REFRESH_REFUSED")
    assert (entry["event"], entry["upstream_error"]) == ("refresh_fail", "invalid_grant")


def test_dead_refresh_token_in_a_200(service):
    service.upstream.script(upstream.error("invalid_grant", 200))
    service.check_fault(ask(service, "/refresh"), "REFRESH_REFUSED",
                        event="upstream_contract", level="error")


@pytest.mark.parametrize("answer", [
    REVOKED, upstream.status(200), upstream.status(204, "", None),
    upstream.error("invalid_grant"), upstream.token()],
    ids=["empty", "a page", "204", "invalid_grant", "JSON"])
def test_whatever_says_that_the_token_is_dead(service, answer):
    """An unknown token is answered with 200 by RFC 7009, and with invalid_grant by some."""
    service.upstream.script(answer)
    check_logged_out(service, ask(service, "/logout"))


UPSTREAM = {
    "wrong secret": ("CLIENT_REJECTED", upstream.error("invalid_client", 401)),
    "wrong grant": ("CLIENT_REJECTED", upstream.error("unauthorized_client")),
    "invalid request": ("UPSTREAM_CONTRACT", upstream.error("invalid_request")),
    "unknown code": ("UPSTREAM_CONTRACT", upstream.error("unsupported_token_type")),
    "wall": ("UPSTREAM_WAF", upstream.status(403)),
    "denied": ("UPSTREAM_DENIED", upstream.status(403, "{}", JSON)),
    "asked to wait": ("UPSTREAM_429", upstream.status(429, "{}", JSON)),
    "out of service": ("UPSTREAM_BUSY", upstream.status(503, "", JSON, [("Retry-After", "30")])),
    "fault": ("UPSTREAM_5XX", upstream.status(500)),
    "redirect": ("UPSTREAM_REDIRECT", upstream.status(301)),
    "page": ("UPSTREAM_MALFORMED", upstream.status(404)),
    "cut off": ("UPSTREAM_MALFORMED", upstream.in_turn(
        upstream.send(upstream.head(200, [("Content-Length", "500")]) + b"{"), upstream.hang_up)),
    "silence": ("UPSTREAM_TIMEOUT", upstream.silence),
    "lost answer": ("UPSTREAM_LOST", upstream.hang_up),
    "break": ("UPSTREAM_LOST", upstream.break_off),
    "reset": ("UPSTREAM_LOST", upstream.reset),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("symbol, behaviour", UPSTREAM.values(), ids=UPSTREAM)
def test_fault_of_upstream_is_told_and_nothing_sent_twice(service, route, symbol, behaviour):
    service.upstream.script(behaviour)
    entry = service.check_fault(ask(service, route), symbol)
    assert entry["route"] == route
    assert len(service.upstream.requests) == 1


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("behaviour", [upstream.hang_up, upstream.break_off, upstream.reset])
def test_lost_on_a_kept_connection_it_is_not_sent_again_either(service, route, behaviour):
    service.upstream.script(upstream.token(), behaviour)
    service.check_token(service.post())
    service.check_fault(ask(service, route), "UPSTREAM_LOST")
    first, second = service.upstream.requests
    assert first.connection == second.connection


@pytest.mark.parametrize("answer", [
    upstream.status(200, ""), upstream.status(200, "{}", JSON), upstream.token(access_token=None)])
def test_refresh_wants_a_token(service, answer):
    service.upstream.script(answer)
    service.check_fault(ask(service, "/refresh"), "UPSTREAM_MALFORMED")


@pytest.mark.parametrize("status, words", [(404, "BAKRYPT_REVOKE_URL"), (301, "slash")])
def test_log_hints_at_a_wrong_revocation_address(service, status, words):
    service.upstream.script(upstream.status(status))
    assert words in service.log_of(ask(service, "/logout"))["note"]


@pytest.mark.parametrize("route", ROUTES)
def test_nobody_listens(start, route):
    with upstream.ClosedPort() as port:
        service = start(token_url=port.url)
        service.check_fault(ask(service, route), "UPSTREAM_UNREACHABLE")


@pytest.mark.parametrize("route", ROUTES)
def test_what_was_not_sent_is_tried_once_more(start, route):
    service = start()
    service.upstream.doors(upstream.reset_before_tls)
    assert ask(service, route).status in (200, 204)
    # The second finds out that the server speaks no HTTP/2, and is left.
    assert (service.upstream.connections, len(service.upstream.requests)) == (3, 1)


@pytest.mark.parametrize("route", ROUTES)
def test_certificate_that_cannot_be_trusted(start, authority, route):
    leaf = authority.expired()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        service = start(server=server)
        service.check_fault(ask(service, route), "UPSTREAM_TLS")
        assert not server.requests


def test_too_many_at_once(start):
    service = start(settings={"BAKRYPT_MAX_IN_FLIGHT": 1})
    held = upstream.Held()
    service.upstream.script(held)
    with service.connect() as first:
        first.send(fastcgi.Request(encode(JSON, [("refresh_token", TOKEN)]),
                                   target="/refresh").encode())
        service.upstream.wait_for_requests(1)
        for route in ROUTES:
            service.check_fault(ask(service, route), "OVERLOADED")
        held.release()
        check_refreshed(service, first.read_reply())


def test_client_that_leaves_a_refresh_keeps_its_token(start):
    """Where refresh tokens are not rotated, it would be the client's own that is revoked."""
    service = start()
    held = upstream.Held()
    service.upstream.script(held)
    with service.connect() as connection:
        connection.send(fastcgi.Request(encode(JSON, [("refresh_token", TOKEN)]),
                                        target="/refresh").encode())
        service.upstream.wait_for_requests(1)
    service.program.wait_for_event("client_abort", route="/refresh")
    held.release()
    service.check_token(service.post())
    assert len(service.upstream.requests) == 2


# With the real authorization server ---------------------------------------------------------------

class Session:
    """A user's tokens, and what can be done with them through a chain."""

    def __init__(self, chain):
        self.chain = chain
        self.token = chain.login_json("alice", USERS["alice"]).json

    def send(self, route, kind=client.JSON, **fields):
        return self.chain.send(encode(kind, list(fields.items())), kind, path=route)

    def refresh(self, **how):
        return self.send("/refresh", refresh_token=self.token["refresh_token"], **how)

    def check_refused(self, reply):
        fault = source.faults()["REFRESH_REFUSED"]
        assert (reply.status, reply.json["error_description"]) == (401, fault.description)
        assert self.chain.log_of(reply)["event"] == "refresh_fail"


@pytest.fixture(name="session", params=["http/1.1", "http/2"])
def real_session(request, folder, authority, has_nginx):
    """A session before the real authorization server, by nginx with the shipped file."""
    server = request.getfixturevalue("dot_http2" if request.param == "http/2" else "dot")
    chains = Chains(folder, authority)
    chain = chains.get(token_url=server.token_url)
    yield Session(chain)
    text = chain.log_text()
    chains.close()
    assert chain.program.returncode == 0
    assert not [token for token in chain.tokens if token in text]


@pytest.mark.parametrize("kind", [client.JSON, client.FORM])
def test_a_sessions_whole_life(session, kind):
    first = session.token
    reply = session.refresh(kind=kind)
    assert reply.status == 200
    second = session.token = reply.json
    assert set(second) == set(first)
    assert not {second["access_token"], second["refresh_token"]} & set(map(str, first.values()))

    session.check_refused(session.send("/refresh", kind, refreshToken=first["refresh_token"]))

    reply = session.send("/logout", kind, refresh_token=second["refresh_token"])
    assert (reply.status, reply.body) == (204, b"")
    session.check_refused(session.refresh(kind=kind))
    assert session.send("/logout", kind, refresh_token=second["refresh_token"]).status == 204


def test_logout_with_the_access_token(session):
    reply = session.send("/logout", accessToken=session.token["access_token"])
    assert reply.status == 204
    # Django OAuth Toolkit 1.7 stumbles over such a refresh token; others refuse it.
    assert session.refresh().status in (401, 502)


def test_logout_with_both(session):
    reply = session.send("/logout", access_token=session.token["access_token"],
                         refresh_token=session.token["refresh_token"])
    assert reply.status == 204
    session.check_refused(session.refresh())


def test_logout_ends_the_access_token_whatever_the_refresh_token_is(session):
    """The server knows nothing of the one, and so does not end the other with it."""
    reply = session.send("/logout", access_token=session.token["access_token"],
                         refresh_token="nobody-ever-had-this")
    assert reply.status == 204
    assert session.refresh().status in (401, 502)


def test_unknown_tokens(session):
    session.check_refused(session.send("/refresh", refresh_token="nobody-ever-had-this"))
    for name in ("refresh_token", "access_token"):
        assert session.send("/logout", **{name: "nobody-ever-had-this"}).status == 204


@pytest.mark.parametrize("route", ROUTES)
def test_wrong_secret(folder, authority, dot, has_nginx, route):
    chains = Chains(folder, authority)
    chain = chains.get(token_url=dot.token_url,
                       settings={"BAKRYPT_CLIENT_SECRET": f"not-{CLIENT_SECRET}"})
    try:
        reply = chain.send(b'{"refresh_token":"nobody-ever-had-this"}', path=route)
        assert (reply.status, reply.json["error"]) == (500, "server_error")
        entry = chain.log_of(reply)
        assert (entry["event"], entry["level"]) == ("client_rejected", "crit")
    finally:
        chains.close()
