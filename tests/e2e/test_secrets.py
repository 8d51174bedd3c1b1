"""What stays of a secret in memory, in /proc and in a core. (Every test looks at the logs.)"""
import os
import shutil

import pytest

from servers import dot, fastcgi, folders, procfs, source, upstream
from servers.process import wait_until
from servers.program import CLIENT_SECRET, Program
from servers.service import Service, good_login

IDLE_S = source.ceiling("UPSTREAM_IDLE_MS") / 1000
LOGINS = 20

# Part of every password and token used here, and of nothing else.
PASSWORD_MARK = "kennwort-zqj7"
TOKEN_MARK = "t0ken-zqj7"

pytestmark = pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                                reason="a sanitizer's allocator keeps what it frees")


def password(number):
    return f"ulrike-{PASSWORD_MARK}-{number:04}"


def token(number):
    return upstream.token(access_token=f"acc3ss-{TOKEN_MARK}-{number:04}",
                          refresh_token=f"r3fresh-{TOKEN_MARK}-{number:04}")


def find_in_memory(pid, *marks):
    """How often each mark is in the process's memory, and something of its surroundings."""
    found = {mark: [] for mark in marks}
    for start, content in procfs.memory(pid):
        for mark in marks:
            at = content.find(mark.encode())
            while at >= 0:
                found[mark].append((hex(start + at), content[max(0, at - 40):at + 60]))
                at = content.find(mark.encode(), at + 1)
    return {mark: places for mark, places in found.items() if places}


def need_root():
    if not folders.is_root():
        pytest.skip("only root can read the memory of a process that is not dumpable")


def log_in_in_all_ways(service):
    """Good and wrong logins, and refused requests that hold a password all the same."""
    for number in range(LOGINS):
        service.upstream.script(token(number) if number % 3 else upstream.error("invalid_grant"))
        body = fastcgi.login_json("ulrike", password(number))
        assert service.post(body).status in (200, 401)
    refused = [
        good_login(fastcgi.login_json("ulrike", password(100)) + b"x"),
        good_login(fastcgi.login_json("ulrike", password(101)), content_type="text/plain"),
        good_login(fastcgi.login_json("ulrike", password(102)), length="9"),
        good_login(fastcgi.login_json("ulrike", password(103)) + b" " * 20000),
        good_login(target=f"/login?password={password(104)}"),
        good_login(f"username=ulrike&password={password(105)}%zz", fastcgi.FORM),
        good_login(more={"HTTP_AUTHORIZATION": f"Basic {password(106)}"}, method="GET"),
    ]
    for request in refused:
        assert 400 <= service.send(request).status < 500
    kept = service.connect()
    for number in range(3):
        service.upstream.script(token(200 + number))
        kept.send(good_login(fastcgi.login_json("ulrike", password(200 + number))).encode(
            keep=True))
        assert kept.read_reply().status == 200
    for cut in (-1, -9, -30):
        with service.connect() as connection:
            connection.send(good_login(fastcgi.login_json("ulrike", password(300))).encode()[:cut])
    return kept


def test_passwords_and_tokens_are_gone_once_the_program_is_idle(start):
    need_root()
    service = start(settings={"BAKRYPT_LOG_LEVEL": "info"})
    pid = service.program.pid
    kept = log_in_in_all_ways(service)
    wait_until(lambda: not find_in_memory(pid, PASSWORD_MARK, TOKEN_MARK), IDLE_S + 10,
               "no password and no token left in memory")
    service.upstream.script(token(400))
    kept.send(good_login(fastcgi.login_json("ulrike", password(400))).encode(keep=True))
    assert kept.read_reply().status == 200
    kept.close()


def test_passwords_and_tokens_over_http2_are_gone_once_the_program_is_idle(
        folder, authority, dot_http2):
    """The buffers of HTTP/2 and TLS outlive a login; they go with the idle connections."""
    need_root()
    name, word = "alice", dot.USERS["alice"]
    with Program(folder, token_url=dot_http2.token_url, ca_file=authority.file) as program:
        marks = [word, word.replace(" ", "+")]
        for _ in range(LOGINS):
            reply = fastcgi.exchange(program.target, good_login(fastcgi.login_json(name, word)))
            assert reply.status == 200, reply
            marks += [reply.json["access_token"], reply.json["refresh_token"]]
        wait_until(lambda: not find_in_memory(program.pid, *marks), IDLE_S + 10,
                   "no password and no token left in memory")


def test_the_search_finds_a_password_that_is_in_use(start):
    """Or the test above would prove nothing."""
    need_root()
    service = start()
    held = upstream.Held(token(1))
    service.upstream.script(held)
    with service.connect() as connection:
        connection.send(good_login(fastcgi.login_json("ulrike", password(1))).encode())
        service.upstream.wait_for_requests(1)
        assert find_in_memory(service.program.pid, PASSWORD_MARK)
        held.release()
        assert connection.read_reply().status == 200


@pytest.mark.parametrize("workers", [1, 2])
def test_client_secret_is_not_in_environment_or_command_line(start, workers):
    service = start(arguments=("--workers", workers))
    pid = service.program.pid
    service.check_token(service.post())
    if not folders.is_root():
        pytest.skip("only root can read the environment of a process that is not dumpable")
    for each in (pid, *procfs.children(pid)):
        assert CLIENT_SECRET.encode() not in (procfs.folder(each) / "environ").read_bytes()
        assert CLIENT_SECRET.encode() not in (procfs.folder(each) / "cmdline").read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_no_core_is_written(start, workers):
    pid = start(arguments=("--workers", workers)).program.pid
    for each in (pid, *procfs.children(pid)):
        assert procfs.limit(each, "Max core file size") == ("0", "0")


def as_web_user(folder, authority):
    """A service as root would start it for another user: in a folder of that user's own."""
    user, group = folders.web_user()
    home = folder / "web-user"
    home.mkdir(mode=0o700)
    shutil.copy(authority.file, home / "ca.pem")
    for path in (home, home / "ca.pem"):
        shutil.chown(path, user, group)
    return Service(home, authority, settings={"BAKRYPT_CA_FILE": home / "ca.pem"}, wrapper=(
        "setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"))


def test_program_is_not_dumpable(folder, authority):
    """The kernel gives /proc/PID of such a process to root, so that its own user cannot look."""
    service = as_web_user(folder, authority) if folders.is_root() else Service(folder, authority)
    with service:
        pid = service.program.pid
        assert procfs.status(pid, "Uid").split()[0] != "0"
        assert os.stat(procfs.folder(pid) / "environ").st_uid == 0
        service.check_token(service.post())
