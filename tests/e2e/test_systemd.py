"""The systemd units: checked by systemd's own tools, and the program started as they start it."""
import os
import re
import shutil
import socket
import subprocess

import pytest

from servers import fastcgi, folders, ports, upstream
from servers.process import Process
from servers.program import CLIENT_ID, CLIENT_SECRET, ROOT, Program, binary
from servers.service import PASSWORD, USER, Service, good_login

UNITS = ROOT / "deploy" / "systemd"
SERVICE = UNITS / "bakrypt-login.service"
SOCKET = UNITS / "bakrypt-login.socket"
SYSUSERS = UNITS / "bakrypt-login.sysusers"
EXPOSURE_MAX = 1.0


@pytest.fixture(autouse=True)
def has_systemd(require):
    require(None if shutil.which("systemd-analyze") else "systemd is not installed")


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          check=False, stdin=subprocess.DEVNULL)


def values(unit, name):
    """What a unit sets name to, in order."""
    text = unit.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


# Files --------------------------------------------------------------------------------------------

def test_units_are_understood(tmp_path):
    """Unknown names and values, or a program that is not there, would be told."""
    for unit in (SERVICE, SOCKET):
        text = unit.read_text(encoding="utf-8").replace("/usr/bin/bakrypt-login", binary())
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
               tmp_path / SERVICE.name, tmp_path / SOCKET.name)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_verification_finds_mistakes(tmp_path):
    """Or the test above would prove nothing."""
    text = SERVICE.read_text(encoding="utf-8").replace("PrivateTmp=", "PrivateTemp=")
    (tmp_path / SERVICE.name).write_text(text, encoding="utf-8")
    done = run("systemd-analyze", "verify", "--man=no", tmp_path / SERVICE.name)
    assert "PrivateTemp" in done.stderr


def test_exposure():
    done = run("systemd-analyze", "security", "--offline=true",
               f"--threshold={EXPOSURE_MAX * 10:.0f}", SERVICE)
    told = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", done.stdout)
    assert told and float(told[1]) <= EXPOSURE_MAX, done.stdout
    assert done.returncode == 0


def test_user_is_made_by_sysusers(tmp_path):
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", SYSUSERS)
    assert done.returncode == 0, done.stderr
    name, _, _, _, _, home, shell = \
        (tmp_path / "etc" / "passwd").read_text(encoding="utf-8").strip().split(":")
    assert [name] == values(SERVICE, "User") == values(SERVICE, "Group")
    assert (home, shell) == ("/", "/usr/sbin/nologin")


def test_stop_is_waited_for():
    """The defaults are those of the README and of ceilings.h."""
    assert int(values(SERVICE, "TimeoutStopSec")[0].rstrip("s")) > 12 + 2
    assert values(SOCKET, "ListenStream") == ["/run/bakrypt-login/fcgi.sock"]
    assert "unix:/run/bakrypt-login/fcgi.sock" in \
        (ROOT / "nginx" / "example-site.conf").read_text(encoding="utf-8")


def test_files_named_in_the_units_are_installed(tmp_path):
    """But for the secret, which is the administrator's to put there."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    if not re.search(r"^install:", makefile, re.MULTILINE):
        pytest.skip("there is no `make install`")
    done = run("make", "-C", ROOT, "install", f"DESTDIR={tmp_path}", "PREFIX=/usr",
               f"BUILD={os.path.dirname(binary())}")
    assert done.returncode == 0, done.stderr
    named = {path for unit in (SERVICE, SOCKET)
             for line in unit.read_text(encoding="utf-8").splitlines()
             if not line.startswith("#")
             for path in re.findall(r"(/(?:usr|etc)/[\w./-]*bakrypt[\w./-]*)", line)}
    assert "/usr/bin/bakrypt-login" in named
    missing = {path for path in named if not (tmp_path / path.lstrip("/")).exists()}
    assert missing == {"/etc/bakrypt-login/client_secret"}


# As systemd hands over ----------------------------------------------------------------------------

class Activated(Program):
    """The program under systemd-socket-activate, which starts it at the first connection. Its
    settings are a file and a credential: nothing of the environment comes through."""

    def __init__(self, folder, authority, token_url, *options):
        super().__init__(folder)
        place = folders.make_subfolder(folder, f"activated-{self.number}")
        conf = place / "bakrypt-login.conf"
        conf.write_text(f"BAKRYPT_TOKEN_URL={token_url}\nBAKRYPT_CLIENT_ID={CLIENT_ID}\n"
                        f"BAKRYPT_CA_FILE={authority.file}\n", encoding="utf-8")
        secret = place / "client_secret"
        secret.write_text(CLIENT_SECRET, encoding="ascii")
        secret.chmod(0o400)
        self.argv = ["systemd-socket-activate", "-l", self.target, *options,
                     "-E", f"CREDENTIALS_DIRECTORY={place}", binary(), "--config", conf]

    def start(self, timeout=15):
        Process.start(self)
        self.wait_until_live(lambda: ports.is_listening(self.target), timeout, "it listens")
        self.wait_for_event("start", timeout=timeout)
        return self


@pytest.mark.parametrize("option", [(), ("--inetd",)], ids=["fd 3", "fd 0"])
def test_socket_activation(folder, authority, option):
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as tokens, \
            Activated(folder, authority, tokens.url, *option) as program:
        for _ in range(3):
            reply = fastcgi.exchange(program.target, good_login())
            assert (reply.status, reply.json) == (200, upstream.token_members())
        assert tokens.requests[0].form["client_secret"] == [CLIENT_SECRET]
        assert tokens.requests[0].form["username"] == [USER]
        assert program.stop() == 0
        assert CLIENT_SECRET not in "".join(program.lines)
        assert PASSWORD not in "".join(program.lines)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_systemd_is_told_when_connections_are_taken(folder, authority, workers, is_abstract):
    name = str(folder / f"notify-{workers}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.settimeout(10)
        notify.bind("\0" + name if is_abstract else name)
        if not is_abstract:
            os.chmod(name, 0o666)
        told = {"NOTIFY_SOCKET": "@" + name if is_abstract else name}
        with Service(folder, authority, settings=told, arguments=("--workers", workers)) as service:
            assert notify.recv(100) == b"READY=1"
            service.check_token(service.post())
        notify.setblocking(False)
        with pytest.raises(BlockingIOError):
            notify.recv(100)
    if not is_abstract:
        os.unlink(name)


def test_nobody_there_to_be_told(folder, authority):
    for path in ("/nonexistent/notify", "x" * 200):
        with Service(folder, authority, settings={"NOTIFY_SOCKET": path}) as service:
            service.check_token(service.post())
