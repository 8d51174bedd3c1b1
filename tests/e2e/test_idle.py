"""A program with nothing to do does nothing: it makes no system call, and so wakes no processor. It
keeps little memory."""
import contextlib
import os
import time

import pytest

from servers import procfs, source, upstream
from servers.process import wait_until
from servers.service import good_login

QUIET_S = 3.0
RESIDENT_KIB = 6 * 1024
IDLE_S = source.ceiling("UPSTREAM_IDLE_MS") / 1000


def check_quiet(pid):
    """It sleeps through QUIET_S, after what it still had to do."""
    seen = {"count": None, "since": 0.0}

    def is_quiet():
        count = procfs.switches(pid)
        if count != seen["count"]:
            seen.update(count=count, since=time.monotonic())
        return time.monotonic() - seen["since"] >= QUIET_S

    wait_until(is_quiet, 3 * QUIET_S, f"nothing wakes it for {QUIET_S} s")


def check_small(pid):
    if os.environ.get("BAKRYPT_LOGIN_SANITIZED") != "1":
        wait_until(lambda: int(procfs.status(pid, "VmRSS").split()[0]) <= RESIDENT_KIB, 5,
                   f"it keeps no more than {RESIDENT_KIB} KiB")


@pytest.mark.parametrize("workers", [1, 2])
def test_before_the_first_login(start, workers):
    pid = start(arguments=("--workers", workers)).program.pid
    check_quiet(pid)
    for each in procfs.children(pid) or [pid]:
        check_small(each)


def test_between_logins(start):
    """With connections open on both sides: to the token server, and kept by the web server."""
    service = start()
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(service.connect())
            connection.send(good_login().encode(keep=True))
            service.check_token(connection.read_reply())
        assert service.upstream.open_connections > 0
        check_quiet(service.program.pid)


def test_while_logins_are_refused(start):
    """Whether upstream is back is not asked before anybody wants to know."""
    service = start()
    service.upstream.always = upstream.error("invalid_client", 401)
    assert service.post().status == 500
    assert service.post().status == 503
    check_quiet(service.program.pid)
    assert len(service.upstream.requests) == 1
    assert service.post().status == 503
    assert len(service.upstream.requests) == 2


def test_after_the_last_login_was_forgotten(start):
    service = start()
    service.check_token(service.post())
    wait_until(lambda: not service.upstream.open_connections, IDLE_S + 5, "connections are dropped")
    check_quiet(service.program.pid)
    check_small(service.program.pid)
