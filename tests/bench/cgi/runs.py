"""One run of a program by CGI, measured: straight from exec, without a web server."""
import dataclasses
import os
import time

OUTPUT_MAX_BYTES = 1 << 16


class Failure(Exception):
    """A run that did not do what was asked, as a sentence."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A program as it is started: expected is what its output must contain. body is its standard
    input."""
    name: str
    label: str
    argv: tuple
    env: dict
    body: bytes
    expected: bytes


@dataclasses.dataclass(frozen=True)
class Run:
    """Seconds from exec to the last byte of output and to the end of the process; its CPU, and how
    often it met a page that was not there."""
    last_byte_s: float
    exit_s: float
    cpu_s: float
    page_faults: int


def _pipes():
    return (*os.pipe2(os.O_CLOEXEC), *os.pipe2(os.O_CLOEXEC))


def _read_to_the_end(fd):
    """All that comes, and the moment after the last byte of it."""
    output = b""
    last = time.perf_counter()
    while True:
        more = os.read(fd, OUTPUT_MAX_BYTES)
        if not more:
            return output, last
        last = time.perf_counter()
        output += more


def run(subject, prefix=()):
    """Starts it once. prefix: a command to start it with, as valgrind. Failure if it answers with
    anything but what is expected."""
    stdin, body, reply, stdout = _pipes()
    argv = [*map(str, prefix), *subject.argv]
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.write(body, subject.body)
        os.close(body)
        start = time.perf_counter()
        pid = os.posix_spawnp(argv[0], argv, subject.env, file_actions=[
            (os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, null, 2)])
        os.close(stdout)
        output, last_byte = _read_to_the_end(reply)
        _, status, usage = os.wait4(pid, 0)
        end = time.perf_counter()
    finally:
        for fd in (stdin, reply, null):
            os.close(fd)
    if status != 0 or subject.expected not in output:
        raise Failure(f"{subject.label} ended with status {status} after {output!r}")
    return Run(last_byte - start, end - start, usage.ru_utime + usage.ru_stime, usage.ru_minflt)
