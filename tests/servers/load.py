"""Many clients that log in again and again, and a token server that keeps up with them.

    with TokenServer(folder, authority, rate=400) as tokens:
        with Load(origin, clients=48) as load:
            ... restart whatever is in between ...
        assert load.answered == {200: load.sent}
"""
import asyncio
import collections
import json
import threading
import urllib.parse

from servers import client, ports, upstream
from servers.nginx import Nginx
from servers.process import wait_until


class TokenServer(Nginx):
    """nginx that answers every login with the token of upstream.token_members(), rate times a
    second: logins beyond that wait, so that there are always some under way."""

    def __init__(self, folder, authority, *, rate, host="localhost"):
        self.port = ports.free_port()
        inner = ports.free_port()
        self.token_url = f"https://{host}:{self.port}/auth/token/"
        leaf = authority.leaf(f"tokens-{host}", (host,))  # localhost's own is for addresses, too
        answer = json.dumps(upstream.token_members())
        # Two servers, as behind every real one: the first reads the whole login before it asks the
        # second. A mere "return" would reset streams whose login it has not read.
        super().__init__(
            folder, "token-server",
            f"\taccess_log off;\n\tlimit_req_zone $server_name zone=pace:1m rate={rate}r/s;\n"
            f"\tupstream tokens {{\n\t\tserver 127.0.0.1:{inner};\n\t\tkeepalive 32;\n\t}}\n"
            f"\tserver {{\n\t\tlisten 127.0.0.1:{self.port} ssl http2;\n"
            f"\t\tssl_certificate {leaf.certificate};\n\t\tssl_certificate_key {leaf.key};\n"
            "\t\tlimit_req zone=pace burst=4000;\n\t\tlimit_req_log_level info;\n"
            "\t\tlocation / {\n\t\t\tproxy_pass http://tokens;\n"
            "\t\t\tproxy_http_version 1.1;\n\t\t\tproxy_set_header Connection \"\";\n\t\t}\n\t}\n"
            f"\tserver {{\n\t\tlisten 127.0.0.1:{inner};\n\t\tkeepalive_requests 1000000;\n"
            "\t\tlocation / {\n\t\t\tdefault_type application/json;\n"
            f"\t\t\treturn 200 '{answer}';\n\t\t}}\n\t}}\n",
            [("127.0.0.1", self.port), ("127.0.0.1", inner)], keep=20, connections=8192)


class Load:
    """Clients with a kept HTTP/1.1 connection each, in a thread of their own. A client sends its
    next login as soon as the last is answered, until the end of the "with"."""

    def __init__(self, origin, *, clients, patience=30):
        address = urllib.parse.urlsplit(origin)
        self._host, self._port = address.hostname, address.port
        self._clients = clients
        self._patience = patience
        body = client.json_body("ada", "secret-of-ada")
        self._request = (f"POST /login HTTP/1.1\r\nHost: {address.netloc}\r\n"
                         f"Content-Type: {client.JSON}\r\nContent-Length: {len(body)}\r\n"
                         "\r\n").encode("ascii") + body
        self._is_over = False
        self.sent = 0
        self.lost = []  # what became of those without an answer
        self.answered = collections.Counter()  # by status
        self.slowest_s = 0.0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over = True
        self._thread.join(self._patience + 5)

    @property
    def count(self):
        return sum(self.answered.values())

    def wait_for_more(self, count, timeout=20):
        """Waits until so many more were answered."""
        goal = self.count + count
        wait_until(lambda: self.count >= goal, timeout, f"{count} more answers")

    async def _run(self):
        await asyncio.gather(*(self._log_in() for _ in range(self._clients)))

    async def _log_in(self):
        wire = None
        loop = asyncio.get_running_loop()
        while not self._is_over:
            wire = wire or await asyncio.open_connection(self._host, self._port)
            self.sent += 1
            began = loop.time()
            try:
                status, is_kept = await asyncio.wait_for(self._exchange(*wire), self._patience)
                self.answered[status] += 1
            except (OSError, EOFError, asyncio.TimeoutError) as error:
                self.lost.append(error)
                is_kept = False
            self.slowest_s = max(self.slowest_s, loop.time() - began)
            if not is_kept:
                wire[1].close()
                wire = None
        if wire:
            wire[1].close()

    async def _exchange(self, reader, writer):
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        if b"content-length" in fields:
            await reader.readexactly(int(fields[b"content-length"]))
        else:
            while (size := int((await reader.readuntil(b"\r\n")), 16)) > 0:
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        return int(head.split()[1]), fields.get(b"connection") != b"close"
