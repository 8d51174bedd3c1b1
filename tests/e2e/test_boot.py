"""The shipped units under a systemd that really runs, as root alone can have it."""
import contextlib
import json
import os
import signal
import threading

import pytest

from servers import boot as booting
from servers import fastcgi, intruder, nginx, procfs, traces, upstream
from servers.boot import SERVICE, SOCKET
from servers.load import Load, TokenServer
from servers.process import wait_until
from servers.program import CLIENT_ID, CLIENT_SECRET
from servers.service import PASSWORD, USER, good_login

HOST = "tokens.test"
CLIENTS = 48
RATE = 400
RESTARTS = 8  # in a row: more than systemd allows where StartLimitIntervalSec= is not 0
SOON_S = 10
CA_FILE = "/etc/ssl/test-ca.pem"

pytestmark = pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                                reason="the sanitizers need what the units forbid")


@pytest.fixture(scope="module")
def system(folder, authority, require):
    """A booted systemd, and the one name it can resolve."""
    require(booting.missing())
    if reason := booting.forbidden():
        pytest.skip(reason)
    with booting.Resolver(HOST) as resolver, booting.Boot(folder) as boot:
        boot.resolver = resolver
        boot.path(CA_FILE).write_bytes(open(authority.file, "rb").read())
        yield boot


@pytest.fixture(scope="module")
def tokens(folder, authority):
    leaf = authority.leaf(HOST, (HOST,))
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        server.token_url = f"https://{HOST}:{server.port}{upstream.PATH}"
        yield server


def settings(token_url, **changes):
    return {"BAKRYPT_TOKEN_URL": token_url, "BAKRYPT_CLIENT_ID": CLIENT_ID,
            "BAKRYPT_CA_FILE": CA_FILE, **changes}


@pytest.fixture(name="boot")
def good_service(system, tokens):
    """The system with good settings, and a service started anew."""
    tokens.reset()
    system.write_settings(settings(tokens.token_url), CLIENT_SECRET)
    system.systemctl("restart", SERVICE)
    return system


def log_in(boot):
    reply = fastcgi.exchange(boot.socket_path, good_login())
    assert (reply.status, reply.json) == (200, upstream.token_members()), reply


def test_login_by_name_with_the_credential(boot, tokens):
    asked = boot.resolver.asked
    log_in(boot)
    assert boot.resolver.asked > asked
    assert tokens.requests[0].form["client_secret"] == [CLIENT_SECRET]
    boot.wait_for_journal('"event":"login_ok"')
    journal = boot.journal()
    for secret in (CLIENT_SECRET, USER, PASSWORD, upstream.ACCESS_TOKEN):
        assert secret not in journal


def test_service_has_no_rights(boot):
    pid = boot.program_pid()
    passwd = boot.path("/etc/passwd").read_text("utf-8").splitlines()
    uid = next(line.split(":")[2] for line in passwd if line.startswith("bakrypt-login:"))
    assert procfs.status(pid, "Uid").split() == [uid] * 4
    assert int(procfs.status(pid, "CapEff"), 16) == int(procfs.status(pid, "CapBnd"), 16) == 0
    assert procfs.status(pid, "NoNewPrivs") == "1"
    assert procfs.status(pid, "Seccomp") == "2"
    assert procfs.limit(pid, "Max open files")[1] == "16384"
    assert boot.property("MemorySwapMax") == "0"


def test_client_secret_is_locked(boot):
    """The unit lets it be."""
    (address, _), = traces.in_memory(boot.program_pid(), CLIENT_SECRET)[CLIENT_SECRET]
    assert procfs.flags(boot.program_pid(), int(address, 16)) >= {"lo", "dd"}
    assert not [line for line in boot.journal().splitlines() if "setting_notice" in line]


def test_program_confines_itself_within_the_units(boot):
    boot.wait_for_journal('"event":"start"')
    start = json.loads(next(line for line in reversed(boot.journal().splitlines())
                            if '"event":"start"' in line))
    version = intruder.landlock_version()
    assert start["sandbox"] == "seccomp" + (f", Landlock {version}" if version else "")


def replace_file(boot, path):
    """By another one of the same content, as services do that renew it."""
    new = boot.path(f"{path}.new")
    new.write_bytes(boot.path(path).read_bytes())
    new.rename(boot.path(path))


@contextlib.contextmanager
def with_workers(boot, count):
    """The service as an administrator changes it, by a file beside the unit."""
    folder = boot.path(f"/etc/systemd/system/{SERVICE}.d")
    folder.mkdir()
    (folder / "workers.conf").write_text(
        "[Service]\nExecStart=\nExecStart=/usr/bin/bakrypt-login --config "
        f"/etc/bakrypt-login/bakrypt-login.conf --workers {count}\n")
    boot.systemctl("daemon-reload")
    boot.systemctl("restart", SERVICE)
    yield
    (folder / "workers.conf").unlink()
    folder.rmdir()
    boot.systemctl("daemon-reload")
    boot.systemctl("restart", SERVICE)


@pytest.mark.parametrize("workers", [1, 2])
def test_renewed_resolver_is_taken_by_a_new_start(boot, workers):
    if not intruder.landlock_version():
        pytest.skip("this kernel has no Landlock: all files are open")
    with with_workers(boot, workers):
        pid = boot.property("MainPID")
        asked = boot.resolver.asked
        replace_file(boot, "/etc/resolv.conf")
        first = fastcgi.exchange(boot.socket_path, good_login())
        assert (first.status, boot.resolver.asked) == (503, asked)
        boot.wait_for_journal("/etc/resolv.conf is new since the start")
        wait_until(lambda: fastcgi.exchange(boot.socket_path, good_login()).status == 200,
                   SOON_S, "a login after the new start")
        assert (boot.property("MainPID") == pid) == (workers > 1)
        assert boot.property("ActiveState") == "active"


def test_socket_starts_the_service(boot):
    boot.systemctl("stop", SERVICE)
    assert boot.property("ActiveState") == "inactive"
    log_in(boot)
    assert boot.property("ActiveState") == "active"


def test_reload(boot, tokens):
    pid = boot.property("MainPID")
    boot.write_settings(settings(tokens.token_url, BAKRYPT_SCOPE="read"), CLIENT_SECRET)
    boot.systemctl("reload", SERVICE)
    boot.wait_for_journal('"event":"reload"')
    log_in(boot)
    assert tokens.requests[-1].form["scope"] == ["read"]
    assert boot.property("MainPID") == pid


def test_bad_settings_fail_a_reload_and_change_nothing(boot, tokens):
    boot.write_settings(settings(tokens.token_url, BAKRYPT_TIMEOUT_MS="soon"), CLIENT_SECRET)
    done = boot.systemctl("reload", SERVICE, check=False)
    assert done.returncode != 0 and "failed" in done.stderr
    boot.wait_for_journal("bakrypt-login.conf line 4: BAKRYPT_TIMEOUT_MS")
    assert boot.property("ActiveState") == "active"
    log_in(boot)


def test_login_waits_until_bad_settings_are_mended(boot, tokens):
    boot.write_settings({"BAKRYPT_NETWORK": "moonnet", "BAKRYPT_CLIENT_ID": "me"}, CLIENT_SECRET)
    done = boot.systemctl("restart", SERVICE, check=False)
    assert done.returncode != 0
    boot.wait_for_journal("bakrypt-login.conf line 1: BAKRYPT_NETWORK")
    with fastcgi.Connection(boot.socket_path) as connection:
        connection.send(good_login().encode())
        tries = int(boot.property("NRestarts"))
        wait_until(lambda: int(boot.property("NRestarts")) > tries + 1, SOON_S, "it tries again")
        assert boot.property("ActiveState", SOCKET) == "active"
        boot.write_settings(settings(tokens.token_url), CLIENT_SECRET)
        assert connection.read_reply().status == 200


def test_missing_secret_is_named(boot, tokens):
    boot.write_settings(settings(tokens.token_url), secret=None)
    assert boot.systemctl("restart", SERVICE, check=False).returncode != 0
    boot.wait_for_journal("credential client_secret holds no secret")
    boot.write_settings(settings(tokens.token_url, BAKRYPT_CLIENT_SECRET=CLIENT_SECRET))
    boot.systemctl("restart", SERVICE)
    log_in(boot)
    assert tokens.requests[0].form["client_secret"] == [CLIENT_SECRET]


def test_crash_is_survived(boot):
    os.kill(boot.program_pid(), signal.SIGSEGV)
    log_in(boot)
    assert int(boot.property("NRestarts")) == 1
    assert boot.property("ActiveState", SOCKET) == "active"


def test_login_in_flight_is_answered_before_the_stop(boot, tokens):
    held = upstream.Held()
    tokens.script(held)
    with fastcgi.Connection(boot.socket_path) as connection:
        connection.send(good_login().encode())
        tokens.wait_for_requests(1)
        stopping = threading.Thread(target=boot.systemctl, args=("stop", SERVICE))
        stopping.start()
        wait_until(lambda: boot.property("ActiveState") == "deactivating", SOON_S, "it stops")
        held.release()
        assert connection.read_reply().status == 200
        stopping.join(SOON_S)
    assert (boot.property("ActiveState"), boot.property("Result")) == ("inactive", "success")


def test_restarts_lose_no_login(system, folder, authority, has_nginx):
    with TokenServer(folder, authority, rate=RATE, host=HOST) as tokens, \
            nginx.Login(folder, system.socket_path, keep=200) as front:
        system.write_settings(settings(tokens.token_url), CLIENT_SECRET)
        system.systemctl("restart", SERVICE)
        with Load(front.origin, clients=CLIENTS) as load:
            for _ in range(RESTARTS):
                load.wait_for_more(CLIENTS)
                system.systemctl("restart", SERVICE)
            load.wait_for_more(CLIENTS)
        assert (load.answered, load.lost) == ({200: load.sent}, [])
