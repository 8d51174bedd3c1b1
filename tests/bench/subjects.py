"""What is measured: something that takes logins on a port, and its processes.

All ask the same token server.
"""
import dataclasses
import pathlib

from servers import certificates
from servers.opened import Opened

from bench import tree, upstream

ONE_WORKER_MAX = 5000  # clients


@dataclasses.dataclass(frozen=True)
class Place:
    """What every subject needs: a temporary folder, the folder of what was built, and upstream."""
    folder: pathlib.Path
    build: pathlib.Path
    authority: certificates.Authority
    upstream: upstream.TokenServer


class Subject(Opened):
    """label and title: how it is called in a table, and in a picture, where there is less room.
    delay_s and is_http2 choose among the token server's endpoints. clients: how many there must
    be room for. warm_times: how many times as long as others it is warmed up. open() sets `port`,
    `program`, and `front` if there is a web server before it.
    """

    name = None
    label = None
    title = None
    is_http2 = True
    warm_times = 1

    def __init__(self, place, *, delay_s=0, is_http2=None, clients=1024):
        super().__init__()
        self.place = place
        self.delay_s = delay_s
        self.clients = clients
        self.is_http2 = self.is_http2 if is_http2 is None else is_http2
        self.port = None
        self.program = None
        self.front = None

    @property
    def token_url(self):
        return self.place.upstream.url(self.is_http2, self.delay_s)

    def nginx_options(self):
        """With a second worker where one may not open enough files."""
        return upstream.nginx_options(self.clients, 2 if self.clients > ONE_WORKER_MAX else 1)

    def cpu_seconds(self):
        """Of the program and the web server before it, so far."""
        return sum(tree.cpu_seconds(server.pid) for server in (self.program, self.front) if server)
