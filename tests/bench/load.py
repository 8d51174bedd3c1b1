"""Load, and what came of it.

wrk_closed(): clients that send the next login when the last is answered, by wrk. closed(),
at_rate() and burst() are the modes of logins/, for thousands of clients, a steady rate, and all at
once.
"""
import dataclasses
import json
import pathlib

from servers.process import Process, ServerError

SCRIPT = pathlib.Path(__file__).resolve().parent / "wrk.lua"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Logins answered with a token, the seconds they took altogether, and everything else."""
    logins: int
    seconds: float
    p50_ms: float
    p99_ms: float
    faults: dict  # {a status, or another kind: count}, those that happened

    @property
    def rate(self):
        return self.logins / self.seconds

    @property
    def errors(self):
        return sum(self.faults.values())


def read_outcome(text):
    """From the line of JSON that the load generators print."""
    told = json.loads(text)
    return Outcome(told["logins"], told["seconds"], told["p50_ms"], told["p99_ms"],
                   {kind: count for kind, count in told["faults"].items() if count})


def run(argv, timeout, during=None, on_mark=None):
    """Runs a load generator to its end. during() is called when it has started, on_mark() by
    another thread at each of its lines "mark"."""
    def take_line(line):
        if on_mark and line == "mark":
            on_mark()

    with Process(map(str, argv), on_line=take_line) as generator:
        if during:
            during()
        status = generator.wait(timeout)
    if status != 0 or not generator.lines:
        raise ServerError(f"{generator.name} ended with status {status}\n{generator.tail()}")
    return read_outcome(generator.lines[-1])


def wrk_closed(port, *, clients, seconds, during=None):
    return run(["wrk", "-t", 1, "-c", clients, "-d", f"{seconds}s", "--timeout", "10s",
                "-s", SCRIPT, f"http://127.0.0.1:{port}/"], seconds + 30, during)


def closed(place, port, *, clients, seconds, warm_s=2, on_mark=None):
    """It counts when each has had an answer, and warm_s have passed since: between two marks."""
    return run([place.build / "logins", "closed", port, clients, seconds, warm_s],
               seconds + warm_s + 90, on_mark=on_mark)


def at_rate(place, port, *, rate, seconds, clients=64):
    """A login's time counts from when it was due, so that a pause is not left out."""
    return run([place.build / "logins", "rate", port, clients, seconds, rate], seconds + 60)


def burst(place, port, *, clients, seconds=60):
    """`seconds` of the outcome is the time to the last answer."""
    return run([place.build / "logins", "burst", port, clients, seconds], seconds + 60)
