"""A listening socket that outlives the programs on it, as systemd holds it.

    with HeldSocket(folder) as held:
        with HeldProgram(held, token_url=url, ca_file=authority.file) as program:
            ... SIGTERM; the next program ...
"""
import itertools
import os
import shutil
import socket
import sys

from servers import folders
from servers.program import Program, binary

BACKLOG = 4096  # as the unit says

# What systemd does between fork and exec: which descriptor, and that it is for this process.
HAND_OVER = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""

_numbers = itertools.count(1)


class HeldSocket:
    """The socket, for the web server's group."""

    def __init__(self, folder):
        self.folder = folder
        self.path = str(folder / f"held-{next(_numbers)}.sock")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o660)
        if folders.web_group():
            shutil.chown(self.path, group=folders.web_group())
        self.socket.listen(BACKLOG)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class HeldProgram(Program):
    """A program on it. way: how it is handed over, "fd 3" (systemd) or "fd 0" (spawn-fcgi)."""

    def __init__(self, held, *, token_url, ca_file, way="fd 3", settings=None, arguments=()):
        super().__init__(held.folder, token_url=token_url, ca_file=ca_file, settings=settings)
        self.address = self.target = held.path
        self.argv = [binary(), *map(str, arguments)]
        if way == "fd 0":
            self._stdin = held.socket
        else:
            number = held.socket.fileno()
            self._pass_fds = (number,)
            self.argv[:0] = [sys.executable, "-S", "-c", HAND_OVER, str(number)]
