"""POST /login from client to authorization server, with real servers on both sides.

Before the program: nginx with the files of nginx/, by Unix socket and TCP, with connections kept
and not, and with TLS and HTTP/2. Behind it: Django OAuth Toolkit, over HTTP/1.1 and HTTP/2.
"""
import collections
import concurrent.futures
import itertools
import json
import os
import socket
import urllib.parse

import pytest

from servers import client, nginx, source
from servers.chain import Chains, new_request_id
from servers.dot import INACTIVE_USER, OTHER_CLIENT_ID, USERS
from servers.program import CLIENT_SECRET

NAME = "alice"
PASSWORD = USERS[NAME]
FIELDS = {"access_token", "expires_in", "token_type", "scope", "refresh_token"}
BODY_MAX = source.ceiling("BODY_MAX_BYTES")

FRONTS = [
    ("unix", "plain"), ("unix", "plain, keep_conn off"), ("unix", "example"),
    ("tcp", "plain"), ("tcp", "plain, keep_conn off"),
]


@pytest.fixture(scope="module")
def chains(folder, authority, has_nginx):
    made = Chains(folder, authority)
    yield made
    made.close()
    for chain in made:
        assert chain.program.returncode == 0
        assert not chain.program.stray_lines
        assert not chain.program.sanitizer_reports


@pytest.fixture(scope="module")
def chain(chains, dot):
    """The plainest one."""
    return chains.get(token_url=dot.token_url)


@pytest.fixture(params=itertools.product(FRONTS, ("http/1.1", "http/2")),
                ids=lambda param: f"{param[0][0]}, {param[0][1]}, upstream {param[1]}")
def any_chain(request, chains):
    """Every front before every kind of upstream."""
    (listen, site), protocol = request.param
    server = request.getfixturevalue("dot_http2" if protocol == "http/2" else "dot")
    return chains.get(token_url=server.token_url, listen=listen, site=site)


@pytest.fixture(params=("http/1.1", "http/2"))
def by_upstream(request, chains):
    server = request.getfixturevalue("dot_http2" if request.param == "http/2" else "dot")
    return chains.get(token_url=server.token_url)


def check_headers(reply):
    headers = reply.headers
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Pragma"] == "no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers.get_all("X-Request-Id") is not None and len(headers.get_all("X-Request-Id")) == 1


def check_token(reply):
    assert reply.status == 200, reply
    token = reply.json
    assert set(token) == FIELDS
    assert type(token["expires_in"]) is int and token["expires_in"] > 0
    assert token["token_type"] == "Bearer"
    assert all(isinstance(token[name], str) and token[name] for name in FIELDS - {"expires_in"})
    check_headers(reply)


def check_fault(reply, symbol):
    fault = source.faults()[symbol]
    assert reply.status == fault.status, reply
    assert reply.json == {"error": fault.code, "error_description": fault.description,
                          "request_id": reply.headers["X-Request-Id"]}
    check_headers(reply)


# Every front, every upstream

def test_good_login(any_chain):
    for login in (any_chain.login_json, any_chain.login_form):
        reply = login(NAME, PASSWORD)
        check_token(reply)
        assert reply.http_version == ("2" if any_chain.is_http2 else "1.1")
        entry = any_chain.log_of(reply)
        assert (entry["event"], entry["level"]) == ("login_ok", "info")
        assert (entry["status"], entry["upstream_status"]) == (200, 200)
        assert (entry["route"], entry["client"]) == ("/login", "127.0.0.1")
        assert 0 < entry["ms"]["first_byte"] <= entry["ms"]["total"] < 20000


def test_wrong_password(any_chain):
    reply = any_chain.login_json(NAME, "not " + PASSWORD)
    check_fault(reply, "LOGIN_REFUSED")
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="bakrypt"'
    entry = any_chain.log_of(reply)
    assert (entry["event"], entry["level"], entry["status"]) == ("login_fail", "info", 401)
    assert (entry["upstream_status"], entry["upstream_error"]) == (400, "invalid_grant")


def test_page_of_the_site_and_page_of_another(any_chain):
    """By an older browser, which says no more than Origin: that is compared with Host, or with
    HTTP/2's :authority."""
    check_token(any_chain.login_json(NAME, PASSWORD, headers={"Origin": any_chain.front.origin}))
    for origin in ("https://elsewhere.example.com", "https://localhost", "null"):
        reply = any_chain.login_json(NAME, PASSWORD, headers={"Origin": origin})
        check_fault(reply, "ORIGIN")


def test_two_addresses_of_nginx(chain):
    """`localhost` may mean ::1: the log shows what nginx saw."""
    if len(chain.front.listens) == 1:
        pytest.skip("this machine has no ::1")
    reply = client.send(f"http://[::1]:{chain.front.port}", client.json_body(NAME, PASSWORD))
    check_token(reply)
    assert chain.log_of(reply)["client"] == "::1"


# Who logs in

@pytest.mark.parametrize("name", USERS)
def test_names_and_passwords_byte_by_byte(by_upstream, name):
    escaped = json.dumps({"username": name, "password": USERS[name]}).encode("ascii")
    check_token(by_upstream.login_json(name, USERS[name]))
    check_token(by_upstream.login_form(name, USERS[name]))
    check_token(by_upstream.send(escaped))


@pytest.mark.parametrize("change", (str.strip, str.upper, lambda text: text + " ",
                                    lambda text: text.replace("+", " "),
                                    urllib.parse.unquote, urllib.parse.quote),
                         ids=("trimmed", "upper case", "one space more", "plus as space",
                              "decoded", "encoded"))
def test_almost_the_password(chain, change):
    """Nothing on the way makes a wrong password right."""
    for name, password in USERS.items():
        if change(password) != password:
            check_fault(chain.login_json(name, change(password)), "LOGIN_REFUSED")


def what_is_seen(chain, name, password):
    """Of a login that fails: its reply and its log entry, without what is another each time."""
    reply = chain.login_json(name, password)
    check_fault(reply, "LOGIN_REFUSED")
    request_id = reply.headers["X-Request-Id"]
    entry = {key: value for key, value in chain.log_of(reply).items() if key != "time"}
    return {"body": reply.body.replace(request_id.encode("ascii"), b"-"),
            "headers": [(key, value) for key, value in reply.headers.items()
                        if key.lower() not in ("date", "x-request-id")],
            "id": len(request_id),
            "entry": {**entry, "request_id": "-", "ms": sorted(entry["ms"])}}


def test_unknown_and_inactive_users_look_like_a_wrong_password(chain):
    chain.login_json(NAME, PASSWORD)  # There is a connection by now.
    wrong = what_is_seen(chain, NAME, "wrong")
    assert wrong["entry"]["upstream_error"] == "invalid_grant"
    for name, password in (("nobody-here", PASSWORD), (INACTIVE_USER, "sleeping beauty"),
                           (INACTIVE_USER, "wrong"), ("A" * 200, "x")):
        assert what_is_seen(chain, name, password) == wrong


# How the request is written

@pytest.mark.parametrize("content_type", (
    "application/json; charset=utf-8", "application/json;charset=UTF-8",
    'Application/JSON; Charset="utf-8"'))
def test_charset_of_json(chain, content_type):
    check_token(chain.send(client.json_body("zoë", USERS["zoë"]), content_type))


@pytest.mark.parametrize("content_type", (
    client.FORM + "; charset=utf-8", client.FORM + ";charset=UTF-8",
    client.FORM.upper()))
def test_charset_of_forms(chain, content_type):
    check_token(chain.send(client.form_body("zoë", USERS["zoë"]), content_type))


@pytest.mark.parametrize("content_type", (
    None, "text/plain", "multipart/form-data; boundary=x", "application/json; charset=iso-8859-1",
    client.FORM + "; charset=latin1"))
def test_other_content_types(chain, content_type):
    reply = chain.send(client.json_body(NAME, PASSWORD), content_type)
    check_fault(reply, "CONTENT_TYPE")
    assert reply.headers["Accept"] == "application/json, application/x-www-form-urlencoded"


@pytest.mark.parametrize("size", (1, 7, 4096))
def test_chunked_body(chain, size):
    for make, content_type in ((client.json_body, client.JSON), (client.form_body, client.FORM)):
        body = make(NAME, PASSWORD)
        pieces = (body[i:i + size] for i in range(0, len(body), size))
        check_token(chain.send(pieces, content_type))


def test_chunked_body_of_one_byte_pieces_stays_in_memory(chain):
    """Framing and all, it is six times as long: nginx has a buffer for that."""
    body = client.json_body(NAME, PASSWORD)
    body += b" " * (BODY_MAX - len(body))
    check_token(chain.send((body[i:i + 1] for i in range(len(body))), client.JSON))
    assert "temporary file" not in chain.front.log_text()


def test_largest_body(chain):
    body = client.json_body(NAME, PASSWORD)
    check_token(chain.send(body + b" " * (BODY_MAX - len(body)), client.JSON))
    assert "temporary file" not in chain.front.log_text()


def test_body_above_the_ceiling_is_refused_by_nginx(chain):
    body = client.json_body(NAME, PASSWORD)
    reply = chain.send(body + b" " * (BODY_MAX + 1 - len(body)), client.JSON)
    check_fault(reply, "BODY_TOO_LARGE")
    assert not chain.program.find_events("too_large")


def test_own_oauth_fields_are_ignored(chain):
    body = client.json_body(NAME, PASSWORD, client_id="mine", client_secret="mine", scope="admin",
                            grant_type="client_credentials")
    reply = chain.send(body)
    check_token(reply)
    assert reply.json["scope"] == "read write"
    assert chain.log_of(reply)["ignored"] == 4


def test_other_methods(chain):
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        reply = chain.send(method=method)
        check_fault(reply, "METHOD")
        assert reply.headers["Allow"] == "POST, OPTIONS"


def test_head_has_no_body(chain):
    reply = chain.send(method="HEAD", content_type=None)
    assert (reply.status, reply.body) == (405, b"")


def test_options(chain):
    reply = chain.send(method="OPTIONS", content_type=None)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["Allow"] == "POST, OPTIONS"


def test_credentials_in_the_url_go_nowhere(chain):
    query = urllib.parse.urlencode({"username": NAME, "password": PASSWORD})
    reply = chain.send(client.json_body(NAME, PASSWORD), path=f"/login?{query}")
    check_fault(reply, "CREDENTIALS_IN_URL")
    assert query not in "\n".join(chain.program.lines)


def test_other_queries_are_harmless(chain):
    check_token(chain.login_json(NAME, PASSWORD, path="/login?lang=en"))


def test_request_id_passes_through(chain):
    request_id = new_request_id()
    for status, password in ((200, PASSWORD), (401, "wrong")):
        reply = chain.login_json(NAME, password, headers={"X-Request-Id": request_id + password[0]})
        assert (reply.status, reply.headers["X-Request-Id"]) == (status, request_id + password[0])
        assert chain.program.log_for(request_id + password[0])["status"] == status


def test_unfit_request_id_is_replaced(chain):
    for offered in ("has spaces", "x" * 65, "semi;colon", "ünï"):
        reply = chain.login_json(NAME, PASSWORD,
                                 headers={"X-Request-Id": offered.encode("utf-8")})
        check_token(reply)
        assert reply.headers["X-Request-Id"] != offered
        assert reply.headers["X-Request-Id"].isalnum()


def test_headers_that_nginx_keeps_to_itself(folder, has_nginx):
    """A client cannot name a proxy, and its cookies and Authorization go no further."""
    path = str(folder / "listens-only.sock")
    with socket.create_server(path, family=socket.AF_UNIX) as listener, \
            nginx.Login(folder, path) as front, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        os.chmod(path, 0o666)
        listener.settimeout(10)
        waiting = pool.submit(client.send, front.origin, b"the body", headers={
            "Proxy": "the-proxy", "Cookie": "the-cookie", "Authorization": "the-password",
            "X-Other": "the-other"})
        connection, _ = listener.accept()
        with connection:
            request = b""
            while b"the body" not in request:
                request += connection.recv(65536)
        assert waiting.result().status == 502
    assert b"HTTP_X_OTHERthe-other" in request
    for name in (b"PROXY", b"COOKIE", b"AUTHORIZATION", b"the-proxy", b"the-cookie",
                 b"the-password"):
        assert name not in request


# How we are configured

@pytest.mark.parametrize("settings, upstream_error", (
    ({"BAKRYPT_CLIENT_SECRET": "not-the-secret"}, "invalid_client"),
    ({"BAKRYPT_CLIENT_ID": "nobody"}, "invalid_client"),
    ({"BAKRYPT_CLIENT_ID": OTHER_CLIENT_ID}, "unauthorized_client"),
    ({"BAKRYPT_SCOPE": "read everything"}, "invalid_scope")),
    ids=("wrong secret", "unknown client", "no password grant", "bad scope"))
def test_our_own_fault_is_not_the_users(chains, dot, settings, upstream_error):
    chain = chains.get(token_url=dot.token_url, settings=settings)
    reply = chain.login_json(NAME, PASSWORD)
    check_fault(reply, "CLIENT_REJECTED")
    assert "WWW-Authenticate" not in reply.headers
    entry = chain.log_of(reply)
    assert (entry["event"], entry["level"]) == ("client_rejected", "crit")
    assert entry["upstream_error"] == upstream_error
    assert entry["note"]


def test_scope_of_the_settings(chains, dot):
    chain = chains.get(token_url=dot.token_url, settings={"BAKRYPT_SCOPE": "read"})
    reply = chain.login_json(NAME, PASSWORD)
    check_token(reply)
    assert reply.json["scope"] == "read"


# The shipped site

def test_limit_per_address(chains, dot):
    """20 in a burst, then 429 in our form; another address is not concerned."""
    chain = chains.get(token_url=dot.token_url, site="example")
    from_here = ("--interface", "127.0.0.2")
    replies = [chain.send(b"{}", options=from_here) for _ in range(24)]
    refused = [reply for reply in replies if reply.status == 429]
    assert {reply.status for reply in replies} == {400, 429}
    assert all(reply.status == 400 for reply in replies[:20])
    for reply in refused:
        check_fault(reply, "UPSTREAM_429")
        assert reply.headers["Retry-After"] == "5"
    check_token(chain.login_json(NAME, PASSWORD, options=("--interface", "127.0.0.3")))


def test_plain_http_leads_to_https(chains, dot):
    chain = chains.get(token_url=dot.token_url, site="example")
    reply = client.send(chain.front.http_origin, client.json_body(NAME, PASSWORD),
                        path="/login?password=leaked")
    assert reply.status == 301
    assert reply.headers["Location"] == "https://localhost/login"
    assert "leaked" not in chain.front.log_text()


def test_program_that_is_not_there(chains, folder, authority):
    """nginx's own errors look like ours."""
    chain = chains.get(token_url="https://localhost:1/")
    chain.program.stop()
    reply = chain.login_json(NAME, PASSWORD)
    assert (reply.status, reply.json["error"]) == (502, "temporarily_unavailable")
    check_headers(reply)


# Many, and what remains of them

@pytest.mark.parametrize("protocol", ("http/1.1", "http/2"))
def test_many_at_a_time(chains, request, protocol):
    """200 logins, 20 at a time: all succeed, each is logged once."""
    server = request.getfixturevalue("dot_http2" if protocol == "http/2" else "dot")
    chain = chains.get(token_url=server.token_url)
    ids = [new_request_id() for _ in range(200)]

    def login(request_id):
        return chain.login_json(NAME, PASSWORD, headers={"X-Request-Id": request_id})

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(login, ids))
    for reply, request_id in zip(replies, ids):
        check_token(reply)
        assert reply.headers["X-Request-Id"] == request_id
        chain.program.log_for(request_id)
    assert len({reply.json["access_token"] for reply in replies}) == len(ids)
    logged = collections.Counter(entry.get("request_id") for entry in chain.program.events)
    assert all(logged[request_id] == 1 for request_id in ids)
    if protocol == "http/2":
        check_shared_connections(server)


def check_shared_connections(front):
    """What reached the TLS front came by HTTP/2, and on few connections."""
    lines = [line.split() for line in front.access_log.read_text("ascii").splitlines()
             if line.startswith("POST")]
    assert {line[3] for line in lines} == {"HTTP/2.0"}
    assert len({line[4] for line in lines[-200:]}) < 20


def spellings(text):
    """How a text may stand in a log."""
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1],
            urllib.parse.quote(text), urllib.parse.quote_plus(text)}


def test_no_secret_in_any_log(chains, chain):
    """Neither the program nor nginx wrote a password, token, secret or user name."""
    for name, password in USERS.items():
        chain.login_json(name, password)
        chain.login_form(name, password + "?")
    secrets = {CLIENT_SECRET, *USERS, *USERS.values()}
    for each in chains:
        log = each.log_text()
        for secret in set().union(*map(spellings, secrets | each.tokens)):
            assert secret not in log
