"""The Debian package: built, checked, installed into a throw-away root by the words of its
README.Debian, logged in through, upgraded, and purged.
"""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from servers import hardening, nginx, packaged, ports
from servers.client import send_by_curl
from servers.dot import USERS
from servers.program import CLIENT_ID, CLIENT_SECRET

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEBIAN = ROOT / "deploy" / "debian"
SETTINGS = "/etc/bakrypt-login/bakrypt-login.conf"
SECRET = "/etc/bakrypt-login/client_secret"
SNIPPET = "/etc/nginx/snippets/bakrypt-login.conf"
PAGE_SNIPPET = "/etc/nginx/snippets/bakrypt-login-page.conf"
APACHE = "/etc/apache2/conf-available/bakrypt-login.conf"
SITE = "/etc/nginx/sites-available/bakrypt-login"
DOCUMENTS = "/usr/share/doc/bakrypt-login"

# The files of the repository that are in the package as they are.
SHIPPED = {
    SETTINGS: "deploy/bakrypt-login.conf",
    SNIPPET: "nginx/bakrypt-login.conf",
    PAGE_SNIPPET: "nginx/bakrypt-login-page.conf",
    APACHE: "deploy/apache/bakrypt-login.conf",
    "/lib/systemd/system/bakrypt-login.service": "deploy/systemd/bakrypt-login.service",
    "/lib/systemd/system/bakrypt-login.socket": "deploy/systemd/bakrypt-login.socket",
    "/usr/lib/sysusers.d/bakrypt-login.conf": "deploy/systemd/bakrypt-login.sysusers",
    "/usr/share/bakrypt-login/openapi.json": "deploy/openapi.json",
    **{f"/usr/share/bakrypt-login/page/{path.name}": f"deploy/page/{path.name}"
       for path in (ROOT / "deploy" / "page").iterdir()},
    f"{DOCUMENTS}/README.Debian": "deploy/debian/bakrypt-login.README.Debian",
    f"{DOCUMENTS}/copyright": "deploy/debian/copyright",
    f"{DOCUMENTS}/examples/example-site.conf": "nginx/example-site.conf",
}
MADE = {"/usr/bin/bakrypt-login", "/usr/share/man/man8/bakrypt-login.8.gz",
        f"{DOCUMENTS}/README.md.gz", f"{DOCUMENTS}/changelog.gz"}

# What lintian says for our information: systemd is what the package is made for, and the page is no
# document.
KNOWN_INFOS = {"package-supports-alternative-init-but-no-init.d-script",
               "package-contains-documentation-outside-usr-share-doc"}

# What a purge leaves. Policy for users of the system: they stay, because files of theirs may.
USER_TABLES = {f"/etc/{name}{backup}" for name in ("passwd", "group", "shadow", "gshadow")
               for backup in ("", "-")} | {"/etc/.pwd.lock"}
# Debian's own notes of what happened.
NOTES = re.compile(r"/var/lib/dpkg/(status|status-old|available|lock\S*|triggers/\S*)|"
                   r"/var/log/\S+|/var/cache/(man|debconf|ldconfig)(/\S+)?")


def run(*argv, **options):
    done = subprocess.run(list(map(str, argv)), stdin=subprocess.DEVNULL, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert done.returncode == 0, f"{argv}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(name="package", scope="session")
def built_package(folder, require):
    """The package's path; its build folder holds the rest of what was made."""
    for command, package in (("dpkg-buildpackage", "dpkg-dev"), ("dh", "debhelper")):
        require(None if shutil.which(command) else f"{package} is not installed")
    build = folder / "package"
    run("make", "-C", ROOT, "deb", f"BUILD={build}",
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"})
    found = [path for path in build.glob("bakrypt-login_*.deb")]
    assert len(found) == 1
    return found[0]


@pytest.fixture(name="root")
def installed(bare_root, package):
    """A throw-away root with the package installed, its documents too, which some images of
    Debian leave out. `before`: what differed already."""
    bare_root.run("find", "/etc/dpkg/dpkg.cfg.d", "-mindepth", "1", "-delete")
    bare_root.run("mkdir", "-p", "/etc/apache2/conf-enabled", "/etc/nginx/sites-available",
                  "/etc/nginx/sites-enabled")
    bare_root.before = bare_root.changes()
    bare_root.run("dpkg", "--install", package)
    return bare_root


# What was built

def test_lintian_finds_nothing(package, require):
    require(None if shutil.which("lintian") else "lintian is not installed")
    changes, = package.parent.glob("*.changes")
    done = subprocess.run(["lintian", "--display-info", "--pedantic", "--allow-root", changes],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    tags = re.findall(r"^([A-Z]): [^:]+: (\S+)", done.stdout, flags=re.M)
    assert not [tag for tag in tags if tag[0] != "I"], done.stdout
    assert {tag for _, tag in tags} == KNOWN_INFOS, done.stdout
    assert done.returncode == 0, done.stderr


def test_program_is_hardened(package, require):
    """As it is before it loses its symbols."""
    require(hardening.missing())
    program, = package.parent.glob("bakrypt-login-*/build/bakrypt-login")
    assert not hardening.gaps(program)


def test_version(package):
    """One version in the Makefile, the changelog, the package and the program."""
    version, = re.findall(r"^VERSION +\?= (\S+)$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert run("dpkg-deb", "--field", package, "Version").strip() == version
    assert (DEBIAN / "changelog").read_text().startswith(f"bakrypt-login ({version}) ")


def test_contents(package, tmp_path):
    """Exactly these files, and those of the repository as they are there."""
    run("dpkg-deb", "--extract", package, tmp_path)
    found = {"/" + str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")
             if not path.is_dir()}
    assert found == set(SHIPPED) | MADE
    for inside, path in SHIPPED.items():
        assert (tmp_path / inside[1:]).read_bytes() == (ROOT / path).read_bytes(), inside


def test_files_of_the_administrator(package):
    conffiles = run("dpkg-deb", "--info", package, "conffiles").split()
    assert sorted(conffiles) == sorted((SETTINGS, SNIPPET, PAGE_SNIPPET, APACHE))


def test_dependencies(package):
    depends = run("dpkg-deb", "--field", package, "Depends")
    names = set(re.findall(r"(?:^|, )([\w.+-]+)", depends))
    assert {"libc6", "libcjson1", "libcurl4", "libfcgi0ldbl", "ca-certificates"} <= names


# What is there after an installation

def test_installation(root):
    state = root.path(SETTINGS).stat()
    entry = root.run("getent", "passwd", "bakrypt-login").stdout.split(":")
    assert (oct(state.st_mode & 0o7777), state.st_uid, state.st_gid) \
        == ("0o640", 0, int(entry[3]))
    assert entry[6].strip().endswith("nologin")
    links = {path for path in root.changes() if ".wants/" in path and path.startswith("/etc/")}
    assert links == {"/etc/systemd/system/sockets.target.wants/bakrypt-login.socket"}
    assert not os.path.lexists(root.path("/etc/apache2/conf-enabled/bakrypt-login.conf"))
    assert not os.path.lexists(root.path(SECRET))


class Operator:
    """Somebody who does what README.Debian says; a dict of edits stands for an editor."""

    def __init__(self, root, unit, edits):
        self.root = root
        self.unit = unit
        self.edits = edits
        self.done = set()

    def follow(self):
        """Does all that concerns nginx; gives the command of the last step."""
        text = self.root.path(f"{DOCUMENTS}/README.Debian").read_text(encoding="utf-8")
        before_apache, _, rest = text.partition("For Apache")
        for command in re.findall(r"^      (?:sudo )?(.+)$", before_apache, flags=re.M):
            self._do(command)
        return re.search(r"^      (curl .+)$", rest, flags=re.M).group(1)

    def _do(self, command):
        words = shlex.split(command)
        self.done.add(words[0])
        if words[0] == "sudoedit":
            path = self.root.path(words[1])
            path.write_text(self.edits[words[1]](path.read_text("utf-8")), encoding="utf-8")
        elif words[:2] == ["systemctl", "start"]:
            check = self.unit.check()
            assert check.returncode == 0, check.stdout
        elif words[0] != "systemctl":  # whatever needs a systemd that runs comes after "&&"
            self.root.run("/bin/sh", "-c", command.partition(" && ")[0])


def site_edits(port, leaf):
    """The example site on ports of its own, with a certificate of its own."""
    changes = {"listen 80;": f"listen 127.0.0.1:{ports.free_port()};", "listen [::]:80;": "",
               "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
               "listen [::]:443 ssl http2;": "",
               "/etc/ssl/login.example.com/fullchain.pem": leaf.certificate,
               "/etc/ssl/login.example.com/privkey.pem": leaf.key}

    def edit(text):
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        return text
    return edit


def test_login_by_the_words_of_the_readme(root, folder, authority, dot, require):
    """The five steps, as they stand there; then a login, a wrong password, and the log."""
    require(nginx.missing())
    root.run("find", "/etc/nginx/sites-enabled", "/etc/nginx/conf.d", "-mindepth", "1", "-delete")
    shutil.copyfile(authority.file, root.path("/etc/bakrypt-login/authority.pem"))
    port = ports.free_port()
    unit = packaged.Unit(root)
    operator = Operator(root, unit, {
        SETTINGS: lambda text: text + f"BAKRYPT_TOKEN_URL={dot.token_url}\n"
        f"BAKRYPT_CLIENT_ID={CLIENT_ID}\nBAKRYPT_CA_FILE=/etc/bakrypt-login/authority.pem\n",
        SECRET: lambda text: f"{CLIENT_SECRET}\n",
        SITE: site_edits(port, authority.leaf("login", ("login.example.com",)))})
    curl = operator.follow()
    assert {"install", "sudoedit", "systemctl", "cp", "ln", "nginx"} <= operator.done
    with unit, packaged.Nginx(root, port) as front:
        options = ("--resolve", f"login.example.com:{port}:127.0.0.1")
        check_logins(unit, authority, curl, f"https://login.example.com:{port}", options, folder)
        assert unit.stop() == 0
        assert front.is_running


def check_logins(unit, authority, curl, origin, options, folder):
    """By the README's own command, which starts the program, and with a wrong password."""
    name, password = "alice", USERS["alice"]
    (folder / "login.json").write_text(json.dumps({"username": name, "password": password}),
                                       encoding="utf-8")
    assert "https://login.example.com/" in curl
    reply = run(*shlex.split(curl.replace("https://login.example.com", origin)), "-sS",
                "--noproxy", "*", "--cacert", authority.file, *options, cwd=folder)
    assert re.match(r"HTTP/2 200", reply) and '"access_token"' in reply, reply
    unit.wait_for_event("login_ok")
    assert pathlib.Path(f"/proc/{unit.pid}/status").read_text().split("Uid:")[1].split()[0] != "0"
    refused = send_by_curl(origin, json.dumps({"username": name, "password": "wrong"}).encode(),
                           ca_file=authority.file, options=options)
    assert (refused.status, refused.json["error"]) == (401, "invalid_grant")
    unit.wait_for_event("login_fail", request_id=refused.headers["X-Request-Id"])


def test_what_is_missing_is_said_before_a_start(root):
    """As step 3 promises: the one who starts it reads which setting it is."""
    root.run("install", "-m", "0600", "/dev/null", SECRET)
    check = packaged.Unit(root).check()
    assert check.returncode == 78
    assert "BAKRYPT_NETWORK" in check.stdout and "BAKRYPT_CLIENT_ID" in check.stdout


# Upgrade, removal, purge

def newer(package, folder):
    """The same package with a higher version, and other text in all its files under /etc."""
    tree = folder / "newer"
    run("dpkg-deb", "--raw-extract", package, tree)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*$", "Version: 99", control.read_text()))
    for path in (SETTINGS, SNIPPET, APACHE):
        with (tree / path[1:]).open("a") as stream:
            stream.write("# newer\n")
    run("dpkg-deb", "--root-owner-group", "--build", tree, folder / "newer.deb")
    shutil.rmtree(tree)
    return folder / "newer.deb"


def test_upgrade_keeps_what_was_changed(root, package, folder):
    root.path(SETTINGS).write_text("BAKRYPT_NETWORK=testnet\n", encoding="ascii")
    root.run("chmod", "0600", SETTINGS)
    root.run("chown", "root:root", SETTINGS)
    root.path(SECRET).write_text("secret", encoding="ascii")
    output = root.run("dpkg", "--force-confdef", "--force-confold", "--install",
                      newer(package, folder)).stdout
    assert "bakrypt-login (99)" in output
    assert root.path(SETTINGS).read_text() == "BAKRYPT_NETWORK=testnet\n"
    state = root.path(SETTINGS).stat()
    assert (state.st_mode & 0o7777, state.st_uid, state.st_gid) == (0o600, 0, 0)
    assert root.path(SECRET).read_text() == "secret"
    assert root.path(SNIPPET).read_text().endswith("# newer\n")


def test_settings_stay_for_root_and_service_alone(root, package, folder):
    """An upgrade that brings new text does not open the file to others again."""
    root.run("dpkg", "--install", newer(package, folder))
    state = root.path(SETTINGS).stat()
    assert root.path(SETTINGS).read_text().endswith("# newer\n")
    assert state.st_mode & 0o7777 == 0o640 and state.st_gid != 0


def test_removal_keeps_settings_and_secret(root):
    root.path(SECRET).write_text("secret", encoding="ascii")
    root.run("dpkg", "--remove", "bakrypt-login")
    there = {path for path in (*SHIPPED, *MADE, SECRET) if os.path.lexists(root.path(path))}
    assert there == {SETTINGS, SNIPPET, PAGE_SNIPPET, APACHE, SECRET}
    with_name = {path for path in root.changes() if path.startswith("/usr/")}
    assert with_name <= set(root.before)


def test_purge_leaves_nothing_but_the_user(root):
    root.path(SECRET).write_text("secret", encoding="ascii")
    root.path(f"{SECRET}~").write_text("an editor's copy", encoding="ascii")
    root.run("ln", "-s", "../conf-available/bakrypt-login.conf", "/etc/apache2/conf-enabled/")
    assert len(set(root.changes()) - set(root.before)) > len(SHIPPED)
    root.run("dpkg", "--purge", "bakrypt-login")
    left = {path for path, kind in root.changes().items() if root.before.get(path) != kind}
    assert {path for path in left - USER_TABLES if not NOTES.fullmatch(path)} == set()
    old = pathlib.Path("/etc/passwd").read_text().splitlines()
    new = root.path("/etc/passwd").read_text().splitlines()
    added = [line.split(":")[0] for line in new if line not in old]
    assert set(old) <= set(new) and added in (["bakrypt-login"], [])
    assert run("sh", "-c", "mount").count("throw-away") == 0
