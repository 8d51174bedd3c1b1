"""What `make shared-hosting` packs: unpacked into a customer's folder it logs in; and the program in
it needs nothing of the host but its names and its certificate authorities."""
import os
import pathlib
import shutil
import ssl
import subprocess
import zipfile

import pytest

from servers import (apache, certificates, cgi, client, client_hello, fastcgi, folders, hardening,
                     name_server, program, upstream)
from servers.chain import new_request_id
from servers.dot import USERS
from servers.nginx import substitute
from servers.service import PASSWORD, USER

ROOT = pathlib.Path(__file__).resolve().parents[2]
ARCHIVE = "bakrypt-login-shared-hosting"
LOGIN = fastcgi.login_json(USER, PASSWORD)
BUILD_TIMEOUT_S = 600

pytestmark = pytest.mark.skipif("BAKRYPT_LOGIN_SANITIZED" in os.environ,
                                reason="a sanitizer needs shared libraries")


@pytest.fixture(name="tree", scope="module")
def unpacked_archive(folder):
    """The archive as it comes out of an FTP program that keeps modes."""
    build = os.environ.get("BAKRYPT_LOGIN_BUILD", "build")
    # Not with the variables of a `make` that runs these tests.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", "-C", ROOT, "shared-hosting", f"BUILD={build}"], env=env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=BUILD_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(ROOT / build / f"{ARCHIVE}.zip") as archive:
        for member in archive.infolist():
            path = archive.extract(member, folder)
            os.chmod(path, member.external_attr >> 16)
    return folder / ARCHIVE


@pytest.fixture(name="alone", scope="module")
def static_program(tree):
    """The program, where it could be built static."""
    if (tree / "NEEDS-LIBRARIES.txt").exists():
        pytest.skip("no sources from Debian: the program needs shared libraries")
    return tree / "public" / "login.cgi"


def test_readme_is_short_and_names_what_is_there(tree):
    text = (tree / "README.txt").read_text(encoding="ascii")
    assert len(text.splitlines()) <= 20
    for name in ("home/.config/bakrypt-login.conf", "public/login.cgi", "public/.htaccess",
                 "public-fcgid/login.fcgi"):
        assert name in text and (tree / name).exists()


def test_modes(tree):
    assert (tree / "home/.config/bakrypt-login.conf").stat().st_mode & 0o777 == 0o600
    for name in ("public/login.cgi", "public-fcgid/login.fcgi"):
        assert (tree / name).stat().st_mode & 0o777 == 0o755


def test_settings_are_complete(tree):
    """As they are, but for the client that everybody gets from Bakrypt."""
    done = subprocess.run([tree / "public/login.cgi", "--check", "--offline", "--config",
                           tree / "home/.config/bakrypt-login.conf"], env=program.make_env({}),
                          capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert "https://testnet.bakrypt.io/auth/token/" in done.stdout


def test_program_is_static(alone):
    text = subprocess.run(["readelf", "--wide", "--program-headers", "--dynamic", alone],
                          capture_output=True, text=True, check=True).stdout
    assert "LOAD" in text and "Dynamic section" in text
    assert "INTERP" not in text and "NEEDED" not in text


@pytest.mark.usefixtures("alone")
def test_program_is_hardened(require):
    """As it is before it loses its symbols."""
    require(hardening.missing())
    build = ROOT / os.environ.get("BAKRYPT_LOGIN_BUILD", "build")
    assert not hardening.gaps(build / "shared-hosting" / "program" / "bakrypt-login")


# In a customer's folder

class Unpacked(apache.HtaccessCgi):
    """The unpacked files, uploaded to where README.txt says."""

    tree = None

    def install(self):
        shutil.copytree(self.tree / "public", self.site, dirs_exist_ok=True)
        folders.make_subfolder(self.home, ".config")
        config = self.home / ".config" / "bakrypt-login.conf"
        config.touch(mode=0o600)
        config.write_text(substitute(self.tree / "home/.config/bakrypt-login.conf", {
            "BAKRYPT_NETWORK=testnet": "BAKRYPT_TOKEN_URL={BAKRYPT_TOKEN_URL}\n"
                                       "BAKRYPT_CA_FILE={BAKRYPT_CA_FILE}"
                                       .format_map(self.settings),
            "your-client-id": program.CLIENT_ID,
            "your-client-secret": program.CLIENT_SECRET}), encoding="ascii")
        if folders.web_user():
            shutil.chown(self.site, *folders.web_user())
            shutil.chown(config, *folders.web_user())


def test_login_in_a_customers_folder(tree, folder, authority, dot, require):
    require(Unpacked.missing())
    Unpacked.tree = tree
    with Unpacked(folder, {"BAKRYPT_TOKEN_URL": dot.token_url,
                           "BAKRYPT_CA_FILE": authority.file}) as door:
        for password, status in ((USERS["alice"], 200), ("wrong", 401)):
            request_id = new_request_id()
            reply = client.send(door.origin, client.json_body("alice", password),
                                headers={"X-Request-Id": request_id})
            assert reply.status == status, reply
            assert door.entry_for(request_id)["status"] == status
        assert client.send(door.origin, path="/login.cgi").status == 403


# OpenSSL without what a login does not come to

# With SHA-2; for server certificates of a kind that none of the offered suites goes with.
DSA = {0x0302, 0x0402, 0x0502, 0x0602}

CURVE = ("ec", "-nodes", "-pkeyopt")
KEYS = {
    "RSA": ("rsa:2048", "-nodes"),
    "RSA-PSS": ("rsa-pss", "-nodes", "-pkeyopt", "rsa_keygen_bits:2048"),
    "P-256": (*CURVE, "ec_paramgen_curve:P-256"),
    "P-384": (*CURVE, "ec_paramgen_curve:P-384"),
    "P-521": (*CURVE, "ec_paramgen_curve:P-521"),
    "Ed25519": ("ed25519", "-nodes"),
    "Ed448": ("ed448", "-nodes"),
}
SUITES = ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256",
          "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-SHA384",
          "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-SHA",
          "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES256-GCM-SHA384",
          "DHE-RSA-CHACHA20-POLY1305", "DHE-RSA-AES128-SHA256", "AES256-GCM-SHA384",
          "AES128-SHA256", "AES256-SHA")


@pytest.fixture(name="authority_of", scope="module")
def authorities(folder):
    """A function that gives an authority for a kind of key."""
    made = {}

    def give(kind):
        if kind not in made:
            made[kind] = certificates.Authority(folder / f"ca-{kind}", f"Of {kind}",
                                                ("-newkey", *KEYS[kind]))
        return made[kind]
    return give


def log_in(path, token_url, ca_file):
    env = {**cgi.variables(length=len(LOGIN)), **cgi.settings(token_url, ca_file)}
    return cgi.finish(cgi.start(env, path=path), LOGIN)


def log_in_at(context, path, authority):
    """At a server that speaks TLS in this way."""
    with upstream.Upstream(context=context) as server:
        return log_in(path, server.url, authority.file)


def server_context(authority, **options):
    leaf = authority.leaf()
    return upstream.server_context(leaf.certificate, leaf.key, **options)


def test_offers_what_all_of_openssl_would(alone, authority):
    """The program with Debian's OpenSSL has all algorithms."""
    hellos = []
    for path in (alone, program.binary()):
        with client_hello.Listener() as listener:
            log_in(path, listener.url, authority.file)
        hellos.append(listener.hello)
    lean, full = hellos
    assert lean.suites == full.suites
    assert lean.signature_algorithms == [number for number in full.signature_algorithms
                                         if number not in DSA]
    for hello in hellos:
        del hello.extensions[client_hello.SIGNATURE_ALGORITHMS]
    assert lean == full


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
def test_certificates_of_every_kind(alone, authority_of, kind, version):
    authority = authority_of(kind)
    run = log_in_at(server_context(authority, newest=version), alone, authority)
    assert run.reply.status == 200, run


@pytest.mark.parametrize("suite", SUITES)
def test_suites_of_tls_1_2(alone, authority_of, folder, suite):
    authority = authority_of("P-256" if "ECDSA" in suite else "RSA")
    context = server_context(authority, newest=ssl.TLSVersion.TLSv1_2, ciphers=suite)
    if suite.startswith("DHE"):
        dh_file = folder / "dh.pem"
        subprocess.run(["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt",
                        "group:ffdhe2048", "-out", dh_file], check=True, capture_output=True)
        context.load_dh_params(dh_file)
    run = log_in_at(context, alone, authority)
    assert run.reply.status == 200, run


@pytest.mark.parametrize("curve", ("prime256v1", "secp384r1", "secp521r1"))
def test_curves(alone, authority, curve):
    context = server_context(authority)
    context.set_ecdh_curve(curve)
    run = log_in_at(context, alone, authority)
    assert run.reply.status == 200, run


def test_errors_of_openssl_have_their_texts(alone, authority):
    """Another version of TLS, and no TLS at all: the notes are those of the program with Debian's
    OpenSSL."""
    old = server_context(authority, newest=ssl.TLSVersion.TLSv1_1)
    with upstream.Upstream(context=server_context(authority)) as plain:
        plain.doors(*[upstream.plain_http] * 4)
        for attempt in (lambda path: log_in_at(old, path, authority),
                        lambda path: log_in(path, plain.url, authority.file)):
            entries = [attempt(path).entry for path in (alone, program.binary())]
            assert {entry["event"] for entry in entries} == {"upstream_tls"}
            assert entries[0]["note"] == entries[1]["note"]
            assert "SSL routines" in entries[0]["note"]


def test_random_numbers_are_not_repeated(alone, authority):
    """Each run sends random bytes and a key of its own."""
    sent = set()
    for _ in range(3):
        with client_hello.Listener() as listener:
            log_in(alone, listener.url, authority.file)
        sent.update((listener.hello.random, listener.hello.key))
    assert len(sent) == 6


def test_no_login_without_random_numbers(alone, authority, require):
    require(None if shutil.which("strace") else "strace is missing")
    runs = []
    with upstream.Upstream(context=server_context(authority)) as server:
        env = {**cgi.variables(length=len(LOGIN)), **cgi.settings(server.url, authority.file)}
        for path in (alone, program.binary()):
            runs.append(cgi.finish(cgi.start(
                env, "-f", "-qq", "-o", os.devnull, "-e", "inject=getrandom:error=ENOSYS", path,
                path=shutil.which("strace")), LOGIN))
    assert {run.reply.status for run in runs} == {503}
    assert runs[0].entry["note"] == runs[1].entry["note"]


def memory_at(call, path, env, body, folder):
    """The process's memory, and its output, when it is about to make this system call."""
    image = folder / "image"
    names = {name: folder / name for name in ("body", "output", "errors")}
    names["body"].write_bytes(body)
    subprocess.run(["gdb", "-batch", "-nx", "-ex", "set debuginfod enabled off",
                    "-ex", f"catch syscall {call}",
                    "-ex", "run <{body} >{output} 2>{errors}".format_map(names),
                    "-ex", f"gcore {image}", "-ex", "kill", path],
                   env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    try:
        return image.read_bytes(), names["output"].read_bytes()
    finally:
        image.unlink()


def secrets_in(image, tls_secrets):
    """tls_secrets: a file of lines with a name, a random number, and the secret."""
    rows = [line.split() for line in pathlib.Path(tls_secrets).read_text("ascii").splitlines() if line[0] != "#"]
    named = {row[0]: bytes.fromhex(row[2]) for row in rows}
    assert "CLIENT_TRAFFIC_SECRET_0" in named
    named.update(password=PASSWORD.encode(), secret=program.CLIENT_SECRET.encode(),
                 access_token=upstream.ACCESS_TOKEN.encode(),
                 refresh_token=upstream.REFRESH_TOKEN.encode())
    return {name for name, secret in named.items() if secret in image}


def test_no_secret_is_left_at_the_end(alone, authority, tmp_path, require):
    """Although OpenSSL does not clean up. The program with Debian's, which does, beside it; and the
    secrets are found where they are used, but for the client's, which no core holds."""
    require(None if shutil.which("gdb") else "gdb is missing")
    context = server_context(authority)
    for path, call, expected in (
            (alone, "exit_group", set()), (program.binary(), "exit_group", set()),
            (alone, "shutdown", {"access_token", "refresh_token", "CLIENT_TRAFFIC_SECRET_0"})):
        context.keylog_filename = str(tmp_path / f"tls-secrets-{len(list(tmp_path.iterdir()))}")
        with upstream.Upstream(context=context) as server:
            env = program.make_env({**cgi.variables(length=len(LOGIN)),
                                    **cgi.settings(server.url, authority.file)})
            image, output = memory_at(call, path, env, LOGIN, tmp_path)
        assert b"200 OK" in output
        found = secrets_in(image, context.keylog_filename)
        assert found >= expected and bool(found) == bool(expected), (path, call)


# In an empty world

HOST = "tokens.example.test"


class World:
    """A root folder with nothing but the program, names and certificate authorities, of a system
    whose nsswitch.conf wants modules. Loading one would never end: it is a pipe."""

    def __init__(self, root, alone):
        self.root = root
        for name in ("etc/ssl/certs", "etc/pki/tls/certs", "lib"):
            (root / name).mkdir(parents=True)
        shutil.copy(alone, root / "login.cgi")
        self.write("etc/nsswitch.conf", "hosts: trap files dns\npasswd: trap files\n")
        os.mkfifo(root / "lib" / "libnss_trap.so.2")

    def write(self, name, text):
        (self.root / name).write_text(text, encoding="ascii")

    def trust(self, authority, place):
        certificate = pathlib.Path(authority.file).read_text(encoding="ascii")
        if place == "bundle":
            self.write("etc/pki/tls/certs/ca-bundle.crt", certificate)
            return
        digest = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", authority.file],
                                capture_output=True, text=True, check=True).stdout.strip()
        for name in (digest, *(f"{number:08x}" for number in range(140))):
            self.write(f"etc/ssl/certs/{name}.0", certificate)

    def log_in(self, token_url):
        env = {**cgi.variables(length=len(LOGIN)), "BAKRYPT_TOKEN_URL": token_url,
               "BAKRYPT_CLIENT_ID": program.CLIENT_ID,
               "BAKRYPT_CLIENT_SECRET": program.CLIENT_SECRET}
        process = cgi.start(env, self.root, "/login.cgi", path=shutil.which(
            "chroot", path="/usr/sbin:/usr/bin"))
        try:
            return cgi.finish(process, LOGIN)
        finally:
            process.kill()


@pytest.fixture(name="world")
def empty_world(alone):
    if not folders.is_root():
        pytest.skip("only root may change the root folder")
    root = folders.make_folder()
    yield World(root, alone)
    folders.remove_folder(root)


@pytest.fixture(name="server", scope="module")
def token_server(authority):
    leaf = authority.leaf(HOST, (HOST, "tokens"))
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        yield server


def url(server, host):
    return f"https://{host}:{server.port}{upstream.PATH}"


@pytest.mark.parametrize("place", ("hashed directory", "bundle"))
def test_login_with_a_hosts_file(world, server, authority, place):
    world.write("etc/hosts", f"127.0.0.1 localhost {HOST}\n")
    world.trust(authority, place)
    run = world.log_in(url(server, HOST))
    assert run.reply.status == 200, run


@pytest.mark.parametrize("host", (HOST, "tokens"))
def test_login_with_dns(world, server, authority, host):
    """The first name server is dead, and a name without a dot is completed."""
    world.trust(authority, "hashed directory")
    with name_server.NameServer({HOST: ["::1", "127.0.0.1"]}) as names:
        world.write("etc/resolv.conf", f"search elsewhere.test example.test\nnameserver 127.53.53.1"
                                       f"\nnameserver {names.address}\n")
        run = world.log_in(url(server, host))
    assert run.reply.status == 200, run
    assert HOST in names.asked


def test_unknown_name(world, server, authority):
    world.trust(authority, "bundle")
    with name_server.NameServer({}) as names:
        world.write("etc/resolv.conf", f"nameserver {names.address}\n")
        run = world.log_in(url(server, HOST))
    assert (run.reply.status, run.entry["event"]) == (503, "upstream_unreachable"), run
    assert "resolve" in run.entry["note"]


def test_nobody_is_trusted_without_authorities(world, server):
    world.write("etc/hosts", f"127.0.0.1 {HOST}\n")
    run = world.log_in(url(server, HOST))
    assert (run.reply.status, run.entry["event"]) == (502, "upstream_tls"), run


def test_nobody_else_is_trusted(world, server, folder):
    world.write("etc/hosts", f"127.0.0.1 {HOST}\n")
    world.trust(certificates.Authority(folder / "others-ca", "Others"), "hashed directory")
    run = world.log_in(url(server, HOST))
    assert (run.reply.status, run.entry["event"]) == (502, "upstream_tls"), run
