"""What the tests read out of the program's own headers, so that nothing is written down twice."""
import dataclasses
import functools
import pathlib
import re

SRC = pathlib.Path(__file__).resolve().parents[2] / "src"


@dataclasses.dataclass(frozen=True)
class Fault:
    """One row of the table in fault.h."""
    symbol: str
    status: int
    code: str
    retry_after: int  # seconds; 0: no such header
    event: str
    level: str
    description: str


@functools.cache
def faults():
    """The rows of fault.h by their symbols."""
    text = re.sub(r"\\\n\s*", " ", (SRC / "fault.h").read_text(encoding="ascii"))
    table = text.partition("#define FAULT_TABLE(X)")[2].partition("enum fault")[0]
    rows = re.findall(r'X\((\w+), (\d+), "(\w*)", (\d+), "(\w+)",\s*LOG_(\w+),\s*"([^"]*)"\)',
                      table)
    assert len(rows) == table.count("X("), "a row of fault.h is not understood"
    return {row[0]: Fault(row[0], int(row[1]), row[2], int(row[3]), row[4], row[5].lower(), row[6])
            for row in rows}


@functools.cache
def ceiling(name):
    """A number of ceilings.h."""
    text = (SRC / "ceilings.h").read_text(encoding="ascii")
    value = re.search(rf"^#define {name} (.+)$", text, re.MULTILINE).group(1)
    factors = value.strip("() ").split("*")
    product = 1
    for factor in factors:
        product *= int(factor)
    return product
