"""Every door, every kind of login: the same reply whatever web server stands in front.

A cell of the matrix is a case of CASES through a door of DOORS. A door whose web server answers
by itself before the program can has that cell in its `differences`.
"""
import contextlib
import re
import socket
import urllib.parse

import pytest

from servers import (apache, caddy, client, haproxy, lighttpd, nginx_door, ports, procfs, source,
                     spawn_fcgi, upstream)
from servers.chain import new_request_id
from servers.door import settings_for
from servers.dot import USERS
from servers.process import SANITIZER_MARKS, wait_until
from servers.service import ACCEPT, ALLOW, CHALLENGE, FIXED_HEADERS, MARKS, PASSWORD, USER

# The doors. Add one here, and every test of this file runs through it.
DOORS = (
    nginx_door.NginxDoor,
    nginx_door.NginxTcpDoor,
    spawn_fcgi.SpawnFcgiDoor,
    apache.ProxyFcgi,
    apache.Fcgid,
    apache.HtaccessFcgid,
    apache.HtaccessCgi,
    apache.HtaccessModCgi,
    lighttpd.LighttpdDoor,
    lighttpd.LighttpdCgiDoor,
    caddy.CaddyDoor,
    haproxy.HaProxyDoor,
)

# A page of another site that the settings name, and what it is told.
LISTED, ELSEWHERE = "https://app.example.com", "https://elsewhere.example.com"
SHARED = {"access-control-allow-origin": LISTED,
          "access-control-expose-headers": "Retry-After, X-Request-Id"}

# Headers that are nobody's but ours; and those that web servers add of their own accord.
PREFLIGHT = {"access-control-allow-methods": "POST", "access-control-allow-headers": "Content-Type",
             "access-control-max-age": "600"}
OURS = {*FIXED_HEADERS, "x-request-id", "allow", "accept", "www-authenticate", "retry-after",
        *SHARED, *PREFLIGHT}
THEIRS = {"server", "date", "connection", "keep-alive", "content-length", "transfer-encoding"}

BODY_MAX = source.ceiling("BODY_MAX_BYTES")
GOOD = client.json_body(USER, PASSWORD)
TOKEN = b'{"refresh_token":"kennwort"}'
SLOW_S = 1.0
PIECE = 7
HUGE = 256 * 1024


class Case:
    """One input, and what must come of it.

    symbol: the row of fault.h that the reply is; None for a token, or for 204 if there is
    nothing to say. request: as client.send() takes it, but for the body, which may be a function
    that makes it. reply: what the token server does. headers: ours beyond the fixed ones.
    is_down: nobody listens there. page: makes a browser's header lines about the page, of a door.
    """

    def __init__(self, symbol=None, *, route="/login", body=GOOD, reply=None, headers=None,
                 is_down=False, query="", page=None, **request):
        self.symbol = symbol
        self.route = route
        self.request = request
        self.query = query
        self.reply = reply
        self.headers = headers or {}
        self.is_down = is_down
        self.page = page or (lambda door: {})
        self._body = body

    @property
    def status(self):
        if self.symbol:
            return source.faults()[self.symbol].status
        return 204 if self.route == "/logout" else 200

    @property
    def event(self):
        table, row = (source.faults(), self.symbol) if self.symbol else \
            (source.routes(), self.route)
        return table[row].event

    def json(self, request_id):
        """The reply's body; None where there is none."""
        if not self.symbol:
            return upstream.token_members() if self.status == 200 else None
        fault = source.faults()[self.symbol]
        return {"error": fault.code, "error_description": fault.description,
                "request_id": request_id}

    def send(self, door, request_id):
        body = self._body() if callable(self._body) else self._body
        return client.send(door.origin, body, path=door.path_of(self.route) + self.query,
                           headers={"X-Request-Id": request_id, **self.page(door)},
                           **self.request)


def chunks(body, size=PIECE):
    """The body in pieces, which client.send() sends chunked."""
    return lambda: (body[i:i + size] for i in range(0, len(body), size))


def from_listed(_):
    return {"Origin": LISTED, "Sec-Fetch-Site": "cross-site"}


def padded(length):
    return GOOD + b" " * (length - len(GOOD))


CASES = {
    "json": Case(),
    "form": Case(body=client.form_body(USER, PASSWORD), content_type=client.FORM),
    "another query": Case(query="?lang=en"),
    # Without a "=" a query is the command line of a CGI program.
    "query like arguments": Case(query="?foo+-x%20y"),
    "query like an option": Case(query="?--version"),
    "chunked": Case(body=chunks(GOOD)),
    "chunked form": Case(body=chunks(client.form_body(USER, PASSWORD)),
                         content_type=client.FORM),
    "largest body": Case(body=padded(BODY_MAX)),
    "slow": Case(reply=upstream.after(SLOW_S, upstream.token())),
    "wrong password": Case("LOGIN_REFUSED", reply=upstream.error("invalid_grant"),
                           headers={"www-authenticate": CHALLENGE}),
    "no json": Case("BODY_SYNTAX", body=GOOD[:-1]),
    "empty body": Case("BODY_SYNTAX", body=b""),
    "field missing": Case("FIELD_MISSING", body=b'{"username":"ulrike"}'),
    "oversize": Case("BODY_TOO_LARGE", body=padded(BODY_MAX + 1)),
    "oversize chunked": Case("BODY_TOO_LARGE", body=chunks(padded(BODY_MAX + 1))),
    "huge": Case("BODY_TOO_LARGE", body=padded(HUGE)),
    "huge chunked": Case("BODY_TOO_LARGE", body=chunks(padded(HUGE), 8192)),
    "another type": Case("CONTENT_TYPE", content_type="text/plain", headers={"accept": ACCEPT}),
    "another method": Case("METHOD", method="PUT", headers={"allow": ALLOW}),
    "in the URL": Case("CREDENTIALS_IN_URL", query="?username=ulrike&password=Kennwort"),
    "a page of ours": Case(page=lambda door: {"Origin": door.origin}),
    "a page of ours, newer browser": Case(
        page=lambda door: {"Origin": "https://proxied.example.com",
                           "Sec-Fetch-Site": "same-origin"}),
    "a page of another site": Case("ORIGIN", page=lambda door: {"Origin": ELSEWHERE}),
    "cross-site": Case("ORIGIN", page=lambda door: {"Sec-Fetch-Site": "cross-site"}),
    "a listed page": Case(page=from_listed, headers=SHARED),
    "a listed page, wrong password": Case(
        "LOGIN_REFUSED", page=from_listed, reply=upstream.error("invalid_grant"),
        headers={"www-authenticate": CHALLENGE, **SHARED}),
    "a listed page, no json": Case("BODY_SYNTAX", page=from_listed, body=b"{", headers=SHARED),
    "a listed page, down": Case("UPSTREAM_UNREACHABLE", page=from_listed, is_down=True,
                                headers={"retry-after": "5", **SHARED}),
    "a listed page logs out": Case(page=from_listed, route="/logout", body=TOKEN,
                                   reply=upstream.status(200, ""), headers=SHARED),
    "down": Case("UPSTREAM_UNREACHABLE", is_down=True, headers={"retry-after": "5"}),
    "client refused": Case("CLIENT_REJECTED", reply=upstream.error("invalid_client", 401)),
    "nonsense": Case("UPSTREAM_MALFORMED", reply=upstream.status(200, "nonsense")),
    "asked to wait": Case("UPSTREAM_429",
                          reply=upstream.status(429, headers=[("Retry-After", "7")]),
                          headers={"retry-after": "7"}),
    "refresh": Case(route="/refresh", body=TOKEN),
    "refresh by form": Case(route="/refresh", body=b"refreshToken=kennwort",
                            content_type=client.FORM),
    "refresh chunked": Case(route="/refresh", body=chunks(TOKEN)),
    "dead refresh token": Case("REFRESH_REFUSED", route="/refresh", body=TOKEN,
                               reply=upstream.error("invalid_grant"),
                               headers={"www-authenticate": CHALLENGE}),
    "lost refresh": Case("UPSTREAM_LOST", route="/refresh", body=TOKEN, reply=upstream.hang_up),
    "refresh without a token": Case("TOKEN_MISSING", route="/refresh", body=b"{}"),
    "token in the URL": Case("CREDENTIALS_IN_URL", route="/refresh", body=TOKEN,
                             query="?refresh_token=Kennwort"),
    "logout": Case(route="/logout", body=TOKEN, reply=upstream.status(200, "")),
    "logout by form": Case(route="/logout", body=b"accessToken=kennwort",
                           content_type=client.FORM, reply=upstream.status(200, "")),
    "logout by GET": Case("METHOD", route="/logout", method="GET", body=b"",
                          headers={"allow": ALLOW}),
    "logout refused": Case("CLIENT_REJECTED", route="/logout", body=TOKEN,
                           reply=upstream.error("invalid_client", 401)),
}


# What stands behind the doors

class Authority:
    """The scripted token server, which can be taken down and comes back on the same port."""

    def __init__(self, leaf):
        self._leaf = leaf
        self._holder = socket.socket()  # keeps the port ours while nobody listens
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind((upstream.HOST, 0))
        self.port = self._holder.getsockname()[1]
        self.server = None
        self.start()
        self.url = self.server.url

    def start(self):
        self.server = upstream.Upstream(self._leaf.certificate, self._leaf.key, port=self.port)

    def stop(self):
        self.server.stop()

    def close(self):
        self.stop()
        self._holder.close()

    @contextlib.contextmanager
    def down(self):
        self.stop()
        try:
            yield
        finally:
            self.start()


@pytest.fixture(name="behind", scope="module")
def authorization_server(authority):
    server = Authority(authority.leaf())
    yield server
    server.close()


@pytest.fixture(params=DOORS, ids=lambda door: door.name, scope="module")
def door(request, folder, authority, behind, require):
    """Each door in turn, open; once it is closed nothing of it runs on."""
    require(request.param.missing())
    settings = {**settings_for(behind.url, authority), "BAKRYPT_ALLOWED_ORIGINS": LISTED}
    with request.param(folder, settings) as opened:
        yield opened
        log = "\n".join(opened.log_lines()).lower()
        assert not [mark for mark in MARKS if mark.lower() in log]
        assert not any(mark in log for mark in map(str.lower, SANITIZER_MARKS))
    wait_until(lambda: not procfs.find(str(opened.folder)), 10, f"the end of {opened.name}")


@pytest.fixture(autouse=True)
def fresh(behind):
    behind.server.reset()


def check_headers(reply, more, request_id):
    """Ours are there once each with the right values, and no other of ours; and nothing else
    but what web servers add."""
    wanted = {**FIXED_HEADERS, **more, "x-request-id": request_id}
    if reply.status == 204:
        del wanted["content-type"]
    names = {name.lower() for name in reply.headers}
    for name in OURS & names:
        assert reply.headers.get_all(name) == [wanted.get(name)], (name, reply)
    assert names & OURS == set(wanted), reply
    assert names - OURS <= THEIRS, reply


# The matrix

@pytest.mark.parametrize("name", CASES)
def test_cell(door, behind, name):
    case = CASES[name]
    request_id = new_request_id()
    if case.reply:
        behind.server.script(case.reply)
    with behind.down() if case.is_down else contextlib.nullcontext():
        reply = case.send(door, request_id)
    if name in door.differences:
        assert reply.status == door.differences[name][0], reply
        assert not [entry for entry in door.entries() if entry.get("request_id") == request_id]
        return
    assert reply.status == case.status, reply
    assert (reply.json if reply.body else None) == case.json(request_id)
    check_headers(reply, case.headers, request_id)
    entry = door.entry_for(request_id)
    assert (entry["event"], entry["status"]) == (case.event, case.status)
    assert (entry["route"], entry["client"]) == (case.route, "127.0.0.1")
    if name == "slow":
        assert entry["ms"]["total"] >= SLOW_S * 1000
    if name == "client refused":  # nothing is sent for a moment, but for the next case it is
        wait_until(lambda: client.send(door.origin, GOOD, path=door.login_path).status == 200, 10,
                   "a login that is served again")


@pytest.mark.parametrize("route", ["/login", "/refresh", "/logout"])
def test_options(door, route):
    request_id = new_request_id()
    reply = client.send(door.origin, path=door.path_of(route), method="OPTIONS", content_type=None,
                        headers={"X-Request-Id": request_id})
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers.get_all("Allow") == [ALLOW]
    assert reply.headers.get_all("X-Request-Id") == [request_id]


@pytest.mark.parametrize("origin, told", [(LISTED, {**SHARED, **PREFLIGHT}), (ELSEWHERE, {})],
                         ids=["listed", "another"])
def test_preflight(door, origin, told):
    reply = client.send(door.origin, path=door.login_path, method="OPTIONS", content_type=None,
                        headers={"Origin": origin, "Access-Control-Request-Method": "POST",
                                 "Access-Control-Request-Headers": "content-type"})
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers.get_all("Vary") == ["Origin"]
    assert {name: reply.headers.get_all(name) for name in (*SHARED, *PREFLIGHT)} == \
        {name: [told[name]] if name in told else None for name in (*SHARED, *PREFLIGHT)}


def ask_health(door, route, **how):
    return client.send(door.origin, path=door.path_of(route), method="GET", content_type=None,
                       **how)


@pytest.mark.parametrize("route, word", [("/healthz", "alive"), ("/readyz", "ready")])
def test_health(door, behind, route, word):
    behind.server.always = upstream.error("invalid_grant")
    reply = ask_health(door, route)
    if not door.has_health:
        assert reply.status == 404
        return
    assert (reply.status, reply.json) == (200, {"status": word}), reply
    assert reply.headers.get_all("Cache-Control") == ["no-store"]


@pytest.mark.parametrize("route", ["/healthz", "/readyz"])
def test_health_is_not_told_to_others(door, route):
    outside = ports.outside_address()
    if not outside:
        pytest.skip("this machine has no address but loopback")
    assert ask_health(door, route, source=outside).status == (403 if door.has_health else 404)
    reply = client.send(door.origin, GOOD, path=door.login_path, source=outside)
    assert reply.status == 200


def test_request_id_of_the_program(door):
    """Where the client sends none, one that is acceptable is made up."""
    reply = client.send(door.origin, GOOD, path=door.login_path)
    assert reply.status == 200
    request_id, = reply.headers.get_all("X-Request-Id")
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", request_id)
    assert door.entry_for(request_id)["status"] == 200


def test_what_bakrypt_gets(door, behind):
    """Names and passwords travel byte by byte, whatever the door."""
    for name, password in USERS.items():
        behind.server.reset()
        for body, kind in ((client.json_body(name, password), client.JSON),
                           (client.form_body(name, password), client.FORM)):
            reply = client.send(door.origin, body, kind, path=door.login_path)
            assert reply.status == 200, reply
        for received in behind.server.requests:
            assert received.form["username"] == [name]
            assert received.form["password"] == [password]


def test_proxy_header_sets_no_proxy(door, behind):
    """A client's `Proxy:` is HTTP_PROXY in CGI, which libraries would take for a setting."""
    with upstream.ClosedPort() as nowhere:
        reply = client.send(door.origin, GOOD, path=door.login_path,
                            headers={"Proxy": f"http://127.0.0.1:{nowhere.port}"})
    assert reply.status == 200, reply
    assert len(behind.server.requests) == 1


def test_client_that_leaves(door, behind):
    """Nobody is there to read the token. Some doors let the program know at once."""
    held = upstream.Held()
    behind.server.script(held)
    request_id = new_request_id()
    address = urllib.parse.urlsplit(door.origin)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall((
            f"POST {door.login_path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {request_id}\r\n"
            f"Content-Type: {client.JSON}\r\nContent-Length: {len(GOOD)}\r\n\r\n").encode("ascii")
            + GOOD)
        behind.server.wait_for_requests(1)
    if not door.sees_abort:
        held.release()
    entry = door.entry_for(request_id)
    held.release()
    assert entry["event"] == ("client_abort" if door.sees_abort else "login_ok")
    if door.sees_abort:
        received = behind.server.wait_for_requests(2)
        assert received[-1].path == upstream.REVOKE_PATH


# Once with the real thing

@pytest.mark.parametrize("door_class", DOORS, ids=lambda door: door.name)
def test_real_login(door_class, folder, authority, dot, require):
    require(door_class.missing())
    with door_class(folder, settings_for(dot.token_url, authority)) as opened:
        for password, status in ((USERS["alice"], 200), ("wrong", 401)):
            for body, kind in ((client.json_body("alice", password), client.JSON),
                               (client.form_body("alice", password), client.FORM)):
                reply = client.send(opened.origin, body, kind, path=opened.login_path)
                assert reply.status == status, reply
                assert opened.entry_for(reply.headers["X-Request-Id"])["status"] == status
