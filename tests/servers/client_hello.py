"""What a TLS client offers: the first message that it sends (RFC 8446, section 4.1.2).

    with Listener() as listener:
        ... let a client connect to listener.url ...
    listener.hello.suites, listener.hello.signature_algorithms
"""
import dataclasses
import socket
import threading

SIGNATURE_ALGORITHMS = 13
PADDING = 21
KEY_SHARE = 51

RECORD_HEAD_BYTES = 5
RANDOM_BYTES = 32


class _Reader:
    """Takes fields off the front of a message."""

    def __init__(self, message):
        self.rest = message

    def take(self, size):
        taken, self.rest = self.rest[:size], self.rest[size:]
        assert len(taken) == size, "the message is cut off"
        return taken

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def vector(self, size):
        """Bytes behind their own length, which takes size bytes."""
        return self.take(self.number(size))


def numbers(data):
    """The two-byte numbers that it consists of."""
    return [int.from_bytes(data[at:at + 2], "big") for at in range(0, len(data), 2)]


@dataclasses.dataclass(frozen=True)
class Hello:
    """suites: numbers, in the client's order; extensions: {type: bytes}, without padding, and of the
    key shares the group alone. Two are equal whatever their random bytes and keys."""
    suites: list
    extensions: dict
    random: bytes = dataclasses.field(compare=False)
    key: bytes = dataclasses.field(compare=False)

    @property
    def signature_algorithms(self):
        return numbers(_Reader(self.extensions[SIGNATURE_ALGORITHMS]).vector(2))


def read(record):
    """The Hello of a TLS record that holds one."""
    message = _Reader(record[RECORD_HEAD_BYTES:])
    assert message.number(1) == 1, "no ClientHello"
    message.take(3 + 2)  # length and version
    random = message.take(RANDOM_BYTES)
    message.vector(1)  # the session's number
    suites = numbers(message.vector(2))
    message.vector(1)  # compression
    fields = _Reader(message.vector(2))
    extensions = {}
    while fields.rest:
        kind = fields.number(2)
        extensions[kind] = fields.vector(2)
    share = _Reader(_Reader(extensions[KEY_SHARE]).vector(2))
    extensions[KEY_SHARE] = share.take(2)
    extensions.pop(PADDING, None)
    return Hello(suites, extensions, random, share.vector(2))


class Listener:
    """Takes one connection, reads the first message, and hangs up."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}/"
        self.hello = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self):
        connection, _ = self._socket.accept()
        with connection:
            record = b""
            while len(record) < RECORD_HEAD_BYTES or \
                    len(record) < RECORD_HEAD_BYTES + int.from_bytes(record[3:5], "big"):
                more = connection.recv(4096)
                assert more, "the client hung up"
                record += more
            self.hello = read(record)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join(5)
        self._socket.close()
