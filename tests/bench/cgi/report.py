"""The report in Markdown."""
from bench import figures
from bench.report import NOTHING, head, line, number


def _quantile(values, share):
    ordered = sorted(values)
    return ordered[int(len(ordered) * share)]


def _ms(runs, of, share=0.5):
    """Milliseconds; also CPU seconds per 1000, which are the same figure."""
    return number(1000 * _quantile(map(of, runs), share), 2)


def _last_byte(run):
    return run.last_byte_s


def _cpu(run):
    return run.cpu_s


def time_table(subjects, rounds, base):
    """subjects in their order; rounds: [{name: Run}]; base: the name that ratios relate to."""
    lines = head("what", "ms to the last byte, median", "p10", "p90", "ms to exit",
                 "CPU s / 1000", "× the obvious one", "page faults")
    for subject in subjects:
        own = [runs[subject.name] for runs in rounds]
        ratio = figures.median_ratio(rounds, subject.name, base, _cpu)
        lines.append(line(
            subject.label, _ms(own, _last_byte), _ms(own, _last_byte, 0.1),
            _ms(own, _last_byte, 0.9), _ms(own, lambda run: run.exit_s), _ms(own, _cpu),
            number(ratio, 2),
            number(figures.median(run.page_faults for run in own))))
    return lines


def _millions(value):
    return number(value / 1e6, 2) if value else NOTHING


def instruction_table(subjects, counted):
    """counted: {name: (all, {part: instructions})}."""
    lines = head("million instructions in", *(subject.label for subject in subjects))
    lines.append(line("the whole run", *(_millions(counted[subject.name][0])
                                         for subject in subjects)))
    for part in counted[subjects[0].name][1]:
        lines.append(line(part, *(_millions(counted[subject.name][1][part])
                                  for subject in subjects)))
    return lines


def call_table(subjects, counted):
    """counted: {name: {system call: times}}. The most frequent first."""
    names = sorted({name for calls in counted.values() for name in calls},
                   key=lambda name: (-sum(calls[name] for calls in counted.values()), name))
    lines = head("system calls", *(subject.label for subject in subjects))
    lines.append(line("all", *(str(sum(counted[subject.name].values())) for subject in subjects)))
    for name in names:
        lines.append(line(name, *(str(counted[subject.name][name] or NOTHING)
                                  for subject in subjects)))
    return lines
