"""A FastCGI client that speaks the protocol by hand, for what no web server would send.

The upper half of this file makes bytes and sends nothing: record(), pairs(), begin() and whole
requests by Request. The lower half is a connection that sends them, in whatever pieces, and reads
replies record by record. Reference: the FastCGI specification 1.0, sections 3.3, 3.4 and 5.
"""
import contextlib
import json
import socket
import struct
import uuid
from dataclasses import dataclass, field

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR, DATA = range(1, 9)
GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 9, 10, 11
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
KEEP_CONN = 1
REQUEST_COMPLETE, CANT_MPX_CONN, PROTOCOL_OVERLOADED, UNKNOWN_ROLE = range(4)

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
PATIENCE_S = 15.0


def record(kind, content=b"", request_id=1, *, padding=0, version=1, length=None):
    """One record. length overrides what the header says about the content."""
    said = len(content) if length is None else length
    head = struct.pack(">BBHHBB", version, kind, request_id, said, padding, 0)
    return head + content + b"\xaa" * padding


def stream(kind, content, request_id=1, *, piece=65535, padding=0, end=True):
    """A stream cut into records of at most `piece` bytes, closed by an empty one."""
    records = [record(kind, content[i:i + piece], request_id, padding=padding)
               for i in range(0, len(content), piece)]
    if end:
        records.append(record(kind, b"", request_id, padding=padding))
    return b"".join(records)


def length_bytes(count, *, wide=False):
    return struct.pack(">I", count | 0x80000000) if wide or count > 127 else bytes([count])


def pair(name, value, *, wide=False):
    name, value = _as_bytes(name), _as_bytes(value)
    return length_bytes(len(name), wide=wide) + length_bytes(len(value), wide=wide) + name + value


def pairs(items):
    """Name-value pairs of a dict, or of a list where a name may come twice."""
    items = items.items() if isinstance(items, dict) else items
    return b"".join(pair(name, value) for name, value in items)


def begin(request_id=1, *, role=RESPONDER, keep=False, padding=0, version=1):
    body = struct.pack(">HB5x", role, KEEP_CONN if keep else 0)
    return record(BEGIN_REQUEST, body, request_id, padding=padding, version=version)


def abort(request_id=1):
    return record(ABORT_REQUEST, b"", request_id)


def login_json(username, password, **more):
    return json.dumps({"username": username, "password": password, **more}).encode()


@dataclass
class Request:
    """What a web server would pass on. Every part may be replaced by something it never would."""
    body: bytes = b""
    method: str = "POST"
    target: str = "/login"
    content_type: object = JSON
    length: object = "true"  # CONTENT_LENGTH: "true" is the body's, None leaves it out
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    more: dict = field(default_factory=dict)  # further parameters; None as value drops one

    def params(self):
        query = self.target.partition("?")[2]
        params = {"REQUEST_METHOD": self.method, "REQUEST_URI": self.target,
                  "SCRIPT_NAME": self.target.partition("?")[0], "QUERY_STRING": query,
                  "SERVER_PROTOCOL": "HTTP/1.1", "GATEWAY_INTERFACE": "CGI/1.1",
                  "REMOTE_ADDR": "192.0.2.7", "HTTP_HOST": "login.test",
                  "HTTP_X_REQUEST_ID": self.id, "CONTENT_TYPE": self.content_type,
                  "CONTENT_LENGTH": str(len(self.body)) if self.length == "true" else self.length}
        params.update(self.more)
        return {name: value for name, value in params.items() if value is not None}

    def encode(self, request_id=1, *, keep=False, piece=65535, params_piece=65535, padding=0):
        """The whole request as bytes."""
        return (begin(request_id, keep=keep, padding=padding)
                + stream(PARAMS, pairs(self.params()), request_id, piece=params_piece,
                         padding=padding)
                + stream(STDIN, self.body, request_id, piece=piece, padding=padding))


@dataclass
class Reply:
    """One answer: a CGI head and body, and how the FastCGI request ended."""
    status: int
    headers: list  # (lower-case name, value), in the order sent
    body: bytes
    app_status: int = 0
    protocol_status: int = REQUEST_COMPLETE
    stderr: bytes = b""

    def header(self, name):
        """The value of a header sent exactly once; None if it was not sent."""
        values = [value for known, value in self.headers if known == name.lower()]
        assert len(values) <= 1, f"{name} sent {len(values)} times"
        return values[0] if values else None

    @property
    def json(self):
        return json.loads(self.body)

    def text(self):
        """All that was sent, for looking whether something is in it."""
        return "\n".join(f"{name}: {value}" for name, value in self.headers) + "\n" \
            + self.body.decode("latin-1")


class HungUp(Exception):
    """The program closed the connection where a reply was read."""


class Connection:
    """One connection to the program. address: a socket's path, or (host, port)."""

    def __init__(self, address, *, source=None, patience=PATIENCE_S, send_buffer=None):
        self.socket = _open(address, source, patience, send_buffer)
        self._kept = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def try_send(self, data):
        """Sends what the program takes before it hangs up. False if it did."""
        try:
            self.send(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def refuse_to_read(self):
        """Over a Unix socket, what the program writes from now on fails at once."""
        self.socket.shutdown(socket.SHUT_RD)

    def close(self):
        self.socket.close()

    def reset(self):
        """Closes so that a TCP peer sees RST."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def read_record(self):
        """(type, request id, content) of the next record. Raises HungUp at the end."""
        _, kind, request_id, length, padding, _ = struct.unpack(">BBHHBB", self._read(8))
        return kind, request_id, self._read(length + padding)[:length]

    def read_reply(self, request_id=1):
        """Reads records until END_REQUEST, and the head and body out of them."""
        out = {STDOUT: bytearray(), STDERR: bytearray()}
        while True:
            kind, its_id, content = self.read_record()
            assert its_id == request_id, f"a record of request {its_id}, not {request_id}"
            if kind == END_REQUEST:
                app_status, protocol_status = struct.unpack(">IB3x", content)
                return _parse(bytes(out[STDOUT]), app_status, protocol_status, bytes(out[STDERR]))
            out[kind] += content

    def is_closed(self):
        """Reads until the program hangs up, and tells whether it did before patience ended."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True

    def _read(self, count):
        while len(self._kept) < count:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                raise HungUp(f"after {len(self._kept)} of {count} bytes")
            self._kept += data
        data, self._kept = self._kept[:count], self._kept[count:]
        return data


def exchange(address, request, **options):
    """One request on a connection of its own, and its reply."""
    with Connection(address) as connection:
        connection.send(request.encode(**options))
        return connection.read_reply()


def _as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def _open(address, source, patience, send_buffer):
    if isinstance(address, tuple):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    else:
        family, address = socket.AF_UNIX, str(address)
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.settimeout(patience)
    if send_buffer:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    try:
        if source:
            opened.bind((source, 0))
        opened.connect(address)
    except OSError:
        opened.close()
        raise
    return opened


def _parse(data, app_status, protocol_status, stderr):
    head, separator, body = data.partition(b"\r\n\r\n")
    if not data:
        return Reply(0, [], b"", app_status, protocol_status, stderr)
    assert separator, f"no end of the head in {data!r}"
    headers = []
    for line in head.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        assert colon and "\n" not in line, f"not a header line: {line!r}"
        headers.append((name.lower(), value.strip()))
    status = next((value for name, value in headers if name == "status"), "200")
    return Reply(int(status.split()[0]), headers, body, app_status, protocol_status, stderr)
