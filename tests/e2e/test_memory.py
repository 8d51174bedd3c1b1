"""Memory that runs out: requests are lost, and nothing else."""
import contextlib
import os
import resource

import pytest

from servers import fastcgi, procfs, upstream
from servers.service import good_login

CONNECTIONS = 300
WIDE = {f"HTTP_X_{i}": "x" * 400 for i in range(100)}  # more than libfcgi's own buffers

pytestmark = pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                                reason="a sanitizer needs all addresses there are")


@contextlib.contextmanager
def little_memory(pid, kib):
    """The process gets no more than so much beyond what it has."""
    has_kib = int(procfs.status(pid, "VmSize").split()[0])
    before = resource.prlimit(pid, resource.RLIMIT_AS, ((has_kib + kib) * 1024, -1))
    yield
    resource.prlimit(pid, resource.RLIMIT_AS, before)


def read_status(connection):
    try:
        return connection.read_reply().status
    except (fastcgi.HungUp, ConnectionResetError):
        return None


@pytest.mark.parametrize("kib", [200, 500, 1000, 3000])
def test_logins_beyond_it_are_lost_and_the_rest_is_served(start, kib):
    service = start(settings={"BAKRYPT_TIMEOUT_MS": 10000, "BAKRYPT_CONNECT_TIMEOUT_MS": 5000})
    service.check_token(service.post())
    held = service.upstream.always = upstream.Held()
    with contextlib.ExitStack() as stack:
        with little_memory(service.program.pid, kib):
            connections = [stack.enter_context(service.connect()) for _ in range(CONNECTIONS)]
            for connection in connections:
                connection.try_send(good_login(more=WIDE).encode())
            # So many are more than fit.
            counts = service.program.counts
            service.program.wait_for(lambda: counts["overloaded"] or counts["fcgi_reject"], 15,
                                     "a request without memory")
        held.release()
        statuses = {read_status(connection) for connection in connections}
    assert statuses & {None, 503} and statuses <= {None, 200, 502, 503, 504}
    service.check_token(service.post())
