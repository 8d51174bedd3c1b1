"""The token server of the benchmark: faster than all that is measured before it.

token_server/ is a program for this alone, over TLS, by HTTP/1.1 or HTTP/2, each at once and after a
delay. It reads every login whole, answers 400 to one that is none, and counts its connections.
Whatever is to be revoked is. Its workers have a queue each for those who connect (SO_REUSEPORT): of
one queue, the first to wake takes nearly all, and one worker alone cannot serve a hundred
connections as fast.
"""
import itertools
import json
import pathlib
import resource
import struct

from servers import ports, upstream
from servers.process import Process, ServerError

from bench import prepare

BACKLOG = 8192
CLIENTS_MAX = 10000
WORKERS = 2
DELAYS_S = (0, 0.3, 3)
USER_PREFIX = "user-"  # of every user name that the load sends
COUNTS = struct.Struct("=QQ48x")  # of a worker: connections accepted, and open


def nginx_options(clients, workers=1):
    """For every nginx of the benchmark: it logs no accesses, and there is room for so many clients
    with a connection each to what is behind it, and as many more that are being closed. Clients
    that come late are not starved by those who are at it."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return {"is_quiet": True, "accepts_all": True, "connections": min(files, 3 * clients + 512),
            "keep": 20, "main": "", "workers": workers}


class TokenServer(Process):
    """url(is_http2, delay_s) is the token endpoint. build: where prepare has built it."""

    def __init__(self, folder, authority, *, build=None, workers=WORKERS):
        leaf = authority.leaf()
        self._ports = {kind: ports.free_port()
                       for kind in itertools.product((False, True), DELAYS_S)}
        self._counts = pathlib.Path(folder) / f"token-server-{ports.free_port()}.counts"
        endpoints = [f"{'h2' if is_http2 else 'h1'}:{port}:{round(delay_s * 1000)}"
                     for (is_http2, delay_s), port in self._ports.items()]
        super().__init__([(build or prepare.folder()) / "token-server", leaf.certificate, leaf.key,
                          self._counts, USER_PREFIX, json.dumps(upstream.token_members()),
                          str(workers), *endpoints], keep=20)

    def start(self, timeout=10):
        """Starts it and waits until it takes connections."""
        super().start()
        try:
            self.wait_for_line("listening", timeout)
        except ServerError:
            self.stop()
            raise
        return self

    def port(self, is_http2, delay_s):
        return self._ports[is_http2, delay_s]

    def url(self, is_http2, delay_s):
        return f"https://localhost:{self.port(is_http2, delay_s)}/auth/token/"

    def connections(self):
        """How many it accepted so far."""
        return sum(accepted for accepted, _ in self._look())

    def open_connections(self):
        """How many are open now."""
        return sum(count for _, count in self._look())

    def _look(self):
        return COUNTS.iter_unpack(self._counts.read_bytes())
