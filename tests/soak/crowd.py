"""Thousands of clients, each with a kept connection and one login at a time, each login by another
user: so that it can be told of every single one what became of it.

    with Crowd(port, clients=2000, rate=200) as crowd:
        ... what goes wrong meanwhile ...
    crowd.logins, crowd.stray_answers
"""
import asyncio
import collections
import dataclasses
import itertools
import random
import threading

from servers import client
from servers.process import wait_until

PASSWORD = "kennwort-der-menge"
HOST = "127.0.0.1"

_crowds = itertools.count(1)


@dataclasses.dataclass
class Login:
    """One login. Its user is the request's id as well, for all logs."""
    user: str
    status: int = None  # None: no answer came
    is_hung: bool = False  # the connection stayed open all the while
    body: bytes = b""


class Wire(asyncio.Protocol):
    """One connection. expect() before a request; what comes when nothing is expected is stray."""

    def __init__(self, crowd):
        self._crowd = crowd
        self._kept = b""
        self._answer = None
        self.transport = None
        self.is_open = True

    def connection_made(self, transport):
        self.transport = transport

    def expect(self):
        self._answer = asyncio.get_running_loop().create_future()
        return self._answer

    def data_received(self, data):
        if not self._answer or self._answer.done():
            self._crowd.stray_answers += 1
            return
        self._kept += data
        head, end, rest = self._kept.partition(b"\r\n\r\n")
        if not end:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        read = _read_body(fields, rest)
        if not read:
            return
        body, self._kept = read
        if self._kept:
            self._crowd.stray_answers += 1
            self._kept = b""
        self.is_open = fields.get(b"connection") != b"close"
        self._answer.set_result((int(head.split()[1]), body))

    def connection_lost(self, error):
        self.is_open = False
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed without an answer"))


def _read_body(fields, rest):
    """The body, and what comes behind it; None: it is not all there."""
    if b"content-length" in fields:
        length = int(fields[b"content-length"])
        return (rest[:length], rest[length:]) if len(rest) >= length else None
    body = b""
    while True:
        size, end, rest = rest.partition(b"\r\n")
        length = int(size, 16) if end else 0
        if not end or len(rest) < length + 2:
            return None
        if length == 0:
            return body, rest[2:]
        body, rest = body + rest[:length], rest[length + 2:]


class Crowd:
    """clients; rate: logins a second of all together, as far as they are answered; patience:
    seconds, after which a login is hung. The clients live in a thread of their own."""

    def __init__(self, port, *, clients, rate, patience=30):
        self._port, self._clients, self._patience = port, clients, patience
        self._pause_s = clients / rate
        self._name = f"crowd{next(_crowds)}"
        self._random = random.Random(self._name)
        self._over = threading.Event()
        self.logins = []
        self.stray_answers = 0
        self.failures = []  # of the crowd itself
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        """Ends when each client has its answer."""
        self._over.set()
        self._thread.join(self._patience + 20)
        assert not self._thread.is_alive() and not self.failures, self.failures

    @property
    def answered(self):
        return collections.Counter(login.status for login in self.logins
                                   if login.status is not None)

    def wait_for_more(self, count, timeout=30):
        """Waits until so many more were sent."""
        goal = len(self.logins) + count
        wait_until(lambda: len(self.logins) >= goal, timeout, f"{count} more logins")

    def _run(self):
        try:
            asyncio.run(self._gather())
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append(error)

    async def _gather(self):
        await asyncio.gather(*(self._live(number) for number in range(self._clients)))

    async def _live(self, number):
        loop = asyncio.get_running_loop()
        wire = None
        await asyncio.sleep(self._random.uniform(0, self._pause_s))
        for turn in itertools.count():
            if self._over.is_set():
                break
            if not wire or not wire.is_open:
                _, wire = await loop.create_connection(lambda: Wire(self), HOST, self._port)
            login = Login(f"{self._name}-{number}-{turn}")
            self.logins.append(login)
            await self._log_in(wire, login)
            await self._rest()
        if wire:
            wire.transport.abort()

    async def _log_in(self, wire, login):
        answer = wire.expect()
        wire.transport.write(_request(login.user))
        try:
            login.status, login.body = await asyncio.wait_for(answer, self._patience)
        except asyncio.TimeoutError:
            login.is_hung = True
            wire.is_open = False
            wire.transport.abort()
        except ConnectionError:
            pass

    async def _rest(self):
        """In short steps, so that the end need not wait for it."""
        left = self._random.uniform(0.5, 1.5) * self._pause_s
        while left > 0 and not self._over.is_set():
            await asyncio.sleep(min(left, 0.5))
            left -= 0.5


def _request(user):
    body = client.json_body(user, PASSWORD)
    return (f"POST /login HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {user}\r\n"
            f"Content-Type: {client.JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
            ).encode("ascii") + body
