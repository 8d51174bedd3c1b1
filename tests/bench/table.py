"""The main part: all subjects, interleaved, in several rounds; upstream answers at once."""
import contextlib
import dataclasses
import time

from bench import figures, load, machine, tree

CLIENTS = 64


@dataclasses.dataclass
class Result:
    """rounds: one {subject's name: Run} each; loads: the load average before each round; idle:
    {name: (RSS, PSS)} bytes of the program with nothing to do."""
    rounds: list
    loads: list
    idle: dict


def measure(subject, seconds):
    """One run of one subject."""
    pss = []
    pid = subject.program.pid
    tree.forget_peak(pid)

    def in_the_middle():
        time.sleep(seconds / 2)
        pss.append(tree.pss_bytes(pid))

    opened = subject.place.upstream.connections()
    cpu_s = subject.cpu_seconds()
    outcome = load.wrk_closed(subject.port, clients=CLIENTS, seconds=seconds, during=in_the_middle)
    return figures.Run(
        logins=outcome.logins, seconds=outcome.seconds, cpu_s=subject.cpu_seconds() - cpu_s,
        errors=outcome.errors, connections=subject.place.upstream.connections() - opened,
        peak_rss=tree.peak_rss_bytes(pid), peak_pss=pss[0])


def run(place, kinds, *, rounds, seconds, warm_s, idle_s, say):
    """Starts a subject of each kind, and takes turns. idle_s: how long all are left alone before
    their idle memory is read."""
    result = Result([], [], {})
    with contextlib.ExitStack() as stack:
        subjects = [stack.enter_context(kind(place)) for kind in kinds]
        for subject in subjects:
            load.wrk_closed(subject.port, clients=CLIENTS, seconds=warm_s)
        for number in range(rounds):
            result.loads.append(machine.load_average())
            runs = {}
            for subject in figures.rotated(subjects, number * 2):
                runs[subject.name] = measure(subject, seconds)
                say(f"  round {number + 1}: {subject.name}: {runs[subject.name].rate:,.0f} "
                    f"logins/s, {runs[subject.name].cpu_per_1000 or 0:.3f} CPU s per 1000")
            result.rounds.append(runs)
        time.sleep(idle_s)
        result.idle = {subject.name: (tree.rss_bytes(subject.program.pid),
                                      tree.pss_bytes(subject.program.pid))
                       for subject in subjects}
    return result
