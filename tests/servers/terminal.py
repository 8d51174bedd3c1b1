"""A program on a terminal of its own, and somebody who types there.

    with Terminal([binary(), "token"], env=env) as terminal:
        terminal.expect("Password: ")
        assert not terminal.is_echoing
        terminal.type("secret\\n")
        assert terminal.wait() == 0
    print(terminal.text, terminal.output)
"""
import contextlib
import fcntl
import os
import select
import subprocess
import termios
import time

from servers.process import ServerError, wait_until


class Terminal:
    """text: what the terminal showed so far. output: what came on standard output.

    stdin: a file, instead of the terminal; so with stdout, which is a pipe by default.
    preexec: called in the child. Its standard error is the terminal.
    """

    def __init__(self, argv, *, env, stdin=None, stdout=subprocess.PIPE, preexec=None):
        self.text = ""
        self.output = ""
        self._seen = 0
        self._master, self._slave = os.openpty()

        def take_terminal():
            fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)
            if preexec:
                preexec()

        self._popen = subprocess.Popen(
            [os.fspath(part) for part in argv], env=env, start_new_session=True,
            stdin=self._slave if stdin is None else stdin,
            stdout=self._slave if stdout is None else stdout, stderr=self._slave,
            preexec_fn=take_terminal)

    @property
    def pid(self):
        return self._popen.pid

    @property
    def is_echoing(self):
        return bool(termios.tcgetattr(self._slave)[3] & termios.ECHO)

    def set_echo(self, is_on):
        modes = termios.tcgetattr(self._slave)
        modes[3] = modes[3] | termios.ECHO if is_on else modes[3] & ~termios.ECHO
        termios.tcsetattr(self._slave, termios.TCSANOW, modes)

    def type(self, text):
        os.write(self._master, text.encode())

    def press(self, letter):
        """Ctrl and a letter."""
        os.write(self._master, bytes([ord(letter) - ord("A") + 1]))

    def expect(self, text, timeout=10):
        """Waits until this stands behind what was expected before."""
        deadline = time.monotonic() + timeout
        while (at := self.text.find(text, self._seen)) < 0:
            if not self._read(max(0, deadline - time.monotonic())):
                raise ServerError(f"the terminal never showed {text!r}, but: {self.text!r}")
        self._seen = at + len(text)

    def expect_echo(self, is_on, timeout=10):
        wait_until(lambda: self.is_echoing == is_on, timeout, f"echo {is_on}")

    def wait(self, timeout=20):
        """Waits for the end; returns the exit status, negative for a signal."""
        self.output = (self._popen.communicate(timeout=timeout)[0] or b"").decode()
        while self._read(0):
            pass
        return self._popen.returncode

    def _read(self, timeout):
        if not select.select([self._master], [], [], timeout)[0]:
            return False
        self.text += os.read(self._master, 65536).decode("utf-8", "backslashreplace")
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.communicate(timeout=5)
        for fd in (self._master, self._slave):
            with contextlib.suppress(OSError):
                os.close(fd)
