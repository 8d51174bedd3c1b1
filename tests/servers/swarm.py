"""Many peers at once, which send what they like and read along, for tests of what that does to
others.

    with Swarm(program.target, 1000) as swarm:
        swarm.trickle(good_login().encode())
        assert swarm.answers() == {(200,): 1000}
"""
import collections
import contextlib
import re
import select
import struct
import time

from servers import fastcgi

HTTP_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
CGI_STATUS = re.compile(rb"^Status: (\d{3})", re.MULTILINE)
HEADER = struct.Struct(">BBHHBB")


class Peer:
    """One connection. reads: or its replies stay where they are."""

    def __init__(self, address, reads):
        self.connection = fastcgi.Connection(address)
        self.socket = self.connection.socket
        self.socket.setblocking(False)
        self.received = bytearray()
        self.reads = reads
        self.is_over = False

    def send(self, data):
        """What the kernel takes at once. The rest."""
        try:
            return data[self.socket.send(data):]
        except BlockingIOError:
            return data
        except OSError:
            self.read()
            self.is_over = True
            return b""

    def read(self):
        """What is there."""
        with contextlib.suppress(BlockingIOError):
            try:
                while data := self.socket.recv(65536):
                    self.received += data
            except ConnectionResetError:
                pass
            self.is_over = True

    @property
    def statuses(self):
        """Of its replies, in their order."""
        if self.received.startswith(b"HTTP/"):
            return tuple(int(status) for status in HTTP_STATUS.findall(self.received))
        return tuple(_fastcgi_statuses(self.received))


class Swarm:
    """address: a socket's path, or (host, port), of a FastCGI program or an HTTP server."""

    def __init__(self, address, count, *, reads=True):
        self.peers = []
        try:
            for _ in range(count):
                self.peers.append(Peer(address, reads))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for peer in self.peers:
            peer.connection.close()

    def send(self, data, timeout=20):
        """The same from each. Ends when all is sent, or taken no more."""
        rest = {peer.socket.fileno(): (peer, left) for peer in self.peers
                if not peer.is_over and (left := peer.send(memoryview(data)))}
        deadline = time.monotonic() + timeout
        while rest and time.monotonic() < deadline:
            for fd, events in self._poll([peer for peer, _ in rest.values()], select.POLLOUT):
                peer, left = rest.pop(fd)
                if events & ~select.POLLOUT and peer.reads:
                    peer.read()
                if not peer.is_over and (left := peer.send(left)):
                    rest[fd] = (peer, left)

    def trickle(self, data, piece=1):
        """A piece from each, then the next piece from each."""
        for at in range(0, len(data), piece):
            self.send(data[at:at + piece])

    def answers(self, timeout=20):
        """Reads until the server has closed all; how often which statuses came on a connection."""
        deadline = time.monotonic() + timeout
        while open_ones := [peer for peer in self.peers if not peer.is_over]:
            assert time.monotonic() < deadline, f"{len(open_ones)} are still open"
            for fd, _ in self._poll(open_ones, 0):
                next(peer for peer in open_ones if peer.socket.fileno() == fd).read()
        return collections.Counter(peer.statuses for peer in self.peers)

    @staticmethod
    def _poll(peers, events):
        poller = select.poll()
        for peer in peers:
            poller.register(peer.socket, events | (select.POLLIN if peer.reads else 0))
        return poller.poll(1000)


def _fastcgi_statuses(data):
    """Of each reply that has come to its end. Where nothing is said it is 200."""
    at, head = 0, b""
    while at + HEADER.size <= len(data):
        _, kind, _, length, padding, _ = HEADER.unpack_from(data, at)
        at += HEADER.size
        if kind == fastcgi.STDOUT:
            head += data[at:at + length]
        elif kind == fastcgi.END_REQUEST:
            found = CGI_STATUS.search(head.partition(b"\r\n\r\n")[0])
            yield int(found[1]) if found else 200
            head = b""
        at += length + padding
