"""The report: Markdown, and the goals that were missed."""
from bench import machine

COLUMNS = ("scene", "sent", "answered once", "twice", "hung", "lost", "by nginx",
           "calls of a login, at most", "over the deadline", "slowest, s", "files", "MiB at rest",
           "answers")


def _row(result):
    found = result.found
    statuses = " ".join(f"{status}: {count:,}" for status, count in sorted(found.statuses.items()))
    return (result.label, f"{found.sent:,}", f"{found.once:,}", found.twice, found.hung, found.lost,
            found.by_nginx, found.calls_max, found.late, f"{found.slowest_s:.2f}",
            "{} / {}".format(*found.fds), "{:.1f} / {:.1f}".format(*(kib / 1024 for kib in found.kib)),
            statuses)


def _table(columns, rows):
    lines = [columns, ["---"] + ["--:"] * (len(columns) - 2) + ["---"], *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def _total(results):
    sums = {name: sum(getattr(result.found, name) for result in results)
            for name in ("sent", "once", "twice", "hung", "lost", "by_nginx", "called_twice", "late")}
    return (f"Of {sums['sent']:,} logins {sums['once']:,} were answered exactly once, "
            f"{sums['twice']} twice; {sums['hung']} hung, {sums['lost']} were lost; nginx answered "
            f"{sums['by_nginx']} in the program's place; {sums['called_twice']} were sent upstream "
            f"twice; {sums['late']} took over 100 ms longer than the deadline.")


def _allocations(outcomes):
    for name, outcome in outcomes.items():
        answers = " ".join(f"{status}: {count:,}"
                           for status, count in sorted(outcome.answered.items()))
        yield (name, f"{outcome.refused:,}", len(outcome.hung_up), len(outcome.sent_twice),
               len(outcome.late), len(outcome.failed_after), outcome.grown_bytes, answers)


def write(plan, results, outcomes):
    """(the text, the goals that were missed)."""
    missed = [f"{result.label}: {text}" for result in results
              for text in result.missed_for()]
    missed += [f"allocations, {name}: {outcome.faults}"
               for name, outcome in outcomes.items() if outcome.faults]
    lines = ["# Faults under load", "", machine.when_and_where(), ""]
    if results:
        lines += [f"{plan.clients:,} clients, {plan.rate:g} logins a second, {plan.seconds:.0f} s a "
                  f"scene, two workers, a deadline of {plan.timeout_ms} ms. Files and memory: before "
                  "/ after, of both workers, without what is a file's.", "",
                  *_table(COLUMNS, map(_row, results)), "", _total(results), "",
                  "A worker that is killed answers nothing more: nginx answers those 502, which "
                  "may have been sent upstream.", ""]
    if outcomes:
        lines += ["## Each allocation of a login refused", "",
                  *_table(("login", "refused", "no answer", "sent twice", "late",
                           "next login failed", "bytes more in use", "answers"),
                          _allocations(outcomes)), ""]
    lines += ["## Goals missed", "", *(f"- {text}" for text in missed or ["none"])]
    return "\n".join(lines) + "\n", missed
