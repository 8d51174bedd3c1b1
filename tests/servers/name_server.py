"""A DNS server on a loopback address of its own, port 53: only root can start one.

    with NameServer({"tokens.example.test": ["127.0.0.1", "::1"]}) as server:
        ... "nameserver {server.address}" in a resolv.conf ...
        assert "tokens.example.test" in server.asked
"""
import ipaddress
import socket
import struct
import threading

ADDRESS = "127.53.53.53"
TYPES = {4: 1, 6: 28}  # A and AAAA by the IP version
NO_ERROR, NO_SUCH_NAME = 0x8180, 0x8183


class NameServer:
    """Answers with the addresses of the names it knows, and "no such name" for others."""

    address = ADDRESS

    def __init__(self, names):
        self._names = {name: [ipaddress.ip_address(text) for text in texts]
                       for name, texts in names.items()}
        self.asked = []
        self.is_mute = False  # takes questions, and answers none
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ADDRESS, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *unused):
        # Closing alone would not wake the thread.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (ADDRESS, 53))
        self._thread.join(5)
        self._socket.close()

    def _serve(self):
        while True:
            query, client = self._socket.recvfrom(4096)
            if not query:
                return
            answer = self._answer(query)
            if not self.is_mute:
                self._socket.sendto(answer, client)

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        name = ".".join(labels)
        kind, = struct.unpack_from(">H", query, at + 1)
        self.asked.append(name)
        found = [each.packed for each in self._names.get(name, ())
                 if TYPES[each.version] == kind]
        flags = NO_ERROR if name in self._names else NO_SUCH_NAME
        head = query[:2] + struct.pack(">5H", flags, 1, len(found), 0, 0)
        answers = (struct.pack(">HHHIH", 0xc00c, kind, 1, 60, len(packed)) + packed
                   for packed in found)
        return head + query[12:at + 5] + b"".join(answers)
