"""A program with nothing to do: its memory, and what wakes it."""
import dataclasses
import re
import time

from servers.process import Process, wait_until

from bench import load, ours, tree

FORGETS_WITHIN_S = 60
CALL = re.compile(r"^(?:\[pid +\d+\] )?(?:\w+\(|<\.\.\. \w+ resumed).*\) += ")  # one that came back


@dataclasses.dataclass(frozen=True)
class Idle:
    """Memory in bytes; calls: system calls that came back in `seconds`; None, with the reason in
    `obstacle`, if strace could not look."""
    pss_at_start: int
    pss_after_load: int
    rss_after_load: int
    seconds: float
    calls: int
    obstacle: str


def count_calls(lines):
    """The system calls in strace's output that came back; those that only began, or were still
    waiting when strace left, do not count."""
    return sum(1 for line in lines if CALL.match(line))


def trace(pid, seconds):
    """(calls, obstacle)."""
    with Process(["strace", "-f", "-p", str(pid)], name="strace") as strace:
        time.sleep(seconds)
        is_attached = strace.is_running
    lines = strace.lines
    if not is_attached or not any("attached" in line for line in lines):
        return None, lines[-1] if lines else "it did not start"
    return count_calls(lines), ""


def run(place, *, seconds, say):
    with ours.Ours(place) as subject:
        pid = subject.program.pid
        at_start = tree.pss_bytes(pid)
        load.wrk_closed(subject.port, clients=64, seconds=3)
        wait_until(lambda: place.upstream.open_connections() == 0, FORGETS_WITHIN_S,
                   "the program drops its connections to the token server")
        time.sleep(1)
        calls, obstacle = trace(pid, seconds)
        found = Idle(at_start, tree.pss_bytes(pid), tree.rss_bytes(pid), seconds, calls, obstacle)
    say(f"  idle: {calls} system calls in {seconds} s")
    return found
