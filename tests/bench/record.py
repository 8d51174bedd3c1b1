"""Puts the last report where the README shows it."""
import shutil

from bench import report

PICTURES = ("cost.svg", "in-flight.svg")


def between_marks(text):
    """What stands between the two comments, without them; ValueError if they are not there once."""
    if text.count(report.BEGIN) != 1 or text.count(report.END) != 1:
        raise ValueError("the text does not have the two marks of the benchmark once")
    return text.partition(report.BEGIN)[2].partition(report.END)[0]


def replaced(text, inner):
    """The text with something else between the two comments."""
    before = text.partition(report.BEGIN)[0]
    between_marks(text)
    return before + report.BEGIN + inner + report.END + text.partition(report.END)[2]


def record(build, root, say):
    """Copies report and pictures to tests/bench, and the main table into the README, if it was
    measured."""
    text = (build / "report.md").read_text(encoding="utf-8")
    (root / "tests" / "bench" / "report.md").write_text(text, encoding="utf-8")
    for picture in PICTURES:
        if (build / picture).exists():
            shutil.copyfile(build / picture, root / "tests" / "bench" / picture)
    if report.BEGIN in text:
        readme = root / "README.md"
        readme.write_text(replaced(readme.read_text(encoding="utf-8"), between_marks(text)),
                          encoding="utf-8")
    say("Recorded in tests/bench and README.md.")
