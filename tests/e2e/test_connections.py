"""Connections to the token server that end while logins are under way."""
import collections
import threading

from servers import fastcgi, nginx, ports, source
from servers.program import Program
from servers.service import good_login

TOKEN = ('{"access_token":"t","token_type":"Bearer","expires_in":1,"scope":"s",'
         '"refresh_token":"r"}')
THREADS = 40
LOGINS = 75  # of each


class FastFront(nginx.Nginx):
    """TLS with HTTP/2 as nginx has it by default, before a token that costs nothing."""

    def __init__(self, folder, authority):
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
            f"\t\tlocation / {{ default_type application/json; return 200 '{TOKEN}'; }}\n\t}}\n",
            [("127.0.0.1", self.port), ("127.0.0.1", back_port)])


def log_in_often(program, statuses):
    with fastcgi.Connection(program.target) as connection:
        for _ in range(LOGINS):
            connection.send(good_login(fastcgi.login_json("ulrike", "kennwort")).encode(keep=True))
            statuses[connection.read_reply().status] += 1


def test_no_login_is_lost_when_http2_connections_have_served_their_number(
        folder, authority, has_nginx):
    """nginx ends each after 1000 requests; what is sent just then would get no answer."""
    statuses = collections.Counter()
    with FastFront(folder, authority) as front, Program(
            folder, token_url=f"https://localhost:{front.port}/auth/token/",
            ca_file=authority.file, settings={"BAKRYPT_LOG_LEVEL": "info"}) as program:
        threads = [threading.Thread(target=log_in_often, args=(program, statuses))
                   for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        front.stop()
        served = collections.Counter((front.folder / "access.log").read_text().split())
    assert statuses == {200: THREADS * LOGINS}
    assert sum(served.values()) == THREADS * LOGINS
    assert max(served.values()) < 1000
    # At most one for each login under way, whenever the present ones are given up.
    assert len(served) <= THREADS * (1 + THREADS * LOGINS // source.ceiling("CONNECTION_LOGINS_MAX"))
