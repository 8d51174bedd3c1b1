"""Connections to the token server: how many there are, and that none takes a login along when it
ends."""
import collections
import json
import math
import threading

import pytest

from servers import fastcgi, http2_upstream, nginx, ports, source
from servers.program import Program
from servers.proxy import Proxy
from servers.service import Service, good_login
from servers.upstream import token_members

THREADS = 40
LOGINS = 75  # of each
TOKEN = f"default_type application/json; return 200 '{json.dumps(token_members())}';"
STREAMS_MAX = source.ceiling("STREAMS_PER_CONNECTION")


class FastFront(nginx.Nginx):
    """TLS with HTTP/2 before a token that costs nothing. reads: whether it reads a login before it
    answers. more: text for the server block."""

    def __init__(self, folder, authority, *, reads=True, more=""):
        self.port, back_port = ports.free_port(), ports.free_port()
        leaf = authority.leaf()
        answer = f"proxy_pass http://127.0.0.1:{back_port};" if reads else TOKEN
        super().__init__(
            folder, "fast-front",
            "\tlog_format connection '$connection';\n"
            f"\tserver {{\n\t\tlisten 127.0.0.1:{self.port} ssl http2;\n\t\t{more}\n"
            "\t\taccess_log access.log connection;\n"
            f"\t\tssl_certificate {leaf.certificate};\n\t\tssl_certificate_key {leaf.key};\n"
            f"\t\tlocation / {{ {answer} }}\n\t}}\n"
            f"\tserver {{\n\t\tlisten 127.0.0.1:{back_port};\n\t\taccess_log off;\n"
            f"\t\tlocation / {{ {TOKEN} }}\n\t}}\n",
            [("127.0.0.1", self.port), ("127.0.0.1", back_port)])

    def served(self):
        """How many logins each connection had, after stop()."""
        return collections.Counter((self.folder / "access.log").read_text().split())


def run(folder, authority, port, **settings):
    return Program(folder, token_url=f"https://localhost:{port}/auth/token/",
                   ca_file=authority.file, settings={"BAKRYPT_LOG_LEVEL": "info", **settings})


def log_in_often(program, statuses, logins):
    with fastcgi.Connection(program.target) as connection:
        for _ in range(logins):
            connection.send(good_login().encode(keep=True))
            statuses[connection.read_reply().status] += 1


def log_in_from_all_sides(program, logins=LOGINS):
    """How often each status came."""
    statuses = collections.Counter()
    threads = [threading.Thread(target=log_in_often, args=(program, statuses, logins))
               for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


# Connections that end -----------------------------------------------------------------------------

@pytest.mark.parametrize("reads", [True, False], ids=["read first", "answered unread"])
@pytest.mark.parametrize("requests", [1000, 20])
def test_no_login_is_lost_when_nginx_ends_connections(folder, authority, has_nginx, requests, reads):
    """nginx ends each after 1000 requests, if nothing else is set, whatever is under way. Each login
    goes by a connection that there is already, or by the one that takes an ended one's place."""
    with FastFront(folder, authority, reads=reads, more=f"keepalive_requests {requests};") \
            as front, run(folder, authority, front.port) as program:
        statuses = log_in_from_all_sides(program)
        front.stop()
        served = front.served()
    assert statuses == {200: THREADS * LOGINS}
    assert sum(served.values()) == THREADS * LOGINS  # no login was seen twice
    assert max(served.values()) <= requests
    assert len(served) <= math.ceil(THREADS * LOGINS / requests) + 2


@pytest.mark.parametrize("requests", [5, 7])
def test_no_login_is_lost_when_connections_end_all_the_time(folder, authority, requests):
    """So that a login is refused by several, one after the other."""
    leaf = authority.leaf()
    with http2_upstream.Http2Upstream(leaf.certificate, leaf.key) as server:
        server.every_door = http2_upstream.with_requests_max(requests)
        with Service(folder, authority, server=server,
                     settings={"BAKRYPT_LOG_LEVEL": "info"}) as service:
            assert log_in_from_all_sides(service.program, 10) == {200: THREADS * 10}
        assert sum(server.logins().values()) == THREADS * 10
        assert not server.faults


# How many there are -------------------------------------------------------------------------------

@pytest.mark.parametrize("logins", [STREAMS_MAX, STREAMS_MAX + 1, 350])
def test_cold_burst_opens_as_many_connections_as_it_needs(folder, authority, logins):
    """With all logins held by the server, and once more when the connections are there."""
    leaf = authority.leaf()
    with http2_upstream.Http2Upstream(leaf.certificate, leaf.key) as server, \
            Service(folder, authority, server=server,
                    settings={"BAKRYPT_TIMEOUT_MS": 30000}) as service:
        for _ in range(2):
            server.requests.clear()
            server.always = server.hold
            clients = [service.connect() for _ in range(logins)]
            for number, client in enumerate(clients):
                body = fastcgi.login_json(f"ulrike-{number}", "kennwort")
                client.send(good_login(body).encode())
            server.wait_for(lambda _, count=logins: server.held_count == count, 30)
            server.release(http2_upstream.token())
            assert {client.read_reply().status for client in clients} == {200}
            for client in clients:
                client.close()
            assert set(server.logins().values()) == {1}
            assert server.connections == math.ceil(logins / STREAMS_MAX)
        assert not server.faults


# Connections that fall silent ---------------------------------------------------------------------

def test_connection_that_fell_silent_is_not_used_again(folder, authority):
    """What is in between forwards nothing any more, and tells nobody. One login waits in vain."""
    leaf = authority.leaf()
    with http2_upstream.Http2Upstream(leaf.certificate, leaf.key) as server, Proxy() as proxy, \
            Service(folder, authority, server=server,
                    settings={"BAKRYPT_PROXY": proxy.url}) as service:
        service.check_token(service.post())
        proxy.mute()
        service.check_fault(service.post(), "UPSTREAM_TIMEOUT")
        assert server.connections == 1
        service.check_token(service.post())
        assert server.connections == 2
        assert len(server.requests) == 2
