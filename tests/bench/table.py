"""The main part: all subjects, interleaved, in several rounds; upstream answers at once."""
import dataclasses
import time

from bench import figures, load, machine, tree

CLIENTS = 64
RATE = 200  # logins a second, where latency is measured


@dataclasses.dataclass
class Result:
    """rounds and latencies: one {subject's name: Run, or Outcome at RATE} each; loads: the load
    average before each round; idle: {name: (RSS, PSS)} bytes of the program with nothing to do, so
    many seconds after the load."""
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


def measure(subject, plan):
    """One run of one subject, just started, at full load."""
    pss = []
    pid = subject.program.pid
    token_server = subject.place.upstream
    opened_at_start = token_server.connections()
    warming = load.wrk_closed(subject.port, clients=CLIENTS,
                              seconds=plan.warm_s * subject.warm_times)
    tree.forget_peak(pid)

    def in_the_middle():
        time.sleep(plan.seconds / 2)
        pss.append(tree.pss_bytes(pid))

    opened = token_server.connections()
    upstream_s = tree.cpu_seconds(token_server.pid)
    cpu_s = subject.cpu_seconds()
    outcome = load.wrk_closed(subject.port, clients=CLIENTS, seconds=plan.seconds,
                              during=in_the_middle)
    opened_at_end = token_server.connections()
    return figures.Run(
        logins=outcome.logins, seconds=outcome.seconds, cpu_s=subject.cpu_seconds() - cpu_s,
        faults=figures.add_faults([warming.faults, outcome.faults]),
        connections=opened_at_end - opened_at_start, connections_late=opened_at_end - opened,
        rss=tree.peak_rss_bytes(pid), pss=pss[0],
        upstream_busy=(tree.cpu_seconds(token_server.pid) - upstream_s) / outcome.seconds)


def run_one(place, kind, plan, result, is_last):
    """A run of one subject, alone, so that it shares memory with no other: (Run, Outcome at RATE,
    or None in a round without)."""
    with kind(place) as subject:
        run_now = measure(subject, plan)
        met = None
        if is_last or plan.is_rate_in_each_round:
            met = load.at_rate(place, subject.port, rate=RATE, seconds=plan.rate_s)
        if is_last:
            time.sleep(plan.idle_s)
            result.idle[kind.name] = (tree.rss_bytes(subject.program.pid),
                                      tree.pss_bytes(subject.program.pid))
    return run_now, met


def run(place, kinds, plan, say):
    """plan: as parts.Plan."""
    result = Result([], [], [], {}, plan.idle_s)
    for number in range(plan.rounds):
        result.loads.append(machine.load_average())
        runs, latencies = {}, {}
        for kind in figures.rotated(kinds, 2 * number):
            run_now, met = run_one(place, kind, plan, result, number == plan.rounds - 1)
            runs[kind.name] = run_now
            if met:
                latencies[kind.name] = met
            say(f"  round {number + 1}, {kind.name}: {run_now.rate:,.0f} logins/s, "
                f"{run_now.cpu_per_1000 or 0:.3f} CPU s per 1000"
                + (f", errors: {run_now.faults}" if run_now.faults else ""))
        result.rounds.append(runs)
        if latencies:
            result.latencies.append(latencies)
    return result
