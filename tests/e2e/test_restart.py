"""Restarts while many log in: the socket stays, and no login is lost or told to come again."""
import signal

import pytest

from servers import nginx
from servers.held import HeldProgram, HeldSocket
from servers.load import Load, TokenServer

CLIENTS = 48
RATE = 400  # logins a second; so about CLIENTS / RATE seconds for each
RESTARTS = 8
BETWEEN = 100  # answers from one restart to the next


@pytest.mark.parametrize("way, workers, keep_conn", [
    ("fd 3", 1, True), ("fd 0", 1, True), ("fd 3", 2, True), ("fd 3", 1, False),
])
def test_restarts_lose_no_login(folder, authority, has_nginx, way, workers, keep_conn):
    with TokenServer(folder, authority, rate=RATE) as tokens, HeldSocket(folder) as held, \
            nginx.Login(folder, held.path, keep_conn=keep_conn, keep=200) as front:
        def start():
            return HeldProgram(held, token_url=tokens.token_url, ca_file=authority.file, way=way,
                               arguments=("--workers", workers)).start()

        program = start()
        served = []
        try:
            with Load(front.origin, clients=CLIENTS) as load:
                load.wait_for_more(BETWEEN)
                for _ in range(RESTARTS):
                    program.send_signal(signal.SIGTERM)
                    assert program.wait(20) == 0
                    served.append(len(program.find_events("login_ok")))
                    program = start()
                    load.wait_for_more(BETWEEN)
        finally:
            program.stop()
        served.append(len(program.find_events("login_ok")))
        assert all(served) and sum(served) == load.sent
        assert (load.answered, load.lost) == ({200: load.sent}, [])
