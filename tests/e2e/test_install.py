"""`make install` and `make uninstall`, below a DESTDIR."""
import os
import pathlib
import re
import stat
import subprocess

import pytest

from servers import packaged

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Relative to PREFIX and to SYSCONFDIR: the modes, and the files of the repository.
PROGRAMS = {
    "bin/bakrypt-login": (0o755, None),
    "share/man/man8/bakrypt-login.8": (0o644, "deploy/bakrypt-login.8"),
    "lib/systemd/system/bakrypt-login.socket": (0o644, "deploy/systemd/bakrypt-login.socket"),
    "lib/systemd/system/bakrypt-login.service": (0o644, None),
    "lib/sysusers.d/bakrypt-login.conf": (0o644, "deploy/systemd/bakrypt-login.sysusers"),
    "share/bakrypt-login/openapi.json": (0o644, "deploy/openapi.json"),
    **{f"share/bakrypt-login/page/{path.name}": (0o644, f"deploy/page/{path.name}")
       for path in (ROOT / "deploy" / "page").iterdir()},
}
SETTINGS = "bakrypt-login/bakrypt-login.conf"
CONFIGS = {
    SETTINGS: (0o640, "deploy/bakrypt-login.conf"),
    "nginx/snippets/bakrypt-login.conf": (0o644, "nginx/bakrypt-login.conf"),
    "nginx/snippets/bakrypt-login-page.conf": (0o644, None),
    "apache2/conf-available/bakrypt-login.conf": (0o644, "deploy/apache/bakrypt-login.conf"),
}


class Installation:
    """What make is told, and what it put into a folder."""

    def __init__(self, folder, **variables):
        self.folder = folder
        self.variables = {"DESTDIR": folder, **variables}
        self.prefix = variables.get("PREFIX", "/usr/local")
        self.etc = variables.get("SYSCONFDIR", "/etc")

    def make(self, target):
        """Runs make for a target with the variables; gives what it said."""
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        build = os.environ.get("BAKRYPT_LOGIN_BUILD", "build")
        done = subprocess.run(
            ["make", "-C", ROOT, target, f"BUILD={build}",
             *(f"{name}={value}" for name, value in self.variables.items())],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def path(self, inside):
        return pathlib.Path(f"{self.folder}{inside}")

    def wanted(self):
        """{path: (mode, file of the repository or None)}."""
        return {**{f"{self.prefix}/{name}": facts for name, facts in PROGRAMS.items()},
                **{f"{self.etc}/{name}": facts for name, facts in CONFIGS.items()}}

    def found(self):
        """Everything there that is no folder."""
        return {"/" + str(path.relative_to(self.folder)) for path in self.folder.rglob("*")
                if not path.is_dir() or path.is_symlink()}

    def settings(self):
        return self.path(f"{self.etc}/{SETTINGS}")


@pytest.fixture(name="usual")
def installed(tmp_path):
    installation = Installation(tmp_path)
    installation.make("install")
    return installation


def check_files(installation):
    wanted = installation.wanted()
    assert installation.found() == set(wanted)
    for inside, (mode, original) in wanted.items():
        path = installation.path(inside)
        assert stat.S_IMODE(path.stat().st_mode) == mode, inside
        if original:
            assert path.read_bytes() == (ROOT / original).read_bytes(), inside


def check_service(installation):
    """The service names the program and the files where they were put; else it is what is
    shipped."""
    text = installation.path(f"{installation.prefix}/lib/systemd/system/bakrypt-login.service") \
        .read_text(encoding="utf-8")
    start, = re.findall(r"(?m)^ExecStart=(\S+)", text)
    assert start == f"{installation.prefix}/bin/bakrypt-login"
    assert f" --config {installation.etc}/{SETTINGS}\n" in text
    assert f"LoadCredential=client_secret:{installation.etc}/bakrypt-login/client_secret\n" in text
    back = text.replace(f"{installation.prefix}/bin/bakrypt", "/usr/bin/bakrypt") \
        .replace(f"{installation.etc}/bakrypt", "/etc/bakrypt")
    assert back == (ROOT / "deploy/systemd/bakrypt-login.service").read_text(encoding="utf-8")


def test_usual_places(usual):
    check_files(usual)
    check_service(usual)
    done = subprocess.run([usual.path("/usr/local/bin/bakrypt-login"), "--version"], check=True,
                          capture_output=True, text=True)
    assert done.stdout.startswith("bakrypt-login ")


def test_uninstall_leaves_nothing(usual):
    usual.make("uninstall")
    assert usual.found() == set()
    assert not usual.path("/etc/bakrypt-login").exists()


@pytest.mark.parametrize("places", ({"PREFIX": "/usr"},
                                    {"PREFIX": "/opt/login", "SYSCONFDIR": "/opt/login/etc"}))
def test_other_places(tmp_path, places):
    installation = Installation(tmp_path, **places)
    installation.make("install")
    check_files(installation)
    check_service(installation)
    installation.make("uninstall")
    assert installation.found() == set()


def test_second_installation_changes_nothing(usual):
    assert "Left" not in usual.make("install")
    check_files(usual)


def test_changed_settings_stay(usual):
    """With another installation, and with the end of it; and one is told."""
    usual.settings().write_text("BAKRYPT_NETWORK=testnet\n", encoding="ascii")
    for target in ("install", "uninstall"):
        said = [line for line in usual.make(target).splitlines() if line.startswith("Left")]
        assert len(said) == 1 and said[0].endswith(str(usual.settings()))
        assert usual.settings().read_text(encoding="ascii") == "BAKRYPT_NETWORK=testnet\n"
    assert usual.found() == {f"/etc/{SETTINGS}"}


def test_secret_stays(usual):
    """It is nobody's but the administrator's."""
    secret = usual.path("/etc/bakrypt-login/client_secret")
    secret.write_text("secret", encoding="ascii")
    usual.make("uninstall")
    assert usual.found() == {"/etc/bakrypt-login/client_secret"}


def test_as_a_service(bare_root):
    """On a whole system, with the commands of the README: there is the user, who can read the
    settings and the credential, and run the program."""
    Installation(bare_root.path("")).make("install")
    bare_root.run("systemd-sysusers")
    bare_root.run("chgrp", "bakrypt-login", f"/etc/{SETTINGS}")
    bare_root.path("/etc/bakrypt-login/client_secret").write_text("secret\n", encoding="ascii")
    bare_root.path(f"/etc/{SETTINGS}").write_text("BAKRYPT_NETWORK=testnet\n", encoding="ascii")
    check = packaged.Unit(bare_root, "/usr/local/lib/systemd/system").check()
    assert check.returncode == 78
    faults = [line for line in check.stdout.splitlines() if line.startswith("fail")]
    assert len(faults) == 1 and "BAKRYPT_CLIENT_ID is not set" in faults[0]
