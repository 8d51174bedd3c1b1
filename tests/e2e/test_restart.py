"""Restarts and reloads while many log in: no login is lost, or told to come again."""
import contextlib
import signal

import pytest

from servers import nginx
from servers.held import HeldProgram, HeldSocket
from servers.load import Load, TokenServer

CLIENTS = 48
RATE = 400  # logins a second; so about CLIENTS / RATE seconds for each
RESTARTS = 8
BETWEEN = 100  # answers from one restart to the next


class Place:
    """A token server, a socket held open, and nginx before it."""

    def __init__(self, folder, authority, keep_conn=True):
        self._authority = authority
        self._stack = contextlib.ExitStack()
        with self._stack:
            self._tokens = self._stack.enter_context(TokenServer(folder, authority, rate=RATE))
            self._held = self._stack.enter_context(HeldSocket(folder))
            self.front = self._stack.enter_context(
                nginx.Login(folder, self._held.path, keep_conn=keep_conn, keep=200))
            self._stack = self._stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def program(self, way="fd 3", workers=1):
        return HeldProgram(self._held, token_url=self._tokens.token_url, way=way,
                           ca_file=self._authority.file, arguments=("--workers", workers)).start()


def check(load, programs):
    """Every login was answered with a token, and served once. The log may lack lines where its
    reader was slow; it says how many."""
    assert (load.answered, load.lost) == ({200: load.sent}, [])
    logged = sum(len(program.find_events("login_ok")) for program in programs)
    dropped = sum(entry.get("dropped", 0) for program in programs for entry in program.events)
    assert load.sent - dropped <= logged <= load.sent


@pytest.mark.parametrize("way, workers, keep_conn", [
    ("fd 3", 1, True), ("fd 0", 1, True), ("fd 3", 2, True), ("fd 3", 1, False),
])
def test_restarts_lose_no_login(folder, authority, has_nginx, way, workers, keep_conn):
    with Place(folder, authority, keep_conn) as place:
        programs = [place.program(way, workers)]
        try:
            with Load(place.front.origin, clients=CLIENTS) as load:
                load.wait_for_more(BETWEEN)
                for _ in range(RESTARTS):
                    programs[-1].send_signal(signal.SIGTERM)
                    assert programs[-1].wait(20) == 0
                    programs.append(place.program(way, workers))
                    load.wait_for_more(BETWEEN)
        finally:
            programs[-1].stop()
        check(load, programs)
        assert all(program.find_events("login_ok") for program in programs)


@pytest.mark.parametrize("workers", [1, 2])
def test_reloads_lose_no_login(folder, authority, has_nginx, workers):
    with Place(folder, authority) as place:
        program = place.program(workers=workers)
        try:
            with Load(place.front.origin, clients=CLIENTS) as load:
                load.wait_for_more(BETWEEN)
                for number in range(1, RESTARTS + 1):
                    program.send_signal(signal.SIGHUP)
                    program.wait_for_event("reload", count=number * workers)
                    load.wait_for_more(BETWEEN)
            assert program.is_running
        finally:
            program.stop()
        assert not program.find_events("reload_refused")
        check(load, [program])
