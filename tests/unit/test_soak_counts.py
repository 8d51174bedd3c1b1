"""What `make soak` counts: that it sees what must not happen."""
import contextlib
import socket
import threading

import pytest

from servers.process import wait_until
from soak import play
from soak.crowd import Crowd
from soak.scenes import SCENES
from soak.stage import Found

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@contextlib.contextmanager
def web_server(answer):
    """Sends these bytes for each request; None: it hangs up; b"": it says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(wire):
        with wire, contextlib.suppress(OSError):
            while wire.recv(65536):
                if answer is None:
                    return
                wire.sendall(answer)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def logins_at(answer, patience=5):
    with web_server(answer) as port, Crowd(port, clients=3, rate=60, patience=patience) as crowd:
        wait_until(lambda: len(crowd.logins) >= 12, 20, "logins")
    return crowd


@pytest.mark.parametrize("answer", [REPLY, CHUNKED])
def test_answered_once(answer):
    crowd = logins_at(answer)
    assert crowd.answered == {200: len(crowd.logins)}
    assert crowd.stray_answers == 0
    assert len({login.user for login in crowd.logins}) == len(crowd.logins)


def test_answered_twice():
    assert logins_at(REPLY + REPLY).stray_answers > 0


def test_lost():
    crowd = logins_at(None)
    assert not crowd.answered and not any(login.is_hung for login in crowd.logins)


def test_hung():
    crowd = logins_at(b"", patience=0.2)
    assert not crowd.answered and all(login.is_hung for login in crowd.logins)


@pytest.mark.parametrize("name", play.GOALS)
def test_one_of_them_is_too_many(name):
    found = Found(sent=9, once=9)
    assert not list(play.goals(found, SCENES["calm"]))
    setattr(found, name, 1)
    assert [missed for missed, _ in play.goals(found, SCENES["calm"])] == [name]


@pytest.mark.parametrize("missed, changes", [
    ("once", {"once": 8}), ("once", {"sent": 0, "once": 0}), ("rest", {"fds": (20, 21)}),
    ("rest", {"kib": (3000, 30000)})])
def test_what_else_is_missed(missed, changes):
    found = Found(**{"sent": 9, "once": 9, **changes})
    assert [name for name, _ in play.goals(found, SCENES["calm"])] == [missed]
