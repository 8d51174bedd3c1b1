"""The benchmark's arithmetic: rounds into one figure for each subject."""
import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Run:
    """One subject in one round."""
    logins: int
    seconds: float
    cpu_s: float
    errors: int
    connections: int  # to the token server, opened meanwhile
    peak_rss: int  # of the program alone, bytes
    peak_pss: int

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


def ratios(rounds, name, base, of):
    """of(run) of one subject, relative to another's in the same round: one ratio for each round
    that has both. rounds: [{name: Run}]."""
    return [ratio(of(runs[name]), of(runs[base])) for runs in rounds
            if name in runs and base in runs]


def rotated(items, by):
    """The items, beginning with another one in each round, so that none is always the first."""
    by %= len(items)
    return [*items[by:], *items[:by]]


def spread(values):
    """The largest less the smallest, relative to the median; None for fewer than two."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or not median(known):
        return None
    return (max(known) - min(known)) / median(known)
