"""`bakrypt-login --check`: what is wrong, told without touching an account."""
import dataclasses
import json
import os
import pathlib
import re
import subprocess

import pytest

from servers import cgi, upstream
from servers.process import wait_until
from servers.program import CLIENT_ID, CLIENT_SECRET, binary, make_env, run_once
from servers.proxy import Proxy
from servers.service import CONNECT_TIMEOUT_MS, TIMEOUT_MS

UNAVAILABLE, OS_ERROR, CONFIG = 69, 71, 78
SERVICE = pathlib.Path(__file__).resolve().parents[2] / "deploy/systemd/bakrypt-login.service"
HASH = "pbkdf2_sha256$260000$Xq1sE9x0QzvYbb2u$7J3mDkq0="
NETWORKS = {"mainnet": "bakrypt.io:443", "testnet": "testnet.bakrypt.io:443"}

# What a token server says of a refresh token that does not exist, to its client and to others.
KNOWN = upstream.error("invalid_grant")
UNKNOWN = upstream.error("invalid_client", 401)


@pytest.fixture(scope="module", name="server")
def fixture_server(authority):
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        yield server


@pytest.fixture(name="env")
def fixture_env(server, authority):
    server.reset()
    return settings(server.url, authority)


def settings(url, authority, **changes):
    return {**cgi.settings(url, authority.file), "BAKRYPT_TIMEOUT_MS": TIMEOUT_MS,
            "BAKRYPT_CONNECT_TIMEOUT_MS": CONNECT_TIMEOUT_MS, **changes}


def check(env, *arguments, status=0):
    """{what: finding} by --json, which agrees with what is told at a terminal."""
    done = run_once("--check", "--json", *arguments, settings=env)
    assert (done.returncode, done.stderr) == (status, ""), done
    report = json.loads(done.stdout)
    findings = report["findings"]
    assert set(report) == {"ok", "findings"}
    assert report["ok"] == (status == 0) == ("fail" not in {each["level"] for each in findings})
    for each in findings:
        assert {"level", "what", "detail"} <= set(each) <= {"level", "what", "detail", "fix"}
        assert each["level"] == "ok" or each["fix"]
    for secret in (CLIENT_SECRET, HASH, upstream.GOSSIP, upstream.ACCESS_TOKEN):
        assert secret not in done.stdout
    by_what = {each["what"]: each for each in findings}
    assert len(by_what) == len(findings)
    return by_what


def levels(findings):
    return {what: finding["level"] for what, finding in findings.items()}


WELL = {"settings": "ok", "connection": "ok", "certificate": "ok"}


def check_failure(findings, what, *words):
    """Everything before it is well, and it says so and what to do."""
    failed = findings[what]
    assert failed["level"] == "fail"
    assert levels(findings) == {**{name: WELL[name] for name in WELL if name in findings},
                                what: "fail"}
    for word in words:
        assert word in failed["detail"] + "; " + failed["fix"]


# All is well ---------------------------------------------------------------------------------------

def test_real_token_server(dot, authority):
    findings = check(settings(dot.token_url, authority))
    assert levels(findings) == {**WELL, "client": "ok", "revocation": "ok"}
    assert f"localhost:{dot.port}" in findings["connection"]["detail"]
    assert re.search(r"for (28|29|30) days", findings["certificate"]["detail"])


def test_server_that_speaks_http2(dot_http2, authority):
    findings = check(settings(dot_http2.token_url, authority))
    assert levels(findings) == {**WELL, "client": "ok", "revocation": "ok"}


def test_no_account_is_touched(env, server):
    server.script(KNOWN, upstream.status(200, ""))
    check(env)
    grant, revocation = (request.form for request in server.requests)
    assert (grant["grant_type"], grant["client_id"]) == (["refresh_token"], [CLIENT_ID])
    assert "username" not in grant and "password" not in grant
    assert revocation["token"] == grant["refresh_token"]
    assert server.requests[1].path == "/auth/revoke_token/"
    assert server.connections == 1


def test_lines_for_a_terminal(env, server):
    server.script(KNOWN, upstream.status(404))
    done = run_once("--check", settings=env)
    assert (done.returncode, done.stderr) == (0, "")
    shown, told = [], []
    for line in done.stdout.splitlines():
        (shown if line.startswith("  ") else told).append(line)
    assert any(re.match(rf"  BAKRYPT_CLIENT_ID +{CLIENT_ID}$", line) for line in shown)
    assert [re.match(r"(ok  |warn|fail)  (\w+): .", line).group(2) for line in told] == [
        "settings", "connection", "certificate", "client", "revocation"]
    assert told[-1].startswith("warn") and "; check BAKRYPT_REVOKE_URL" in told[-1]
    assert CLIENT_SECRET not in done.stdout


def test_findings_come_as_they_are_found(env, server, folder):
    """Not all at the end: at a terminal one sees what it waits for."""
    held = upstream.Held(UNKNOWN)
    server.script(KNOWN, held)
    env["BAKRYPT_TIMEOUT_MS"] = 60000
    path = folder / "check-output"
    with open(path, "w", encoding="ascii") as output:
        process = cgi.start(env, "--check", stdout=output)
        server.wait_for_requests(2)
        wait_until(lambda: "client: id and secret" in path.read_text(), 10, "the client's line")
        held.release()
        process.communicate(timeout=20)
    assert "revocation" in path.read_text()


# Settings ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments", [["--check"], ["--check", "--json"], ["--help"]], ids=str)
@pytest.mark.parametrize("is_closed", [False, True], ids=["full", "closed"])
def test_report_that_cannot_be_written_is_no_good_one(env, server, arguments, is_closed):
    server.script(KNOWN, upstream.status(200, ""))
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([binary(), *arguments], env=make_env(env), stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=20,
                              preexec_fn=(lambda: os.close(1)) if is_closed else None)
    assert (done.returncode, done.stderr) == (
        OS_ERROR, "bakrypt-login: standard output cannot be written\n")


def test_bad_settings_are_all_told_and_nobody_is_asked(env, server):
    env.update(BAKRYPT_TIMEOUT_MS="soon", BAKRYPT_LOG_LEVEL="loud")
    done = run_once("--check", "--json", settings=env)
    assert done.returncode == CONFIG
    report = json.loads(done.stdout)
    assert report["ok"] is False and len(report["findings"]) == 2
    assert [(each["level"], each["what"]) for each in report["findings"]] == [
        ("fail", "settings")] * 2
    assert report["findings"][0] == {
        "level": "fail", "what": "settings", "detail": 'BAKRYPT_TIMEOUT_MS is "soon"',
        "fix": "set it to a whole number from 50 to 120000"}
    assert not server.connections


def test_quotes_and_controls_do_not_break_the_json(env):
    env.update(BAKRYPT_SCOPE='a"\\\x1b[31m\x7f\u0085é')
    done = run_once("--check", "--json", settings=env)
    assert '"' in json.loads(done.stdout)["findings"][0]["detail"]
    done = run_once("--check", settings=env)
    assert done.stdout.isprintable() or done.stdout.replace("\n", "").isprintable()


def test_offline_asks_nobody(env, server):
    findings = check(env, "--offline")
    assert levels(findings) == {"settings": "ok"}
    assert not server.connections


def test_hash_is_noticed_offline_too(env):
    findings = check({**env, "BAKRYPT_CLIENT_SECRET": HASH}, "--offline")
    assert levels(findings) == {"settings": "ok", "client": "warn"}
    assert "hash" in findings["client"]["detail"]


@pytest.mark.parametrize("secret", ["pbkdf2_", "argon2", "md5$once", "a$b$c", "sha1"])
def test_secret_that_only_resembles_a_hash(env, secret):
    assert levels(check({**env, "BAKRYPT_CLIENT_SECRET": secret}, "--offline")) == {
        "settings": "ok"}


def test_reload_of_the_service_needs_no_network(env, server, folder):
    """The check that systemd runs before SIGHUP, word by word; its secret is not the real one."""
    lines = SERVICE.read_text(encoding="ascii").replace("\\\n", " ").splitlines()
    command = next(line for line in lines if line.startswith("ExecReload=/usr/bin/env"))
    words = command.split()
    assert words[1].startswith("BAKRYPT_CLIENT_SECRET=")
    arguments = words[words.index("/usr/bin/bakrypt-login") + 1:]
    path = folder / "service-settings"
    path.write_text("".join(f"{name}={value}\n" for name, value in env.items()
                            if name != "BAKRYPT_CLIENT_SECRET"), encoding="ascii")
    arguments[arguments.index("--config") + 1] = path
    done = run_once(*arguments, settings=dict([words[1].split("=", 1)]))
    assert done.returncode == 0, done
    assert not server.connections


@pytest.mark.parametrize("arguments", [("--json",), ("--offline",), ("--check", "--listen", "x"),
                                       ("--check", "token"), ("--check", "-u", "x"),
                                       ("--check", "--off")])
def test_options_that_do_not_go_together(env, server, arguments):
    done = run_once(*arguments, settings=env)
    assert (done.returncode, done.stdout) == (64, "")
    assert len(done.stderr.splitlines()) == 1
    assert not server.connections


# The client ----------------------------------------------------------------------------------------

def test_wrong_secret(dot, authority):
    env = settings(dot.token_url, authority, BAKRYPT_CLIENT_SECRET="wrong")
    check_failure(check(env, status=CONFIG), "client", "invalid_client", "BAKRYPT_CLIENT_ID")


def test_unknown_client(dot, authority):
    env = settings(dot.token_url, authority, BAKRYPT_CLIENT_ID="nobody")
    check_failure(check(env, status=CONFIG), "client", "invalid_client")


@pytest.mark.parametrize("secret", [HASH, "argon2$argon2id$v=19$m=102400,t=2,p=8$c2FsdA$aGFzaA",
                                    "bcrypt_sha256$$2b$12$abc"])
def test_hash_in_place_of_the_secret(dot, authority, secret):
    env = settings(dot.token_url, authority, BAKRYPT_CLIENT_SECRET=secret)
    check_failure(check(env, status=CONFIG), "client", "hash", "new one")


def test_secret_that_looks_like_a_hash_and_is_right(env, server):
    server.script(KNOWN)
    assert check({**env, "BAKRYPT_CLIENT_SECRET": HASH})["client"]["level"] == "ok"


@pytest.mark.parametrize("code", ["unauthorized_client", "unsupported_grant_type"])
def test_client_without_the_refresh_grant(env, server, code):
    server.script(upstream.error(code))
    findings = check(env)
    assert levels(findings) == {**WELL, "client": "warn", "revocation": "ok"}


# The networks --------------------------------------------------------------------------------------

@pytest.fixture(name="networks")
def fixture_networks(authority):
    """Both of Bakrypt's networks, by a proxy that leads to two servers of ours and nowhere else."""
    leaf = authority.leaf("bakrypt", ("bakrypt.io", "testnet.bakrypt.io"))
    with upstream.Upstream(leaf.certificate, leaf.key) as mainnet, \
            upstream.Upstream(leaf.certificate, leaf.key) as testnet:
        servers = {"mainnet": mainnet, "testnet": testnet}
        routes = {NETWORKS[name]: (upstream.HOST, server.port) for name, server in servers.items()}
        with Proxy(routes) as proxy:
            yield servers, proxy


def on_network(name, proxy, authority, **changes):
    return settings(None, authority, BAKRYPT_TOKEN_URL=None, BAKRYPT_NETWORK=name,
                    BAKRYPT_PROXY=proxy.url, **changes)


@pytest.mark.parametrize("name, other", [("mainnet", "testnet"), ("testnet", "mainnet")])
def test_client_of_the_other_network(networks, authority, name, other):
    servers, proxy = networks
    servers[name].always, servers[other].always = UNKNOWN, KNOWN
    findings = check(on_network(name, proxy, authority), status=CONFIG)
    check_failure(findings, "client", f"belongs to {other}", f"BAKRYPT_NETWORK to {other}")
    assert proxy.targets == [NETWORKS[name], NETWORKS[other]]
    assert [len(server.requests) for server in servers.values()] == [1, 1]


@pytest.mark.parametrize("behaviour", [UNKNOWN, upstream.status(500), upstream.hang_up])
def test_client_that_the_other_network_does_not_know_either(networks, authority, behaviour):
    servers, proxy = networks
    servers["mainnet"].always, servers["testnet"].always = UNKNOWN, behaviour
    findings = check(on_network("mainnet", proxy, authority), status=CONFIG)
    check_failure(findings, "client", "invalid_client")


@pytest.mark.parametrize("behaviour, status", [
    (KNOWN, 0), (upstream.status(403), UNAVAILABLE), (upstream.error("invalid_scope"), 0),
    (upstream.status(401), UNAVAILABLE)])
def test_other_network_is_left_alone_otherwise(networks, authority, behaviour, status):
    """The secret is not sent anywhere without need."""
    servers, proxy = networks
    servers["mainnet"].always = behaviour
    check(on_network("mainnet", proxy, authority), status=status)
    assert set(proxy.targets) == {NETWORKS["mainnet"]}
    assert not servers["testnet"].connections


def test_hash_is_not_sent_to_the_other_network(networks, authority):
    servers, proxy = networks
    servers["mainnet"].always = UNKNOWN
    env = on_network("mainnet", proxy, authority, BAKRYPT_CLIENT_SECRET=HASH)
    check_failure(check(env, status=CONFIG), "client", "hash")
    assert proxy.targets == [NETWORKS["mainnet"]]


def test_address_of_ones_own_is_no_network(networks, authority):
    servers, proxy = networks
    env = settings("https://bakrypt.io/auth/token/", authority, BAKRYPT_PROXY=proxy.url)
    servers["mainnet"].always = UNKNOWN
    check_failure(check(env, status=CONFIG), "client", "invalid_client")
    assert proxy.targets == [NETWORKS["mainnet"]]
    assert len(servers["mainnet"].requests) == 1


# The way there -------------------------------------------------------------------------------------

def test_server_that_is_down(authority):
    with upstream.ClosedPort() as closed:
        findings = check(settings(closed.url, authority), status=UNAVAILABLE)
    check_failure(findings, "connection", "connect", "firewalls")


def test_server_that_cannot_be_connected_to(authority):
    with upstream.BlackHole() as hole:
        findings = check(settings(hole.url, authority), status=UNAVAILABLE)
    check_failure(findings, "connection", "firewalls")


def test_name_that_has_no_address(authority):
    """It is too long for the question to be asked of anybody."""
    url = f"https://{'x' * 64}.invalid/auth/token/"
    check_failure(check(settings(url, authority), status=UNAVAILABLE), "connection", "lookup",
                  "resolver")


def test_proxy_that_refuses(authority, server):
    with Proxy(routes={}) as proxy:
        env = settings(server.url, authority, BAKRYPT_PROXY=proxy.url)
        check_failure(check(env, status=UNAVAILABLE), "connection", "403", "BAKRYPT_PROXY")


# Certificates --------------------------------------------------------------------------------------

def with_certificate(leaf, authority, status):
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        server.always = KNOWN
        return check(settings(server.url, authority), status=status)


@pytest.mark.parametrize("days, level", [(1, "warn"), (12, "warn"), (20, "warn"), (22, "ok"),
                                         (200, "ok")])
def test_days_left(authority, days, level):
    findings = with_certificate(authority.expiring(days), authority, 0)
    assert findings["certificate"]["level"] == level
    assert re.search(rf"for ({days - 1}|{days}) days", findings["certificate"]["detail"])
    assert findings["client"]["level"] == "ok"


def test_days_are_those_of_the_server_not_of_its_authority(authority, tmp_path):
    leaf = authority.expiring(12)
    chain = tmp_path / "chain.pem"
    chain.write_text(pathlib.Path(leaf.certificate).read_text(encoding="ascii")
                     + pathlib.Path(authority.file).read_text(encoding="ascii"), encoding="ascii")
    findings = with_certificate(dataclasses.replace(leaf, certificate=str(chain)), authority, 0)
    assert findings["certificate"]["level"] == "warn"


@pytest.mark.parametrize("kind, words", [
    ("expired", "clock"), ("self_signed", "BAKRYPT_CA_FILE"), ("wrong_host", "another's")])
def test_certificate_that_cannot_be_trusted(authority, kind, words):
    findings = with_certificate(getattr(authority, kind)(), authority, UNAVAILABLE)
    check_failure(findings, "certificate", words)
    assert "connection" not in findings


def test_no_tls_at_all(env, server):
    server.doors(*[upstream.plain_http] * 2)
    findings = check(env, status=UNAVAILABLE)
    check_failure(findings, "certificate", "TLS 1.2")


# Answers -------------------------------------------------------------------------------------------

ANSWERS = {
    "redirect": (upstream.status(301, headers=[("Location", "/auth/token/")]), CONFIG, "slash"),
    "not found": (upstream.status(404), CONFIG, "slash"),
    "firewall": (upstream.status(403, headers=[("cf-ray", "8f3a-FRA")]), UNAVAILABLE,
                 "cf-ray 8f3a-FRA"),
    "firewall with 503": (upstream.status(503), UNAVAILABLE, "firewall"),
    "fault": (upstream.status(500), UNAVAILABLE, "later"),
    "out of service": (upstream.status(503, "{}", "application/json", [("Retry-After", "9")]),
                       UNAVAILABLE, "later"),
    "page": (upstream.status(200), UNAVAILABLE, "token URL"),
    "token": (upstream.token(), UNAVAILABLE, "does not exist"),
    "no answer": (upstream.silence, UNAVAILABLE, "BAKRYPT_TIMEOUT_MS"),
    "hangs up": (upstream.break_off, UNAVAILABLE, "try again"),
    "cut off": (upstream.in_turn(upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
                                 upstream.hang_up), UNAVAILABLE, "try again"),
}


@pytest.mark.parametrize("behaviour, status, words", ANSWERS.values(), ids=ANSWERS)
def test_answer_of_another_kind(env, server, behaviour, status, words):
    server.script(behaviour)
    findings = check(env, status=status)
    check_failure(findings, "answer", words)
    assert levels(findings) == {**WELL, "answer": "fail"}
    assert len(server.requests) == 1


def test_server_that_asks_to_wait(env, server):
    server.script(upstream.status(429, headers=[("Retry-After", "7")]))
    assert levels(check(env)) == {**WELL, "answer": "warn"}


@pytest.mark.parametrize("behaviour", [upstream.status(404), upstream.status(500), UNKNOWN,
                                       upstream.silence, upstream.break_off,
                                       upstream.status(301, headers=[("Location", "/")])])
def test_revocation_url_that_does_not_work(env, server, behaviour):
    server.script(KNOWN, behaviour)
    findings = check(env)
    assert levels(findings) == {**WELL, "client": "ok", "revocation": "warn"}
    assert "BAKRYPT_REVOKE_URL" in findings["revocation"]["fix"]


def test_revocation_url_on_another_host(env, server):
    server.script(KNOWN)
    with upstream.ClosedPort() as closed:
        findings = check({**env, "BAKRYPT_REVOKE_URL": closed.url})
    assert findings["revocation"]["level"] == "warn"


def test_secret_is_not_in_the_environment_of_the_process(env, server):
    if os.geteuid() != 0:
        pytest.skip("only root can read the environment of a process that is not dumpable")
    held = upstream.Held(KNOWN)
    server.script(held)
    process = cgi.start(env, "--check")
    server.wait_for_requests(1)
    environ = pathlib.Path("/proc", str(process.pid), "environ").read_bytes()
    held.release()
    process.communicate(timeout=20)
    assert b"BAKRYPT_CLIENT_ID" in environ
    assert make_env(env)["BAKRYPT_CLIENT_SECRET"].encode() not in environ
