"""`make run`, as a person uses it: its command is run, its curl line is pasted, Ctrl-C ends it."""
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess

import pytest

from servers import folders, ports, program, upstream
from servers.process import Process, wait_until

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
RUN = pathlib.Path(__file__).resolve().parents[1] / "run.py"
START_S = 40


class Run(Process):
    """tests/run.py on a port of its own, its temporary folder inside of `folder`."""

    def __init__(self, folder, port, **settings):
        self.port = port
        self.temporary = folders.make_subfolder(folder, f"run-{port}")
        env = {name: value for name, value in os.environ.items()
               if not name.startswith("BAKRYPT_")}
        env.update(PORT=str(port), **settings)
        argv = ["/usr/bin/python3", "-B", str(RUN), "--binary", program.binary(),
                "--parent", self.temporary]
        super().__init__(argv, name="run", env=env, grace=30)

    def wait_until_ready(self):
        self.wait_for_line("Ctrl-C", START_S)
        return self

    @property
    def curl_line(self):
        return next(line.strip() for line in self.lines if line.strip().startswith("curl "))

    def session_members(self):
        """The processes that it started, and they in turn, by their temporary folder: it is on
        the command line of each of them."""
        return processes_with(str(self.temporary))

    def check_nothing_is_left(self):
        assert not self.session_members()
        assert not list(self.temporary.iterdir())
        assert not ports.is_listening(("127.0.0.1", self.port))


def processes_with(text):
    """The ids of the processes, zombies aside, with a text on their command lines."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
                if text.encode() in line and b"--parent" not in line:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.fixture(name="run")
def running(folder, has_nginx, has_sandbox):
    with Run(folder, ports.free_port()) as run:
        yield run.wait_until_ready()


def paste(line):
    """Runs a curl line; gives its status and body."""
    argv = shlex.split(line)
    assert argv[0] == "curl"
    done = subprocess.run([*argv, "-sS", "--max-time", "20"], capture_output=True, check=False,
                          stdin=subprocess.DEVNULL, text=True)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition("\n\n")
    return int(head.split()[1]), json.loads(body)


def test_curl_line_and_ctrl_c(run):
    status, token = paste(run.curl_line)
    assert status == 200
    assert set(token) == {"access_token", "expires_in", "token_type", "scope", "refresh_token"}
    run.wait_for_line('"event":"login_ok"', timeout=10)
    status, error = paste(run.curl_line.replace('"password": "', '"password": "not '))
    assert (status, error["error"]) == (401, "invalid_grant")
    run.wait_for_line('"event":"login_fail"', timeout=10)
    assert run.session_members()
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=30) == 0
    run.check_nothing_is_left()


def readme_lines(word):
    """The indented lines of README.md with a word, after "By `curl`"."""
    part = README.read_text(encoding="utf-8").partition("\nBy `curl`")[2].partition("\n## ")[0]
    return [line.strip() for line in part.splitlines()
            if line.startswith("    ") and word in line]


def follow_readme(run):
    """Gives the statuses that one sees, in their order, and what stands last."""
    script = "\n".join(readme_lines("curl")).replace(":3000/", f":{run.port}/")
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, timeout=60,
                          check=True, stdin=subprocess.DEVNULL)
    return re.findall(r"HTTP/1.1 (\d+) ", done.stdout), done.stdout.rpartition("\n")[2]


def test_curl_lines_of_the_readme(run):
    statuses, last = follow_readme(run)
    assert (statuses, json.loads(last)) == (["401", "401", "204", "200"], {"status": "ready"})
    for event in ("login_ok", "login_fail", "refresh_ok", "refresh_fail", "logout_ok"):
        run.wait_for_line(f'"event":"{event}"', timeout=10)


def test_curl_lines_of_the_readme_without_anybody_upstream(folder, has_nginx):
    line, = readme_lines("make run")
    settings = dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)
    assert settings.pop("BAKRYPT_TOKEN_URL") == "https://localhost:1/"
    with upstream.ClosedPort() as closed, \
            Run(folder, ports.free_port(), BAKRYPT_TOKEN_URL=closed.url, **settings) as run:
        run.wait_until_ready()
        token = paste(f"curl -i -d username=alice -d password=x http://localhost:{run.port}/login")
        assert (token[0], token[1]["error"]) == (503, "temporarily_unavailable")
        status, health = paste(f"curl -i http://localhost:{run.port}/readyz")
        assert (status, health["reason"]) == (503, "upstream_unreachable")


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGHUP))
def test_other_signals_end_it_too(run, number):
    run.send_signal(number)
    assert run.wait(timeout=30) == 0
    run.check_nothing_is_left()


def test_ctrl_c_while_it_starts(folder, has_nginx, has_sandbox):
    with Run(folder, ports.free_port()) as run:
        run.wait_for_line("Starting", START_S)
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=30) == 0
        run.check_nothing_is_left()


def test_killed_outright(run):
    """Nobody is left to clean up, but the servers end."""
    os.kill(run.pid, signal.SIGKILL)
    run.wait(timeout=5)
    wait_until(lambda: not run.session_members(), 20, "the end of what it started")


def test_server_that_dies(run):
    """It says which, and ends the others."""
    started = [pid for pid in run.session_members() if b"--listen" in command_line(pid)]
    os.kill(started[0], signal.SIGKILL)
    assert run.wait(timeout=30) == 1
    assert any("bakrypt-login ended by itself" in line for line in run.lines)
    run.check_nothing_is_left()


def command_line(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()


def test_port_in_use(folder, has_nginx, has_sandbox):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Run(folder, port) as run:
            assert run.wait(timeout=START_S) == 1
    assert run.lines == [f"Port {port} is in use; try PORT=3001 make run"]


@pytest.mark.parametrize("port", ("0", "65536", "80a", "-1"))
def test_port_that_is_none(folder, port):
    with Run(folder, port) as run:
        assert run.wait(timeout=START_S) == 1
    assert run.lines == [f"PORT={port} is not a port; try PORT=3001 make run"]


def test_real_network_needs_credentials(folder, has_nginx):
    with Run(folder, ports.free_port(), BAKRYPT_NETWORK="testnet") as run:
        assert run.wait(timeout=START_S) == 78
    assert any("BAKRYPT_CLIENT_ID" in line for line in run.lines), run.lines
    assert not list(run.temporary.iterdir())


def test_real_settings_start_no_sandbox(folder, dot, authority, has_nginx):
    """A token server of one's own stands in for Bakrypt, which no test talks to."""
    settings = {"BAKRYPT_TOKEN_URL": dot.token_url, "BAKRYPT_CA_FILE": authority.file,
                "BAKRYPT_CLIENT_ID": program.CLIENT_ID,
                "BAKRYPT_CLIENT_SECRET": program.CLIENT_SECRET}
    with Run(folder, ports.free_port(), **settings) as run:
        run.wait_until_ready()
        assert not any(b"gunicorn" in command_line(pid) for pid in run.session_members())
        line = run.curl_line
        assert "YOUR NAME" in line and "YOUR PASSWORD" in line
        status, error = paste(line)
        assert (status, error["error"]) == (401, "invalid_grant")
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=30) == 0
        run.check_nothing_is_left()
