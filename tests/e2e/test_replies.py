"""Every situation of POST /login and its answer: the table in src/fault.h, row by row.

A hand-made web server (servers/fastcgi.py) asks, a scripted token server answers. For each
failure Service.check_fault() compares status, error, description, headers and log line with the
table; the rows here say only which request or which answer leads to which symbol.
"""
import datetime
import email.utils
import json
import re
import ssl
import urllib.parse

import pytest

from servers import source, upstream
from servers.fastcgi import FORM, JSON, login_json
from servers.program import CLIENT_ID, CLIENT_SECRET
from servers.service import ALLOW, FIXED_HEADERS, PASSWORD, USER, Service

BODY_MAX = source.ceiling("BODY_MAX_BYTES")
FIELD_MAX = source.ceiling("FIELD_MAX_BYTES")
ANSWER_MAX = source.ceiling("ANSWER_MAX_BYTES")

# What the tests of this file have seen, and where the rest is shown.
provoked = set()
SHOWN_ELSEWHERE = {
    "CONFIG": "test_cgi.py; a FastCGI start ends instead",
    "NO_MEMORY": "test_refused_memory.py",
    "OVERLOADED": "test_gate.py: the third login above BAKRYPT_MAX_IN_FLIGHT=2",
    "STOPPING": "test_stop.py: a kept connection's next request",
    "TOKEN_MISSING": "test_session.py",
    "REFRESH_REFUSED": "test_session.py",
    "UPSTREAM_DOWN": "test_breaker.py",
    "UNCHECKED": "test_health.py: a second question while the first is under way",
    "CLIENT_GONE": "test_gate.py: aborts and disconnects; there is no reply",
}


@pytest.fixture(scope="module", name="shared")
def shared_service(folder, authority):
    """One program and upstream for all rows that leave nothing behind."""
    with Service(folder, authority) as service:
        yield service


@pytest.fixture(name="service")
def clean_service(shared):
    shared.start_over()
    yield shared
    shared.check_alive()
    shared.check_log()


def check(service, reply, symbol, **more):
    provoked.add(symbol)
    return service.check_fault(reply, symbol, **more)


def form(*fields):
    return urllib.parse.urlencode(fields).encode()


def quoted(text):
    """As json.dumps(), for texts that are put into a body by hand."""
    return json.dumps(text)


# Good logins --------------------------------------------------------------------------------------

def test_login_gives_the_five_documented_fields_and_no_other(service):
    service.upstream.script(upstream.token(id_token=upstream.GOSSIP, user={"id": 7}))
    reply = service.post()
    entry = service.check_token(reply)
    assert entry["upstream_status"] == 200
    assert isinstance(reply.json["expires_in"], int)


@pytest.mark.parametrize("missing", ["expires_in", "scope", "refresh_token"])
def test_field_that_upstream_leaves_out_stays_out(service, missing):
    service.upstream.script(upstream.token(**{missing: None}))
    service.check_token(service.post(), **{missing: None})


@pytest.mark.parametrize("spelling", ["bearer", "BEARER"])
def test_token_type_counts_in_any_letter_case(service, spelling):
    service.upstream.script(upstream.token(token_type=spelling))
    reply = service.post()
    assert reply.status == 200
    assert reply.json["token_type"].lower() == "bearer"


def test_quoted_lifetime_leaves_as_a_number(service):
    service.upstream.script(upstream.token(expires_in="36000"))
    service.check_token(service.post())


def test_token_with_escapes_and_other_scripts_arrives_as_it_is(service):
    text = 'a"b\\c/\u00fc\u20ac\U0001f511\n'
    service.upstream.script(upstream.token(scope=text))
    service.check_token(service.post(), scope=text)


@pytest.mark.parametrize("first", [
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="100"),
    pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", id="103"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n", id="both"),
])
def test_interim_answers_are_passed_over(service, first):
    service.upstream.script(upstream.in_turn(upstream.send(first), upstream.token()))
    service.check_token(service.post())


def test_answer_without_length_ends_with_its_connection(service):
    whole = upstream.answer(200, json.dumps(upstream.token_members()), length=False)
    service.upstream.script(upstream.in_turn(upstream.send(whole), upstream.hang_up))
    service.check_token(service.post())


def test_chunked_answer_is_read_whole(service):
    body = json.dumps(upstream.token_members()).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 50]), body[i:i + 50])
                      for i in range(0, len(body), 50)) + b"0\r\n\r\n"
    head = upstream.head(200, [("Content-Type", JSON), ("Transfer-Encoding", "chunked")])
    service.upstream.script(upstream.send(head + chunks))
    service.check_token(service.post())


@pytest.mark.parametrize("content_type", [
    JSON, "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"',
    "application/json ; foo=bar"])
def test_json_content_types_are_known(service, content_type):
    service.check_token(service.post(content_type=content_type))


@pytest.mark.parametrize("content_type", [
    FORM, "APPLICATION/X-WWW-FORM-URLENCODED", FORM + "; charset=UTF-8", FORM + ";charset=utf-8"])
def test_form_content_types_are_known(service, content_type):
    reply = service.post(form(("username", USER), ("password", PASSWORD)), content_type)
    service.check_token(reply)
    assert service.upstream.requests[0].form["password"] == [PASSWORD]


@pytest.mark.parametrize("length", [None, "", "-1", "none"])
def test_without_a_content_length_the_body_ends_where_it_ends(service, length):
    service.check_token(service.post(length=length))


@pytest.mark.parametrize("target", [
    "/login", "//login", "/logi%6e", "/%6C%6F%67%69%6E", "/a/../login", "/./login", "/api/login",
    "/api//v1/login", "/login?", "/login?next=%2Fhome", "https://login.test/login",
    "http://login.test:8080/api/login?x=1"])
def test_login_is_found_however_its_path_is_written(service, target):
    service.check_token(service.post(target=target))


def test_body_of_exactly_the_ceiling_is_taken(service):
    body = login_json(USER, PASSWORD)
    service.check_token(service.post(body + b" " * (BODY_MAX - len(body))))


@pytest.mark.parametrize("kind", [JSON, FORM])
def test_field_of_exactly_the_ceiling_is_taken(service, kind):
    user = "ulrike" + "u" * (FIELD_MAX - 6)
    password = "kennwort" + "\u00fc" * ((FIELD_MAX - 8) // 2)
    fields = {"username": user, "password": password}
    body = json.dumps(fields, ensure_ascii=False) if kind == JSON else \
        b"username=" + user.encode() + b"&password=" + password.encode()
    service.check_token(service.post(body, kind))
    assert service.upstream.requests[0].form["username"] == [user]
    assert service.upstream.requests[0].form["password"] == [password]


# What is sent upstream ----------------------------------------------------------------------------

def urlencoded(text):
    """The WHATWG URL standard's serializer, byte by byte."""
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._"
    return b"".join(bytes([byte]) if byte in plain else b"+" if byte == 0x20 else b"%%%02X" % byte
                    for byte in text.encode())


@pytest.mark.parametrize("password", [
    "Kennwort", " Kennwort with spaces ", "Kennwort+a&b=c%20d", "Kennwort-._*~!'()/?#[]@$,;:",
    "Kennwort \u00e9 e\u0301 \u212b \u20ac \U0001f511", "Kennwort\t\r\n\x7f\x01", "Kennwort\\\"<>"])
@pytest.mark.parametrize("kind", [JSON, FORM])
def test_password_travels_byte_exact(service, kind, password):
    body = login_json(USER, password) if kind == JSON else \
        form(("username", USER), ("password", password))
    service.check_token(service.post(body, kind))
    fields = service.upstream.requests[0].body.split(b"&")
    assert sorted(fields) == sorted([
        b"client_id=" + urlencoded(CLIENT_ID), b"client_secret=" + urlencoded(CLIENT_SECRET),
        b"username=" + urlencoded(USER), b"password=" + urlencoded(password),
        b"grant_type=password"])


def test_upstream_gets_a_plain_post_and_nothing_of_the_clients(service):
    service.check_token(service.post(more={
        "HTTP_COOKIE": "sessionid=1", "HTTP_AUTHORIZATION": "Basic a2VubndvcnQ=",
        "HTTP_X_FORWARDED_FOR": "198.51.100.1", "HTTP_USER_AGENT": "browser",
        "HTTP_EXPECT": "100-continue", "HTTP_ACCEPT_LANGUAGE": "de", "HTTP_PROXY": "127.0.0.1:9",
        "HTTP_REFERER": "https://login.test/", "HTTP_ORIGIN": "https://login.test"}))
    sent = service.upstream.requests[0]
    assert (sent.method, sent.path) == ("POST", upstream.PATH)
    assert sent.header("content-type") == FORM
    assert sent.header("accept") == JSON
    assert sent.header("content-length") == str(len(sent.body))
    names = {name for name, _ in sent.headers}
    assert names <= {"host", "user-agent", "accept", "content-type", "content-length",
                     "accept-encoding"}
    assert sent.header("user-agent") != "browser"


@pytest.mark.parametrize("kind", [JSON, FORM])
def test_grant_fields_of_the_body_are_ignored_and_counted(service, kind):
    more = {"client_id": "evil", "client_secret": "evil", "grant_type": "evil", "scope": "evil"}
    body = login_json(USER, PASSWORD, **more) if kind == JSON else \
        form(("username", USER), ("password", PASSWORD), *more.items())
    entry = service.check_token(service.post(body, kind))
    assert entry["ignored"] == 4
    assert b"evil" not in service.upstream.requests[0].body
    assert service.upstream.requests[0].form["grant_type"] == ["password"]


def test_scope_comes_from_the_settings(start):
    service = start(settings={"BAKRYPT_SCOPE": "read write"})
    service.check_token(service.post())
    assert b"&scope=read+write" in b"&" + service.upstream.requests[0].body


def test_cookies_of_upstream_are_not_sent_back_to_it(service):
    for _ in range(2):
        service.check_token(service.post())
    assert service.upstream.requests[1].header("cookie") is None


def test_logins_share_a_kept_connection(service):
    for _ in range(3):
        service.check_token(service.post())
    assert len({request.connection for request in service.upstream.requests}) == 1


# Request ids and the log --------------------------------------------------------------------------

@pytest.mark.parametrize("offered", ["a", "0123-abc_DEF.9", "x" * 64])
def test_request_id_is_taken_over(service, offered):
    reply = service.post(id=offered, body=b"{}")
    assert reply.header("x-request-id") == reply.json["request_id"] == offered


@pytest.mark.parametrize("offered", [
    None, "", "x" * 65, "two words", "<b>", "a\nb", "\u00fc", "ulrike@example.test"])
def test_other_request_ids_are_replaced(service, offered):
    more = {"HTTP_X_REQUEST_ID": offered}
    ids = {service.post(more=more, body=b"{}").json["request_id"] for _ in range(2)}
    assert len(ids) == 2 and offered not in ids


def test_log_line_tells_where_the_time_went_and_nothing_else(service):
    service.upstream.script(upstream.after(0.05, upstream.token()))
    entry = service.check_token(service.post())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"])
    assert (entry["route"], entry["client"]) == ("/login", "192.0.2.7")
    assert set(entry) <= {"time", "level", "event", "request_id", "route", "status", "client",
                          "upstream_status", "ms"}
    assert set(entry["ms"]) <= {"queue", "connect", "tls", "first_byte", "total"}
    assert 50 <= entry["ms"]["first_byte"] <= entry["ms"]["total"] < 5000


def test_client_address_cannot_forge_a_log_line(service):
    reply = service.post(b"{}", more={"REMOTE_ADDR": 'a"b\n{"event":"login_ok"}'})
    entry = check(service, reply, "FIELD_MISSING")
    assert entry["client"] == 'a"b\n{"event":"login_ok"}'


# Requests that are refused ------------------------------------------------------------------------

NAME, WORD = quoted(USER), quoted(PASSWORD)

NOT_AN_OBJECT = {
    "empty": "", "text": "username=ulrike", "array": "[]", "string": NAME, "null": "null",
    "trailing text": f'{{"username":{NAME},"password":{WORD}}}x',
    "two objects": f'{{"username":{NAME},"password":{WORD}}}{{}}',
    "byte order mark": f'\ufeff{{"username":{NAME},"password":{WORD}}}',
    "trailing comma": f'{{"username":{NAME},"password":{WORD},}}',
    "single quotes": "{'username':'ulrike','password':'kennwort'}",
    "no quotes": '{username:"ulrike",password:"kennwort"}',
    "comment": f'{{"username":{NAME},/* */"password":{WORD}}}',
    "unclosed": f'{{"username":{NAME},"password":{WORD}',
    "raw control character": '{"username":"ulrike\n","password":"kennwort"}',
    "bad escape": r'{"username":"ulrike\x41","password":"kennwort"}',
    "leading zero": f'{{"username":{NAME},"password":{WORD},"n":01}}',
    "bare point": f'{{"username":{NAME},"password":{WORD},"n":1.}}',
    "NaN": f'{{"username":{NAME},"password":{WORD},"n":NaN}}',
    "too deep": f'{{"username":{NAME},"password":{WORD},"n":{"[" * 99}{"]" * 99}}}',
    "UTF-16": login_json(USER, PASSWORD).decode().encode("utf-16"),
    "NUL after the end": login_json(USER, PASSWORD) + b"\0",
    "form feed": b"\f" + login_json(USER, PASSWORD),
}


@pytest.mark.parametrize("body", NOT_AN_OBJECT.values(), ids=NOT_AN_OBJECT)
def test_body_that_is_not_one_json_object(service, body):
    check(service, service.post(body), "BODY_SYNTAX")
    assert not service.upstream.requests


JSON_WITHOUT_A_FIELD = {
    "none": {}, "no username": {"password": PASSWORD}, "no password": {"username": USER},
    "empty username": {"username": "", "password": PASSWORD},
    "empty password": {"username": USER, "password": ""},
    "null": {"username": USER, "password": None}, "number": {"username": 5, "password": PASSWORD},
    "true": {"username": USER, "password": True}, "array": {"username": [USER], "password": "x"},
    "object": {"username": USER, "password": {"password": PASSWORD}},
    "other letter case": {"Username": USER, "PASSWORD": PASSWORD},
    "nested": {"user": {"username": USER, "password": PASSWORD}},
}
FORM_WITHOUT_A_FIELD = {
    "none": b"", "no username": b"password=kennwort", "no password": b"username=ulrike",
    "empty username": b"username=&password=kennwort", "no value": b"username=ulrike&password",
    "other letter case": b"Username=ulrike&Password=kennwort", "only separators": b"&&&",
}


@pytest.mark.parametrize("fields", JSON_WITHOUT_A_FIELD.values(), ids=JSON_WITHOUT_A_FIELD)
def test_json_without_a_username_and_password(service, fields):
    check(service, service.post(json.dumps(fields)), "FIELD_MISSING")
    assert not service.upstream.requests


@pytest.mark.parametrize("body", FORM_WITHOUT_A_FIELD.values(), ids=FORM_WITHOUT_A_FIELD)
def test_form_without_a_username_and_password(service, body):
    check(service, service.post(body, FORM), "FIELD_MISSING")
    assert not service.upstream.requests


BAD_JSON_TEXT = {
    "NUL in the password": rb'{"username":"ulrike","password":"kennwort\u0000tail"}',
    "NUL in the user name": rb'{"username":"ulrike\u0000","password":"kennwort"}',
    "lone high surrogate": rb'{"username":"ulrike\ud800","password":"kennwort"}',
    "lone low surrogate": rb'{"username":"ulrike","password":"kennwort\udc00"}',
    "surrogates reversed": rb'{"username":"ulrike","password":"kennwort\udc00\ud800"}',
    "invalid UTF-8": b'{"username":"ulrike","password":"kennwort\xff"}',
    "overlong UTF-8": b'{"username":"ulrike","password":"kennwort\xc0\xaf"}',
    "encoded surrogate": b'{"username":"ulrike","password":"kennwort\xed\xa0\x80"}',
    "above Unicode": b'{"username":"ulrike\xf4\x90\x80\x80","password":"kennwort"}',
    "cut off character": b'{"username":"ulrike","password":"kennwort\xe2\x82"}',
    "one byte too long": login_json("ulrike", "kennwort" + "x" * (FIELD_MAX - 7)),
    "one character too long": json.dumps({"username": "ulrike", "password": "k" + "\u00fc" * 2048},
                                         ensure_ascii=False).encode(),
}
BAD_FORM_TEXT = {
    "NUL in the password": b"username=ulrike&password=kennwort%00tail",
    "NUL byte": b"username=ulrike&password=kennwort\0tail",
    "invalid UTF-8": b"username=ulrike&password=kennwort%FF",
    "raw invalid UTF-8": b"username=ulrike\xff&password=kennwort",
    "overlong UTF-8": b"username=ulrike%C0%AF&password=kennwort",
    "encoded surrogate": b"username=ulrike&password=kennwort%ED%A0%80",
    "no hexadecimal": b"username=ulrike&password=kennwort%zz",
    "one digit": b"username=ulrike&password=kennwort%4",
    "percent alone": b"username=ulrike%&password=kennwort",
    "percent u": b"username=ulrike&password=kennwort%u20AC",
    "one byte too long": b"username=ulrike&password=" + b"k" * (FIELD_MAX + 1),
}


@pytest.mark.parametrize("body", BAD_JSON_TEXT.values(), ids=BAD_JSON_TEXT)
def test_json_field_that_is_no_text(service, body):
    check(service, service.post(body), "FIELD_TEXT")
    assert not service.upstream.requests


@pytest.mark.parametrize("body", BAD_FORM_TEXT.values(), ids=BAD_FORM_TEXT)
def test_form_field_that_is_no_text(service, body):
    check(service, service.post(body, FORM), "FIELD_TEXT")
    assert not service.upstream.requests


FIELD_TWICE = {
    "json username": (JSON, f'{{"username":{NAME},"username":{NAME},"password":{WORD}}}'),
    "json password": (JSON, f'{{"password":"a","username":{NAME},"password":{WORD}}}'),
    "json escaped": (JSON, f'{{"username":{NAME},"password":{WORD},"user\\u006eame":"b"}}'),
    "form username": (FORM, b"username=ulrike&password=kennwort&username=b"),
    "form password": (FORM, b"username=ulrike&password=kennwort&password=kennwort"),
    "form encoded": (FORM, b"username=ulrike&password=kennwort&user%6eame=b"),
}


@pytest.mark.parametrize("kind, body", FIELD_TWICE.values(), ids=FIELD_TWICE)
def test_field_that_is_there_twice(service, kind, body):
    check(service, service.post(body, kind), "FIELD_REPEATED")
    assert not service.upstream.requests


@pytest.mark.parametrize("query", [
    "username=ulrike", "password=kennwort", "a=b&password=kennwort", "user%6eame=ulrike",
    "%70assword=kennwort", "password", "password=", "username=ulrike&password=kennwort",
    "password=kennwort%", "a=100%&password=kennwort", "a=%ff&username=ulrike",
    "%zz&password=kennwort", "password=kennwort%00"])
def test_credentials_in_the_url(service, query):
    check(service, service.post(target=f"/login?{query}"), "CREDENTIALS_IN_URL")
    assert not service.upstream.requests


@pytest.mark.parametrize("size", [1, 1000, 60000])
def test_body_over_the_ceiling(service, size):
    body = login_json(USER, PASSWORD)
    body += b" " * (BODY_MAX + size - len(body))
    check(service, service.post(body), "BODY_TOO_LARGE")
    assert not service.upstream.requests


@pytest.mark.parametrize("change", [1, 1000, -1], ids=["one more", "many more", "one less"])
def test_body_of_another_length_than_announced(service, change):
    body = login_json(USER, PASSWORD)
    check(service, service.post(body, length=str(len(body) + change)), "BODY_CUT")
    assert not service.upstream.requests


@pytest.mark.parametrize("length", ["0", "00000001", "99999999999999999999999999"])
def test_body_of_quite_another_length_than_announced(service, length):
    reply = service.post(length=length)
    assert reply.status in (400, 413)
    assert not service.upstream.requests


@pytest.mark.parametrize("content_type", [
    None, "", "text/plain", "text/json", "application/jsonp", "application/json-patch+json",
    "application/json; charset=iso-8859-1", "application/json, text/plain",
    "multipart/form-data; boundary=x", FORM + "; charset=latin1", FORM + "x", "json"])
def test_other_content_types(service, content_type):
    check(service, service.post(content_type=content_type), "CONTENT_TYPE")
    assert not service.upstream.requests


@pytest.mark.parametrize("header, value", [
    ("HTTP_ORIGIN", "https://evil.example.com"), ("HTTP_ORIGIN", "null"),
    ("HTTP_SEC_FETCH_SITE", "cross-site")])
def test_pages_of_other_sites(service, header, value):
    check(service, service.post(more={header: value}), "ORIGIN")
    assert not service.upstream.requests


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "post",
                                    "POST ", "X" * 1000])
def test_other_methods(service, method):
    check(service, service.post(method=method), "METHOD")
    assert not service.upstream.requests


def test_options_tells_the_methods(service):
    reply = service.post(b"", method="OPTIONS", content_type=None)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.header("allow") == ALLOW
    for name in ("cache-control", "pragma", "x-content-type-options"):
        assert reply.header(name) == FIXED_HEADERS[name]
    assert not [name for name, _ in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize("target", [
    "/", "", "*", "/signout", "/login/", "/login/x", "/loginx", "/LOGIN", "/login/..", "/login%2f",
    "/login/.", "/x/login%00", "/lo%zzgin", "/login;x=1", "/?/login", "https://login.test",
    "/" + "l" * 30000])
def test_other_paths(service, target):
    check(service, service.post(target=target), "NOT_FOUND")
    assert not service.upstream.requests


def test_misses_and_options_are_silent_unless_debugging(start):
    service = start(settings={"BAKRYPT_LOG_LEVEL": "info"})
    assert service.post(target="/favicon.ico").status == 404
    assert service.post(method="OPTIONS").status == 204
    service.check_token(service.post())
    served = [entry for entry in service.program.events if "request_id" in entry]
    assert [entry["event"] for entry in served] == ["login_ok"]


def test_requests_that_are_refused_count_no_phase_of_upstream(service):
    entry = check(service, service.post(b"{}"), "FIELD_MISSING")
    assert "upstream_status" not in entry
    assert not any(entry["ms"].get(phase) for phase in ("connect", "tls", "first_byte"))


# What upstream answers ----------------------------------------------------------------------------

@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_wrong_password_is_known_by_its_code_whatever_the_status(service, status):
    service.upstream.script(upstream.error("invalid_grant", status))
    entry = check(service, service.post(), "LOGIN_REFUSED")
    assert (entry["upstream_status"], entry["upstream_error"]) == (status, "invalid_grant")


@pytest.mark.parametrize("code", ["invalid_client", "unauthorized_client",
                                  "unsupported_grant_type", "invalid_scope"])
@pytest.mark.parametrize("status", [400, 401])
def test_rejected_client_is_our_fault_and_never_the_users(service, code, status):
    service.upstream.script(upstream.error(code, status))
    entry = check(service, service.post(), "CLIENT_REJECTED")
    assert (entry["upstream_status"], entry["upstream_error"]) == (status, code)
    assert entry["note"]


def test_invalid_request_means_that_the_contract_changed(service):
    service.upstream.script(upstream.error("invalid_request"))
    entry = check(service, service.post(), "UPSTREAM_CONTRACT")
    assert entry["upstream_error"] == "invalid_request"


@pytest.mark.parametrize("code, symbol", [
    ("invalid_grant", "LOGIN_REFUSED"), ("invalid_client", "CLIENT_REJECTED"),
    ("invalid_request", "UPSTREAM_CONTRACT"), (upstream.GOSSIP, "UPSTREAM_CONTRACT")])
def test_error_in_a_200_goes_by_its_code_and_is_logged_as_off_contract(service, code, symbol):
    service.upstream.script(upstream.error(code, 200))
    check(service, service.post(), symbol, event="upstream_contract", level="error")


def test_error_beside_a_token_in_a_200_gives_no_token(service):
    service.upstream.script(upstream.token(error="invalid_grant"))
    check(service, service.post(), "LOGIN_REFUSED", event="upstream_contract", level="error")


@pytest.mark.parametrize("status", [403, 503])
def test_wall_in_front_of_upstream(service, status):
    service.upstream.script(upstream.status(status, headers=[("CF-RAY", "8a1b2c3d4e5f-FRA")]))
    entry = check(service, service.post(), "UPSTREAM_WAF")
    assert entry["upstream_status"] == status
    assert "8a1b2c3d4e5f-FRA" in entry["note"] and "text/html" in entry["note"]


def test_hostile_ray_cannot_forge_a_log_line(service):
    ray = 'x"}\\u000a\t{"event":"login_ok"}' + "y" * 5000
    service.upstream.script(upstream.status(403, headers=[("CF-RAY", ray)]))
    check(service, service.post(), "UPSTREAM_WAF")
    assert not service.program.find_events("login_ok", request_id=None)


@pytest.mark.parametrize("body", ["{}", '{"detail": "locked"}'])
def test_denied_account(service, body):
    service.upstream.script(upstream.status(403, body, JSON))
    check(service, service.post(), "UPSTREAM_DENIED")


@pytest.mark.parametrize("asked, given", [
    ("7", 7), ("1", 1), ("0", 1), ("300", 300), ("301", 300), ("99999999999999999999", 300),
    (None, 30), ("", 30), ("soon", 30), ("-5", 30)])
@pytest.mark.parametrize("content_type", [JSON, "text/html"])
def test_too_many_logins_for_upstream(service, asked, given, content_type):
    headers = [("Retry-After", asked)] if asked is not None else []
    service.upstream.script(upstream.status(429, "{}", content_type, headers))
    check(service, service.post(), "UPSTREAM_429", retry_after=given)


@pytest.mark.parametrize("seconds, least, most", [
    (60, 50, 60), (100000, 300, 300), (-60, 1, 1)])
def test_retry_after_may_be_a_date(service, seconds, least, most):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    date = email.utils.format_datetime(moment, usegmt=True)
    service.upstream.script(upstream.status(429, headers=[("Retry-After", date)]))
    reply = service.post()
    given = int(reply.header("retry-after"))
    assert least <= given <= most
    check(service, reply, "UPSTREAM_429", retry_after=given)


@pytest.mark.parametrize("asked, given", [("7", 7), ("0", 1), ("86400", 300)])
def test_upstream_out_of_service_for_a_while(service, asked, given):
    service.upstream.script(upstream.status(503, "{}", JSON, [("Retry-After", asked)]))
    check(service, service.post(), "UPSTREAM_BUSY", retry_after=given)


@pytest.mark.parametrize("status", [500, 501, 502, 504, 520, 599])
@pytest.mark.parametrize("content_type", [JSON, "text/html"])
def test_upstream_has_a_fault(service, status, content_type):
    service.upstream.script(upstream.status(status, "{}", content_type))
    entry = check(service, service.post(), "UPSTREAM_5XX")
    assert entry["upstream_status"] == status


def test_503_without_a_time_is_a_fault_of_upstream(service):
    service.upstream.script(upstream.status(503, "{}", JSON))
    check(service, service.post(), "UPSTREAM_5XX")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_redirect_is_never_followed(service, status):
    where = [("Location", service.upstream.url + "elsewhere")]
    service.upstream.script(upstream.status(status, headers=where))
    entry = check(service, service.post(), "UPSTREAM_REDIRECT")
    assert "slash" in entry["note"]
    assert len(service.upstream.requests) == 1


def test_redirect_that_leads_nowhere(service):
    service.upstream.script(upstream.status(302))
    check(service, service.post(), "UPSTREAM_REDIRECT")


GOOD = json.dumps(upstream.token_members())
MALFORMED = {
    "empty": upstream.status(200, "", JSON),
    "text": upstream.status(200, upstream.GOSSIP, JSON),
    "html": upstream.status(200),
    "array": upstream.status(200, f"[{GOOD}]", JSON),
    "trailing data": upstream.status(200, GOOD + "x", JSON),
    "byte order mark": upstream.status(200, "\ufeff" + GOOD, JSON),
    "invalid UTF-8": upstream.status(200, GOOD.encode().replace(b"read write", b"\xff"), JSON),
    "no token": upstream.token(access_token=None),
    "empty token": upstream.token(access_token=""),
    "number as token": upstream.token(access_token=5),
    "NUL in the token": upstream.token(access_token="a\0b"),
    "no type": upstream.token(token_type=None),
    "other type": upstream.token(token_type="mac"),
    "lifetime in words": upstream.token(expires_in="soon"),
    "negative lifetime": upstream.token(expires_in=-1),
    "no content": upstream.send(upstream.head(204, [])),
    "a 4xx without a code": upstream.status(404, "{}", JSON),
    "an html 4xx": upstream.status(404),
    "over the ceiling": upstream.token(scope="s" * ANSWER_MAX),
    "far over the ceiling": upstream.status(200, "x" * 3000000, JSON),
    "endless": upstream.endless(upstream.head(200, [("Transfer-Encoding", "chunked")]),
                                b"1000\r\n" + b" " * 4096 + b"\r\n"),
    "endless without length": upstream.endless(upstream.head(200, []), b" " * 4096),
    "endless headers": upstream.endless(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 500 + b"\r\n"),
    "endless header line": upstream.endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 4096),
    "many headers": upstream.token(headers=[(f"X-{i}", "x" * 90) for i in range(1000)]),
    "cut off": upstream.in_turn(
        upstream.send(upstream.head(200, [("Content-Length", "500")]) + GOOD.encode()),
        upstream.hang_up),
    "chunks cut off": upstream.in_turn(
        upstream.send(upstream.head(200, [("Transfer-Encoding", "chunked")])
                      + b"%x\r\n%s\r\n" % (len(GOOD), GOOD.encode())), upstream.hang_up),
    "bad chunk": upstream.in_turn(
        upstream.send(upstream.head(200, [("Transfer-Encoding", "chunked")]) + b"zz\r\n"),
        upstream.hang_up),
    "not HTTP": upstream.in_turn(upstream.send(b"220 mail.example ESMTP\r\n" * 20),
                                 upstream.hang_up),
    "two lengths": upstream.in_turn(
        upstream.send(upstream.head(200, [("Content-Length", "-7")]) + GOOD.encode()),
        upstream.hang_up),
}


@pytest.mark.parametrize("behaviour", MALFORMED.values(), ids=MALFORMED)
def test_answer_that_cannot_be_used(service, behaviour):
    service.upstream.script(behaviour)
    check(service, service.post(), "UPSTREAM_MALFORMED")
    assert len(service.upstream.requests) == 1
    service.check_token(service.post())


@pytest.mark.parametrize("answer, note", [
    (upstream.status(200, "<h1>Sign in to the network</h1>"), "text/html, 31 bytes"),
    (upstream.status(200, "{}", content_type=None), "no content type, 2 bytes"),
    (upstream.status(404, "", "text/plain"), "text/plain, 0 bytes")])
def test_log_says_what_came_instead_of_a_token(service, answer, note):
    service.upstream.script(answer)
    entry = check(service, service.post(), "UPSTREAM_MALFORMED")
    assert entry["note"] == note


def test_unknown_error_code_is_off_contract(service):
    service.upstream.script(upstream.error(upstream.GOSSIP))
    entry = check(service, service.post(), "UPSTREAM_CONTRACT")
    assert "upstream_error" not in entry


# One login, one POST ------------------------------------------------------------------------------

LOST = {"hangs up": upstream.hang_up, "breaks off": upstream.break_off, "resets": upstream.reset}


@pytest.mark.parametrize("behaviour", LOST.values(), ids=LOST)
def test_login_is_not_sent_again_when_upstream_goes_without_an_answer(service, behaviour):
    service.upstream.script(behaviour)
    check(service, service.post(), "UPSTREAM_LOST")
    assert len(service.upstream.requests) == 1


@pytest.mark.parametrize("behaviour", LOST.values(), ids=LOST)
def test_login_on_a_kept_connection_is_not_sent_again_either(service, behaviour):
    service.upstream.script(upstream.token(), behaviour)
    service.check_token(service.post())
    check(service, service.post(), "UPSTREAM_LOST")
    first, second = service.upstream.requests
    assert first.connection == second.connection
    service.check_token(service.post())


def test_answer_cut_off_in_its_head_is_not_asked_for_again(service):
    service.upstream.script(upstream.in_turn(
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: appli"), upstream.hang_up))
    reply = service.post()
    assert reply.json["error"] in ("temporarily_unavailable", "server_error")
    assert reply.status in (502, 504)
    assert len(service.upstream.requests) == 1


def test_connection_closed_while_idle_costs_no_login(service):
    service.check_token(service.post())
    service.upstream.hang_up_idle()
    service.check_token(service.post())
    assert [request.connection for request in service.upstream.requests][0] \
        != service.upstream.requests[1].connection


def test_connection_closed_right_after_an_answer_costs_no_login(service):
    service.upstream.script(upstream.in_turn(upstream.token(), upstream.hang_up))
    service.check_token(service.post())
    service.upstream.wait_for(lambda server: not server.open_connections)
    service.check_token(service.post())
    assert len(service.upstream.requests) == 2


NOTHING_SENT = {"reset": upstream.reset_before_tls, "hung up": upstream.hang_up_before_tls}


@pytest.mark.parametrize("door", NOTHING_SENT.values(), ids=NOTHING_SENT)
def test_login_that_was_not_sent_is_tried_once_more(start, door):
    service = start()
    service.upstream.doors(door)
    service.check_token(service.post())
    # The second finds out that the server speaks no HTTP/2, and is left.
    assert (service.upstream.connections, len(service.upstream.requests)) == (3, 1)


@pytest.mark.parametrize("door", NOTHING_SENT.values(), ids=NOTHING_SENT)
def test_login_that_was_not_sent_is_tried_no_more_than_twice(start, door):
    service = start()
    service.upstream.doors(*[door] * 5)
    check(service, service.post(), "UPSTREAM_UNREACHABLE")
    assert (service.upstream.connections, len(service.upstream.requests)) == (2, 0)


# Upstream that is not there, not in time or not to be trusted -------------------------------------

def test_refused_connection(start):
    with upstream.ClosedPort() as port:
        service = start(token_url=port.url)
        entry = check(service, service.post(), "UPSTREAM_UNREACHABLE")
    assert entry["note"]
    assert "upstream_status" not in entry


def test_connection_that_is_never_made(start):
    with upstream.BlackHole() as port:
        service = start(token_url=port.url, settings={"BAKRYPT_CONNECT_TIMEOUT_MS": 300})
        entry = check(service, service.post(), "UPSTREAM_UNREACHABLE")
    assert entry["note"]
    assert 300 <= entry["ms"]["total"] <= 3000


def test_name_that_does_not_exist(start):
    # A label of 64 letters is refused by the resolver without asking anybody.
    service = start(token_url=f"https://{'x' * 64}.invalid/auth/token/")
    check(service, service.post(), "UPSTREAM_UNREACHABLE")


def test_handshake_that_is_never_answered(start):
    service = start(settings={"BAKRYPT_CONNECT_TIMEOUT_MS": 300})
    service.upstream.doors(*[upstream.silence_before_tls] * 5)
    check(service, service.post(), "UPSTREAM_UNREACHABLE")
    assert not service.upstream.requests


TOO_SLOW = {
    "silence": upstream.silence,
    "head without end": upstream.slowly(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000, 0.05),
    "body without end": upstream.slowly(upstream.head(200, [("Content-Length", "99")])
                                        + b" " * 99, 0.05),
    "interim answers": upstream.slowly(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 99, 0.01),
}


@pytest.mark.parametrize("behaviour", TOO_SLOW.values(), ids=TOO_SLOW)
def test_answer_that_does_not_come_in_time(service, behaviour):
    service.upstream.script(behaviour)
    entry = check(service, service.post(), "UPSTREAM_TIMEOUT")
    assert len(service.upstream.requests) == 1
    assert 1400 <= entry["ms"]["total"] <= 4000
    assert entry["note"]


@pytest.mark.parametrize("kind", ["wrong_host", "expired", "self_signed"])
def test_certificate_that_cannot_be_trusted(start, authority, kind):
    leaf = getattr(authority, kind)()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        service = start(server=server)
        entry = check(service, service.post(), "UPSTREAM_TLS")
        assert not server.requests
    assert entry["note"]


def test_certificate_of_an_unknown_authority(start, folder, authority):
    other = type(authority)(folder / "other-authority", name="Another authority").leaf()
    with upstream.Upstream(other.certificate, other.key) as server:
        service = start(server=server)
        check(service, service.post(), "UPSTREAM_TLS")
        assert not server.requests


def test_tls_below_1_2_is_not_spoken(start, authority):
    leaf = authority.leaf()
    context = upstream.server_context(leaf.certificate, leaf.key,
                                      newest=ssl.TLSVersion.TLSv1_1, ciphers="ALL:@SECLEVEL=0")
    with upstream.Upstream(context=context) as server:
        service = start(server=server)
        check(service, service.post(), "UPSTREAM_TLS")
        assert not server.requests


def test_tls_1_2_is_spoken(start, authority):
    leaf = authority.leaf()
    context = upstream.server_context(leaf.certificate, leaf.key,
                                      newest=ssl.TLSVersion.TLSv1_2)
    with upstream.Upstream(context=context) as server:
        service = start(server=server)
        service.check_token(service.post())


def test_server_without_tls(start):
    service = start()
    service.upstream.doors(*[upstream.plain_http] * 5)
    check(service, service.post(), "UPSTREAM_TLS")


def test_wrong_certificates_do_not_outlast_their_repair(start, authority):
    """One program: refused while the certificate is wrong, served once it is right."""
    wrong, right = authority.wrong_host(), authority.leaf()
    with upstream.Upstream(wrong.certificate, wrong.key) as server:
        service = start(server=server)
        check(service, service.post(), "UPSTREAM_TLS")
        port = server.port
    with upstream.Upstream(right.certificate, right.key, port=port):
        service.check_token(service.post())


# The table itself ---------------------------------------------------------------------------------

def test_descriptions_can_be_put_into_any_page():
    for fault in source.faults().values():
        assert re.fullmatch(r"[ -~]+", fault.description)
        assert not re.search(r"""["'<>&\\]""", fault.description)


def test_every_row_of_the_table_was_provoked(request):
    option = request.config.option
    if option.keyword or option.markexpr or any("::" in each for each in request.config.args):
        pytest.skip("only some tests of this file were run")
    missing = set(source.faults()) - provoked - set(SHOWN_ELSEWHERE)
    assert not missing, f"no test provokes {sorted(missing)}"
    assert not provoked & set(SHOWN_ELSEWHERE)
