"""The report in Markdown."""
from bench import figures

MIB = 1 << 20
NOTHING = "–"


def number(value, digits=0):
    return NOTHING if value is None else f"{value:,.{digits}f}"


def mib(value):
    return number(value / MIB, 1) if value else NOTHING


def line(*cells):
    return "| " + " | ".join(cells) + " |"


def head(*columns):
    """A table's head; all columns but the first are figures."""
    return [line(*columns), "|---|" + "--:|" * (len(columns) - 1)]


def main_table(kinds, result, latency):
    """The lines of the main table. latency: {name: Outcome at the fixed rate}."""
    lines = head("what", "logins/s", "CPU s / 1000", "× floor", "logins/s × Express",
                 "p50 ms", "p99 ms", "RSS MiB", "PSS MiB", "idle PSS MiB", "TLS connections",
                 "errors")
    for kind in kinds:
        name = kind.name
        runs = [round_runs[name] for round_runs in result.rounds]
        met = latency.get(name)
        lines.append(line(
            kind.label,
            number(figures.median(run.rate for run in runs)),
            number(figures.median(run.cpu_per_1000 for run in runs), 3),
            number(figures.median(figures.ratios(result.rounds, name, "proxy",
                                                 lambda run: run.cpu_per_1000)), 2),
            number(figures.median(figures.ratios(result.rounds, name, "express",
                                                 lambda run: run.rate)), 1),
            number(met and met.p50_ms, 2), number(met and met.p99_ms, 2),
            mib(max(run.peak_rss for run in runs)), mib(max(run.peak_pss for run in runs)),
            mib(result.idle[name][1]),
            number(figures.median(run.connections for run in runs)),
            number(sum(run.errors for run in runs) + (met.errors if met else 0))))
    return lines
