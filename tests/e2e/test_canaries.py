"""Every reply of the table, driven with secrets that can be recognised: none of them is found
afterwards in a log, the program's or nginx's, in an error, in /proc, in a core, or in a file."""
import json
import os
import re

import pytest

from servers import client, folders, nginx, procfs, source, traces
from servers.canaries import (BODY_MAX, CLIENT_SECRET, MARK, MARKS, NEW_TOKENS, PASSWORD, ROWS,
                              SUCCESSES, Stage)
from servers.process import wait_until

IDLE_S = source.ceiling("UPSTREAM_IDLE_MS") / 1000

pytestmark = pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                                reason="a sanitizer keeps what is freed, and traces by itself")


def test_every_row_and_route_is_played():
    assert set(ROWS) == set(source.faults())
    assert set(SUCCESSES) == set(source.routes())


@pytest.fixture(scope="module", name="stage")
def played(folder, authority, has_nginx, require):
    """The stage after all of it."""
    del has_nginx
    require(traces.missing())
    stage = Stage(folders.make_subfolder(folder, "canaries"), authority, is_listed=True)
    with stage.opened():
        stage.play()
        yield stage


@pytest.mark.parametrize("symbol", ROWS)
def test_row(stage, symbol):
    """It came about, and no secret is in the reply."""
    fault = source.faults()[symbol]
    for seen in stage.seen[symbol]:
        assert seen.status == fault.status, seen
        assert seen.entry["event"] in (fault.event, "upstream_contract"), seen
        assert not traces.find(seen.text, MARKS)


@pytest.mark.parametrize("route", SUCCESSES)
def test_success(stage, route):
    """The tokens are in the reply, and no other secret."""
    for seen in stage.seen[route]:
        assert seen.status == (204 if route == "/logout" else 200), seen
        assert seen.entry["event"] == source.routes()[route].event
        text = seen.text
        for token in NEW_TOKENS.values():
            assert (token in text) == (route in ("/login", "/refresh"))
            text = text.replace(token, "")
        assert not traces.find(text, MARKS)


def test_commands(stage):
    """Nothing but the token is written on standard output, and no secret on the other."""
    for arguments, done in stage.commands.items():
        assert (done.returncode == 0) == (arguments[-1] != "invalid_client"
                                          and arguments != ("token", "invalid_grant")), arguments
        output = done.stdout.decode()
        if arguments == ("token", None):
            for token in NEW_TOKENS.values():
                assert token in output
                output = output.replace(token, "")
        assert not traces.find(output + done.stderr.decode(), MARKS)


def test_secrets_were_there(stage):
    """Or nothing would be proved: the token server got and gave them."""
    grants = [request.form for request in stage.upstream.requests if "password" in request.form]
    assert len(grants) > 20
    assert {(each["client_secret"][0], each["password"][0]) for each in grants} == {
        (CLIENT_SECRET, PASSWORD)}


# Where they could be ------------------------------------------------------------------------------

def test_log_of_the_program(stage):
    lines = stage.service.program.lines + stage.said
    assert len(lines) > 50
    assert not traces.find("\n".join(lines), MARKS)


def test_logs_of_nginx(stage):
    text = stage.front.log_text()
    assert text.count("POST /login ") > 30
    assert not traces.find(text, MARKS)


def test_query_where_nginx_itself_answers(folder, authority, has_nginx):
    """It is not in the access log; it is in the error log, as the README warns."""
    del has_nginx
    home = folders.make_subfolder(folder, "nobody-behind")
    with nginx.ExampleSite(home, str(home / "nobody.sock"), authority.leaf()) as front:
        for body, status in (b"{}", 502), (b" " * (BODY_MAX + 1), 413):
            reply = client.send_by_curl(front.origin, body, path=f"/login?password={MARK}",
                                        ca_file=authority.file)
            assert reply.status == status
        front.wait_for_line(MARK, timeout=5)
        accesses = front.access_log.read_text("utf-8")
    assert accesses.count("POST /login ") == 2
    assert MARK not in accesses


def test_files_of_the_program(stage):
    """It makes and changes none, not even in memory."""
    assert not traces.written_files(stage.openings["program"])


def test_files_of_nginx(stage):
    """At its start its log and its own folders; for a request, none."""
    for line in traces.written_files(stage.openings["nginx"]):
        assert re.search(r'/(access\.log|nginx\.pid|temp_\w+)"', line), line
    for path in stage.front.folder.rglob("*"):
        assert path.is_dir() or not traces.find(path.read_bytes(), MARKS)


def test_core_and_memory_when_idle(stage):
    if not folders.is_root():
        pytest.skip("only root can read the memory of a process that is not dumpable")
    pid = stage.service.program.pid
    wait_until(lambda: not stage.upstream.open_connections, IDLE_S + 10,
               "the end of the connections to the token server")
    traces.end_listing(pid)
    assert not traces.in_core(pid, stage.folder, *MARKS)
    found = traces.in_memory(pid, *MARKS)
    assert set(found) == {MARK} and len(found[MARK]) == 1, found
    for name in ("environ", "cmdline"):
        assert not traces.find((procfs.folder(pid) / name).read_bytes(), MARKS)
