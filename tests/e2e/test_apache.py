"""What Apache alone does: its own error pages, restarts, .htaccess, and processes of its own."""
import concurrent.futures
import signal

import pytest

from servers import apache, client, procfs, upstream
from servers.chain import new_request_id
from servers.door import settings_for
from servers.program import CLIENT_SECRET, Program
from servers.service import PASSWORD, USER

GOOD = client.json_body(USER, PASSWORD)
HTACCESS = (apache.HtaccessCgi, apache.HtaccessFcgid)
AT_ONCE = 12


@pytest.fixture(name="behind", scope="module")
def token_server(authority):
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        yield server


@pytest.fixture(name="open_door")
def opener(folder, authority, behind, require):
    """Opens doors of a class, with more settings (None leaves one out), for one test."""
    opened = []
    behind.reset()

    def open_one(door_class, **settings):
        require(door_class.missing())
        door = door_class(folder, {**settings_for(behind.url, authority), **settings})
        opened.append(door.__enter__())
        return door

    yield open_one
    for door in opened:
        door.__exit__()


def log_in(door, **request):
    return client.send(door.origin, GOOD, **request)


def by_name(parameter):
    return parameter.name


# mod_proxy_fcgi: what Apache says where the program says nothing

class Impatient(apache.ProxyFcgi):
    """As shipped, but it does not wait for 20 seconds."""
    changes = {"timeout=20": "timeout=1"}


def check_own_error(reply, status):
    assert reply.status == status, reply
    assert reply.json["error"] == "temporarily_unavailable"
    assert reply.headers.get_all("Content-Type") == ["application/json"]
    assert reply.headers.get_all("Cache-Control") == ["no-store"]
    assert reply.headers.get_all("X-Content-Type-Options") == ["nosniff"]


def test_program_that_is_down_and_comes_back(open_door):
    door = open_door(apache.ProxyFcgi)
    assert log_in(door).status == 200
    door.program.stop()
    check_own_error(log_in(door), 503)
    with Program(door.folder, listen=door.program.address, settings=door.settings):
        assert log_in(door).status == 200


def test_program_that_dies(open_door, behind):
    door = open_door(apache.ProxyFcgi)
    behind.script(upstream.Held())
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reply = pool.submit(log_in, door)
        behind.wait_for_requests(1)
        door.program.send_signal(signal.SIGKILL)
        check_own_error(reply.result(), 503)
    assert len(behind.requests) == 1, "the login was sent again"


def test_program_that_is_late(open_door, behind):
    door = open_door(Impatient)
    held = upstream.Held()
    behind.script(held)
    check_own_error(log_in(door), 504)
    held.release()


# Restarts

@pytest.mark.parametrize("door_class", (apache.ProxyFcgi, apache.Fcgid), ids=by_name)
def test_graceful_restart_in_the_middle_of_a_login(open_door, behind, door_class):
    """What `systemctl reload apache2` does. mod_fcgid ends the program with SIGTERM, which
    answers first."""
    door = open_door(door_class)
    held = upstream.Held()
    behind.script(held)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reply = pool.submit(log_in, door)
        behind.wait_for_requests(1)
        door.apache.send_signal(signal.SIGUSR1)
        door.apache.wait_for_log("Doing graceful restart")
        held.release()
        assert reply.result().status == 200
    assert log_in(door).status == 200


# mod_fcgid and mod_cgid: one process for each login

def held_logins(door, behind, count):
    """Logs in that often at once; gives the replies, and how many processes there were."""
    held = upstream.Held()
    behind.script(*[held] * count)
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        replies = [pool.submit(log_in, door) for _ in range(count)]
        behind.wait_for_requests(count, seconds=30)
        processes = len(procfs.find(str(door.program_path)))
        held.release()
        return [reply.result() for reply in replies], processes


@pytest.mark.parametrize("door_class", (apache.Fcgid, *HTACCESS), ids=by_name)
def test_logins_at_once(open_door, behind, door_class):
    door = open_door(door_class)
    replies, processes = held_logins(door, behind, AT_ONCE)
    assert [reply.status for reply in replies] == [200] * AT_ONCE
    assert processes >= AT_ONCE


# .htaccess

@pytest.mark.parametrize("door_class", HTACCESS, ids=by_name)
def test_nothing_in_the_folder_is_shown(open_door, door_class):
    """The program is reached as /login alone, and settings put here by mistake stay secret."""
    door = open_door(door_class)
    for name in ("bakrypt-login.conf", "bakrypt-secret", "settings.conf"):
        door.write_settings(door.site / name)
    names = sorted(path.name for path in door.site.iterdir())
    assert len(names) == 5 and names[0] == ".htaccess"
    for name in names:
        for method in ("GET", "POST"):
            reply = client.send(door.origin, GOOD, path=f"/{name}", method=method)
            assert reply.status == 403, (name, reply)
            assert CLIENT_SECRET not in reply.text


@pytest.mark.parametrize("door_class", HTACCESS, ids=by_name)
def test_folder_below_the_root(open_door, door_class):
    """The files may be put into any folder of the site."""
    door = open_door(door_class)
    shop = door.site / "shop"
    shop.mkdir(mode=0o755)
    for path in list(door.site.iterdir()):
        if path != shop:
            path.rename(shop / path.name)
    reply = log_in(door, path="/shop/login")
    assert reply.status == 200, reply
    assert door.entry_for(reply.headers["X-Request-Id"])["status"] == 200
    assert log_in(door, path="/login").status == 404


class BySetEnv(apache.HtaccessCgi):
    """The settings in .htaccess, for which the shipped file has lines; the secret in a file."""

    name = "apache-cgi-setenv"

    def install(self):
        super().install()
        (self.home / ".config" / "bakrypt-login.conf").unlink()
        secret = self.write_secret(self.settings["BAKRYPT_CLIENT_SECRET"])
        text = apache.substitute(apache.HOSTING / "htaccess-cgi", {
            "#SetEnv": "SetEnv",
            "BAKRYPT_NETWORK testnet": "BAKRYPT_TOKEN_URL " + self.settings["BAKRYPT_TOKEN_URL"],
            "your-client-id": self.settings["BAKRYPT_CLIENT_ID"],
            "/home/you/bakrypt-secret": str(secret)})
        self.write_htaccess(text + f"SetEnv BAKRYPT_CA_FILE {self.settings['BAKRYPT_CA_FILE']}\n")


def test_settings_by_setenv(open_door, behind):
    reply = log_in(open_door(BySetEnv))
    assert reply.status == 200, reply
    assert behind.requests[0].form["client_secret"] == [CLIENT_SECRET]


class BehindAProxy(apache.HtaccessCgi):
    """A host that sets the variables by which libraries find a proxy, here one that is down."""

    name = "apache-cgi-proxy-variables"
    proxy = None

    @property
    def host(self):
        return super().host + "".join(
            f"SetEnv {name} http://127.0.0.1:{self.proxy.port}\n"
            for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"))


def test_variables_of_the_host_set_no_proxy(open_door, behind):
    with upstream.ClosedPort() as nowhere:
        reply = log_in(open_door(type("", (BehindAProxy,), {"proxy": nowhere})))
    assert reply.status == 200, reply
    assert len(behind.requests) == 1


# Settings that will not do

class BesideTheProgram(apache.HtaccessCgi):
    """The settings file in the document root, where a mistake in .htaccess would show it."""

    def install(self):
        super().install()
        (self.home / ".config" / "bakrypt-login.conf").rename(self.site / "bakrypt-login.conf")


class ForAllToRead(apache.HtaccessCgi):
    """The settings file open to every other customer of the host."""

    def install(self):
        super().install()
        (self.home / ".config" / "bakrypt-login.conf").chmod(0o644)


@pytest.mark.parametrize("door_class", (BesideTheProgram, ForAllToRead),
                         ids=lambda door_class: door_class.__name__)
def test_exposed_settings_file_is_refused(open_door, behind, door_class):
    door = open_door(door_class)
    reply = log_in(door)
    assert (reply.status, reply.json["error"]) == (500, "server_error"), reply
    bad = [entry for entry in door.entries() if entry["event"] == "config_bad"]
    assert bad and "bakrypt-login.conf" in str(bad[0])
    assert not behind.requests


@pytest.mark.parametrize("door_class", (apache.Fcgid, *HTACCESS), ids=by_name)
@pytest.mark.parametrize("name, value", (
    ("BAKRYPT_CLIENT_ID", None), ("BAKRYPT_TIMEOUT_MS", "soon"), ("BAKRYPT_NETWORK", "moonnet")))
def test_bad_setting(open_door, behind, door_class, name, value):
    """The client learns nothing but that it is our fault; Apache's log names the setting."""
    door = open_door(door_class, **{name: value})
    request_id = new_request_id()
    reply = log_in(door, headers={"X-Request-Id": request_id})
    assert reply.status == 500, reply
    assert reply.json["error"] == "server_error"
    assert reply.headers.get_all("Content-Type") == ["application/json"]
    assert reply.headers.get_all("Cache-Control") == ["no-store"]
    assert name not in reply.text
    bad = [entry for entry in door.entries() if entry["event"] == "config_bad"]
    assert bad and bad[0]["level"] == "crit"
    assert name in str(bad[0])
    assert not behind.requests
