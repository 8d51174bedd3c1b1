"""The real Django OAuth Toolkit over HTTPS, as the authorization server of tests and `make run`.

    with Dot(folder, authority) as dot:
        Program(folder, token_url=dot.token_url, ca_file=authority.file)
"""
import importlib.util
import json
import os
import pathlib

from servers import ports
from servers.process import Process, ServerError
from servers.program import CLIENT_ID, CLIENT_SECRET

PYTHON = "/usr/bin/python3"
GUNICORN = "/usr/bin/gunicorn"
SANDBOX = pathlib.Path(__file__).resolve().parents[1] / "sandbox"
PACKAGES = "python3-django-oauth-toolkit gunicorn"

# A client that may not use the password grant.
OTHER_CLIENT_ID = "test-client-without-the-grant"

USERS = {
    "alice": "Down the Rabbit-Hole 42",
    "bob+tag@example.com": "plus+plus 100% \"quoted\" 'and' more&more=less;#?/\\",
    "zoë": "pässwörd 密码 🔑 ça  va ",
    "spaces inside": " leading and trailing ",
    "a very long password": "Wonderland" * 400,
}
INACTIVE_USER = "inactive"


def missing():
    """What the machine lacks for it, as a sentence; or None."""
    if not os.path.exists(PYTHON) or not os.path.exists(GUNICORN):
        return f"gunicorn is not installed ({PACKAGES})"
    if importlib.util.find_spec("oauth2_provider") is None:
        return f"Django OAuth Toolkit is not installed ({PACKAGES})"
    return None


class Dot(Process):
    """gunicorn with the project under tests/sandbox, its database in a folder.

    token_url: its token endpoint. lines: one per request, "POST /auth/token/ 200 HTTP/1.1".
    """

    def __init__(self, folder, authority, *, users=None, keep=None, on_line=None):
        leaf = authority.leaf()
        self.port = ports.free_port()
        self.origin = f"https://localhost:{self.port}"
        self.token_url = f"{self.origin}/auth/token/"
        folder = pathlib.Path(folder)
        env = {
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SANDBOX_DATABASE": str(folder / f"sandbox-{self.port}.sqlite3"),
            "SANDBOX_SEED": json.dumps(self._seed(USERS if users is None else users)),
            "TMPDIR": str(folder),
        }
        argv = [PYTHON, GUNICORN, "--chdir", SANDBOX, "--bind", f"127.0.0.1:{self.port}",
                "--certfile", leaf.certificate, "--keyfile", leaf.key,
                "--worker-class", "gthread", "--threads", "8", "--keep-alive", "40",
                "--graceful-timeout", "1", "--worker-tmp-dir", folder,
                "--log-level", "warning", "--access-logfile", "-",
                "--access-logformat", "%(m)s %(U)s %(s)s %(H)s", "authorization_server"]
        super().__init__(argv, name="sandbox", env=env, keep=keep, on_line=on_line)

    @staticmethod
    def _seed(users):
        return {
            "users": [{"name": name, "password": password} for name, password in users.items()]
            + [{"name": INACTIVE_USER, "password": "sleeping beauty", "is_active": False}],
            "clients": [
                {"id": CLIENT_ID, "secret": CLIENT_SECRET, "grant": "password"},
                {"id": OTHER_CLIENT_ID, "secret": CLIENT_SECRET, "grant": "client-credentials"},
            ],
        }

    def start(self, timeout=30):
        """Starts it and waits until it takes connections; the tables are made before that."""
        super().start()
        try:
            # The port is open before the worker has loaded: an answer tells that it has.
            self.wait_until_live(self._answers, timeout, f"connections on port {self.port}")
        except ServerError:
            self.stop()
            raise
        return self

    def _answers(self):
        return ports.answers_http("localhost", self.port, "/auth/token/")

    def count_requests(self, text="POST /auth/token/"):
        return sum(text in line for line in self.lines)
