"""The report in Markdown: each part's lines, and the whole."""
from bench import figures, in_flight, instructions, profile, table, upstream

MIB = 1 << 20
KIB = 1 << 10
NOTHING = "–"
FUNCTIONS_SHOWN = 12
OBJECT_MIN = 1000  # instructions in one of the columns


def number(value, digits=0, unit=""):
    return NOTHING if value is None else f"{value:z,.{digits}f}{unit}"


def mib(value):
    """0 is what could not be read."""
    return number(value / MIB, 1) if value else NOTHING


def line(*cells):
    return "| " + " | ".join(cells) + " |"


def head(*columns):
    """A table's head; all columns but the first are figures."""
    return [line(*columns), "|---|" + "--:|" * (len(columns) - 1)]


def faults(found):
    """What went wrong, by kind: "3 (502: 2, socket: 1)"."""
    kinds = ", ".join(f"{kind}: {count:,}" for kind, count in found.items())
    return f"{sum(found.values()):,} ({kinds})" if found else "0"


def _with_ratio(result, name, of):
    """A latency, and how many times the floor's it is."""
    times = figures.median_ratio(result.latencies, name, "proxy", of)
    return (number(figures.median(map(of, result.met(name))), 2)
            + f" · {number(times, 1)} ×")


def main_table(kinds, result):
    lines = head("what", "logins/s", "× Express", "CPU s / 1000 logins", "**× floor**",
                 "p50 ms", "p99 ms", "RSS MiB load / idle", "PSS MiB load / idle",
                 "TLS connections, start / late", "errors")
    for kind in kinds:
        name = kind.name
        runs = result.runs(name)
        idle_rss, idle_pss = result.idle[name]
        lines.append(line(
            kind.label,
            number(figures.median(run.rate for run in runs)),
            number(figures.median_ratio(result.rounds, name, "express", lambda x: x.rate), 1),
            number(figures.median(run.cpu_per_1000 for run in runs), 3),
            number(figures.median_ratio(result.rounds, name, "proxy",
                                        lambda x: x.cpu_per_1000), 2),
            _with_ratio(result, name, lambda x: x.p50_ms),
            _with_ratio(result, name, lambda x: x.p99_ms),
            f"{mib(max(run.rss for run in runs))} / {mib(idle_rss)}",
            f"{mib(max(run.pss for run in runs))} / {mib(idle_pss)}",
            f"{number(figures.median(run.connections for run in runs))} / "
            f"{number(figures.median(run.connections_late for run in runs))}",
            faults(result.faults(name))))
    return lines


def main_note(result, seconds):
    """What the columns are, and what else is to be known about the runs."""
    busiest = max(run.upstream_busy for runs in result.rounds for run in runs.values())
    loads = ", ".join(f"{load:.1f}" for load in result.loads)
    return (f"{table.CLIENTS} clients over kept connections, a new user name in each login, "
            f"{len(result.rounds)} interleaved rounds of {seconds} s; medians, and ratios within a "
            "round. CPU is user and system time of program and web server. p50 and p99 are at "
            f"{table.RATE} logins/s, from the moment a login was due, and relative to the floor's. "
            "Memory is the program's alone, its peak under load, and "
            f"{result.idle_s:.0f} s after it; TLS connections are those opened from its start "
            "on, and the late ones once it was warm. Load average before each round: "
            f"{loads}. The token server was busy for at most "
            f"{busiest:.2f} of its {upstream.WORKERS} cores.")


def instruction_sentence(found, commit):
    figures_told = "; ".join(f"{what} {number(sum(costs.values()))}"
                             for what, costs in found.items())
    return f"Instructions, by callgrind (commit {commit}): {figures_told}."


def instruction_lines(found):
    lines = head("instructions", *found)
    sums = {what: instructions.by_object(costs) for what, costs in found.items()}
    lines.append(line("**all**", *(f"**{number(sum(costs.values()))}**"
                                   for costs in sums.values())))
    worth_telling = {name for costs in sums.values() for name, cost in costs.items()
                     if cost >= OBJECT_MIN}
    names = sorted(worth_telling,
                   key=lambda name: -max(costs.get(name, 0) for costs in sums.values()))
    lines += [line(f"`{name}`", *(number(costs.get(name)) for costs in sums.values()))
              for name in names]
    what, costs = next(iter(found.items()))
    lines += ["", f"The heaviest functions of one {what}:", "",
              *head("function", "instructions")]
    heaviest = sorted(costs.items(), key=lambda item: -item[1])[:FUNCTIONS_SHOWN]
    lines += [line(f"`{name}` of {place}", number(cost)) for (place, name), cost in heaviest]
    return lines


def flight_lines(flights):
    floors = {(flight.case.clients, flight.case.delay_s): flight.outcome.rate
              for flight in flights if flight.case.kind is in_flight.FLOOR}
    lines = head("what", "in flight", "upstream ms", "of the ideal rate", "of the floor's",
                 "CPU s / 1000 logins", "of it the program's", "the token server's cores", "p50 ms",
                 "p99 ms", "RSS KiB / login", "TLS connections", "errors")
    for flight in flights:
        case, outcome = flight.case, flight.outcome
        share = None if flight.of_ideal is None else 100 * flight.of_ideal
        of_floor = figures.ratio(100 * outcome.rate, floors.get((case.clients, case.delay_s)))
        lines.append(line(
            case.label, number(case.clients), number(1000 * case.delay_s),
            number(share, 0, " %"), number(of_floor, 0, " %"), number(flight.cpu_per_1000, 3),
            number(flight.program_per_1000, 3), number(flight.upstream_busy, 2),
            number(outcome.p50_ms, 1), number(outcome.p99_ms, 1),
            number(flight.rss_per_login / KIB, 1),
            number(flight.connections), faults(outcome.faults)))
    if in_flight.most_clients() < 10000:
        lines += ["", f"No more than {in_flight.most_clients():,} at once: the program's share of "
                      "the descriptors that this machine allows a process."]
    return lines


def burst_lines(bursts):
    lines = head("what", "at once", "cold: s", "TLS connections", "errors", "warm: s",
                 "TLS connections", "errors", "cold / warm")
    for burst in bursts:
        lines.append(line(
            burst.case.label, number(burst.case.clients),
            number(burst.cold.seconds, 2), number(burst.cold_connections),
            faults(burst.cold.faults), number(burst.warm.seconds, 2),
            number(burst.warm_connections), faults(burst.warm.faults),
            number(figures.ratio(burst.cold.seconds, burst.warm.seconds), 2)))
    return lines


def worker_lines(found):
    lines = head("workers", "logins/s", "CPU s / 1000 logins", "of it the program's", "errors")
    lines += [line(str(count), number(rate), number(cpu, 3), number(own, 3), number(errors))
              for count, (rate, errors, cpu, own) in found.items()]
    times = figures.ratio(found[2][0], found[1][0])
    alone = figures.ratio(found[1][3], found[2][3])
    return [*lines, "", f"Two workers: {number(times, 2)} × the logins/s of one, on cores shared "
                        "with load, web server and token server; by the program's CPU per login, "
                        f"{number(2 * alone if alone else None, 2)} × on cores of their own."]


def hostile_lines(found):
    """found: as hostile.run() gives it."""
    lines = head("attack", "connections", "pieces/s", "MB/s", "attackers' CPU", "nginx's",
                 "the program's", "p50 ms quiet", "attacked", "×", "p99 ms quiet", "attacked",
                 "**×**", "errors")
    for attack, rounds in found.items():
        def middle(of, rounds=rounds):
            return figures.median(map(of, rounds))
        lines.append(line(
            attack.name, number(attack.connections), number(middle(lambda x: x.pieces_per_s)),
            number(middle(lambda x: x.bytes_per_s / 1e6), 1),
            number(middle(lambda x: x.attacker_cpu), 2), number(middle(lambda x: x.front_cpu), 2),
            number(middle(lambda x: x.program_cpu), 2),
            number(middle(lambda x: x.quiet.p50_ms), 2),
            number(middle(lambda x: x.attacked.p50_ms), 2),
            number(middle(lambda x: x.p50_ratio), 2),
            number(middle(lambda x: x.quiet.p99_ms), 2),
            number(middle(lambda x: x.attacked.p99_ms), 2),
            f"**{number(middle(lambda x: x.p99_ratio), 2)}**",
            faults(figures.add_faults(each.faults for result in rounds
                                      for each in (result.quiet, result.attacked)))))
    count = max(map(len, found.values()))
    return [*lines, "", f"Logins at {table.RATE} a second by way of nginx, quiet and attacked in "
                        f"turn; medians and ratios of {count} round{'s' if count > 1 else ''}. "
                        "FastCGI: on the program's own socket; HTTP: on nginx. CPU is in seconds "
                        "of each second. Attackers run only where nobody else wants the processor "
                        "(SCHED_IDLE)."]


def idle_lines(found):
    if found.calls is None:
        woken = f"strace cannot look here: {found.obstacle}"
    else:
        woken = f"{found.calls} system calls in {found.seconds} s"
    return [f"PSS {mib(found.pss_at_start)} MiB before the first login; {mib(found.pss_after_load)}"
            f" MiB (RSS {mib(found.rss_after_load)}) once the last is forgotten; {woken}."]


def profile_lines(shares, obstacle):
    if not shares:
        return [f"No profile: {obstacle}."]
    lines = head("object file", "share of the program's time")
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        label = "the kernel" if name == profile.KERNEL else f"`{name}`"
        lines.append(line(label, f"{share:.0%}"))
    return lines
