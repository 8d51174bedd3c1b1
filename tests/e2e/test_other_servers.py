"""lighttpd, Caddy and HAProxy: what their shipped files promise beyond the matrix of doors."""
import concurrent.futures
import contextlib
import os
import shutil
import socket

import pytest

from servers import caddy, client, folders, haproxy, lighttpd, upstream
from servers.process import wait_until
from servers.program import CLIENT_ID, CLIENT_SECRET
from servers.service import PASSWORD, USER

DOORS = (lighttpd.LighttpdDoor, lighttpd.LighttpdCgiDoor, caddy.CaddyDoor, haproxy.HaProxyDoor)
IN_FRONT = (caddy.CaddyDoor, haproxy.HaProxyDoor)  # those with a socket between

GOOD = client.json_body(USER, PASSWORD)
QUERY = "?username=ulrike&password=Kennwort"
MANY = 300
SLOW_S = 0.5
DEADLINE_MS = 12000


def name_of(door_class):
    return door_class.name


@pytest.fixture(name="server", scope="module")
def token_server(authority):
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        yield server


@pytest.fixture(name="settings", scope="module")
def program_settings(server, authority):
    return {"BAKRYPT_TOKEN_URL": server.url, "BAKRYPT_CA_FILE": authority.file,
            "BAKRYPT_CLIENT_ID": CLIENT_ID, "BAKRYPT_CLIENT_SECRET": CLIENT_SECRET}


@pytest.fixture(name="door", params=DOORS, ids=name_of)
def opened_door(request, folder, server, settings, require):
    require(request.param.missing())
    server.reset()
    with request.param(folder, settings) as door:
        yield door


def send(door, query="", **request):
    return client.send(door.origin, GOOD, path=door.login_path + query, **request)


def test_many_logins_at_once(door, server):
    """Whatever the order they are served in, none fails."""
    server.always = upstream.after(SLOW_S, upstream.token())
    with concurrent.futures.ThreadPoolExecutor(MANY) as pool:
        replies = list(pool.map(lambda _: send(door), range(MANY)))
    assert [reply.status for reply in replies] == [200] * MANY
    assert len({reply.headers["X-Request-Id"] for reply in replies}) == MANY


def test_forged_address(door):
    """What a client says of its own address is nobody's business."""
    reply = send(door, headers={"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9",
                                "X-Real-IP": "203.0.113.9"})
    assert door.entry_for(reply.headers["X-Request-Id"])["client"] == "127.0.0.1"
    assert "203.0.113.9" not in door.front_log()


def test_dead_program(door):
    """The server's own answer has the form of the program's, and nothing of the query is logged,
    neither there nor for a good request."""
    assert send(door, QUERY).status == 400
    door.break_program()
    reply = send(door, QUERY)
    assert reply.status in (500, 502, 503), reply
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json["error"] in ("temporarily_unavailable", "server_error")
    assert reply.json["error_description"]
    wait_until(lambda: "/login" in door.front_log().lower(), 10, "the request in the server's log")
    log = door.front_log().lower()
    assert "kennwort" not in log and "ulrike" not in log


@pytest.mark.parametrize("door", IN_FRONT, ids=name_of, indirect=True)
def test_headers_that_are_not_handed_on(door):
    """What the program has no use for stays with the web server."""
    door.program.stop()
    headers = {"Proxy": "http://gossip.example", "Cookie": "gossip=1", "X-Forwarded-For": "gossip",
               "Authorization": "Basic gossip", "X-Other": "is handed on"}
    with listen_at(door.program.target) as listener, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        login = pool.submit(send, door, headers=headers)
        received = read_fastcgi_request(listener)
        assert login.result().status in (502, 503)
    assert b"HTTP_X_OTHER" in received
    assert b"HTTP_PROXY" not in received
    assert b"gossip" not in received


@contextlib.contextmanager
def listen_at(path):
    """A socket in the program's place."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, 0o660)
        if folders.web_group():
            shutil.chown(path, group=folders.web_group())
        listener.listen()
        listener.settimeout(10)
        yield listener


def read_fastcgi_request(listener):
    """The bytes of one request; then hangs up."""
    received = b""
    with listener.accept()[0] as connection:
        connection.settimeout(10)
        while GOOD not in received:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
    return received


def test_deadline_of_the_program(folder, server, settings, require):
    """All of them wait for longer than the program does, which answers by itself."""
    server.reset()
    server.always = upstream.silence
    classes = [door_class for door_class in DOORS if not door_class.missing()]
    with contextlib.ExitStack() as stack:
        doors = [stack.enter_context(door_class(folder, settings)) for door_class in classes]
        with concurrent.futures.ThreadPoolExecutor(len(DOORS)) as pool:
            replies = list(pool.map(send, doors))
        for door, reply in zip(doors, replies):
            assert reply.status == 504, (door.name, reply)
            entry = door.entry_for(reply.headers["X-Request-Id"])
            assert entry["event"] == "upstream_timeout"
            assert entry["ms"]["total"] >= DEADLINE_MS
    for door_class in DOORS:
        require(door_class.missing())
