"""The main part: all subjects, interleaved, in several rounds; upstream answers at once."""
import contextlib
import dataclasses
import time

from bench import figures, load, machine, tree

CLIENTS = 64
RATE = 200  # logins a second, where latency is measured


@dataclasses.dataclass
class Result:
    """rounds and latencies: one {subject's name: Run, or Outcome at RATE} each; loads: the load
    average before each round; idle: {name: (RSS, PSS)} bytes of the program with nothing to do, so
    long after the last load."""
    rounds: list
    latencies: list
    loads: list
    idle: dict
    idle_s: float

    def runs(self, name):
        return [found[name] for found in self.rounds]

    def met(self, name):
        return [found[name] for found in self.latencies]

    def faults(self, name):
        """Of all its runs."""
        return figures.add_faults(run.faults for run in [*self.runs(name), *self.met(name)])


def measure(subject, seconds):
    """One run of one subject at full load."""
    pss = []
    pid = subject.program.pid
    token_server = subject.place.upstream
    tree.forget_peak(pid)

    def in_the_middle():
        time.sleep(seconds / 2)
        pss.append(tree.pss_bytes(pid))

    opened = token_server.connections()
    upstream_s = tree.cpu_seconds(token_server.pid)
    cpu_s = subject.cpu_seconds()
    outcome = load.wrk_closed(subject.port, clients=CLIENTS, seconds=seconds, during=in_the_middle)
    return figures.Run(
        logins=outcome.logins, seconds=outcome.seconds, cpu_s=subject.cpu_seconds() - cpu_s,
        faults=outcome.faults, connections=token_server.connections() - opened,
        rss=tree.peak_rss_bytes(pid), pss=pss[0],
        upstream_busy=(tree.cpu_seconds(token_server.pid) - upstream_s) / outcome.seconds)


def run_round(subjects, number, result, *, seconds, rate_s, say):
    result.loads.append(machine.load_average())
    runs, latencies = {}, {}
    for subject in figures.rotated(subjects, 2 * number):
        run = runs[subject.name] = measure(subject, seconds)
        met = latencies[subject.name] = load.at_rate(subject.place, subject.port, rate=RATE,
                                                     seconds=rate_s)
        say(f"  round {number + 1}, {subject.name}: {run.rate:,.0f} logins/s, "
            f"{run.cpu_per_1000 or 0:.3f} CPU s per 1000, p99 {met.p99_ms:.2f} ms"
            + (f", errors: {run.faults} {met.faults}" if run.faults or met.faults else ""))
    result.rounds.append(runs)
    result.latencies.append(latencies)


def run(place, kinds, *, rounds, seconds, rate_s, idle_s, say):
    """Starts a subject of each kind, and takes turns. seconds and rate_s: of a run at full load,
    and at RATE."""
    result = Result([], [], [], {}, idle_s)
    with contextlib.ExitStack() as stack:
        subjects = [stack.enter_context(kind(place)) for kind in kinds]
        for subject in subjects:
            load.wrk_closed(subject.port, clients=CLIENTS, seconds=1)
        for number in range(rounds):
            run_round(subjects, number, result, seconds=seconds, rate_s=rate_s, say=say)
        time.sleep(idle_s)
        result.idle = {subject.name: (tree.rss_bytes(subject.program.pid),
                                      tree.pss_bytes(subject.program.pid))
                       for subject in subjects}
    return result
