"""Every reply of the table, with secrets that can be recognised in whatever may hold one: fields,
queries, cookie, Authorization, the token server's answers and their headers.

    stage = Stage(folder, authority)
    with stage.opened():
        stage.play()
        assert not traces.find(stage.front.log_text(), MARKS)

The requests go through nginx with the whole shipped site. What nginx would not pass on is sent by
hand to the same program, and what only CGI answers is asked there.
"""
import base64
import contextlib
import itertools
import json
import signal
import subprocess
import urllib.parse
from dataclasses import dataclass

from servers import cgi, client, fastcgi, nginx, program, source, traces, upstream
from servers.chain import new_request_id
from servers.client import FORM, JSON
from servers.process import wait_until
from servers.service import Service

MARK = "zq4canary"  # in every secret below, and nowhere else
USER = f"user-{MARK}@example.test"
PASSWORD = f"passw0rd {MARK} +&%=\u00fc"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
CLIENT_SECRET = f"client {MARK} +&%=/"
ACCESS, REFRESH = f"acc3ss-{MARK}", f"r3fresh-{MARK}"
NEW_TOKENS = {"access_token": f"new-acc3ss-{MARK}", "refresh_token": f"new-r3fresh-{MARK}"}
MARKS = (MARK, BASIC, upstream.GOSSIP)

HEADERS = {"Cookie": f"sessionid={MARK}", "Authorization": f"Basic {BASIC}",
           "Proxy-Authorization": f"Bearer {MARK}", "X-Api-Key": MARK}
LOGIN = client.json_body(USER, PASSWORD)
TOKENS = json.dumps({"refresh_token": REFRESH, "access_token": ACCESS}).encode()
HEALTH = ("/healthz", "/readyz")
BODIES = {"/login": LOGIN, "/refresh": TOKENS, "/logout": TOKENS}

# What a bad token server would say: all that it was told.
ECHO = urllib.parse.urlencode({"username": USER, "password": PASSWORD, "refresh_token": REFRESH,
                               "client_secret": CLIENT_SECRET})
ECHOING = [("X-Echo", MARK), ("X-Accel-Redirect", f"/{MARK}"), ("Location", f"/?{ECHO}")]

BODY_MAX = source.ceiling("BODY_MAX_BYTES")
FAULTS_MAX = source.ceiling("BREAKER_FAULTS_MAX")
LATE_S = source.ceiling("STOP_SERVES_MS") / 1000 + 0.3


# The stage ----------------------------------------------------------------------------------------

@dataclass
class Seen:
    """What came of one request."""
    status: int
    text: str  # head and body of the reply
    entry: dict  # of the log


class Stage:
    """nginx, the program and the token server. What was seen is in `seen`, by row or route.

    settings: more settings of the program. wrapper: a command that runs it in its own place.
    is_listed: what nginx and the program write is listed by strace.
    """

    def __init__(self, folder, authority, *, settings=None, wrapper=(), is_listed=False):
        self.folder = folder
        self.authority = authority
        self.settings = {"BAKRYPT_CLIENT_SECRET": CLIENT_SECRET, "BAKRYPT_MAX_IN_FLIGHT": 2,
                         "BAKRYPT_TIMEOUT_MS": 4000, "BAKRYPT_CONNECT_TIMEOUT_MS": 3000,
                         **(settings or {})}
        self.seen = {}
        self.commands = {}  # what came of them, by their arguments
        self.service = Service(folder, authority, settings=self.settings, wrapper=wrapper)
        self.upstream = self.service.upstream
        self.front = nginx.ExampleSite(folder, self.service.address, authority.leaf())
        self.said = []  # by programs that have ended
        self.openings = {"program": folder / "program.strace", "nginx": folder / "nginx.strace"}
        self._hosts = itertools.count(2)
        if is_listed:
            traces.list_openings(self.service.program, self.openings["program"])
            traces.list_openings(self.front, self.openings["nginx"])

    @contextlib.contextmanager
    def opened(self):
        with self.service, self.front:
            yield self

    def play(self):
        """Everything, once."""
        self.upstream.always = upstream.token(**NEW_TOKENS)
        for name, plays in {**ROWS, **SUCCESSES}.items():
            self.seen[name] = [self.play_anew(play) for play in plays]
        self.commands = play_commands(self)

    def play_anew(self, play):
        """After good news of the token server, so that what became of the last play is no part of
        this one."""
        if self.service.is_shut:
            self.service.reload()
        wait_until(lambda: self.ask_by_hand().status == 200, 10, "the end of what was under way")
        return play(self)

    def ask(self, route="/login", body=None, content_type=JSON, *, method="POST", query="",
            headers=None):
        """Through nginx, each time from another address, since the site's limit is for each; health
        is told to the machine's own alone."""
        request_id = new_request_id()
        host = 1 if route in HEALTH else next(self._hosts)
        reply = client.send_by_curl(
            self.front.origin, BODIES.get(route, b"") if body is None else body, content_type,
            path=route + query, method=method, ca_file=self.authority.file,
            headers={**HEADERS, **(headers or {}), "X-Request-Id": request_id},
            options=("--interface", f"127.0.0.{host}"))
        return Seen(reply.status, f"{reply.headers}{reply.text}", self.entry(request_id))

    def ask_by_hand(self, body=LOGIN, **request):
        """What nginx would not pass on."""
        request = by_hand(body, **request)
        reply = self.service.send(request)
        return Seen(reply.status, reply.text(), self.entry(request.id))

    def entry(self, request_id):
        return self.service.program.log_for(request_id)

    @contextlib.contextmanager
    def held(self, *requests):
        """Requests that wait for the token server's answer."""
        held = upstream.Held(upstream.token(**NEW_TOKENS))
        self.upstream.script(*[held] * len(requests))
        with contextlib.ExitStack() as stack:
            before = len(self.upstream.requests)
            connections = [stack.enter_context(self.service.connect()) for _ in requests]
            for connection, request in zip(connections, requests, strict=True):
                connection.send(request.encode())
            self.upstream.wait_for_requests(before + len(requests))
            try:
                yield connections
            finally:
                held.release()

    def meet(self, *doors):
        """The token server closes all connections, and does this to the next ones."""
        self.upstream.hang_up_idle()
        self.upstream.wait_for(lambda server: not server.open_connections)
        self.upstream.doors(*doors)

    def run_cgi(self, *, wrapper=(), **settings):
        """One login by CGI."""
        env = {**HEADERS_OF_CGI, **cgi.settings(self.upstream.url, self.authority.file),
               **self.settings, **settings, **cgi.variables(length=len(LOGIN))}
        path, *arguments = [*wrapper, program.binary()]
        run = cgi.finish(cgi.start(env, *arguments, path=path), LOGIN)
        self.said.append(json.dumps(run.entries, ensure_ascii=False))
        return Seen(run.reply.status, run.reply.text(), run.entries[-1])

    def run_once(self, *arguments, text=b""):
        """A command, whose standard output is wanted."""
        env = {**cgi.settings(self.upstream.url, self.authority.file), **self.settings}
        done = subprocess.run([program.binary(), *arguments], env=program.make_env(env),
                              input=text, capture_output=True, check=False, timeout=30)
        self.said.append(done.stderr.decode())
        return done


def by_hand(body=LOGIN, **request):
    return fastcgi.Request(body, more=HEADERS_OF_CGI, **request)


HEADERS_OF_CGI = {"HTTP_" + name.upper().replace("-", "_"): value
                  for name, value in HEADERS.items()}


# How each row comes about: symbol -> functions of the stage, which give what was seen -------------

def asked(*arguments, **request):
    return lambda stage: stage.ask(*arguments, **request)


def asked_by_hand(*arguments, **request):
    return lambda stage: stage.ask_by_hand(*arguments, **request)


def answered(behaviour, route="/login"):
    def play(stage):
        stage.upstream.script(behaviour)
        return stage.ask(route)
    return play


def refused(code, status=400):
    """An OAuth error, with all that was said in its description."""
    body = json.dumps({"error": code, "error_description": ECHO, "error_uri": f"/?{ECHO}"})
    return upstream.status(status, body, JSON, ECHOING)


def said(status, headers=()):
    return upstream.status(status, json.dumps({"detail": ECHO}), JSON, [*ECHOING, *headers])


def met(*doors):
    def play(stage):
        stage.meet(*doors)
        return stage.ask()
    return play


def overloaded(stage):
    with stage.held(by_hand(), by_hand()):
        return stage.ask()


def shut(route):
    """All has failed, and the token server says that it will for long."""
    def play(stage):
        stage.upstream.script(*[said(500)] * FAULTS_MAX, said(503, [("Retry-After", "300")]))
        for _ in range(FAULTS_MAX):
            assert stage.ask_by_hand().status == 502
        stage.service.program.wait_for(lambda: stage.service.is_shut, 10, "the breaker to open")
        return stage.ask(route)
    return play


def unchecked(stage):
    question = fastcgi.Request(method="GET", target="/readyz", content_type=None, length=None)
    stage.service.reload()
    with stage.held(question):
        return stage.ask("/readyz", method="GET")


def client_gone(stage):
    """Its token comes afterwards, and is revoked."""
    request = by_hand()
    with stage.held(request) as (connection,):
        connection.close()
        entry = stage.entry(request.id)
    stage.service.program.wait_for_event("orphan_revoked", login=request.id)
    return Seen(entry["status"], "", entry)


def stopping(stage):
    """A program of its own, since it ends."""
    settings = {**stage.settings, "BAKRYPT_TIMEOUT_MS": 6000,
                "BAKRYPT_CONNECT_TIMEOUT_MS": 3000}
    with Service(stage.folder, stage.authority, settings=settings) as service:
        service.upstream.script(upstream.after(LATE_S, upstream.token(**NEW_TOKENS)))
        with service.connect() as connection:
            connection.send(by_hand().encode(keep=True))
            service.upstream.wait_for_requests(1)
            service.program.send_signal(signal.SIGTERM)
            request = by_hand()
            connection.send(request.encode(keep=True))
            assert connection.read_reply().status == 200
            reply = connection.read_reply()
        assert service.program.wait(10) == 0
        stage.said += service.program.lines
        return Seen(reply.status, reply.text(), service.program.log_for(request.id))


def bad_settings(stage):
    return stage.run_cgi(BAKRYPT_TOKEN_URL=f"https://user:{MARK}@localhost/",
                         BAKRYPT_CLIENT_ID=f"id-{MARK}\n", BAKRYPT_PROXY=MARK)


def no_memory(stage):
    """The kernel refuses what the loop needs."""
    return stage.run_cgi(wrapper=("strace", "-qq", "-o", "/dev/null", "-e",
                                  "inject=epoll_create1:error=ENOMEM"))


def too_late(stage):
    seconds = stage.settings["BAKRYPT_TIMEOUT_MS"] / 1000 + 0.5
    return answered(upstream.after(seconds, upstream.hang_up))(stage)


def play_commands(stage):
    """{the arguments: what came of it}. The token server knows our client, or not."""
    played = {}
    for code, more in ("invalid_grant", [upstream.status(200, ECHO)]), ("invalid_client", []):
        for arguments in (("--check",), ("--check", "--json")):
            stage.upstream.script(refused(code), *more)
            played[(*arguments, code)] = stage.run_once(*arguments)
        stage.upstream.script(refused(code))
        played["token", code] = stage.run_once("token", "-u", USER, text=PASSWORD.encode())
    played["token", None] = stage.run_once("token", "-u", USER, text=PASSWORD.encode())
    return played


def form(*fields):
    return urllib.parse.urlencode(fields).encode()


ROWS = {
    "BODY_SYNTAX": [asked(body=LOGIN + b"x"), asked(body=LOGIN[:-1]), asked(body=PASSWORD.encode()),
                    asked("/refresh", LOGIN + TOKENS)],
    "BODY_CUT": [asked_by_hand(length=str(len(LOGIN) + 1)), asked_by_hand(length="9")],
    "FIELD_MISSING": [asked(body=json.dumps({"username": USER, "Password": PASSWORD}).encode()),
                      asked(body=form(("password", PASSWORD)), content_type=FORM)],
    "TOKEN_MISSING": [asked("/refresh", LOGIN), asked("/logout", LOGIN)],
    "FIELD_TEXT": [asked(body=form(("username", USER), ("password", PASSWORD + "\0")),
                         content_type=FORM),
                   asked(body=client.json_body(USER, PASSWORD * 400))],
    "FIELD_REPEATED": [asked(body=form(("username", USER), ("password", PASSWORD)) * 2,
                             content_type=FORM),
                       asked(body=LOGIN[:-1] + b"," + LOGIN[1:])],
    "CREDENTIALS_IN_URL": [asked(query=f"?{ECHO}"),
                           asked("/refresh", query=f"?refresh_token={REFRESH}"),
                           asked("/logout", query=f"?access_token={ACCESS}")],
    "BODY_TOO_LARGE": [asked_by_hand(LOGIN + b" " * BODY_MAX)],
    "CONTENT_TYPE": [asked(content_type="text/plain"), asked(content_type=f"text/{MARK}")],
    "METHOD": [asked(method="PUT"), asked(method="GET", query=f"?{MARK}")],
    "ORIGIN": [asked(route, headers={"Origin": origin}) for route, origin in (
        ("/login", f"https://{MARK}:{PASSWORD}@example.com"), ("/refresh", MARK),
        ("/logout", f"https://example.com/?{REFRESH}"))],
    "NOT_FOUND": [asked_by_hand(target=f"/{MARK}/{MARK}?{ECHO}")],
    "OVERLOADED": [overloaded],
    "NO_MEMORY": [no_memory],
    "STOPPING": [stopping],
    "LOGIN_REFUSED": [answered(refused("invalid_grant")), answered(refused("invalid_grant", 200))],
    "REFRESH_REFUSED": [answered(refused("invalid_grant"), "/refresh")],
    "CONFIG": [bad_settings],
    "CLIENT_REJECTED": [answered(refused("invalid_client", 401), route) for route in BODIES],
    "UPSTREAM_CONTRACT": [answered(refused("invalid_request")), answered(refused(MARK))],
    "UPSTREAM_WAF": [answered(upstream.status(status, f"<h1>{ECHO}</h1>", headers=ECHOING))
                     for status in (403, 503)],
    "UPSTREAM_DENIED": [answered(said(403))],
    "UPSTREAM_429": [answered(said(429, headers=[("Retry-After", MARK)]))],
    "UPSTREAM_BUSY": [answered(said(503, headers=[("Retry-After", "7")]))],
    "UPSTREAM_5XX": [answered(said(500), route) for route in BODIES],
    "UPSTREAM_UNREACHABLE": [met(upstream.reset_before_tls, upstream.reset_before_tls)],
    "UPSTREAM_TIMEOUT": [too_late],
    "UPSTREAM_LOST": [answered(upstream.hang_up, route) for route in BODIES],
    "UPSTREAM_TLS": [met(upstream.plain_http)],
    "UPSTREAM_REDIRECT": [answered(said(302))],
    "UPSTREAM_MALFORMED": [answered(said(200)), answered(upstream.status(200, ECHO)),
                           answered(upstream.token(token_type=MARK, **NEW_TOKENS)),
                           answered(upstream.token(expires_in=MARK, **NEW_TOKENS))],
    "UPSTREAM_DOWN": [shut(route) for route in BODIES],
    "UNCHECKED": [unchecked],
    "CLIENT_GONE": [client_gone],
}

SUCCESSES = {
    "/login": [answered(upstream.token(**NEW_TOKENS, headers=ECHOING, id_token=MARK)),
               asked(query=f"?next={MARK}"), asked(body=form(
                   ("username", USER), ("password", PASSWORD), ("client_secret", CLIENT_SECRET)),
                   content_type=FORM)],
    "/refresh": [answered(upstream.token(**NEW_TOKENS), "/refresh")],
    "/logout": [answered(upstream.status(200, ECHO), "/logout")],
    "/healthz": [asked("/healthz", method="GET")],
    "/readyz": [asked("/readyz", method="GET")],
}
