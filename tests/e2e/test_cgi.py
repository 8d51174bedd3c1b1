"""The CGI door, as a web server drives it: environment and standard input in, standard output out."""
import json
import os
import shutil
import signal
import urllib.parse

import pytest

from servers import cgi, fastcgi, program, source, upstream
from servers.service import (ALLOW, CONNECT_TIMEOUT_MS, MARKS, PASSWORD, TIMEOUT_MS, USER,
                             check_headers)

LOGIN = fastcgi.login_json(USER, PASSWORD)
FORM = urllib.parse.urlencode({"username": USER, "password": PASSWORD}).encode()
BODY_MAX = 16 * 1024


@pytest.fixture(scope="module", name="server")
def fixture_server(authority):
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        yield server


@pytest.fixture(name="env")
def fixture_env(server, authority):
    server.reset()
    return {**cgi.settings(server.url, authority.file), "BAKRYPT_TIMEOUT_MS": TIMEOUT_MS,
            "BAKRYPT_CONNECT_TIMEOUT_MS": CONNECT_TIMEOUT_MS}


def bare(env, *left_out):
    return {name: value for name, value in env.items() if name not in left_out}


def check_token(run, **changes):
    assert run.reply.status == 200, run
    assert run.reply.json == upstream.token_members(**changes)
    check_headers(run.reply, {})
    assert (run.entry["event"], run.entry["status"]) == ("login_ok", 200)
    assert run.entry["request_id"] == run.reply.header("x-request-id")
    check_end(run)


def check_fault(run, symbol, **more):
    fault = source.faults()[symbol]
    assert run.reply.status == fault.status, run
    assert run.reply.json == {"error": fault.code, "error_description": fault.description,
                              "request_id": run.reply.header("x-request-id")}
    check_headers(run.reply, more)
    assert (run.entry["event"], run.entry["level"]) == (fault.event, fault.level)
    check_end(run)


def check_end(run):
    assert run.returncode == 0
    for mark in MARKS:
        assert mark.lower() not in str(run.entries).lower()


# One request --------------------------------------------------------------------------------------

def test_login_by_json(env, server):
    check_token(cgi.request(LOGIN, env))
    assert server.requests[-1].form["password"] == [PASSWORD]


def test_login_by_form(env, server):
    check_token(cgi.request(FORM, env, content_type=fastcgi.FORM))
    assert server.requests[-1].form["username"] == [USER]


def test_wrong_password(env, server):
    server.script(upstream.error("invalid_grant"))
    check_fault(cgi.request(LOGIN, env), "LOGIN_REFUSED",
                **{"www-authenticate": 'Bearer realm="bakrypt"'})


@pytest.mark.parametrize("length", [None, "", "-1", "x"])
def test_body_of_no_stated_length_is_read_to_its_end(env, length):
    check_token(cgi.request(LOGIN, env, length=length))


def test_body_that_goes_on_behind_its_length(env):
    check_token(cgi.request(LOGIN + b"\n more", env, length=len(LOGIN)))


def test_standard_input_need_not_end(env):
    process = cgi.start({**cgi.variables(length=len(LOGIN)), **env})
    process.stdin.write(LOGIN)
    process.stdin.flush()
    process.wait(timeout=20)
    check_token(cgi.finish(process))


def test_body_in_pieces(env):
    process = cgi.start({**cgi.variables(length=len(LOGIN)), **env})
    for byte in LOGIN:
        os.write(process.stdin.fileno(), bytes([byte]))
    check_token(cgi.finish(process))


def test_body_from_a_file(env, tmp_path):
    """As lighttpd does it."""
    (tmp_path / "body").write_bytes(LOGIN)
    with open(tmp_path / "body", "rb") as body, open(tmp_path / "reply", "w+b") as reply:
        process = cgi.start({**cgi.variables(length=len(LOGIN)), **env}, stdin=body, stdout=reply)
        _, errors = process.communicate(timeout=20)
        reply.seek(0)
        read = cgi.read_reply(reply.read())
    assert (read.status, process.returncode) == (200, 0), errors


def test_body_cut_short(env):
    check_fault(cgi.request(LOGIN, env, length=len(LOGIN) + 1), "BODY_CUT")


def test_standard_input_closed(env):
    process = cgi.start({**cgi.variables(length=len(LOGIN)), **env}, stdin=None,
                        preexec_fn=lambda: os.close(0))
    output, errors = process.communicate(timeout=20)
    assert cgi.read_reply(output).status == 400, errors


@pytest.mark.parametrize("length", [None, BODY_MAX + 1, 10 ** 30])
def test_body_too_large(env, server, length):
    run = cgi.request(b" " * (BODY_MAX + 1), env, length=length)
    check_fault(run, "BODY_TOO_LARGE")
    assert not server.requests


def test_largest_body(env):
    body = LOGIN + b" " * (BODY_MAX - len(LOGIN))
    check_token(cgi.request(body, env, length=None))


def test_options(env):
    process = cgi.start({**cgi.variables(method="OPTIONS", length=None), **env})
    run = cgi.finish(process)
    assert (run.reply.status, run.reply.body, run.entries) == (204, b"", [])
    assert run.reply.header("allow") == ALLOW


def test_get_does_not_wait_for_a_body(env):
    process = cgi.start({**cgi.variables(method="GET", length=None), **env})
    process.wait(timeout=20)
    check_fault(cgi.finish(process), "METHOD", allow=ALLOW)


@pytest.mark.parametrize("target", ["/login", "/cgi-bin/login.cgi", "/cgi-bin/login.cgi/login",
                                    "/a/b/login.fcgi?x=1", "http://example.test/login"])
def test_path(env, target):
    check_token(cgi.request(LOGIN, env, target=target))


@pytest.mark.parametrize("target", ["/login.php", "/.cgi", "/login.cgi.cgi", "/other.cgi"])
def test_another_path(env, target):
    run = cgi.request(LOGIN, {**env, "BAKRYPT_LOG_LEVEL": "debug"}, target=target)
    assert (run.reply.status, run.entry["event"]) == (404, "not_found")


def test_arguments_count_for_nothing(env):
    """A web server makes arguments of a query without "="."""
    check_token(cgi.request(LOGIN, env, "--version", "-x", "y"))


def test_proxy_header_is_no_proxy(env):
    check_token(cgi.request(LOGIN, env, HTTP_PROXY="http://127.0.0.1:9", http_proxy="127.0.0.1:9",
                            HTTPS_PROXY="http://127.0.0.1:9", ALL_PROXY="http://127.0.0.1:9"))


def test_request_id_is_taken_over(env):
    run = cgi.request(LOGIN, env, HTTP_X_REQUEST_ID="from.outside-1")
    assert run.reply.header("x-request-id") == run.entry["request_id"] == "from.outside-1"
    assert run.entry["client"] == "192.0.2.7"


def test_slow_login(env, server):
    server.script(upstream.after(0.5, upstream.token()))
    check_token(cgi.request(LOGIN, env))


def test_upstream_is_down(env, authority):
    closed = {**env, **cgi.settings("https://127.0.0.1:9/", authority.file)}
    check_fault(cgi.request(LOGIN, closed), "UPSTREAM_UNREACHABLE", **{"retry-after": "5"})


def test_upstream_is_silent(env, server):
    server.script(upstream.silence)
    check_fault(cgi.request(LOGIN, env), "UPSTREAM_TIMEOUT")


# Its end ------------------------------------------------------------------------------------------

def test_signal_does_not_cut_a_login_off(env, server):
    held = upstream.Held()
    server.script(held)
    process = cgi.start({**cgi.variables(length=len(LOGIN)), **env})
    process.stdin.write(LOGIN)
    process.stdin.flush()
    server.wait_for_requests(1)
    process.send_signal(signal.SIGTERM)
    held.release()
    check_token(cgi.finish(process))


def test_web_server_that_gives_up(env, server):
    """The reading end of standard output is closed during the login."""
    held = upstream.Held()
    server.script(held)
    process = cgi.start({**cgi.variables(length=len(LOGIN)), **env})
    process.stdin.write(LOGIN)
    process.stdin.flush()
    server.wait_for_requests(1)
    process.stdout.close()
    line = process.stderr.readline()
    assert b'"event":"client_abort"' in line, line
    held.release()
    assert process.wait(timeout=20) == 0
    orphan = json.loads(process.stderr.read())  # one line, and no other
    assert orphan["event"] == "orphan_revoked"
    assert orphan["login"] == json.loads(line)["request_id"]
    assert server.requests[-1].path == upstream.REVOKE_PATH
    assert server.requests[-1].form["token"] == [upstream.REFRESH_TOKEN]
    process.stderr.close()
    process.stdin.close()


def test_standard_error_closed(env):
    """What is for the log must not go to the token server or the client."""
    process = cgi.start({**cgi.variables(length=len(LOGIN)), **env}, stderr=None,
                        preexec_fn=lambda: os.close(2))
    output, _ = process.communicate(LOGIN, timeout=20)
    assert cgi.read_reply(output).json == upstream.token_members()


# Settings -----------------------------------------------------------------------------------------

def check_config_bad(run, *words):
    check_fault(run, "CONFIG")
    for word in words:
        assert word in run.entry["note"], run.entry


def write_settings(path, env, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}={value}\n" for name, value in env.items()), encoding="utf-8")
    path.chmod(mode)
    return path


def test_no_settings():
    check_config_bad(cgi.request(LOGIN, {}), "BAKRYPT_CLIENT_ID", "is not set")


def test_bad_setting_is_named(env):
    check_config_bad(cgi.request(LOGIN, {**env, "BAKRYPT_TIMEOUT_MS": "soon"}),
                     "BAKRYPT_TIMEOUT_MS", "soon")


def test_bad_settings_do_not_hide_what_the_request_lacks():
    run = cgi.request(b"", {}, method="GET")
    check_fault(run, "METHOD", allow=ALLOW)


def test_variables_of_a_rewritten_request(env, server):
    check_token(cgi.request(LOGIN, {f"REDIRECT_{name}": value for name, value in env.items()}))
    check_token(cgi.request(LOGIN, {**bare(env, "BAKRYPT_CLIENT_SECRET"),
                                    "REDIRECT_REDIRECT_BAKRYPT_CLIENT_SECRET": "twice",
                                    "REDIRECT_BAKRYPT_CLIENT_ID": "not this one"}))
    assert server.requests[-1].form["client_secret"] == ["twice"]
    assert server.requests[-1].form["client_id"] == [program.CLIENT_ID]


def test_settings_file_in_the_home_folder(env, tmp_path):
    write_settings(tmp_path / ".config" / "bakrypt-login.conf", env)
    check_token(cgi.request(LOGIN, {"HOME": tmp_path}))



def test_settings_file_beside_the_program(env, tmp_path):
    binary = shutil.copy(program.binary(), tmp_path / "login.cgi")
    write_settings(tmp_path / "bakrypt-login.conf", env)
    process = cgi.start({**cgi.variables(length=len(LOGIN)), "HOME": "/nonexistent"}, path=binary)
    check_token(cgi.finish(process, LOGIN))


def test_named_file_comes_before_those_that_are_found(env, tmp_path):
    write_settings(tmp_path / ".config" / "bakrypt-login.conf", {"BAKRYPT_CLIENT_ID": ""})
    named = write_settings(tmp_path / "named", env)
    check_token(cgi.request(LOGIN, {"HOME": tmp_path, "BAKRYPT_CONFIG": named}))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644])
def test_settings_file_that_others_can_read(env, tmp_path, mode):
    path = write_settings(tmp_path / "settings", env, mode)
    check_config_bad(cgi.request(LOGIN, {"BAKRYPT_CONFIG": path}), "BAKRYPT_CLIENT_SECRET",
                     str(path), "chmod")


@pytest.mark.parametrize("place", ["settings", "a/b/settings", "../link"])
def test_settings_file_that_the_web_server_publishes(env, tmp_path, place):
    root = tmp_path / "htdocs"
    path = write_settings(root / ("real" if place.startswith("..") else place), env)
    if place.startswith(".."):
        (tmp_path / "link").symlink_to(path)
    run = cgi.request(LOGIN, {"BAKRYPT_CONFIG": root / place, "DOCUMENT_ROOT": root})
    check_config_bad(run, "BAKRYPT_CLIENT_SECRET", "publishes", str(root))


def test_secret_file_that_the_web_server_publishes(env, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(program.CLIENT_SECRET)
    secret.chmod(0o600)
    run = cgi.request(LOGIN, {**bare(env, "BAKRYPT_CLIENT_SECRET"), "DOCUMENT_ROOT": f"{tmp_path}/",
                              "BAKRYPT_CLIENT_SECRET_FILE": secret})
    check_config_bad(run, "BAKRYPT_CLIENT_SECRET_FILE", "publishes")


@pytest.mark.parametrize("root", ["htdocs", "settin", "missing"])
def test_settings_file_outside_of_what_is_published(env, tmp_path, root):
    path = write_settings(tmp_path / "settings", env)
    if root != "missing":
        (tmp_path / root).mkdir()
    check_token(cgi.request(LOGIN, {"BAKRYPT_CONFIG": path, "DOCUMENT_ROOT": tmp_path / root}))


def test_settings_without_the_secret_may_be_published(env, tmp_path):
    path = write_settings(tmp_path / "settings", bare(env, "BAKRYPT_CLIENT_SECRET"), 0o644)
    check_token(cgi.request(LOGIN, {"BAKRYPT_CONFIG": path, "DOCUMENT_ROOT": tmp_path,
                                    "BAKRYPT_CLIENT_SECRET": program.CLIENT_SECRET}))


def test_certificates_that_cannot_be_read(env, tmp_path):
    run = cgi.request(LOGIN, {**env, "BAKRYPT_CA_FILE": tmp_path / "none"})
    check_config_bad(run, "BAKRYPT_CA_FILE")
