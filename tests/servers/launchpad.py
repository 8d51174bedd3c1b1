"""Bakrypt's own web component, bakrypt-launchpad, and what it calls.

The component is fetched from npm's registry, once, into build/npm: the one thing in the tests that
does not come from Debian. Api stands in for Bakrypt's, on this machine.
"""
import base64
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import tarfile
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / os.environ.get("BAKRYPT_LOGIN_BUILD", "build") / "npm"
REGISTRY = "https://registry.npmjs.org/"
VERSION = "0.0.1"
SHA512 = ("cLLMWRtZl0g6AvXDNpGh8FL/ZLwcDM4FO5lFyEqJCrDXiPlkcDWGql4MtumYi5hBoNPqwskf++NAi8A9/r6/vQ"
          "==")
MODULE = "package/dist/bakrypt-launchpad.js"
FETCH_S = 60
API_HOST = "testnet.bakrypt.io"

# A user's page: it hands each token of the session to the component.
PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>A site with bakrypt-launchpad</title>
<script type="module" src="bakrypt-launchpad.js"></script>
<script type="module" src="site.js"></script>
<bakrypt-launchpad testnet="true"></bakrypt-launchpad>
</html>
"""
SITE_SCRIPT = """\
import { login, logout, refresh, session } from "/bakrypt-login.js";

const launchpad = document.querySelector("bakrypt-launchpad");
session.addEventListener("change", () => {
	launchpad.setAttribute("access-token", session.token?.access_token ?? "");
	launchpad.setAttribute("refresh-token", session.token?.refresh_token ?? "");
});
window.site = { login, logout, refresh, session };
"""


class Unavailable(Exception):
    """The component cannot be had; says why."""


def fetch():
    """The component's module, as text."""
    package = CACHE / f"bakrypt-launchpad-{VERSION}.tgz"
    if not package.exists():
        _fetch(package)
    digest = hashlib.sha512(package.read_bytes()).digest()
    if base64.b64encode(digest).decode() != SHA512:
        raise ValueError(f"{package} is not what was published")
    with tarfile.open(package) as archive:
        return archive.extractfile(MODULE).read().decode("utf-8")


def _fetch(package):
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        argv = [npm, "pack", f"bakrypt-launchpad@{VERSION}", f"--registry={REGISTRY}",
                f"--cache={folder}/cache", f"--pack-destination={folder}", "--ignore-scripts",
                "--fetch-retries=1", "--update-notifier=false"]
        try:
            done = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, text=True,
                                  capture_output=True, timeout=FETCH_S, check=False)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"no answer of {REGISTRY} in {FETCH_S} s") from None
        if done.returncode != 0:
            raise Unavailable(f"npm has no bakrypt-launchpad: {done.stderr.strip()}")
        os.replace(pathlib.Path(folder) / package.name, package)


class Api:
    """Takes what the component sends to API_HOST, and refuses it in a sentence.

    calls: (method, path, Authorization) of each request but OPTIONS.
    """
    SENTENCE = "This Bakrypt only listens."

    def __init__(self, leaf):
        self.calls = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self.port = self._server.server_port
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.certificate, leaf.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _make_handler(self):
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One request. The names of its methods are the standard library's."""

            def _answer(self, status, body):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Access-Control-Allow-Headers", "authorization, content-type")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_OPTIONS(self):  # pylint: disable=invalid-name
                """The browser's question before."""
                self._answer(200, b"")

            def do_POST(self):  # pylint: disable=invalid-name
                """The component's call."""
                api.calls.append((self.command, self.path, self.headers["Authorization"]))
                self._answer(403, json.dumps({"error_description": api.SENTENCE}).encode())

            do_GET = do_POST  # pylint: disable=invalid-name

            def log_message(self, *_):  # pylint: disable=arguments-differ
                """Nothing is printed."""
        return Handler
