"""Connections to the token server that end while logins are under way."""
import collections
import socket
import threading

from servers import fastcgi, nginx, ports, source
from servers.program import Program
from servers.service import good_login

TOKEN = ('{"access_token":"t","token_type":"Bearer","expires_in":1,"scope":"s",'
         '"refresh_token":"r"}')
THREADS = 40
LOGINS = 75  # of each
LOGINS_MAX = source.ceiling("CONNECTION_LOGINS_MAX")
LOGINS_END = source.ceiling("CONNECTION_LOGINS_END")


class FastFront(nginx.Nginx):
    """TLS with HTTP/2 as nginx has it by default, before a token that costs nothing."""

    def __init__(self, folder, authority, *, answer=f"return 200 '{TOKEN}';"):
        self.port, back_port = ports.free_port(), ports.free_port()
        leaf = authority.leaf()
        super().__init__(
            folder, "fast-front",
            "\tlog_format connection '$connection';\n"
            f"\tserver {{\n\t\tlisten 127.0.0.1:{self.port} ssl http2;\n"
            "\t\taccess_log access.log connection;\n"
            f"\t\tssl_certificate {leaf.certificate};\n\t\tssl_certificate_key {leaf.key};\n"
            f"\t\tlocation / {{ proxy_pass http://127.0.0.1:{back_port}; }}\n\t}}\n"
            f"\tserver {{\n\t\tlisten 127.0.0.1:{back_port};\n\t\taccess_log off;\n"
            f"\t\tlocation / {{ default_type application/json; {answer} }}\n\t}}\n",
            [("127.0.0.1", self.port), ("127.0.0.1", back_port)])


    def served(self):
        """How many logins each connection had, after stop()."""
        return collections.Counter((self.folder / "access.log").read_text().split())


class Silence:
    """A port where connections are made, and nothing is ever said."""

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self._listener.getsockname()[1]
        return self

    def __exit__(self, *_):
        self._listener.close()


def log_in_often(program, statuses, logins=LOGINS):
    with fastcgi.Connection(program.target) as connection:
        for _ in range(logins):
            connection.send(good_login(fastcgi.login_json("ulrike", "kennwort")).encode(keep=True))
            statuses[connection.read_reply().status] += 1


def log_in_from_all_sides(program, threads, logins):
    """How often each status came."""
    statuses = collections.Counter()
    threads = [threading.Thread(target=log_in_often, args=(program, statuses, logins))
               for _ in range(threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def test_no_login_is_lost_when_http2_connections_have_served_their_number(
        folder, authority, has_nginx):
    """nginx ends each after 1000 requests; what is sent just then would get no answer."""
    with FastFront(folder, authority) as front, Program(
            folder, token_url=f"https://localhost:{front.port}/auth/token/",
            ca_file=authority.file, settings={"BAKRYPT_LOG_LEVEL": "info"}) as program:
        statuses = log_in_from_all_sides(program, THREADS, LOGINS)
        front.stop()
        served = front.served()
    assert statuses == {200: THREADS * LOGINS}
    assert sum(served.values()) == THREADS * LOGINS
    assert max(served.values()) < 1000
    # One new connection each time, and not one for each login under way.
    assert len(served) <= THREADS * LOGINS / LOGINS_MAX + 3


def test_connections_that_have_served_their_number_are_not_used_again(
        folder, authority, has_nginx):
    """With few logins at a time there are few connections, so that the old ones stay open."""
    threads, logins = 2, 4200
    with FastFront(folder, authority) as front, Program(
            folder, token_url=f"https://localhost:{front.port}/auth/token/",
            ca_file=authority.file, settings={"BAKRYPT_LOG_LEVEL": "info"}) as program:
        statuses = log_in_from_all_sides(program, threads, logins)
        front.stop()
        served = front.served()
    assert statuses == {200: threads * logins}
    assert max(served.values()) <= LOGINS_END + threads
    # One new connection each time, and not one for each login under way.
    assert len(served) <= threads * logins / LOGINS_MAX + 1


def test_logins_without_an_answer_count_as_well(folder, authority, has_nginx):
    """Otherwise a slow spell would carry a connection over its number."""
    with Silence() as silent, FastFront(
            folder, authority, answer=f"proxy_pass http://127.0.0.1:{silent.port};") as front, \
            Program(folder, token_url=f"https://localhost:{front.port}/auth/token/",
                    ca_file=authority.file,
                    settings={"BAKRYPT_LOG_LEVEL": "info", "BAKRYPT_CONNECT_TIMEOUT_MS": 50,
                              "BAKRYPT_TIMEOUT_MS": 50}) as program:
        log_in_from_all_sides(program, THREADS, 30)
        front.stop()
        served = front.served()
    assert sum(served.values()) > LOGINS_MAX
    assert max(served.values()) <= LOGINS_END + THREADS
