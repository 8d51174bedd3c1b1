"""No memory is lost, and none used that is not there to be used: every reply, under valgrind."""
import os
import signal
import subprocess

import pytest

from servers import (cgi, fastcgi, folders, http2_upstream, memcheck, procfs, program, source,
                     upstream)
from servers.canaries import ROWS, Stage
from servers.process import wait_until
from servers.service import PASSWORD, USER, Service, good_login

# A first handshake takes 4 s of CPU.
TIMEOUTS = {"BAKRYPT_TIMEOUT_MS": 8000, "BAKRYPT_CONNECT_TIMEOUT_MS": 7000}
LONG_TIMEOUTS = {"BAKRYPT_TIMEOUT_MS": 60000, "BAKRYPT_CONNECT_TIMEOUT_MS": 60000}
WARM_S = 100

GOOD_BODY = fastcgi.login_json(USER, PASSWORD)

pytestmark = pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                                reason="a sanitizer and valgrind do not go together")


@pytest.fixture(name="home")
def home_of_reports(folder, require, request):
    require(memcheck.missing())
    return folders.make_subfolder(folder, f"memcheck-{request.node.name}")


def warm_up(service):
    """The first login may take longer than its time."""
    wait_until(lambda: service.post().status == 200, WARM_S, "a first login")


def test_every_reply(home, authority, has_nginx):
    del has_nginx
    stage = Stage(home, authority, settings=TIMEOUTS, wrapper=memcheck.wrapper(home))
    with stage.opened():
        warm_up(stage.service)
        stage.play()
    for symbol in ROWS:
        assert {seen.status for seen in stage.seen[symbol]} == {source.faults()[symbol].status}
    assert not memcheck.findings(home)


HTTP2_ANSWERS = [
    http2_upstream.token_in_tiny_frames, http2_upstream.token_byte_by_byte,
    http2_upstream.refuse(), http2_upstream.go_away(), http2_upstream.garbage,
    http2_upstream.hang_up, http2_upstream.reset_connection, http2_upstream.frame_on_idle_stream,
    http2_upstream.answer(200, "x" * 100000), http2_upstream.answer(400, "{}", length=9),
    http2_upstream.in_turn(http2_upstream.part(9), http2_upstream.hang_up),
]


def test_http2_new_settings_and_the_end(home, authority):
    """Whatever the token server does; settings, good ones and bad; a stop in the middle of it."""
    leaf = authority.leaf()
    settings = home / "settings"
    settings.touch(mode=0o600)
    with http2_upstream.Http2Upstream(leaf.certificate, leaf.key) as server, \
            Service(home, authority, server=server, settings=TIMEOUTS,
                    wrapper=memcheck.wrapper(home), arguments=("--config", settings)) as service:
        warm_up(service)
        for answer in HTTP2_ANSWERS:
            server.script(answer)
            assert service.post().status in (200, 502, 504)
            assert service.post().status == 200  # or it would be left alone after the third
        for text, event in ("BAKRYPT_SCOPE=read\n", "reload"), ("nonsense\n", "reload_refused"):
            settings.write_text(text, encoding="ascii")
            service.program.send_signal(signal.SIGHUP)
            service.program.wait_for_event(event)
            assert service.post().status == 200
        before = len(server.requests)
        server.script(http2_upstream.silence)
        with service.connect() as whole, service.connect() as half:
            half.send(good_login().encode()[:-20])
            whole.send(good_login().encode())
            server.wait_for(lambda each: len(each.requests) > before)
            service.program.send_signal(signal.SIGTERM)
            assert whole.read_reply().status == 504
        assert service.program.wait(30) == 0
    assert not memcheck.findings(home)


def test_parent_and_workers(home, authority):
    with Service(home, authority, settings=LONG_TIMEOUTS, wrapper=memcheck.wrapper(home),
                 arguments=("--workers", "2")) as service:
        pid = service.program.pid
        first, _ = wait_until(lambda: len(procfs.children(pid)) == 2 and procfs.children(pid),
                              WARM_S, "two workers")
        os.kill(first, signal.SIGKILL)
        service.program.wait_for_event("worker_died", timeout=WARM_S)
        service.program.send_signal(signal.SIGHUP)
        service.program.wait_for_event("reload", timeout=WARM_S)
    assert not memcheck.findings(home)


@pytest.mark.parametrize("name", ["cgi", "token", "--check"])
def test_short_runs(home, authority, name):
    leaf = authority.leaf()
    body = PASSWORD.encode()
    more, arguments = {}, (name, "-u", USER)
    if name == "cgi":
        body, more, arguments = GOOD_BODY, cgi.variables(length=len(GOOD_BODY)), ()
    elif name == "--check":
        arguments = (name,)
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        if name == "--check":
            server.script(upstream.error("invalid_grant"), upstream.status(200, ""))
        env = {**cgi.settings(server.url, authority.file), **LONG_TIMEOUTS, **more}
        done = subprocess.run([*memcheck.wrapper(home), program.binary(), *arguments], input=body,
                              env=program.make_env(env), capture_output=True, check=False,
                              timeout=WARM_S)
        assert len(server.requests) == (2 if name == "--check" else 1)
    assert done.returncode == 0, done
    assert not memcheck.findings(home)
