"""What `make run` runs: bakrypt-login behind nginx, to try by hand.

    /usr/bin/python3 tests/run.py --binary build/bakrypt-login

PORT is nginx's, 3000 by default. Behind the program stands a sandbox authorization server; with
BAKRYPT_NETWORK, BAKRYPT_TOKEN_URL or BAKRYPT_CONFIG in the environment it is the real one.
Ends by Ctrl-C or SIGTERM with everything it started; exit status 0, or 1 if something failed,
or what `bakrypt-login --check --offline` says of the settings.
"""
import argparse
import contextlib
import json
import os
import select
import shlex
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from servers import certificates, dot, ending, folders, nginx, ports, program  # noqa: E402
from servers.process import ServerError  # noqa: E402

REAL_SETTINGS = ("BAKRYPT_NETWORK", "BAKRYPT_TOKEN_URL", "BAKRYPT_CONFIG")
USER = "alice"
LINES_KEPT = 15


class Failure(Exception):
    """A reason to end, as a sentence, and the exit status."""

    def __init__(self, text, status=1):
        super().__init__(text)
        self.status = status


_printing = threading.Lock()


def say(text=""):
    """Prints; a terminal that is gone is no reason to stop reading what the servers print."""
    with _printing, contextlib.suppress(OSError):
        print(text, flush=True)


# Before anything is started

def read_port():
    text = os.environ.get("PORT") or "3000"
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise Failure(f"PORT={text} is not a port; try PORT=3001 make run")
    return int(text)


def check_port(port):
    """Finds out what nginx would run into, to say it in clearer words."""
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        if family == socket.AF_INET6 and not ports.has_ipv6():
            continue
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen()
            except PermissionError:
                raise Failure(f"Port {port} is for root alone; try PORT=3001 make run") from None
            except OSError:
                raise Failure(f"Port {port} is in use; try PORT=3001 make run") from None


def check_installed(binary, is_sandbox):
    missing = nginx.missing() or (dot.missing() if is_sandbox else None)
    if missing:
        raise Failure(missing)
    if not os.access(binary, os.X_OK):
        raise Failure(f"{binary} is not there; build it with make")


def check_settings(binary):
    """With real settings: lets the program say what is wrong with them."""
    done = subprocess.run([binary, "--check", "--offline"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Failure(done.stdout.strip(), done.returncode if done.returncode > 0 else 1)


# The servers

def make_program(folder, binary, sandbox, authority):
    options = {"path": binary, "on_line": say, "keep": LINES_KEPT}
    if sandbox is None:
        return program.Program(folder, env=dict(os.environ), **options)
    tuning = {name: value for name, value in os.environ.items()
              if name in ("BAKRYPT_LOG_LEVEL", "BAKRYPT_TIMEOUT_MS",
                          "BAKRYPT_CONNECT_TIMEOUT_MS", "BAKRYPT_MAX_IN_FLIGHT")}
    return program.Program(folder, token_url=sandbox.token_url, ca_file=authority.file,
                           settings=tuning, **options)


def start_all(stack, options, port, is_sandbox):
    """Starts the servers, each when the one behind it lives. The stack ends them, last first."""
    folder = stack.enter_context(folders.temporary_folder(options.parent))
    sandbox = authority = None
    if is_sandbox:
        say("Starting the sandbox authorization server ...")
        authority = certificates.Authority(folder / "ca")
        sandbox = dot.Dot(folder, authority, keep=LINES_KEPT)
        stack.callback(sandbox.stop)
        sandbox.start()
    login = make_program(folder, options.binary, sandbox, authority)
    stack.callback(login.stop)
    login.start()
    front = nginx.Site(folder, login.target, port=port, keep=LINES_KEPT)
    stack.callback(front.stop)
    front.start()
    return [server for server in (sandbox, login, front) if server], sandbox


def curl_line(port, name, password):
    body = json.dumps({"username": name, "password": password})
    return (f"curl -i http://localhost:{port}/login -H 'Content-Type: application/json' "
            f"-d {shlex.quote(body)}")


def introduce(port, sandbox):
    behind = f"a sandbox authorization server, {sandbox.token_url}" if sandbox else \
        "Bakrypt, as your settings say: these are real accounts"
    name, password = (USER, dot.USERS[USER]) if sandbox else ("YOUR NAME", "YOUR PASSWORD")
    say(f"""
bakrypt-login answers on http://localhost:{port}/login
  a page to try it on: http://localhost:{port}/
  before it: nginx, with nginx/bakrypt-login.conf and nginx/bakrypt-login-page.conf
  behind it: {behind}

Log in from another terminal:

  {curl_line(port, name, password)}

A right password gives 200 and a token, a wrong one 401 invalid_grant.
One line for each login follows. Ctrl-C ends everything.
""")


def wait_for_an_end(servers):
    """Waits until one of the servers ends; says which and what it printed last."""
    poll = select.poll()
    by_descriptor = {os.pidfd_open(server.pid): server for server in servers}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    ended = by_descriptor[poll.poll()[0][0]]
    status = ended.wait(timeout=5)
    raise Failure(f"{ended.name} ended by itself (status {status}). Its last lines:\n"
                  f"{ended.tail(LINES_KEPT)}")


def run(options):
    port = read_port()
    is_sandbox = not any(os.environ.get(name) for name in REAL_SETTINGS)
    check_installed(options.binary, is_sandbox)
    check_port(port)
    if not is_sandbox:
        check_settings(options.binary)
    with contextlib.ExitStack() as stack:
        servers, sandbox = start_all(stack, options, port, is_sandbox)
        introduce(port, sandbox)
        wait_for_an_end(servers)


def main():
    parser = argparse.ArgumentParser(description="bakrypt-login behind nginx, to try by hand")
    parser.add_argument("--binary", default=program.binary(), help="the program to run")
    parser.add_argument("--parent", default="/tmp", help="where its temporary folder is made")
    options = parser.parse_args()
    options.binary = os.path.abspath(options.binary)
    os.umask(0o077)
    ending.take_signals()
    try:
        run(options)
    except ending.Interrupted:
        say("\nStopped.")
        return 0
    except Failure as failure:
        print(failure, file=sys.stderr)
        return failure.status
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
