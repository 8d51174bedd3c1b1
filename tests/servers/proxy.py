"""An HTTP proxy that does CONNECT and nothing else.

    with Proxy() as proxy:
        ... settings={"BAKRYPT_PROXY": proxy.url} ...
        assert proxy.targets == ["127.0.0.1:8443"]
"""
import contextlib
import socket
import threading

HOST = "127.0.0.1"


class Proxy:
    """targets: what clients asked to be connected to, in this order.

    routes: where the targets are really, {"bakrypt.io:443": ("127.0.0.1", 8443)}; no other is then
    connected to. None: every target is where it says.
    """

    def __init__(self, routes=None):
        self.targets = []
        self._routes = routes
        self._listener = socket.create_server((HOST, 0))
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        self._sockets = []
        self._muted = []
        self._threads = []

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)

    def mute(self):
        """From now on the connections made so far say nothing, and do not end."""
        self._muted = list(self._sockets)

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._start(self._serve, client)

    def _serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(4096)
            if not data:
                return
            head += data
        method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ")
        if method != "CONNECT":
            client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        self.targets.append(target)
        host, _, port = target.rpartition(":")
        if self._routes is not None and target not in self._routes:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        place = self._routes[target] if self._routes is not None else (host, int(port))
        server = socket.create_connection(place)
        self._sockets.append(server)
        client.sendall(b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n")
        self._start(self._copy, server, client)
        self._copy(client, server)

    def _copy(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source not in self._muted:
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)
