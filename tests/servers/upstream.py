"""A token server that misbehaves on command, over TLS and HTTP/1.1.

    with Upstream(certificate, key) as upstream:
        upstream.script(status(429, headers=[("Retry-After", "7")]), token())
        ...
        assert upstream.requests[0].form["username"] == ["ada"]

script() queues one behaviour per request, then `always` serves (a token, until it is replaced).
doors() queues one behaviour per connection, for what goes wrong before the first request.
A behaviour is a function of (wire, request), a door a function of (wire): the lower half of this
file makes them. Nothing here sleeps without end: stop() lets go of whatever hangs.
"""
import contextlib
import json
import socket
import ssl
import struct
import threading
import time
import warnings
from collections import deque
from dataclasses import dataclass
from urllib.parse import parse_qs

HOST = "127.0.0.1"
PATH = "/auth/token/"
REVOKE_PATH = "/auth/revoke_token/"

# What leaks nowhere: every answer made here says these words, in head and body.
GOSSIP = "gossip-of-the-token-server"
GOSSIP_HEADERS = [("Server", f"{GOSSIP}/1.0"), ("Set-Cookie", f"sessionid={GOSSIP}"),
                  ("WWW-Authenticate", f'Basic realm="{GOSSIP}"'), ("X-Gossip", GOSSIP)]

ACCESS_TOKEN = "acc3ss-t0ken-30-characters-abc"
REFRESH_TOKEN = "r3fresh-t0ken-30-characters-ab"


@dataclass
class Received:
    """One request as it came."""
    method: str
    path: str
    headers: list  # (lower-case name, value)
    body: bytes
    connection: int  # counted from 1
    at: float  # time.monotonic() when it was whole

    def header(self, name):
        values = [value for known, value in self.headers if known == name.lower()]
        return values[0] if values else None

    @property
    def form(self):
        return parse_qs(self.body.decode(), keep_blank_values=True, strict_parsing=True)


class Wire:
    """One accepted connection, as the behaviours see it."""

    def __init__(self, plain, number, stopping):
        self.number = number
        self.stopping = stopping  # an event
        self._plain = plain
        self._stream = plain
        self._kept = b""
        self.is_open = True

    def start_tls(self, context):
        self._stream = context.wrap_socket(self._plain, server_side=True)

    def send(self, data):
        self._stream.sendall(data)

    def read(self):
        return self._stream.recv(65536)

    def read_request(self):
        """The next request, or None when the peer hung up."""
        while b"\r\n\r\n" not in self._kept:
            if not self._fill():
                return None
        head, _, rest = self._kept.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = [(name.lower(), value.strip())
                   for name, _, value in (line.partition(":") for line in lines[1:])]
        length = int(dict(headers).get("content-length", "0"))
        self._kept = rest
        while len(self._kept) < length:
            if not self._fill():
                return None
        body, self._kept = self._kept[:length], self._kept[length:]
        method, path, _ = lines[0].split(" ", 2)
        return Received(method, path, headers, body, self.number, time.monotonic())

    def close(self, *, politely=True):
        """Hangs up; politely: with TLS's own farewell, so that it does not look cut off."""
        self.is_open = False
        if politely and isinstance(self._stream, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self._stream.settimeout(0.2)
                self._stream.unwrap()
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def reset(self):
        self.is_open = False
        with contextlib.suppress(OSError):
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.close()

    def wait(self, seconds=None):
        """Lets time pass, for ever or for seconds, or until the server stops."""
        self.stopping.wait(seconds)

    def cut_off(self):
        """Wakes a thread that is stuck in a read or write. Below TLS: SSLSocket.shutdown() would
        have the thread read on without decryption."""
        for each in (self._plain, self._stream):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def _fill(self):
        data = self.read()
        self._kept += data
        return bool(data)


class Scripted:
    """What scripted servers share: a listener, and a thread for each connection. Subclasses define
    make_wire(plain, number) and serve(wire), which closes it."""

    protocols = ("http/1.1",)  # by ALPN

    def __init__(self, listener):
        self._listener = listener
        self.port = self._listener.getsockname()[1]
        self.url = f"https://{HOST}:{self.port}{PATH}"
        self._changed = threading.Condition()
        self.stopping = threading.Event()
        self._threads = []
        self._wires = []
        self.reset()
        self._start(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def reset(self):
        """Forgets what was received and scripted. Connections stay."""
        self.requests = []
        self.connections = 0  # accepted since
        self._replies = deque()
        self._doors = deque()

    def script(self, *behaviours):
        self._replies.extend(behaviours)

    def doors(self, *doors):
        self._doors.extend(doors)

    @property
    def open_connections(self):
        return len(self._wires)

    def wait_for(self, condition, seconds=10.0):
        """Waits until condition(self) holds; looked at whenever something arrives."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), seconds), "it never came"

    def note(self, change):
        """Changes something that others wait for."""
        with self._changed:
            change()
            self._changed.notify_all()

    def use_certificate(self, certificate, key):
        """For connections that begin from now on."""
        self._context = server_context(certificate, key, protocols=self.protocols)

    def hang_up_idle(self):
        """Closes every open connection from this side."""
        for wire in list(self._wires):
            wire.cut_off()

    def stop_listening(self):
        """Further connections are refused; those that are open stay."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def stop(self):
        self.stopping.set()
        self.stop_listening()
        for wire in list(self._wires):
            wire.cut_off()
        for thread in self._threads:
            thread.join(5)

    def make_wire(self, plain, number):
        """Under the lock of wait_for()."""
        raise NotImplementedError

    def serve(self, wire):
        """In a thread of its own."""
        raise NotImplementedError

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        number = 0
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                wire = self.make_wire(plain, number)
                self.connections += 1
                self._wires.append(wire)
                self._changed.notify_all()
            self._start(self._run, wire)

    def _run(self, wire):
        try:
            self.serve(wire)
        except (OSError, ValueError):
            pass
        finally:
            if wire.is_open:
                wire.close(politely=False)
            self.note(lambda: self._wires.remove(wire))


class Upstream(Scripted):
    """The server. certificate, key: PEM files. context: replaces both, for other TLS versions."""

    def __init__(self, certificate=None, key=None, *, context=None, port=0):
        self._context = context or server_context(certificate, key)
        super().__init__(socket.create_server((HOST, port), backlog=1024))

    def reset(self):
        super().reset()
        self.handshakes_failed = []  # the exceptions
        self.always = token()

    def wait_for_requests(self, count, seconds=10.0):
        self.wait_for(lambda upstream: len(upstream.requests) >= count, seconds)
        return self.requests

    def make_wire(self, plain, number):
        wire = Wire(plain, number, self.stopping)
        wire.door = self._doors.popleft() if self._doors else as_usual
        return wire

    def serve(self, wire):
        try:
            wire.door(wire)
            if wire.is_open:
                wire.start_tls(self._context)
                while wire.is_open and self._serve_one(wire):
                    pass
        except ssl.SSLError as error:
            self.note(lambda: self.handshakes_failed.append(error))

    def _serve_one(self, wire):
        request = wire.read_request()
        if not request or self.stopping.is_set():  # who is in a handshake cannot be cut off
            return False
        with self._changed:
            self.requests.append(request)
            behaviour = self._replies.popleft() if self._replies else self.always
            self._changed.notify_all()
        behaviour(wire, request)
        return True


def server_context(certificate, key, *, newest=None, ciphers=None, protocols=("http/1.1",)):
    """A TLS context. newest: the newest version spoken, also one that OpenSSL frowns upon.
    protocols: by ALPN; none: the server does not know ALPN."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if protocols:
        context.set_alpn_protocols(protocols)
    if newest:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = newest
    if ciphers:
        context.set_ciphers(ciphers)
    context.load_cert_chain(certificate, key)
    return context


class ClosedPort:
    """A port that nobody listens on and nobody else can get: connections are refused."""

    def __init__(self):
        self._socket = socket.socket()
        self._socket.bind((HOST, 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"https://{HOST}:{self.port}{PATH}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()


class BlackHole:
    """A port whose backlog is full: connecting to it neither succeeds nor fails."""

    def __init__(self):
        self._listener = socket.socket()
        self._listener.bind((HOST, 0))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self.url = f"https://{HOST}:{self.port}{PATH}"
        self._fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((HOST, self.port))
            self._fillers.append(filler)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in [*self._fillers, self._listener]:
            each.close()


# What a request is answered with. ----------------------------------------------------------------

def head(status_code, headers):
    lines = [f"HTTP/1.1 {status_code} {GOSSIP}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answer(status_code, body=b"", content_type="application/json", headers=(), *, length=True):
    """A whole answer, with gossip in its head. length: whether Content-Length is sent."""
    body = body.encode() if isinstance(body, str) else body
    lines = [("Content-Type", content_type)] if content_type else []
    lines += [*GOSSIP_HEADERS, *headers]
    if length:
        lines.append(("Content-Length", str(len(body))))
    return head(status_code, lines) + body


def send(data):
    """Exactly these bytes, whatever they are; the connection stays open."""
    return lambda wire, request: wire.send(data)


def status(status_code, body=f"<h1>{GOSSIP}</h1>", content_type="text/html", headers=()):
    return send(answer(status_code, body, content_type, headers))


def error(code, status_code=400, headers=()):
    """An OAuth error as the token server words it."""
    body = json.dumps({"error": code, "error_description": f"{GOSSIP} <b>&"})
    return status(status_code, body, "application/json", headers)


def token_members(**changes):
    members = {"access_token": ACCESS_TOKEN, "expires_in": 36000, "token_type": "Bearer",
               "scope": "read write", "refresh_token": REFRESH_TOKEN}
    members.update(changes)
    return {name: value for name, value in members.items() if value is not None}


def token(status_code=200, content_type="application/json", headers=(), **changes):
    """A token; a change to None drops the member."""
    return status(status_code, json.dumps(token_members(**changes)), content_type, headers)


def in_turn(*steps):
    """Several behaviours for one request, one after the other."""
    def behave(wire, request):
        for step in steps:
            if wire.is_open:
                step(wire, request)
    return behave


def after(seconds, behaviour):
    return in_turn(lambda wire, request: wire.wait(seconds), behaviour)


class Held:
    """Holds its answers back until release()."""

    def __init__(self, behaviour=None):
        self._behaviour = behaviour or token()
        self._open = threading.Event()

    def __call__(self, wire, request):
        while not self._open.wait(0.05):
            if wire.stopping.is_set():
                return
        self._behaviour(wire, request)

    def release(self):
        self._open.set()


def silence(wire, request):
    wire.wait()


def hang_up(wire, request):
    wire.close()


def break_off(wire, request):
    """The end of the connection without TLS's farewell."""
    wire.close(politely=False)


def reset(wire, request):
    wire.reset()


def endless(first, again):
    """Sends `first`, then `again` until the peer has had enough."""
    def behave(wire, request):
        wire.send(first)
        while not wire.stopping.is_set():
            wire.send(again)
    return behave


def slowly(data, pause_s):
    """A byte at a time."""
    def behave(wire, request):
        for byte in data:
            wire.send(bytes([byte]))
            wire.wait(pause_s)
    return behave


# What a new connection meets. --------------------------------------------------------------------

def as_usual(wire):
    pass


def reset_before_tls(wire):
    """Reads the first bytes of the handshake, so that the connection was surely made."""
    wire.read()
    wire.reset()


def hang_up_before_tls(wire):
    wire.read()
    wire.close()


def silence_before_tls(wire):
    wire.wait()
    wire.close()


def plain_http(wire):
    """An HTTP server where TLS was expected."""
    wire.read()
    wire.send(answer(400, "not TLS", "text/plain"))
    wire.close()
