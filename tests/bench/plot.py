"""The pictures, as SVG."""
import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "bakrypt-login"  # the same picture, the same bytes
matplotlib.rcParams["svg.fonttype"] = "none"

# pylint: disable=wrong-import-position
from matplotlib import pyplot, ticker  # noqa: E402

from bench import figures, others, ours  # noqa: E402

OURS_COLOR, OTHER_COLOR, FLOOR_COLOR = "#1b6ca8", "#a9b4bd", "#5c8a4d"
WITHOUT_DATE = {"Date": None}


def _color(kind):
    if kind is others.Floor:
        return FLOOR_COLOR
    return OURS_COLOR if issubclass(kind, ours.Ours) else OTHER_COLOR


def draw_costs(kinds, result, path):
    """A bar for each subject: its CPU per login, relative to the floor's."""
    ratios = {kind: figures.median_ratio(result.rounds, kind.name, "proxy",
                                         lambda run: run.cpu_per_1000) for kind in kinds}
    shown = sorted((kind for kind in kinds if ratios[kind]), key=lambda kind: -ratios[kind])
    figure, axes = pyplot.subplots(figsize=(8, 0.42 * len(shown) + 0.9))
    bars = axes.barh([kind.title for kind in shown], [ratios[kind] for kind in shown],
                     color=[_color(kind) for kind in shown])
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_xscale("log")
    axes.set_xlim(0.8, 1.5 * max(ratios[kind] for kind in shown))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel("CPU of a login, program and web server; nginx proxy_pass = 1 (logarithmic)")
    _finish(figure, axes, path)


def draw_flights(flights, path):
    """CPU per login over the logins in flight: a line for each kind and delay, and a broken one for
    the program alone."""
    lines = {}
    for flight in flights:
        if flight.case.delay_s > 1 or flight.cpu_per_1000 is None:
            continue
        points = lines.setdefault((flight.case.kind, flight.case.label, flight.case.delay_s), [])
        points.append((flight.case.clients, flight.cpu_per_1000, flight.program_per_1000))
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for (kind, label, delay_s), points in lines.items():
        clients, costs, parts = zip(*sorted(points))
        name = f"{label.replace('`', '')}, {delay_s * 1000:.0f} ms"
        drawn, = axes.plot(clients, costs, marker="o", label=name)
        if issubclass(kind, ours.Ours):
            axes.plot(clients, parts, marker=".", linestyle="--", color=drawn.get_color())
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("logins in flight")
    axes.set_ylabel("CPU seconds per 1000 logins\n(broken: the program alone)")
    axes.legend(frameon=False)
    _finish(figure, axes, path)


def _finish(figure, axes, path):
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata=WITHOUT_DATE, facecolor="white")
    pyplot.close(figure)
