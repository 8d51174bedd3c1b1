"""The program between a hand-made web server in front and a scripted token server behind.

    with Service(folder, authority) as service:
        service.upstream.script(upstream.error("invalid_grant"))
        reply = service.post(fastcgi.login_json(USER, PASSWORD))
        service.check_fault(reply, "LOGIN_REFUSED")

Tests log in with the names and passwords below, or with texts that hold one of MARKS: check_log()
then sees whether any of it reached a log line.
"""
import re
import signal

from servers import fastcgi, source, upstream
from servers.process import wait_until
from servers.program import CLIENT_SECRET, Program

USER = "ulrike.markus@example.test"
PASSWORD = "Kennwort & 100% = +geheim+ \u00fc\u20ac\U0001f511"
MARKS = ("ulrike", "kennwort", CLIENT_SECRET, upstream.ACCESS_TOKEN, upstream.REFRESH_TOKEN,
         upstream.GOSSIP)

FIXED_HEADERS = {"content-type": "application/json", "cache-control": "no-store", "vary": "Origin",
                 "pragma": "no-cache", "x-content-type-options": "nosniff"}
ALLOW = "POST, OPTIONS"
ACCEPT = "application/json, application/x-www-form-urlencoded"
CHALLENGE = 'Bearer realm="bakrypt"'

# Short enough for tests to wait for, long enough for a busy machine.
CONNECT_TIMEOUT_MS = 700
TIMEOUT_MS = 1500


class Service:
    """A program and its upstream, started and stopped together.

    settings: more settings of the program. token_url: instead of an upstream of its own.
    server: a started upstream, which is then not stopped. wrapper: a command that runs the
    program in its own place, e.g. ("prlimit", "--nofile=100"). options: as Program takes them.
    """

    def __init__(self, folder, authority, *, settings=None, token_url=None, server=None,
                 wrapper=(), **options):
        self.folder = folder
        self.authority = authority
        self._own_upstream = None
        if not server and not token_url:
            leaf = authority.leaf()
            server = self._own_upstream = upstream.Upstream(leaf.certificate, leaf.key)
        self.upstream = server
        self.program = Program(
            folder, token_url=token_url or server.url, ca_file=authority.file,
            settings={"BAKRYPT_CONNECT_TIMEOUT_MS": CONNECT_TIMEOUT_MS,
                      "BAKRYPT_TIMEOUT_MS": TIMEOUT_MS, "BAKRYPT_LOG_LEVEL": "debug",
                      **(settings or {})}, **options)
        self.program.argv[:0] = wrapper
        self._lines_checked = 0

    def __enter__(self):
        try:
            self.program.start()
        except BaseException:
            self._stop_upstream()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.program.stop()
        finally:
            self._stop_upstream()
        self.check_log()

    def _stop_upstream(self):
        if self._own_upstream:
            self._own_upstream.stop()

    @property
    def address(self):
        return self.program.target

    def connect(self, **options):
        return fastcgi.Connection(self.address, **options)

    def send(self, request, **options):
        """One request on a connection of its own."""
        return fastcgi.exchange(self.address, request, **options)

    def post(self, body=None, content_type=fastcgi.JSON, **request):
        """One POST to /login; a good one if no body is given."""
        return self.send(good_login(body=body, content_type=content_type, **request))

    def reload(self):
        """New settings, which are the old ones: nothing is known of upstream any more."""
        count = len(self.program.find_events("reload"))
        self.program.send_signal(signal.SIGHUP)
        self.program.wait_for_event("reload", count=count + 1)

    @property
    def is_shut(self):
        """Whether the last that was heard of the breaker is that it opened."""
        turns = [entry["event"] for entry in self.program.events
                 if entry["event"] in ("breaker_open", "breaker_closed", "reload")]
        return turns[-1:] == ["breaker_open"]

    def start_over(self):
        """For the next test on the same program: what upstream got and was to answer is forgotten,
        and the last that the program has heard of it is good."""
        if self.is_shut:
            self.reload()
        self.upstream.reset()
        reply = self.post()
        if reply.status == 503:  # the line that tells of it comes after the reply
            wait_until(lambda: self.is_shut, 5, "the program says that it sends nothing more")
            self.reload()
            reply = self.post()
        self.check_token(reply)
        self.upstream.reset()

    def log_of(self, reply):
        """The log line of a request, by its reply."""
        return self.program.log_for(reply.header("x-request-id"))

    # What holds for every reply

    def check_token(self, reply, **changes):
        """The reply is a token with exactly these members, and it is logged as such."""
        assert reply.status == 200, reply
        assert reply.json == upstream.token_members(**changes)
        check_headers(reply, {})
        entry = self.log_of(reply)
        assert (entry["event"], entry["level"], entry["status"]) == ("login_ok", "info", 200)
        return entry

    def check_fault(self, reply, symbol, *, retry_after=None, event=None, level=None):
        """The reply is that of a row of fault.h, and so is its one log line, which is returned.
        The keywords stand for what the row does not fix."""
        fault = source.faults()[symbol]
        assert reply.status == fault.status, reply
        assert reply.json == {"error": fault.code, "error_description": fault.description,
                              "request_id": reply.header("x-request-id")}
        more = {"allow": ALLOW if fault.status == 405 else None,
                "accept": ACCEPT if fault.status == 415 else None,
                "www-authenticate": CHALLENGE if fault.status == 401 else None,
                "retry-after": str(retry_after or fault.retry_after or "") or None}
        check_headers(reply, more)
        entry = self.log_of(reply)
        assert entry["event"] == (event or fault.event), entry
        assert entry["level"] == (level or fault.level), entry
        assert entry["status"] == fault.status, entry
        return entry

    # What holds for every log

    def check_log(self):
        """Since the last check: nothing secret in any line, each request at most once, and
        nothing but JSON objects."""
        lines = self.program.lines
        new, self._lines_checked = lines[self._lines_checked:], len(lines)
        for line in new:
            for mark in MARKS:
                assert mark.lower() not in line.lower(), f"{mark!r} was logged: {line}"
        ids = [entry["request_id"] for entry in self.program.events if "request_id" in entry]
        assert len(ids) == len(set(ids)), "a request was logged twice"
        assert not self.program.sanitizer_reports, self.program.sanitizer_reports
        assert not self.program.stray_lines, self.program.stray_lines

    def check_alive(self):
        assert self.program.is_running, f"it ended: {self.program.returncode}"


def good_login(body=None, content_type=fastcgi.JSON, **request):
    if body is None:
        body = fastcgi.login_json(USER, PASSWORD)
    body = body if isinstance(body, bytes) else body.encode()
    return fastcgi.Request(body, content_type=content_type, **request)


def check_headers(reply, more):
    """The fixed headers, an acceptable id, those given (None: absent), and no other."""
    wanted = {**FIXED_HEADERS, **{name: value for name, value in more.items() if value}}
    for name, value in wanted.items():
        assert reply.header(name) == value, (name, reply)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", reply.header("x-request-id"))
    names = {name for name, _ in reply.headers}
    assert names - {"status", "content-length", "x-request-id"} == set(wanted)
    if reply.header("content-length") is not None:
        assert int(reply.header("content-length")) == len(reply.body)
    assert upstream.GOSSIP not in reply.text()
