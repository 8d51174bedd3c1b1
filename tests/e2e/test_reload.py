"""SIGHUP: new settings without an end to the program, or to any login."""
import contextlib
import os
import signal

import pytest

from servers import ports, procfs, source, upstream
from servers.process import ServerError, wait_until
from servers.program import CLIENT_SECRET
from servers.service import TIMEOUT_MS, Service, good_login

STOP_S = 10
WORKERS = pytest.mark.parametrize("workers", [1, 2])


class Reloading(Service):
    """A service whose settings stand in a file; the rest of them in the environment."""

    def __init__(self, folder, authority, *, workers=1, **settings):
        self.file = folder / "reload.conf"
        self.workers = workers
        super().__init__(folder, authority, arguments=("--workers", workers), settings={
            "BAKRYPT_CONFIG": self.file, "BAKRYPT_TOKEN_URL": None, "BAKRYPT_CLIENT_ID": None,
            "BAKRYPT_CLIENT_SECRET": None, "BAKRYPT_LOG_LEVEL": None, "BAKRYPT_TIMEOUT_MS": None,
            "BAKRYPT_CONNECT_TIMEOUT_MS": None})
        self.write(**settings)

    def write(self, **settings):
        lines = {"BAKRYPT_TOKEN_URL": self.upstream.url, "BAKRYPT_CLIENT_ID": "first",
                 "BAKRYPT_CLIENT_SECRET": CLIENT_SECRET, "BAKRYPT_LOG_LEVEL": "debug", **settings}
        self.file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()
                                     if value is not None), encoding="utf-8")
        self.file.chmod(0o600)

    def hang_up(self, count=1):
        """Sends the signal, and waits until so many reloads were told of in all."""
        self.program.send_signal(signal.SIGHUP)
        self.program.wait_for_event("reload", count=count * self.workers)

    def client_ids(self, count):
        """What upstream was told in so many logins more."""
        before = len(self.upstream.requests)
        for _ in range(count):
            self.check_token(self.post())
        return {request.form["client_id"][0] for request in self.upstream.requests[before:]}


@WORKERS
def test_new_settings_count_for_new_logins(folder, authority, workers):
    with Reloading(folder, authority, workers=workers) as service:
        assert service.client_ids(4) == {"first"}
        service.write(BAKRYPT_CLIENT_ID="second", BAKRYPT_CLIENT_SECRET="another-secret")
        service.hang_up()
        assert service.client_ids(6) == {"second"}
        assert service.upstream.requests[-1].form["client_secret"] == ["another-secret"]


@WORKERS
def test_bad_settings_are_refused_and_the_old_ones_stay(folder, authority, workers):
    with Reloading(folder, authority, workers=workers) as service:
        service.write(BAKRYPT_CLIENT_ID="second", BAKRYPT_MAX_IN_FLIGHT="many")
        service.program.send_signal(signal.SIGHUP)
        entry = service.program.wait_for_event("reload_refused")
        assert entry["level"] == "error"
        assert "BAKRYPT_MAX_IN_FLIGHT" in entry["note"]
        assert service.client_ids(4) == {"first"}
        service.write(BAKRYPT_CLIENT_ID="third")
        service.hang_up()
        assert service.client_ids(4) == {"third"}


def test_file_that_is_gone_is_refused(folder, authority):
    with Reloading(folder, authority) as service:
        service.file.unlink()
        service.program.send_signal(signal.SIGHUP)
        entry = service.program.wait_for_event("reload_refused")
        assert "BAKRYPT_CONFIG" in entry["note"]
        assert service.client_ids(2) == {"first"}


def test_worker_started_later_has_the_new_settings(folder, authority):
    with Reloading(folder, authority, workers=2) as service:
        service.write(BAKRYPT_CLIENT_ID="second")
        service.hang_up()
        pids = {entry["pid"] for entry in service.program.find_events("reload")}
        assert len(pids) == 2
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        service.program.wait_for_event("worker_died", count=2)
        assert service.client_ids(4) == {"second"}


def test_login_under_way_ends_with_the_settings_it_began_with(folder, authority):
    held, leaf = upstream.Held(), authority.leaf()
    with Reloading(folder, authority) as service:
        service.upstream.script(held)
        with service.connect() as connection:
            connection.send(good_login().encode())
            service.upstream.wait_for_requests(1)
            with upstream.Upstream(leaf.certificate, leaf.key) as other:
                service.write(BAKRYPT_TOKEN_URL=other.url)
                service.hang_up()
                held.release()
                service.check_token(connection.read_reply())
                service.check_token(service.post())
                assert len(other.requests) == len(service.upstream.requests) == 1


def test_page_that_began_a_login_reads_the_reply(folder, authority):
    """Its origin is in the reply's head, though the list that it was found in is gone."""
    held, page = upstream.Held(), "https://app.example.com"
    with Reloading(folder, authority, BAKRYPT_ALLOWED_ORIGINS=page) as service:
        service.upstream.script(held)
        with service.connect() as connection:
            connection.send(good_login(more={"HTTP_ORIGIN": page}).encode())
            service.upstream.wait_for_requests(1)
            service.write(BAKRYPT_ALLOWED_ORIGINS="https://other.example.com")
            service.hang_up()
            held.release()
            reply = connection.read_reply()
        assert (reply.status, reply.header("access-control-allow-origin")) == (200, page)
        assert service.post(more={"HTTP_ORIGIN": page}).status == 403


def test_more_logins_at_once_than_before(folder, authority):
    with Reloading(folder, authority, BAKRYPT_MAX_IN_FLIGHT=1) as service:
        service.write(BAKRYPT_MAX_IN_FLIGHT=12)
        service.hang_up()
        held = [upstream.Held() for _ in range(12)]
        service.upstream.script(*held)
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(service.connect()) for _ in held]
            for connection in connections:
                connection.send(good_login().encode())
            service.upstream.wait_for_requests(len(held))
            for each in held:
                each.release()
            for connection in connections:
                service.check_token(connection.read_reply())


def test_stop_waits_for_logins_of_the_old_settings(folder, authority):
    held = upstream.Held()
    with Reloading(folder, authority, BAKRYPT_TIMEOUT_MS=9000) as service:
        service.upstream.script(held)
        with service.connect() as connection:
            connection.send(good_login().encode())
            service.upstream.wait_for_requests(1)
            service.write(BAKRYPT_TIMEOUT_MS=100, BAKRYPT_CONNECT_TIMEOUT_MS=100)
            service.hang_up()
            service.program.send_signal(signal.SIGTERM)
            with pytest.raises(ServerError):
                service.program.wait(0.1 + source.ceiling("LINGER_MS") / 1000 + 0.5)
            held.release()
            service.check_token(connection.read_reply())
        assert service.program.wait(STOP_S) == 0


def test_secret_from_the_environment_is_kept(folder, authority):
    with Service(folder, authority) as service:
        service.program.send_signal(signal.SIGHUP)
        service.program.wait_for_event("reload")
        service.check_token(service.post())
        assert service.upstream.requests[-1].form["client_secret"] == [CLIENT_SECRET]


def test_log_level_changes(folder, authority):
    with Reloading(folder, authority) as service:
        service.write(BAKRYPT_LOG_LEVEL="error")
        service.program.send_signal(signal.SIGHUP)
        wait_until(lambda: _is_silent(service), TIMEOUT_MS / 1000, "it logs nothing of a login")


def _is_silent(service):
    before = len(service.program.events)
    assert service.post().status == 200
    return len(service.program.events) == before


def test_many_reloads_leave_nothing_behind(folder, authority):
    """Descriptors and memory, after the first reloads have set the measure."""
    with Reloading(folder, authority) as service:
        for count in range(1, 11):
            service.hang_up(count)
            service.check_token(service.post())
        pid = service.program.pid
        descriptors, memory = procfs.open_files(pid), resident_kb(pid)
        for count in range(11, 101):
            service.hang_up(count)
            service.check_token(service.post())
        wait_until(lambda: procfs.open_files(pid) <= descriptors, 5, "descriptors")
        # A sanitizer's allocator keeps what it is given back; it has a look for leaks of its own.
        if os.environ.get("BAKRYPT_LOGIN_SANITIZED") != "1":
            assert resident_kb(pid) < memory + 1024


def resident_kb(pid):
    return int(procfs.status(pid, "VmRSS").split()[0])


def test_reload_while_stopping_changes_nothing(folder, authority):
    held = upstream.Held()
    with Reloading(folder, authority) as service:
        service.upstream.script(held)
        with service.connect() as connection:
            connection.send(good_login().encode())
            service.upstream.wait_for_requests(1)
            service.program.send_signal(signal.SIGTERM)
            wait_until(lambda: not ports.is_listening(service.address), STOP_S, "it stops")
            service.program.send_signal(signal.SIGHUP)
            held.release()
            service.check_token(connection.read_reply())
        assert service.program.wait(STOP_S) == 0
        assert not service.program.find_events("reload")
