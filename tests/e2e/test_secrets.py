"""What stays of a secret in memory, in /proc and in a core. (Every test looks at the logs;
test_canaries.py drives every reply.)"""
import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.parse

import pytest

from servers import (cgi, dot, fastcgi, folders, http2_upstream, procfs, program, source, traces,
                     upstream)
from servers.process import wait_until
from servers.program import Program
from servers.service import Service, good_login

IDLE_S = source.ceiling("UPSTREAM_IDLE_MS") / 1000
LOGINS = 20

# Part of every password and token used here, and of nothing else.
PASSWORD_MARK = "kennwort-zqj7"
TOKEN_MARK = "t0ken-zqj7"

# With what has to be encoded on the way to Bakrypt. No other text holds its first part.
SECRET_MARK = "geheimnis-zqj7"
SECRET = f"{SECRET_MARK} +&%= /end"
SENT_SECRET = urllib.parse.quote_plus(SECRET)

# For what is looked at while a login waits, however busy the machine.
PATIENT = {"BAKRYPT_TIMEOUT_MS": 60000, "BAKRYPT_CONNECT_TIMEOUT_MS": 30000,
           "BAKRYPT_CLIENT_SECRET": SECRET}

pytestmark = pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                                reason="a sanitizer's allocator keeps what it frees")


def password(number):
    return f"ulrike-{PASSWORD_MARK}-{number:04}"


def tokens(number):
    return {"access_token": f"acc3ss-{TOKEN_MARK}-{number:04}",
            "refresh_token": f"r3fresh-{TOKEN_MARK}-{number:04}"}


def token(number):
    return upstream.token(**tokens(number))


def need_root():
    if not folders.is_root():
        pytest.skip("only root can read the memory of a process that is not dumpable")


# Every kind of request ----------------------------------------------------------------------------

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
    wait_until(lambda: not traces.in_memory(pid, PASSWORD_MARK, TOKEN_MARK), IDLE_S + 10,
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
        wait_until(lambda: not traces.in_memory(program.pid, *marks), IDLE_S + 10,
                   "no password and no token left in memory")


def test_passwords_of_logins_that_were_refused_unsent_are_gone_at_once(start):
    """While upstream does not know our client; some have waited for the probe."""
    need_root()
    service = start(settings={"BAKRYPT_LOG_LEVEL": "info"})
    service.upstream.always = upstream.error("invalid_client", 401)
    assert service.post().status == 500
    due = time.monotonic() + 1.5 * source.ceiling("BREAKER_PAUSE_MIN_MS") / 1000
    while time.monotonic() < due:
        assert service.post(fastcgi.login_json("ulrike", password(1))).status == 503
    assert len(service.upstream.requests) == 2
    assert not traces.in_memory(service.program.pid, PASSWORD_MARK)


# A thousand logins --------------------------------------------------------------------------------

def http1_server(leaf):
    numbers = itertools.count()
    server = upstream.Upstream(leaf.certificate, leaf.key)
    server.always = lambda wire, request: token(next(numbers))(wire, request)
    return server


def http2_server(leaf):
    numbers = itertools.count()

    def answer(wire, stream):
        body = json.dumps(upstream.token_members(**tokens(next(numbers))))
        http2_upstream.answer(200, body)(wire, stream)

    server = http2_upstream.Http2Upstream(leaf.certificate, leaf.key)
    server.always = answer
    return server


SERVED = {"http/1.1": (http1_server, 1), "http/2": (http2_server, 1),
          "http/2, two workers": (http2_server, 2)}


def log_in_a_thousand_times(address):
    """Half on connections of their own, half on kept ones, 16 at a time. The tokens' numbers."""
    def one_after_the_other(numbers):
        seen = set()
        with fastcgi.Connection(address) as kept:
            for number in numbers:
                request = good_login(fastcgi.login_json("ulrike", password(number)))
                if number % 2:
                    kept.send(request.encode(keep=True))
                    reply = kept.read_reply()
                else:
                    reply = fastcgi.exchange(address, request)
                assert reply.status == 200, reply
                seen.add(reply.json["access_token"])
        return seen

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        parts = pool.map(one_after_the_other, (range(i, 1000, 16) for i in range(16)))
        return set().union(*parts)


@pytest.fixture(scope="module", name="idle")
def idle_services(folder, authority):
    """Programs after a thousand logins with as many passwords and tokens, and so long after them
    that they have nothing more to do. All wait at the same time."""
    need_root()
    with contextlib.ExitStack() as stack:
        services = {}
        for name, (make_server, workers) in SERVED.items():
            server = stack.enter_context(make_server(authority.leaf()))
            services[name] = stack.enter_context(Service(
                folder, authority, server=server, arguments=("--workers", workers),
                settings={**PATIENT, "BAKRYPT_LOG_LEVEL": "info"}))
        for service in services.values():
            assert len(log_in_a_thousand_times(service.address)) == 1000
        for service in services.values():
            wait_until(lambda each=service: not each.upstream.open_connections, IDLE_S + 10,
                       "the end of the connections to the token server")
        yield services


def processes(service):
    return [service.program.pid, *procfs.children(service.program.pid)]


MARKS = (PASSWORD_MARK, TOKEN_MARK, SECRET_MARK, SENT_SECRET)


@pytest.mark.parametrize("name", SERVED)
def test_core_after_a_thousand_logins_holds_no_secret(idle, folder, name):
    for pid in processes(idle[name]):
        assert not traces.in_core(pid, folder, *MARKS)


@pytest.mark.parametrize("name", SERVED)
def test_memory_after_a_thousand_logins_holds_the_client_secret_once(idle, name):
    """Where it is locked and in no core: in each worker, and in the parent, which hands it on to
    the workers that it starts later."""
    service = idle[name]
    assert len(processes(service)) == {1: 1, 2: 3}[SERVED[name][1]]
    for pid in processes(service):
        assert not traces.in_memory(pid, PASSWORD_MARK, TOKEN_MARK)
        assert is_kept(pid, SECRET_MARK)


def is_kept(pid, mark):
    """Whether it is in one place alone, which is locked and in no core."""
    places = traces.in_memory(pid, mark).get(mark, [])
    return len(places) == 1 and procfs.flags(pid, int(places[0][0], 16)) >= {"lo", "dd"}


def test_search_finds_what_is_in_use(start, folder):
    """Or the tests above would prove nothing: a login under way has its password in memory, and
    the client secret in the form in which it is sent."""
    need_root()
    service = start(settings=PATIENT)
    held = upstream.Held(token(1))
    service.upstream.script(held)
    with service.connect() as connection:
        connection.send(good_login(fastcgi.login_json("ulrike", password(1))).encode())
        service.upstream.wait_for_requests(1)
        for found in (traces.in_memory(service.program.pid, *MARKS),
                      traces.in_core(service.program.pid, folder, *MARKS)):
            assert PASSWORD_MARK in found and SENT_SECRET in found
        held.release()
        assert connection.read_reply().status == 200


# A core by the kernel -----------------------------------------------------------------------------

# Loaded before libc, it keeps the program from forbidding its core.
LEAVES_CORE = """\
int setrlimit(int resource, const void *limit) { return 0; }
int prctl(int option, ...) { return 0; }
"""


def test_core_by_the_kernel_leaves_out_where_the_client_secret_is_kept(folder, authority, require):
    require(None if shutil.which("gcc") else "gcc is not installed")
    if pathlib.Path("/proc/sys/kernel/core_pattern").read_text("ascii").strip() != "core":
        pytest.skip("the kernel puts cores elsewhere")
    home = folders.make_subfolder(folder, "core-by-the-kernel")
    library = home / "leaves-core.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-xc", "-", "-o", library], input=LEAVES_CORE,
                   text=True, check=True)
    with Service(folder, authority, wrapper=("prlimit", "--core=unlimited", "env", "-C", home),
                 settings={**PATIENT, "LD_PRELOAD": library,
                           "BAKRYPT_SANDBOX": "off"}) as service:  # which would forbid it, too
        service.upstream.script(upstream.Held())
        with service.connect() as connection:
            connection.send(good_login(fastcgi.login_json("ulrike", password(1))).encode())
            service.upstream.wait_for_requests(1)
            service.program.send_signal(signal.SIGABRT)
            assert service.program.wait(10) == -signal.SIGABRT
    core, = (path for path in home.iterdir() if path.name.startswith("core"))
    found = traces.find(core.read_bytes(), (SECRET, SENT_SECRET, PASSWORD_MARK))
    assert set(found) == {SENT_SECRET, PASSWORD_MARK}


# Where the client secret is -----------------------------------------------------------------------

def from_environment(_):  # as PATIENT has it
    return {}, ()


def private_file(path, text):
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def from_secret_file(home):
    path = private_file(home / "secret", f"{SECRET}\n")
    return {"BAKRYPT_CLIENT_SECRET": None, "BAKRYPT_CLIENT_SECRET_FILE": path}, ()


def from_credential(home):
    private_file(home / "client_secret", SECRET)
    return {"BAKRYPT_CLIENT_SECRET": None, "CREDENTIALS_DIRECTORY": home}, ()


def from_settings_file(home):
    path = private_file(home / "settings", f"# ours\nBAKRYPT_CLIENT_SECRET = '{SECRET}'\n")
    return {"BAKRYPT_CLIENT_SECRET": None}, ("--config", path)


SOURCES = {"environment": from_environment, "secret file": from_secret_file,
           "credential": from_credential, "settings file": from_settings_file}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", SOURCES)
def test_client_secret_is_there_once_wherever_it_is_from(start, folder, name, workers):
    """At the start, and after new settings."""
    need_root()
    home = folders.make_subfolder(folder, f"{name}-{workers}".replace(" ", "-"))
    settings, arguments = SOURCES[name](home)
    service = start(settings={**PATIENT, **settings},
                    arguments=("--workers", workers, *arguments))
    count = 1 if workers == 1 else 3
    wait_until(lambda: len(processes(service)) == count, 5, "all processes")
    assert service.post().status == 200
    for reloads in (1, 2):
        for pid in processes(service):
            wait_until(lambda each=pid: is_kept(each, SECRET_MARK), 5, f"the secret kept in {pid}")
            assert b"zqj7" not in (procfs.folder(pid) / "environ").read_bytes()
            assert b"zqj7" not in (procfs.folder(pid) / "cmdline").read_bytes()
        service.program.send_signal(signal.SIGHUP)
        service.program.wait_for_event("reload", count=reloads * workers)
        assert service.post().status == 200
    assert service.upstream.requests[-1].form["client_secret"] == [SECRET]


def test_memory_that_cannot_be_locked_is_used_all_the_same(start):
    """And the log says so, once."""
    wrapper = ("prlimit", "--memlock=0")
    if folders.is_root():
        wrapper += ("setpriv", "--bounding-set=-ipc_lock")
    service = start(wrapper=wrapper, arguments=("--workers", "2"),
                    settings=PATIENT)
    notice = service.program.wait_for_event("setting_notice")
    assert notice["level"] == "warn" and "LimitMEMLOCK" in notice["note"]
    service.check_token(service.post())
    service.check_token(service.post())
    assert len(service.program.find_events("setting_notice")) == 1
    if folders.is_root():
        (address, _), = traces.in_memory(service.program.pid, SECRET_MARK)[SECRET_MARK]
        flags = procfs.flags(service.program.pid, int(address, 16))
        assert "dd" in flags and "lo" not in flags


# Core files and other users -----------------------------------------------------------------------

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


# Programs that serve one request, or none, held in the middle of it.

def cgi_login(env):
    process = cgi.start({**env, **cgi.variables(length=len(GOOD_BODY))})
    process.stdin.write(GOOD_BODY)
    process.stdin.close()
    return process


def token_command(env):
    process = subprocess.Popen([program.binary(), "token", "-u", "ulrike"],
                               env=program.make_env(env), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(password(1).encode())
    process.stdin.close()
    return process


def check_command(env):
    return subprocess.Popen([program.binary(), "--check"], env=program.make_env(env),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


GOOD_BODY = fastcgi.login_json("ulrike", password(1))


@pytest.mark.parametrize("run", [cgi_login, token_command, check_command])
def test_short_runs_leave_no_core_and_no_secret_in_their_environment(authority, run):
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        held = server.always = upstream.Held(token(1))
        process = run({**cgi.settings(server.url, authority.file), **PATIENT})
        server.wait_for_requests(1)
        assert procfs.limit(process.pid, "Max core file size") == ("0", "0")
        if folders.is_root():
            for name in ("environ", "cmdline"):
                text = (procfs.folder(process.pid) / name).read_bytes()
                assert SECRET_MARK.encode() not in text
            assert is_kept(process.pid, SECRET)
        held.release()
        output, errors = process.stdout.read(), process.stderr.read()
        process.wait(20)
    assert PASSWORD_MARK.encode() not in output + errors
    assert SECRET_MARK.encode() not in output + errors
    assert TOKEN_MARK.encode() not in errors
