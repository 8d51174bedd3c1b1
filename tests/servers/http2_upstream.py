"""A token server that misbehaves on command, over TLS and HTTP/2.

    with Http2Upstream(certificate, key) as upstream:
        upstream.script(refuse(), token())
        ...
        assert upstream.logins() == {"ada": 1}

script() queues one behaviour per request, then `always` serves (a token, until it is replaced).
doors() queues one behaviour per connection, before its first request; then `every_door` serves.
A behaviour is a function of (wire, stream), a door a function of (wire): the lower half of this
file makes them. They return at once: a connection carries many streams. What is to wait is kept by
hold(), and goes on at release().

What the program sends is checked by the h2 library: a frame that the protocol forbids, or one over
the window, ends in `faults`.
"""
import collections
import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from h2 import config, connection, errors, events, exceptions, settings
from hyperframe import frame

from servers import upstream
from servers.upstream import GOSSIP_HEADERS, token_members

JSON = "application/json"
WINDOW_MAX = 2**31 - 1


@dataclass
class Stream:
    """One request as it came."""
    id: int
    connection: int  # counted from 1
    headers: list
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False
    is_over: bool = False  # answered, or reset
    is_refused: bool = False  # the program was told that nobody has looked at it

    @property
    def user(self):
        return parse_qs(self.body.decode())["username"][0]


class Wire(upstream.Wire):
    """One accepted connection, as the behaviours see it. All of it under its lock."""

    def __init__(self, plain, number, stopping):
        super().__init__(plain, number, stopping)
        self.lock = threading.RLock()
        self.streams = {}
        self.served = 0
        self.grant = None  # bytes of a body let in at a time; None: as many as come
        self.streams_max = None  # what is above is refused
        self.requests_max = None  # after so many it takes no more
        self.is_deaf = False  # takes no more requests, after a farewell
        self.is_begun = False
        self.h2 = connection.H2Connection(config.H2Configuration(
            client_side=False, validate_outbound_headers=False,
            normalize_outbound_headers=False))
        self._unsent = {}  # the rest of bodies, by stream

    def take_output(self):
        """What the library has to say, and of bodies what the windows let through."""
        for stream_id in list(self._unsent):
            self._send_some(stream_id)
        return self.h2.data_to_send()

    def flush(self):
        data = self.take_output()
        if data and self.is_open:
            self.send(data)

    def send_frames(self, *frames):
        """These very frames, after all that was said before."""
        self.flush()
        self.send(b"".join(each.serialize() for each in frames))

    def send_body(self, stream_id, data, *, ends=True):
        self._unsent[stream_id] = (data, ends)

    def _send_some(self, stream_id):
        data, ends = self._unsent.pop(stream_id)
        try:
            while True:
                room = min(self.h2.local_flow_control_window(stream_id),
                           self.h2.max_outbound_frame_size)
                if len(data) <= room:
                    self.h2.send_data(stream_id, data, end_stream=ends)
                    return
                if room == 0:
                    self._unsent[stream_id] = (data, ends)
                    return
                self.h2.send_data(stream_id, data[:room])
                data = data[room:]
        except exceptions.StreamClosedError:
            pass  # the program has had enough of it

    def open_streams(self):
        return sum(1 for stream in self.streams.values() if not stream.is_over)


class Http2Upstream(upstream.Scripted):
    """The server. certificate, key: PEM files. receive_buffer, segment: bytes, for one that makes
    the program's writes wait."""

    protocols = ("h2",)

    def __init__(self, certificate, key, *, receive_buffer=None, segment=None, port=0):
        self.use_certificate(certificate, key)
        self.faults = []  # the program's, against the protocol
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if segment:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
        listener.bind((upstream.HOST, port))
        listener.listen(1024)
        super().__init__(listener)

    def reset(self):
        super().reset()  # requests are streams, those that were refused included
        self.pings = 0  # answered by the program
        self.always = token()
        self.every_door = as_usual
        self._held = []

    def logins(self):
        """How often each user's login was looked at."""
        return collections.Counter(stream.user for stream in self.requests
                                   if stream.is_whole and not stream.is_refused)

    def hold(self, wire, stream):
        """A behaviour: keeps the request until release()."""
        self.note(lambda: self._held.append((wire, stream)))

    @property
    def held_count(self):
        return len(self._held)

    def release(self, behaviour, count=None):
        """Has those that are held, or as many of them, go on."""
        for wire, stream in self._held[:count]:
            with wire.lock, contextlib.suppress(OSError):
                behaviour(wire, stream)
                wire.flush()
        del self._held[:count]

    def on_each_wire(self, action):
        """On those that are open. What is to hold for the next as well is a door's matter."""
        for wire in list(self._wires):
            with wire.lock:
                if wire.is_begun and wire.is_open:
                    action(wire)
                    wire.flush()

    def make_wire(self, plain, number):
        return Wire(plain, number, self.stopping)

    def serve(self, wire):
        try:
            with wire.lock:
                wire.start_tls(self._context)
                wire.h2.initiate_connection()
                door = self._doors.popleft() if self._doors else self.every_door
                door(wire)
                wire.is_begun = True
                wire.flush()
            while wire.is_open:
                data = wire.read()
                if not data or self.stopping.is_set():
                    return
                with wire.lock:
                    self._take(wire, data)
        except exceptions.ProtocolError as error:
            self.note(lambda: self.faults.append(error))

    def _take(self, wire, data):
        for event in wire.h2.receive_data(data):
            if not wire.is_open:
                return
            self._take_event(wire, event)
        wire.flush()

    def _take_event(self, wire, event):
        if isinstance(event, events.PingAckReceived):
            self.note(lambda: setattr(self, "pings", self.pings + 1))
        if isinstance(event, events.DataReceived) and event.flow_controlled_length:
            wire.h2.increment_flow_control_window(event.flow_controlled_length)
        if isinstance(event, events.RequestReceived) and not wire.is_deaf:
            self._begin(wire, event)
        stream = wire.streams.get(getattr(event, "stream_id", None))
        if not stream:
            return
        if isinstance(event, events.DataReceived):
            stream.body += event.data
            self._let_in(wire, stream, event.flow_controlled_length)
        if isinstance(event, events.StreamEnded):
            self.note(lambda: setattr(stream, "is_whole", True))
            if not stream.is_over:
                stream.behaviour(wire, stream)
        if isinstance(event, events.StreamReset):
            stream.is_over = True

    def _begin(self, wire, event):
        stream = Stream(event.stream_id, wire.number, event.headers)
        is_above = wire.streams_max is not None and wire.open_streams() >= wire.streams_max
        wire.streams[stream.id] = stream
        wire.served += 1
        with self._changed:
            self.requests.append(stream)
            if is_above:
                stream.behaviour = refuse()
            else:
                stream.behaviour = self._replies.popleft() if self._replies else self.always
            self._changed.notify_all()
        if wire.grant:
            self._let_in(wire, stream, 0)
        if wire.served == wire.requests_max:
            farewell(wire, stream.id)
        if getattr(stream.behaviour, "is_early", False):
            early, stream.behaviour = stream.behaviour, silence
            early(wire, stream)

    @staticmethod
    def _let_in(wire, stream, length):
        more = wire.grant or length
        if more and not stream.is_whole:
            with contextlib.suppress(exceptions.StreamClosedError):
                wire.h2.increment_flow_control_window(more, stream.id)


# What a request is answered with. ----------------------------------------------------------------

def head(status_code, headers=()):
    lines = [(":status", str(status_code))] if status_code else []
    return lines + [(name.lower(), value) for name, value in [*GOSSIP_HEADERS, *headers]]


def answer(status_code, body=b"", content_type=JSON, headers=(), *, length=None, trailers=()):
    """A whole answer, with gossip in its head. length: what Content-Length says, if it lies."""
    body = body.encode() if isinstance(body, str) else body

    def behave(wire, stream):
        length_header = ("content-length", str(len(body) if length is None else length))
        lines = [("content-type", content_type), length_header, *headers]
        wire.h2.send_headers(stream.id, head(status_code, lines))
        wire.send_body(stream.id, body, ends=not trailers)
        if trailers:
            wire.flush()
            wire.h2.send_headers(stream.id, trailers, end_stream=True)
        stream.is_over = True
    return behave


def token(**options):
    return answer(200, json.dumps(token_members()), **options)


def part(count):
    """The head of a token and the first bytes of its body."""
    body = json.dumps(token_members()).encode()

    def behave(wire, stream):
        lines = [("content-type", JSON), ("content-length", str(len(body)))]
        wire.h2.send_headers(stream.id, head(200, lines))
        if count:
            wire.h2.send_data(stream.id, body[:count])
        wire.flush()
    return behave


def interim(status_code):
    def behave(wire, stream):
        wire.h2.send_headers(stream.id, [(":status", str(status_code)), ("link", "</a>")])
    return behave


def token_in_tiny_frames(wire, stream):
    """The head in as many frames as are usual at most, the body a byte at a time."""
    body = json.dumps(token_members()).encode()
    block = wire.h2.encoder.encode(head(200, [("content-type", JSON)]))
    size = len(block) // 7 + 1
    pieces = [block[at:at + size] for at in range(0, len(block), size)]
    frames = [frame.HeadersFrame(stream.id, data=pieces[0])]
    frames += [frame.ContinuationFrame(stream.id, data=piece) for piece in pieces[1:]]
    frames[-1].flags.add("END_HEADERS")
    for byte in body:
        frames.append(frame.DataFrame(stream.id, data=bytes([byte])))
    frames.append(frame.DataFrame(stream.id, flags=["END_STREAM"]))
    wire.send_frames(*frames)


def token_byte_by_byte(wire, stream):
    """Each byte of a token's frames in a TLS record of its own."""
    wire.flush()
    token()(wire, stream)
    for byte in wire.take_output():
        wire.send(bytes([byte]))


def headers_block(headers, *, flags=()):
    """A head that the library would not send, as frames of 16 KiB at most."""
    def behave(wire, stream):
        block = wire.h2.encoder.encode(headers)
        pieces = [block[at:at + 16384] for at in range(0, len(block), 16384)]
        frames = [frame.HeadersFrame(stream.id, data=pieces[0], flags=list(flags))]
        frames += [frame.ContinuationFrame(stream.id, data=piece) for piece in pieces[1:]]
        frames[-1].flags.add("END_HEADERS")
        wire.send_frames(*frames)
    return behave


def reset_stream(code):
    def behave(wire, stream):
        wire.flush()
        stream.is_over = True
        with contextlib.suppress(exceptions.StreamClosedError):
            wire.h2.reset_stream(stream.id, code)
    return behave


def refuse():
    """Says that nobody has looked at the request."""
    def behave(wire, stream):
        stream.is_refused = True
        reset_stream(errors.ErrorCodes.REFUSED_STREAM)(wire, stream)
    return early(behave)


def go_away(last_id=None, code=errors.ErrorCodes.NO_ERROR):
    """Takes no more requests, and none above last_id (None: this one's)."""
    def behave(wire, stream):
        last = stream.id if last_id is None else last_id
        farewell(wire, last, code)
    return behave


def farewell(wire, last_id, code=errors.ErrorCodes.NO_ERROR):
    """GOAWAY. The requests above are refused by it."""
    wire.is_deaf = True
    for stream in wire.streams.values():
        if stream.id > last_id and not stream.is_over:
            stream.is_over = stream.is_refused = True
    wire.send_frames(frame.GoAwayFrame(0, last_stream_id=last_id, error_code=int(code)))


def ping(wire, stream):
    wire.h2.ping(b"8 bytes!")


class Unknown:
    """A frame of a type that nobody knows (RFC 9113 section 5.5)."""

    def __init__(self, stream_id, content=b"abc"):
        self._head = len(content).to_bytes(3, "big") + b"\xfa\xff" + stream_id.to_bytes(4, "big")
        self._content = content

    def serialize(self):
        return self._head + self._content


def unknown_frame(wire, stream):
    wire.send_frames(Unknown(stream.id))


def flood(data, first=b""):
    """The same bytes again and again, after the first, until the program has had enough."""
    many = data * (65536 // len(data) + 1)

    def behave(wire, stream):
        wire.flush()
        wire.send(first)
        while not wire.stopping.is_set():
            wire.send(many)
    return behave


def drip(first, again, pause_s=0.05):
    """Frames of which the last comes again and again, slowly. Others are answered meanwhile."""
    def behave(wire, stream):
        def go_on():
            with contextlib.suppress(OSError):
                while wire.is_open and not wire.stopping.wait(pause_s):
                    with wire.lock:
                        wire.send(again)
        wire.flush()
        wire.send(first)
        threading.Thread(target=go_on, daemon=True).start()
    return behave


def garbage(wire, stream):
    wire.flush()
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" * 3)


def frame_on_idle_stream(wire, stream):
    wire.send_frames(frame.DataFrame(stream.id + 1000, data=b"?"))


def silence(wire, stream):
    pass


def hang_up(wire, stream):
    wire.flush()
    wire.close()


def reset_connection(wire, stream):
    wire.flush()
    wire.reset()


def in_turn(*steps):
    """Several behaviours for one request, one after the other."""
    def behave(wire, stream):
        for step in steps:
            if wire.is_open:
                step(wire, stream)
    behave.is_early = any(getattr(step, "is_early", False) for step in steps)
    return behave


def early(behaviour):
    """Before the body was read."""
    def behave(wire, stream):
        behaviour(wire, stream)
    behave.is_early = True
    return behave


# What a new connection meets. --------------------------------------------------------------------

def as_usual(wire):
    pass


def with_streams_max(count, told=None):
    """Lets so many streams be open, says so, and refuses more. told: says another number."""
    def door(wire):
        wire.streams_max = count
        wire.h2.update_settings({
            settings.SettingCodes.MAX_CONCURRENT_STREAMS: count if told is None else told})
    return door


def with_requests_max(count):
    """As nginx with its keepalive_requests: the last is answered after a farewell."""
    def door(wire):
        wire.requests_max = count
    return door


def with_window(size, grant=None):
    """Takes so many bytes of a body, and grants as many at a time as they come."""
    def door(wire):
        wire.grant = grant
        wire.h2.update_settings({settings.SettingCodes.INITIAL_WINDOW_SIZE: size})
    return door


def with_huge_windows(wire):
    wire.h2.update_settings({settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_MAX,
                             settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1000})
    wire.h2.increment_flow_control_window(WINDOW_MAX - 65535)


def garbage_at_once(wire):
    garbage(wire, None)


def hang_up_at_once(wire):
    wire.close()
