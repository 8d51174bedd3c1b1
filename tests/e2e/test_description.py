"""The running program answers as deploy/openapi.json says, and takes what that says."""
import json
import urllib.parse

import pytest

from servers import description, fastcgi, source, upstream
from servers.fastcgi import FORM, JSON
from servers.service import PASSWORD, USER, Service

POSTS = ("/login", "/refresh", "/logout")
GOOD = {"/login": {"username": USER, "password": PASSWORD},
        "/refresh": {"refresh_token": "kennwort"}, "/logout": {"access_token": "kennwort"}}
seen = set()  # (path, method, status, error), over all tests here


@pytest.fixture(scope="module", name="shared")
def shared_service(folder, authority, require):
    require(description.missing())
    with Service(folder, authority) as service:
        yield service


@pytest.fixture(name="service")
def clean_service(shared):
    shared.start_over()
    return shared


def send(service, path, method="POST", query="", body=None, kind=JSON, **request):
    body = json.dumps(GOOD.get(path)).encode() if body is None else body
    reply = service.send(fastcgi.Request(body, method, path + query, kind, **request))
    described = source.routes()[path].method if reply.status >= 400 else method
    description.check_reply(path, described, reply)
    code = reply.json.get("error") if reply.body else None
    seen.add((path, described, reply.status, code))
    return reply


REQUESTS = {
    "good": {}, "form": {"kind": FORM, "body": None}, "options": {"method": "OPTIONS"},
    "get": {"method": "GET"}, "text": {"kind": "text/plain"}, "nonsense": {"body": b"nonsense"},
    "empty": {"body": b"{}"}, "NUL": {"body": rb'{"username":"\u0000","refreshToken":"\u0000"}'},
    "cut": {"length": "9999"}, "large": {"body": b" " * 20000},
    "query": {"query": "?access_token=kennwort"},
    "foreign": {"more": {"HTTP_ORIGIN": "https://elsewhere.example.com"}},
    "twice": {"body": b'{"username":"a","username":"a","accessToken":"a","accessToken":"a",'
                      b'"refreshToken":"a","refreshToken":"a"}'},
}


@pytest.mark.parametrize("path", sorted(source.routes()))
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_requests(service, path, request_):
    request_ = dict(request_)
    if request_.get("kind") == FORM:
        request_["body"] = urllib.parse.urlencode(GOOD.get(path, {})).encode()
    send(service, path, **request_)


ANSWERS = {
    "refused": upstream.error("invalid_grant"), "client": upstream.error("invalid_client"),
    "contract": upstream.error("invalid_request"), "wall": upstream.status(403),
    "denied": upstream.status(403, "{}", JSON), "429": upstream.status(429),
    "busy": upstream.status(503, "", JSON, [("Retry-After", "7")]),
    "fault": upstream.status(500), "redirect": upstream.status(302),
    "nonsense": upstream.status(404), "short": upstream.token(scope=None, refresh_token=None),
    "quoted": upstream.token(expires_in="36000", token_type="bearer"),
    "silence": upstream.silence, "lost": upstream.hang_up,
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answers(service, path, answer):
    service.upstream.script(answer)
    send(service, path)


@pytest.mark.parametrize("answer", [ANSWERS[name] for name in ("client", "fault", "silence")])
def test_unready(start, answer, require):
    require(description.missing())
    service = start()
    service.upstream.script(answer)
    assert send(service, "/readyz", "GET", body=b"").status == 503


@pytest.mark.parametrize("path", POSTS)
def test_unreachable(start, path, require):
    require(description.missing())
    with upstream.ClosedPort() as port:
        assert send(start(token_url=port.url), path).status == 503


def test_every_status_and_error_was_seen(request):
    """Of what can be brought about from outside; CONFIG is a reply of CGI alone."""
    option = request.config.option
    if option.keyword or any("::" in each for each in request.config.args):
        pytest.skip("only some tests of this file were run")
    told = {(path, source.routes()[path].method, row.status, row.code)
            for path in source.routes() for row in description.faults_of(path)}
    assert told - seen == set()
    assert {each[:3] for each in seen if each[2] < 400} == {
        (path, method, int(status)) for path, method, operation in description.operations()
        for status in operation["responses"] if int(status) < 400}


BODIES = [
    {}, {"username": "ulrike"}, {"username": "ulrike", "password": ""},
    {"username": "ulrike", "password": 5}, {"username": "ulrike", "password": None},
    {"username": "ulrike", "password": "kennwort", "more": [1]},
    {"refresh_token": "kennwort"}, {"refreshToken": "kennwort", "scope": "x"},
    {"refresh_token": "kennwort", "refreshToken": "kennwort"}, {"refresh_token": ""},
    {"refresh_token": 7}, {"access_token": "kennwort"}, {"accessToken": "kennwort"},
    {"access_token": "kennwort", "accessToken": "kennwort"},
    {"refresh_token": "kennwort", "accessToken": "kennwort"},
    {"refresh_token": "k" * 4096}, {"refresh_token": "k" * 4097}, {"token": "kennwort"}, [], 7,
]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: str(body)[:60])
def test_bodies(service, path, body):
    """What the description allows is taken, and what it does not allow is refused."""
    told = description.document()["paths"][path]["post"]["requestBody"]["content"][JSON]
    is_allowed = not description.problems(told["schema"], body)
    reply = send(service, path, body=json.dumps(body).encode())
    assert (reply.status < 300) == is_allowed, reply
