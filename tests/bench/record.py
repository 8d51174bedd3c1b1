"""Puts the last report where the README shows it.

What it shows stands in both between two comments, a block of a name: marked() makes one.
"""
import shutil

PICTURES = ("cost.svg", "in-flight.svg")
BLOCKS = ("table", "instructions")


def _marks(name):
    return f"<!-- bench: {name} -->", f"<!-- bench: end of {name} -->"


def marked(name, lines):
    """The lines as a block."""
    begin, end = _marks(name)
    return [begin, *lines, end]


def find_block(text, name):
    """(what is before, the block's inside, what is after it); None if the text does not have the
    block once."""
    begin, end = _marks(name)
    if text.count(begin) != 1 or text.count(end) != 1:
        return None
    before, _, rest = text.partition(begin)
    inside, _, after = rest.partition(end)
    return before, inside, after


def with_blocks_of(text, report):
    """The text with every block that the report has, too, as it is there."""
    for name in BLOCKS:
        new, old = find_block(report, name), find_block(text, name)
        if new and old:
            begin, end = _marks(name)
            text = old[0] + begin + new[1] + end + old[2]
    return text


def record(build, root, say):
    """Copies report and pictures to tests/bench, and the blocks into the README."""
    text = (build / "report.md").read_text(encoding="utf-8")
    (root / "tests" / "bench" / "report.md").write_text(text, encoding="utf-8")
    for picture in PICTURES:
        if f"({picture})" in text:  # else it is of an earlier run
            shutil.copyfile(build / picture, root / "tests" / "bench" / picture)
    readme = root / "README.md"
    readme.write_text(with_blocks_of(readme.read_text(encoding="utf-8"), text), encoding="utf-8")
    say("Recorded in tests/bench and README.md.")
