"""What the tests read out of the program itself, so that nothing is written down twice: its
headers, and what --help says."""
import dataclasses
import functools
import pathlib
import re
import subprocess

from servers.program import binary

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


@dataclasses.dataclass(frozen=True)
class Route:
    """One row of the table in gateway.c."""
    path: str
    method: str
    allow: str
    event: str  # of a success


@functools.cache
def routes():
    """The rows of gateway.c by their paths."""
    text = re.sub(r"\s+", " ", (SRC / "gateway.c").read_text(encoding="ascii"))
    table = text.partition("} routes[] = {")[2].partition("};")[0]
    rows = re.findall(r'\{"\w+", "(/\w+)", "(\w+)", "([\w, ]+)", "(\w+)",', table)
    assert rows and len(rows) == table.count("{"), "a row of gateway.c is not understood"
    return {row[0]: Route(*row) for row in rows}


@functools.cache
def events():
    """Every event that the program can log."""
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(SRC.glob("*.c")))
    calls = re.findall(r'\blog_(?:event|open|event_paced)\([^;"]*\bLOG_\w+,\s*"(\w+)"', code)
    return {*calls, *(route.event for route in routes().values()),
            *(fault.event for fault in faults().values())}


@functools.cache
def _help():
    return subprocess.run([binary(), "--help"], capture_output=True, text=True, check=True).stdout


def options():
    """The options by their names: what their argument is called, or ""."""
    return dict(re.findall(r"^  --(\S+) ?(\S*)", _help(), flags=re.M))


@dataclasses.dataclass(frozen=True)
class Setting:
    """A line of --help. default: "-" where there is none. limits: (least, most), or None."""
    default: str
    limits: tuple


def settings():
    """The settings by their names."""
    rows = re.findall(r"^  (BAKRYPT_\w+) +(\S+) +(.*)", _help(), flags=re.M)
    return {name: Setting(default, _limits(meaning)) for name, default, meaning in rows}


def _limits(meaning):
    found = re.search(r"\((\d+) to (\d+)\)$", meaning)
    return found.groups() if found else None
