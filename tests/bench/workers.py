"""Two loops on two cores, against one."""
from bench import figures, load, ours, tree

CLIENTS = 64


def measure(subject, seconds):
    cpu_s = subject.cpu_seconds()
    program_s = tree.cpu_seconds(subject.program.pid)
    outcome = load.wrk_closed(subject.port, clients=CLIENTS, seconds=seconds)
    if not outcome.logins:
        return outcome.rate, outcome.errors, None, None
    return (outcome.rate, outcome.errors,
            1000 * (subject.cpu_seconds() - cpu_s) / outcome.logins,
            1000 * (tree.cpu_seconds(subject.program.pid) - program_s) / outcome.logins)


def run(place, *, rounds, seconds, say):
    """{workers: (logins/s, errors, CPU seconds per 1000 logins of program and web server, and of
    the program alone)}, medians of the rounds; errors are their sum."""
    found = {1: [], 2: []}
    with ours.Ours(place, arguments=("--workers", 1)) as one, \
            ours.Ours(place, arguments=("--workers", 2)) as two:
        for subject in (one, two):
            load.wrk_closed(subject.port, clients=CLIENTS, seconds=1)
        for _ in range(rounds):
            for count, subject in ((1, one), (2, two)):
                found[count].append(measure(subject, seconds))
                say(f"  {count} workers: {found[count][-1][0]:,.0f} logins/s")
    return {count: (figures.median(row[0] for row in rows), sum(row[1] for row in rows),
                    figures.median(row[2] for row in rows),
                    figures.median(row[3] for row in rows)) for count, rows in found.items()}
