"""The benchmark's arithmetic: rounds into one figure for each subject."""
import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Run:
    """One subject in one round. Memory is that of the program alone, in bytes; rss is the peak."""
    logins: int
    seconds: float
    cpu_s: float  # of the program and the web server before it
    faults: dict  # {kind: count}
    connections: int  # to the token server, opened from the subject's start on
    connections_late: int  # of them, those after it was warm
    rss: int
    pss: int
    upstream_busy: float  # the token server's CPU seconds in each second

    @property
    def rate(self):
        return self.logins / self.seconds

    @property
    def cpu_per_1000(self):
        """CPU seconds per 1000 logins; None if there was none."""
        return 1000 * self.cpu_s / self.logins if self.logins else None


def median(values):
    """Of those that are known; None if none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def ratio(figure, base):
    """How many times the base; None where one of them is not known, or the base is 0."""
    return figure / base if figure is not None and base else None


def median_ratio(rounds, name, base, of):
    """The median of of(x) of one subject relative to another's, both of the same round.
    rounds: [{name: x}]; a round that lacks one of them does not count."""
    return median(ratio(of(found[name]), of(found[base])) for found in rounds
                  if name in found and base in found)


def rotated(items, by):
    """The items, beginning with another one, so that none is always the first of a round."""
    by %= len(items)
    return [*items[by:], *items[:by]]


def add_faults(all_faults):
    """The sum of several {kind: count}."""
    total = {}
    for faults in all_faults:
        for kind, count in faults.items():
            total[kind] = total.get(kind, 0) + count
    return total
