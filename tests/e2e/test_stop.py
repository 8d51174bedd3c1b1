"""Starting, stopping, and what may happen to a program in between that is not a request."""
import contextlib
import fcntl
import os
import signal
import socket
import stat
import subprocess
import time

import pytest

from servers import fastcgi, ports, procfs, source, upstream
from servers.process import ServerError, wait_until
from servers.program import CLIENT_ID, CLIENT_SECRET, Program, binary, make_env, run_once
from servers.service import PASSWORD, TIMEOUT_MS, USER, Service, good_login

USAGE, CONFIG = 64, 78  # sysexits.h
SOON_S = 3.0
STOP_S = (TIMEOUT_MS + source.ceiling("LINGER_MS")) / 1000 + 1  # whatever peers do


def settings(authority, **changes):
    """Settings with which the program would start."""
    return {"BAKRYPT_TOKEN_URL": "https://127.0.0.1:9/auth/token/", "BAKRYPT_CLIENT_ID": CLIENT_ID,
            "BAKRYPT_CLIENT_SECRET": CLIENT_SECRET, "BAKRYPT_CA_FILE": authority.file, **changes}


def check_one_line(done, status, *words):
    """It ended at once, with one line on standard error that says these words."""
    assert done.returncode == status, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines
    assert CLIENT_SECRET not in done.stderr + done.stdout


def wait_until_deaf(service):
    wait_until(lambda: not ports.is_listening(service.address), SOON_S, "it listens no more")


@contextlib.contextmanager
def running(folder, authority, **options):
    """A service whose end the test itself sees to."""
    service = Service(folder, authority, **options).__enter__()
    try:
        yield service
    finally:
        service.__exit__()


# Stopping -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("keep", [False, True], ids=["", "kept"])
@pytest.mark.parametrize("workers", [1, 2])
def test_login_in_flight_is_answered_before_the_end(folder, authority, number, keep, workers):
    held = upstream.Held()
    with running(folder, authority, arguments=("--workers", workers)) as service:
        service.upstream.script(held)
        with service.connect() as connection:
            connection.send(good_login().encode(keep=keep))
            service.upstream.wait_for_requests(1)
            service.program.send_signal(number)
            wait_until_deaf(service)
            held.release()
            service.check_token(connection.read_reply())
            assert connection.is_closed()
        assert service.program.wait(SOON_S) == 0
        assert not os.path.exists(service.address)
        assert service.program.find_events("stop")


def test_end_without_anything_in_flight_is_prompt(folder, authority):
    with running(folder, authority) as service:
        service.check_token(service.post())
        with service.connect() as silent, service.connect() as kept:
            kept.send(good_login().encode(keep=True))
            service.check_token(kept.read_reply())
            service.program.send_signal(signal.SIGTERM)
            assert kept.is_closed() and silent.is_closed()
            assert service.program.wait(SOON_S) == 0


def test_request_that_comes_during_the_stop_is_served(folder, authority):
    held = upstream.Held()
    with running(folder, authority) as service:
        service.upstream.script(held)
        with service.connect() as busy, service.connect() as fresh:
            busy.send(good_login().encode())
            service.upstream.wait_for_requests(1)
            assert service.post(b"{}").status == 400  # so `fresh` has been accepted, too
            service.program.send_signal(signal.SIGTERM)
            wait_until_deaf(service)
            fresh.send(good_login().encode(keep=True))
            service.check_token(fresh.read_reply())
            assert fresh.is_closed()
            held.release()
            service.check_token(busy.read_reply())
        assert service.program.wait(SOON_S) == 0


def test_request_too_late_for_the_stop_is_told_to_come_again(folder, authority):
    late_s = source.ceiling("STOP_SERVES_MS") / 1000 + 0.3
    with running(folder, authority, settings={"BAKRYPT_TIMEOUT_MS": 6000}) as service:
        service.upstream.script(upstream.after(late_s, upstream.token()))
        with service.connect() as connection:
            connection.send(good_login().encode(keep=True))
            service.upstream.wait_for_requests(1)
            service.program.send_signal(signal.SIGTERM)
            connection.send(good_login().encode(keep=True))
            service.check_token(connection.read_reply())
            service.check_fault(connection.read_reply(), "STOPPING")
            assert connection.is_closed()
        assert service.program.wait(SOON_S) == 0
        assert len(service.upstream.requests) == 1


def test_tcp_connection_that_comes_during_the_stop_is_refused_at_once(folder, authority):
    """And does not wait in the kernel's queue for a reset at the end."""
    held = upstream.Held()
    with running(folder, authority, listen="tcp") as service:
        service.upstream.script(held)
        with service.connect() as busy:
            busy.send(good_login().encode())
            service.upstream.wait_for_requests(1)
            service.program.send_signal(signal.SIGTERM)
            wait_until_deaf(service)
            held.release()
            service.check_token(busy.read_reply())
        assert service.program.wait(SOON_S) == 0


def test_kept_connection_is_closed_by_the_web_server(folder, authority):
    """The program asks for it by a record that fits into any reply, and that nothing follows."""
    with running(folder, authority) as service:
        with service.connect() as kept:
            kept.send(good_login().encode(keep=True))
            service.check_token(kept.read_reply())
            service.program.send_signal(signal.SIGTERM)
            assert kept.read_record() == (fastcgi.STDERR, 1, b"")
            assert service.program.is_running
            kept.close()
            assert service.program.wait(SOON_S) == 0


def test_login_sent_while_asked_to_close_is_served(folder, authority):
    """As nginx sends it that has not seen the end yet: 502 would be its answer, if not for this."""
    with running(folder, authority) as service:
        with service.connect() as kept:
            kept.send(good_login().encode(keep=True))
            service.check_token(kept.read_reply())
            service.program.send_signal(signal.SIGTERM)
            for _ in range(3):
                assert kept.read_record() == (fastcgi.STDERR, 1, b"")
                kept.send(good_login().encode(keep=True))
                service.check_token(kept.read_reply())
            assert kept.read_record() == (fastcgi.STDERR, 1, b"")
            assert kept.is_closed()  # in the end the program does not wait for it
        assert service.program.wait(SOON_S) == 0


def test_stop_waits_no_longer_than_the_timeout(folder, authority):
    with running(folder, authority) as service:
        service.upstream.script(upstream.silence)
        with service.connect() as connection:
            connection.send(good_login().encode())
            service.upstream.wait_for_requests(1)
            started = time.monotonic()
            service.program.send_signal(signal.SIGTERM)
            service.check_fault(connection.read_reply(), "UPSTREAM_TIMEOUT")
        assert service.program.wait(TIMEOUT_MS / 1000 + 1) == 0
        assert time.monotonic() - started < TIMEOUT_MS / 1000 + 1


def test_incomplete_request_does_not_hold_up_the_stop(folder, authority):
    with running(folder, authority) as service:
        with service.connect() as connection:
            connection.send(good_login().encode()[:-9])
            service.check_token(service.post())
            service.program.send_signal(signal.SIGTERM)
            assert service.program.wait(STOP_S) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_signal_right_after_the_start_ends_it_in_order_too(folder, authority, workers):
    for _ in range(20):
        with running(folder, authority, arguments=("--workers", workers)) as service:
            service.program.send_signal(signal.SIGTERM)
            assert service.program.wait(SOON_S) == 0
            assert not os.path.exists(service.address)


def test_second_signal_during_the_stop_changes_nothing(folder, authority):
    held = upstream.Held()
    with running(folder, authority) as service:
        service.upstream.script(held)
        with service.connect() as connection:
            connection.send(good_login().encode())
            service.upstream.wait_for_requests(1)
            service.program.send_signal(signal.SIGTERM)
            wait_until_deaf(service)
            service.program.send_signal(signal.SIGTERM)
            service.program.send_signal(signal.SIGINT)
            held.release()
            service.check_token(connection.read_reply())
        assert service.program.wait(SOON_S) == 0


# The socket's path --------------------------------------------------------------------------------

def test_live_socket_is_not_taken(start, authority):
    service = start()
    done = run_once("--listen", service.address, settings=settings(authority))
    assert done.returncode != 0
    assert service.address in done.stderr
    service.check_token(service.post())


def test_stale_socket_is_taken_over(folder, authority):
    path = folder / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with running(folder, authority, listen=str(path)) as service:
        service.check_token(service.post())


def test_file_that_is_no_socket_is_left_alone(folder, authority):
    path = folder / "notes.txt"
    path.write_text("mine")
    done = run_once("--listen", path, settings=settings(authority))
    assert done.returncode != 0
    assert str(path) in done.stderr
    assert path.read_text() == "mine"


def test_socket_of_a_successor_is_not_removed(folder, authority):
    path = str(folder / "succession.sock")
    with running(folder, authority, listen=path) as first:
        os.unlink(path)
        with running(folder, authority, listen=path) as second:
            assert first.program.stop() == 0
            second.check_token(second.post())


def test_socket_is_for_owner_and_group_only(start):
    service = start()
    assert stat.S_IMODE(os.stat(service.address).st_mode) == 0o660


# Workers ------------------------------------------------------------------------------------------

def find_workers(service, count):
    """Their process ids, once all of them are there."""
    pid = service.program.pid
    wait_until(lambda: len(procfs.children(pid)) == count, SOON_S, "all workers are there")
    return procfs.children(pid)


def test_killed_worker_is_replaced(start):
    service = start(arguments=("--workers", 2))
    pid = service.program.pid
    before = find_workers(service, 2)
    os.kill(before[0], signal.SIGKILL)

    def is_replaced():
        now = procfs.children(pid)
        return len(now) == 2 and before[0] not in now

    wait_until(is_replaced, SOON_S, "another worker")
    for _ in range(20):
        service.check_token(service.post())


def test_all_workers_killed_are_replaced(start):
    service = start(arguments=("--workers", 2))
    pid = service.program.pid
    before = find_workers(service, 2)
    for child in before:
        os.kill(child, signal.SIGKILL)
    wait_until(lambda: len(set(procfs.children(pid)) - set(before)) == 2, SOON_S, "new workers")
    service.check_token(service.post())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_leaves_no_worker_behind(folder, authority, number):
    with running(folder, authority, arguments=("--workers", 3)) as service:
        workers = find_workers(service, 3)
        service.program.send_signal(number)
        assert service.program.wait(SOON_S) == 0
        assert not [worker for worker in workers if procfs.is_alive(worker)]
        assert not os.path.exists(service.address)


def test_workers_do_not_outlive_a_killed_parent(folder, authority):
    with running(folder, authority, arguments=("--workers", 2)) as service:
        workers = find_workers(service, 2)
        service.program.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(map(procfs.is_alive, workers)), SOON_S, "the workers end")


def test_login_in_flight_survives_the_death_of_the_other_worker(start):
    service = start(arguments=("--workers", 2))
    held = upstream.Held()
    service.upstream.script(held)
    with service.connect() as connection:
        connection.send(good_login().encode())
        service.upstream.wait_for_requests(1)
        for worker in find_workers(service, 2):
            if not procfs.is_connected(worker, service.upstream.port):
                os.kill(worker, signal.SIGKILL)
        held.release()
        service.check_token(connection.read_reply())


# Sockets that are handed over ---------------------------------------------------------------------

class HandedOver(Program):
    """The program with a listening socket as descriptor 0 and no --listen."""

    def __init__(self, folder, listener, *arguments, wrapper=(), **options):
        super().__init__(folder, **options)
        self.argv = [*wrapper, binary(), *arguments]
        self._stdin = listener


# From descriptor 0 to 3, as systemd would have it; exec keeps the process's id.
LIKE_SYSTEMD = ("sh", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&0 0</dev/null', "sh")
DOORS = {"descriptor 0": (), "LISTEN_FDS": LIKE_SYSTEMD}


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["unix", "tcp"])
@pytest.mark.parametrize("wrapper", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize("workers", [1, 2])
def test_socket_that_was_handed_over(folder, authority, wrapper, family, workers):
    leaf = authority.leaf()
    path = str(folder / "handed-over.sock")
    with socket.socket(family) as listener, \
            upstream.Upstream(leaf.certificate, leaf.key) as server:
        listener.bind(path if family == socket.AF_UNIX else ("127.0.0.1", 0))
        listener.listen(16)
        address = listener.getsockname()
        with HandedOver(folder, listener, "--workers", str(workers), wrapper=wrapper,
                        token_url=server.url, ca_file=authority.file) as program:
            assert fastcgi.exchange(address, good_login()).json == upstream.token_members()
        assert program.returncode == 0
        if family == socket.AF_UNIX:
            assert os.path.exists(path), "the socket was not its own to remove"
            os.unlink(path)


def test_connections_wait_for_the_successor_on_a_handed_over_socket(folder, authority):
    """What systemd does at a restart: the socket outlives the program, nobody is refused."""
    leaf = authority.leaf()
    path = str(folder / "restart.sock")
    with socket.socket(socket.AF_UNIX) as listener, \
            upstream.Upstream(leaf.certificate, leaf.key) as server:
        listener.bind(path)
        listener.listen(16)
        options = {"token_url": server.url, "ca_file": authority.file}
        with HandedOver(folder, listener, **options) as first:
            assert first.stop() == 0
        with fastcgi.Connection(path) as waiting:
            waiting.send(good_login().encode())
            with HandedOver(folder, listener, **options):
                assert waiting.read_reply().json == upstream.token_members()
    os.unlink(path)


def test_listen_fds_of_another_process_are_not_ours(folder, authority):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "theirs.sock"))
        listener.listen()
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" 3<&0 0</dev/null', "sh", binary()], stdin=listener,
            env=make_env(settings(authority, LISTEN_PID=1, LISTEN_FDS=1)),
            capture_output=True, text=True, timeout=10, check=False)
    check_one_line(done, USAGE)


# Faults at the start, and what only prints --------------------------------------------------------

def test_without_a_door_one_line_says_how_to_give_it_one(authority):
    check_one_line(run_once(settings=settings(authority)), USAGE, "--listen")


BAD_SETTINGS = {
    "no network": ({"BAKRYPT_TOKEN_URL": None}, "BAKRYPT_NETWORK"),
    "unknown network": ({"BAKRYPT_TOKEN_URL": None, "BAKRYPT_NETWORK": "moonnet"},
                        "BAKRYPT_NETWORK"),
    "plain http": ({"BAKRYPT_TOKEN_URL": "http://127.0.0.1:9/auth/token/"}, "BAKRYPT_TOKEN_URL"),
    "no URL": ({"BAKRYPT_TOKEN_URL": "bakrypt"}, "BAKRYPT_TOKEN_URL"),
    "no client id": ({"BAKRYPT_CLIENT_ID": None}, "BAKRYPT_CLIENT_ID"),
    "no secret": ({"BAKRYPT_CLIENT_SECRET": None}, "BAKRYPT_CLIENT_SECRET"),
    "secret file that is not there": (
        {"BAKRYPT_CLIENT_SECRET": None, "BAKRYPT_CLIENT_SECRET_FILE": "/nowhere/secret"},
        "BAKRYPT_CLIENT_SECRET_FILE"),
    "words as timeout": ({"BAKRYPT_TIMEOUT_MS": "soon"}, "BAKRYPT_TIMEOUT_MS"),
    "timeout of 0": ({"BAKRYPT_TIMEOUT_MS": "0"}, "BAKRYPT_TIMEOUT_MS"),
    "negative connect timeout": ({"BAKRYPT_CONNECT_TIMEOUT_MS": "-1"},
                                 "BAKRYPT_CONNECT_TIMEOUT_MS"),
    "timeout with a unit": ({"BAKRYPT_TIMEOUT_MS": "12s"}, "BAKRYPT_TIMEOUT_MS"),
    "none in flight": ({"BAKRYPT_MAX_IN_FLIGHT": "0"}, "BAKRYPT_MAX_IN_FLIGHT"),
    "too long a number": ({"BAKRYPT_MAX_IN_FLIGHT": "9" * 30}, "BAKRYPT_MAX_IN_FLIGHT"),
    "unknown level": ({"BAKRYPT_LOG_LEVEL": "loud"}, "BAKRYPT_LOG_LEVEL"),
    "authority that is not there": ({"BAKRYPT_CA_FILE": "/nowhere/ca.pem"}, "BAKRYPT_CA_FILE"),
    "settings file that is not there": ({"BAKRYPT_CONFIG": "/nowhere/settings"},
                                        "/nowhere/settings"),
}


@pytest.mark.parametrize("changes, name", BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_setting_is_named(folder, authority, changes, name):
    done = run_once("--listen", folder / "never.sock", settings=settings(authority, **changes))
    check_one_line(done, CONFIG, name)
    assert not os.path.exists(folder / "never.sock")


def test_check_names_a_bad_setting_too(authority):
    done = run_once("--check", settings=settings(authority, BAKRYPT_TIMEOUT_MS="soon"))
    assert done.returncode == CONFIG
    assert "BAKRYPT_TIMEOUT_MS" in done.stdout + done.stderr


def test_check_of_good_settings_tells_them_without_the_secret(authority):
    done = run_once("--check", "--offline", settings=settings(authority))
    assert done.returncode == 0, done
    assert CLIENT_ID in done.stdout
    assert CLIENT_SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("options", [(), ("--check", "--offline")], ids=["start", "check"])
def test_secret_file_that_others_can_read_is_refused(folder, authority, options):
    path = folder / "open-secret"
    path.write_text(CLIENT_SECRET)
    path.chmod(0o644)
    options = options or ("--listen", folder / "never.sock")
    done = run_once(*options, settings=settings(
        authority, BAKRYPT_CLIENT_SECRET=None, BAKRYPT_CLIENT_SECRET_FILE=str(path)))
    assert done.returncode == CONFIG
    assert str(path) in done.stderr + done.stdout
    assert CLIENT_SECRET not in done.stderr + done.stdout


def test_settings_and_secret_may_come_from_files(folder, authority):
    leaf = authority.leaf()
    secret, config = folder / "secret", folder / "settings"
    secret.write_text("from-a-file & more\n")
    secret.chmod(0o600)
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        config.write_text(f"# test\n\nBAKRYPT_TOKEN_URL={server.url}\n"
                          f"BAKRYPT_CLIENT_ID=overridden\nBAKRYPT_CLIENT_SECRET_FILE={secret}\n")
        config.chmod(0o600)
        with Program(folder, ca_file=authority.file, arguments=("--config", str(config)),
                     settings={"BAKRYPT_CLIENT_SECRET": None}) as program:
            assert fastcgi.exchange(program.target, good_login()).status == 200
        assert server.requests[0].form["client_secret"] == ["from-a-file & more"]
        assert server.requests[0].form["client_id"] == [CLIENT_ID]


def test_secret_may_be_a_credential_of_systemd(folder, authority):
    leaf = authority.leaf()
    credentials = folder / "credentials"
    credentials.mkdir(mode=0o700)
    (credentials / "client_secret").write_text("from-systemd")
    (credentials / "client_secret").chmod(0o400)
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        with Program(folder, token_url=server.url, ca_file=authority.file,
                     settings={"BAKRYPT_CLIENT_SECRET": None,
                               "CREDENTIALS_DIRECTORY": str(credentials)}) as program:
            assert fastcgi.exchange(program.target, good_login()).status == 200
        assert server.requests[0].form["client_secret"] == ["from-systemd"]


@pytest.mark.parametrize("arguments", [
    ("--nonsense",), ("surplus",), ("--workers", "0"), ("--workers", "many"), ("--workers",),
    ("--listen",)])
def test_wrong_usage(authority, arguments):
    done = run_once(*arguments, settings=settings(authority))
    assert done.returncode == USAGE, done
    assert done.stderr


@pytest.mark.parametrize("address", ["9000", ":9000", "127.0.0.1:99999", "127.0.0.1:", "::1:9000",
                                     "/nowhere/at/all.sock", "/tmp/" + "x" * 200 + ".sock"])
def test_address_that_cannot_be_listened_on(authority, address):
    done = run_once("--listen", address, settings=settings(authority))
    assert done.returncode not in (0, None) and done.returncode > 0
    assert len(done.stderr.splitlines()) == 1
    assert address[:10] in done.stderr


def test_group_that_does_not_exist(folder, authority):
    done = run_once("--listen", folder / "never.sock", "--socket-group", "no-such-group",
                    settings=settings(authority))
    assert done.returncode > 0
    assert "no-such-group" in done.stderr
    assert not os.path.exists(folder / "never.sock")


def test_help_names_every_option_and_setting():
    done = run_once("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("--listen", "--socket-group", "--workers", "--config", "--check", "--version",
                 "BAKRYPT_NETWORK", "BAKRYPT_TOKEN_URL", "BAKRYPT_CLIENT_ID",
                 "BAKRYPT_CLIENT_SECRET", "BAKRYPT_CLIENT_SECRET_FILE", "BAKRYPT_SCOPE",
                 "BAKRYPT_CA_FILE", "BAKRYPT_PROXY", "BAKRYPT_CONNECT_TIMEOUT_MS",
                 "BAKRYPT_TIMEOUT_MS", "BAKRYPT_MAX_IN_FLIGHT", "BAKRYPT_LOG_LEVEL"):
        assert name in done.stdout, name
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


def test_version_is_one_line():
    done = run_once("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("bakrypt-login ")


# Standard error, pipes and addresses --------------------------------------------------------------

@contextlib.contextmanager
def with_stderr(folder, authority, server, stderr):
    """The program with this standard error, which nobody here reads."""
    path = str(folder / "stderr.sock")
    process = subprocess.Popen(
        [binary(), "--listen", path], stdin=subprocess.DEVNULL, stderr=stderr,
        env=make_env(settings(authority, BAKRYPT_TOKEN_URL=server.url)))
    try:
        wait_until(lambda: ports.is_listening(path), SOON_S, "it listens")
        yield process, path
        process.terminate()
        assert process.wait(SOON_S) == 0
    finally:
        process.kill()
        process.wait()


def check_logins(path, count):
    for _ in range(count):
        assert fastcgi.exchange(path, good_login()).status == 200


def test_closed_standard_error_ends_nothing(folder, authority):
    leaf = authority.leaf()
    reader, writer = os.pipe()
    with upstream.Upstream(leaf.certificate, leaf.key) as server, \
            with_stderr(folder, authority, server, writer) as (process, path):
        os.close(writer)
        os.close(reader)
        check_logins(path, 5)
        assert process.poll() is None


def test_standard_error_that_nobody_reads_delays_nothing(folder, authority):
    leaf = authority.leaf()
    reader, writer = os.pipe()
    size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with upstream.Upstream(leaf.certificate, leaf.key) as server, \
            with_stderr(folder, authority, server, writer) as (_, path):
        os.close(writer)
        started = time.monotonic()
        check_logins(path, 100)
        assert time.monotonic() - started < 5
        stuck = os.read(reader, size).decode()
        check_logins(path, 1)
        after = os.read(reader, size).decode()
    os.close(reader)
    assert stuck.count("login_ok") < 100
    assert stuck.endswith("}\n"), "a line was cut off"
    assert '"dropped":' in after


def test_client_gone_before_its_reply_ends_nothing(start):
    service = start(listen="tcp")
    for leave in (fastcgi.Connection.close, fastcgi.Connection.reset):
        for _ in range(50):
            connection = service.connect()
            connection.send(fastcgi.Request(b"{}", id=None).encode(keep=True) * 3)
            leave(connection)
    service.check_token(service.post())


@pytest.mark.parametrize("allowed, peer, is_served", [
    (None, "127.0.0.2", True), ("127.0.0.1", "127.0.0.1", True), ("127.0.0.1", "127.0.0.2", False),
    ("192.0.2.1,127.0.0.2", "127.0.0.2", True), ("192.0.2.1", "127.0.0.1", False),
    ("127.0.0.1, ::1", "127.0.0.1", True), ("::ffff:127.0.0.1", "127.0.0.1", True)])
def test_web_servers_that_may_connect_over_tcp(start, allowed, peer, is_served):
    service = start(listen="tcp", settings={"FCGI_WEB_SERVER_ADDRS": allowed})
    with service.connect(source=peer) as connection:
        connection.try_send(good_login().encode())
        if is_served:
            service.check_token(connection.read_reply())
        else:
            assert connection.is_closed()
            service.program.wait_for_event("fcgi_reject")
            assert not service.upstream.requests


def test_list_of_web_servers_that_cannot_be_read_lets_nobody_in(folder, authority):
    with pytest.raises(ServerError, match="FCGI_WEB_SERVER_ADDRS"):
        Program(folder, listen="tcp", env=make_env(settings(
            authority, FCGI_WEB_SERVER_ADDRS="127.0.0.1;localhost"))).start()


@pytest.mark.skipif(not ports.has_ipv6(), reason="there is no address ::1")
@pytest.mark.parametrize("allowed, is_served", [(None, True), ("::1", True), ("127.0.0.1", False)])
def test_tcp_over_ipv6(start, allowed, is_served):
    service = start(listen="tcp6", settings={"FCGI_WEB_SERVER_ADDRS": allowed})
    with service.connect() as connection:
        connection.try_send(good_login().encode())
        if is_served:
            service.check_token(connection.read_reply())
        else:
            assert connection.is_closed()


def test_port_in_use_is_named(start, authority):
    service = start(listen="tcp")
    done = run_once("--listen", service.program.address, settings=settings(authority))
    assert done.returncode > 0
    assert service.program.address in done.stderr
    service.check_token(service.post(fastcgi.login_json(USER, PASSWORD)))
