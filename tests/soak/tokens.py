"""A token server that goes through everything: it is killed and comes back at the same address,
misbehaves, and shows other certificates. It speaks HTTP/2, or HTTP/1.1 alone.

    with Tokens(authority, "HTTP/2") as tokens:
        tokens.behave("reset")
        ...
        tokens.behave("token")
        tokens.calls()
"""
import collections
import contextlib
import threading
from urllib.parse import parse_qs

from h2 import exceptions

from servers import http2_upstream as http2
from servers import upstream as http1

def _later(seconds, behaviour):
    """By HTTP/2 a behaviour must not wait: another thread does."""
    def go_on(wire, stream):
        with wire.lock, contextlib.suppress(OSError, exceptions.ProtocolError):
            behaviour(wire, stream)
            wire.flush()

    def behave(wire, stream):
        timer = threading.Timer(seconds, go_on, (wire, stream))
        timer.daemon = True
        timer.start()
    return behave


def http1_behaviours(timeout_s):
    """Each sort of answer for one login."""
    half = http1.answer(200, b"{" + b" " * 99)[:-50]
    return {
        "token": http1.token(),
        "silence": http1.silence,
        "slow": http1.after(0.1 * timeout_s, http1.token()),
        "late": http1.after(0.8 * timeout_s, http1.token()),
        "too late": http1.after(1.2 * timeout_s, http1.token()),
        "reset": http1.reset,
        "part": http1.in_turn(http1.send(half), http1.reset),
        "garbage": http1.in_turn(http1.send(b"\x16\x03\x01 what is this\r\n" * 9), http1.hang_up),
        "fault": http1.status(500),
    }


def http2_behaviours(timeout_s):
    """The same, and what HTTP/2 has besides."""
    return {
        "token": http2.token(),
        "silence": http2.silence,
        "slow": _later(0.1 * timeout_s, http2.token()),
        "late": _later(0.8 * timeout_s, http2.token()),
        "too late": _later(1.2 * timeout_s, http2.token()),
        "reset": http2.reset_connection,
        "part": http2.in_turn(http2.part(20), http2.reset_connection),
        "garbage": http2.garbage,
        "fault": http2.answer(500, "<h1>", "text/html"),
        "refuse": http2.refuse(),
        "farewell": http2.in_turn(http2.go_away(), http2.token()),
    }


BEHAVIOURS = {"HTTP/1.1": http1_behaviours, "HTTP/2": http2_behaviours}
GARBLED, PROBE = "garbled", "probe"
SERVERS = {"HTTP/1.1": http1.Upstream, "HTTP/2": http2.Http2Upstream}


class Tokens:
    """The server. host: its name in the certificate and the URL. timeout_s: when the program gives
    up."""

    def __init__(self, authority, version, timeout_s, host="localhost"):
        self.version = version
        self._authority = authority
        self._behaviours = BEHAVIOURS[version](timeout_s)
        self._leaf = authority.leaf(f"soak-{host}", (host, "127.0.0.1"))
        self._behaviour = self._behaviours["token"]
        self._calls = collections.Counter()
        self._port = 0
        self._server = None
        self.start()
        self.url = f"https://{host}:{self._port}/auth/token/"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        """At the address that it had."""
        self._server = SERVERS[self.version](self._leaf.certificate, self._leaf.key,
                                             port=self._port)
        self._port = self._server.port
        self._server.always = self._behaviour

    def kill(self):
        """Nobody listens any more, and all connections end at once."""
        if not self._server:
            return
        self._server.stop()
        self._calls = self.calls()
        self._server = None

    def behave(self, name):
        """How logins are answered from now on."""
        self._behaviour = self._server.always = self._behaviours[name]

    def knows(self, name):
        """Whether there is such a behaviour in this version."""
        return name in self._behaviours

    def hang_up(self):
        """Ends all connections from this side."""
        self._server.hang_up_idle()

    def show(self, leaf=None):
        """Another certificate, for all connections from now on; None: its own."""
        leaf = leaf or self._leaf
        self._server.use_certificate(leaf.certificate, leaf.key)
        self.hang_up()

    @property
    def stranger(self):
        """A certificate that nobody has signed."""
        return self._authority.self_signed()

    def calls(self):
        """How often each user's login was looked at, and GARBLED ones. To be asked when nothing is under way."""
        found = collections.Counter(self._calls)
        for each in self._server.requests if self._server else ():
            if self.version == "HTTP/1.1" or (each.is_whole and not each.is_refused):
                found[_user(each)] += 1
        return found


def _user(request):
    """Whose login it is; PROBE: nobody's, but the program's own question; GARBLED: neither."""
    try:
        form = parse_qs(request.body.decode("ascii"), strict_parsing=True)
        return PROBE if "refresh_token" in form else form["username"][0]
    except (ValueError, KeyError):
        return GARBLED
