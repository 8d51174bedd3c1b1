"""Starting a process, reading what it prints, waiting for it, stopping it by its id.

    with Process(["nginx", "-c", path], name="nginx") as nginx:
        nginx.wait_for_line("start worker process", timeout=5)
        ...
    print(nginx.returncode, nginx.lines)

Start processes from the main thread: the kernel ends them when the thread that started them ends,
so that nothing outlives a killed test run.
"""
import collections
import ctypes
import os
import signal
import subprocess
import threading
import time

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)

# Reports of the sanitizers, wherever they are printed.
SANITIZER_MARKS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer",
                   ": runtime error: ")


class ServerError(Exception):
    """A server that did not start, ended early or did not do in time what was waited for."""


def wait_until(condition, timeout, what):
    """Calls condition() until it gives something true, and returns that. After timeout seconds:
    ServerError saying that `what` did not happen. For things that cannot be waited for by
    notice; the pause between two looks grows from 1 ms to 50 ms."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    pause_s = 0.001
    while True:
        result = condition()
        if result:
            return result
        left = deadline - time.monotonic()
        if left <= 0:
            raise ServerError(f"not within {timeout} s: {what}")
        pause.wait(min(pause_s, left))
        pause_s = min(pause_s * 2, 0.05)


class Process:
    """A child process whose standard output and error are read, line by line, as they come.

    argv: the program and its arguments.
    name: what to call it in messages; the program's file name by default.
    env: the whole environment; the parent's by default.
    on_line: called with each line (text without newline) by the reading thread.
    keep: how many of the last lines are kept (None: all of them).
    stdin, pass_fds, cwd: as for subprocess.Popen; stdin is /dev/null by default.
    grace: seconds between SIGTERM and SIGKILL in stop().

    It is in a session of its own, so it does not see the terminal's Ctrl-C.
    """

    def __init__(self, argv, *, name=None, env=None, cwd=None, on_line=None, keep=None,
                 stdin=subprocess.DEVNULL, pass_fds=(), grace=15):
        self.argv = [os.fspath(part) for part in argv]
        self.name = name or os.path.basename(self.argv[0])
        self.grace = grace
        self._env = env
        self._cwd = cwd
        self._stdin = stdin
        self._pass_fds = pass_fds
        self._on_line = on_line
        self._lines = collections.deque(maxlen=keep)
        self._news = threading.Condition()
        self._is_read = False
        self._popen = None
        self._reader = None

    # Life

    def start(self):
        """Starts it and returns it; it is not waited for."""
        parent = os.getpid()

        def die_with_parent():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        try:
            self._popen = subprocess.Popen(
                self.argv, env=self._env, cwd=self._cwd, stdin=self._stdin,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=self._pass_fds,
                start_new_session=True, preexec_fn=die_with_parent)
        except OSError as error:
            raise ServerError(f"{self.name} cannot be started: {error}") from error
        self._reader = threading.Thread(target=self._read, name=f"read {self.name}", daemon=True)
        self._reader.start()
        return self

    @property
    def pid(self):
        return self._popen.pid

    @property
    def returncode(self):
        """The exit status; negative for a signal; None while it runs."""
        return self._popen.poll() if self._popen else None

    @property
    def is_running(self):
        return self._popen is not None and self._popen.poll() is None

    def send_signal(self, number):
        self._popen.send_signal(number)

    def wait(self, timeout):
        """Waits for its end and returns the exit status, negative for a signal."""
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{self.name} still runs after {timeout} s\n{self.tail()}") from None
        # A grandchild may hold the pipe open: its output is not waited for without end.
        self._reader.join(timeout=2)
        return self._popen.returncode

    def stop(self):
        """SIGTERM, and SIGKILL after the grace. Returns the exit status. May be called twice,
        and before start()."""
        if self._popen is None:
            return None
        if self.is_running:
            self._popen.terminate()
            try:
                self._popen.wait(self.grace)
            except subprocess.TimeoutExpired:
                self._popen.kill()
        return self.wait(timeout=5)

    def __enter__(self):
        if self._popen is None:
            self.start()
        return self

    def __exit__(self, *unused):
        self.stop()

    # What it prints

    def _read(self):
        with self._popen.stdout as stream:
            for raw in stream:
                line = raw.decode("utf-8", "backslashreplace").rstrip("\n")
                with self._news:
                    self._lines.append(line)
                    self.take_line(line)
                    self._news.notify_all()
                if self._on_line:
                    self._on_line(line)
        with self._news:
            self._is_read = True
            self._news.notify_all()

    def take_line(self, line):
        """For subclasses: each line, under the lock of wait_for()."""

    @property
    def lines(self):
        with self._news:
            return list(self._lines)

    def tail(self, count=20):
        """The last lines as one text, for messages."""
        return "\n".join(f"  {self.name}: {line}" for line in self.lines[-count:])

    def wait_for(self, condition, timeout, what):
        """Waits until condition() gives something true, looking after each line printed, and
        returns that. ServerError with the last lines after timeout seconds, or at once if
        the process ended without it."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                result = condition()
                if result:
                    return result
                left = deadline - time.monotonic()
                if left <= 0 or self._is_read:
                    break
                self._news.wait(left)
        if self._is_read:
            reason = f"{self.name} ended (status {self.returncode})"
        else:
            reason = f"{self.name}: not within {timeout} s"
        raise ServerError(f"{reason}, waiting for {what}\n{self.tail()}")

    def wait_for_line(self, text, timeout):
        """Waits until a line with this text was printed, and returns the line."""
        return self.wait_for(
            lambda: next((line for line in self._lines if text in line), None),
            timeout, f"a line with {text!r}")

    def wait_until_live(self, condition, timeout, what):
        """As wait_until(), but fails at once if the process ends."""
        def look():
            if not self.is_running:
                self._reader.join(timeout=2)
                raise ServerError(f"{self.name} ended (status {self.returncode}), waiting for "
                                  f"{what}\n{self.tail()}")
            return condition()
        try:
            return wait_until(look, timeout, what)
        except ServerError as error:
            raise ServerError(f"{self.name}: {error}\n{self.tail()}") from None

    @property
    def sanitizer_reports(self):
        return [line for line in self.lines if any(mark in line for mark in SANITIZER_MARKS)]
