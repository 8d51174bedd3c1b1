"""What the source does without."""
import pathlib
import re

import pytest

SRC = pathlib.Path(__file__).resolve().parents[2] / "src"
UNIT = SRC.parent / "tests" / "unit"
FUZZ = SRC.parent / "tests" / "fuzz"
FILES = sorted([*SRC.glob("*.[ch]"), *UNIT.glob("*.c"), *FUZZ.glob("*.[ch]")])

BANNED = ("strcpy", "strcat", "sprintf", "vsprintf", "gets", "strtok", "atoi", "atol", "atof",
          "system", "popen", "tmpnam", "alloca", "strncpy", "strncat")
PRINTERS = {"main.c", "config.c", "check.c",
            "sandbox_filter.c"}  # a program of the build
FUNCTION_MAX_LINES = 70
FILE_MAX_LINES = 650
COLUMNS = 100


def code(path):
    """The text without comments, and with empty strings and characters."""
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), path.read_text(), flags=re.S)
    return re.sub(r'"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])*\'', '""', text)


def functions(path):
    """(first line, number of lines) of every function's body."""
    start = None
    for number, line in enumerate(code(path).splitlines(), 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start:
            yield start, number - start - 1
            start = None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_banned_function(path):
    found = re.findall(r"\b(" + "|".join(BANNED) + r")\s*\(", code(path))
    assert not found


@pytest.mark.parametrize("path", sorted(SRC.glob("*.c")), ids=lambda path: path.name)
def test_standard_output_is_for_the_command_line(path):
    found = re.findall(r"\b(printf|puts|putchar)\s*\(|\bstdout\b", code(path))
    assert not found or path.name in PRINTERS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_size(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= FILE_MAX_LINES or path.parent == UNIT
    assert all(len(line.expandtabs(8)) <= COLUMNS for line in lines)
    assert all(length <= FUNCTION_MAX_LINES for _, length in functions(path))


def test_functions_are_found():
    """Or the size of them would prove nothing."""
    lengths = [length for path in SRC.glob("*.c") for _, length in functions(path)]
    assert len(lengths) > 200
    assert sorted(lengths)[len(lengths) // 2] <= 15


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_left_unfinished(path):
    assert not re.search(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b", path.read_text())


@pytest.mark.parametrize("path", sorted(SRC.glob("*.h")), ids=lambda path: path.name)
def test_no_log_function_takes_a_secret(path):
    for declaration in re.findall(r"\blog_\w+\([^;]*\);", code(path)):
        assert "secret" not in declaration
