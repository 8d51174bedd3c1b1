"""The README's tables are those of the code."""
import pathlib
import re

import pytest

from servers import source

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
NOTHING = "—"


def rows(columns):
    """The cells of the Markdown table whose head is columns."""
    head = "| " + " | ".join(columns) + " |\n"
    assert head in README
    for line in README.split(head, 1)[1].splitlines()[1:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def test_settings():
    coded = {name: setting.default for name, setting in source.settings().items()}
    told = {name.strip("`"): default.replace(NOTHING, "-")
            for name, default, _ in rows(("setting", "default", "meaning"))}
    assert len(coded) > 10
    assert told == coded


def test_options():
    named = set(re.findall(r"[ `]--([a-z][a-z-]+)", README)) - {"now"}  # systemctl's
    assert {"check", "listen"} <= named <= set(source.options())


def test_replies():
    fault_rows = re.findall(r'X\(\w+, (\d+), "(\w*)", \d+, "(\w+)"',
                            (ROOT / "src" / "fault.h").read_text().replace("\\\n\t  ", ""))
    coded = {(status, error or NOTHING, event) for status, error, event in fault_rows}
    assert len(fault_rows) > 20
    told = {(status, error.strip("`"), event.strip("`"))
            for status, error, event, _ in rows(("status", "error", "log event", "when"))}
    good = {("204" if route.event == "logout_ok" else "200", NOTHING, route.event)
            for route in source.routes().values()}
    assert told == coded | good | {("204", NOTHING, NOTHING)}


def test_routes():
    told = {path.strip("`"): method for method, path in re.findall(r"^\| (\w+) (`/\w+`)", README,
                                                                  flags=re.M)}
    assert told == {route.path: route.method for route in source.routes().values()}


def test_ceilings():
    """Sizes that the README names are those of ceilings.h."""
    ceilings = (ROOT / "src" / "ceilings.h").read_text()
    assert "#define BODY_MAX_BYTES (16 * 1024)" in ceilings and "over 16 KiB" in README
    assert "#define ANSWER_MAX_BYTES (64 * 1024)" in ceilings and "over 64 KiB" in README
    assert "#define FIELD_MAX_BYTES 4096" in ceilings and "over 4096 bytes" in README
    assert "#define UPSTREAM_IDLE_MS 20000" in ceilings and "20 seconds after" in README
    assert "#define BREAKER_FAULTS_MAX 3" in ceilings and "three failures in a row" in README
    assert "#define BREAKER_PAUSE_MIN_MS 1000" in ceilings and "a pause of 1 second" in README
    assert "#define BREAKER_PAUSE_MAX_MS 30000" in ceilings and "each time up to 30" in README
    assert "#define PROBE_WAIT_MS 2000" in ceilings and "for 2 seconds at most" in README


def test_targets():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"`make ([a-z-]+)", README) + re.findall(r"^    make ([a-z-]+)$", README,
                                                                 flags=re.M)
    assert {"run", "test", "help"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


@pytest.mark.parametrize("file, test", sorted(set(
    re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", README))))
def test_named_test(file, test):
    path, = (ROOT / "tests").glob(f"*/{file}")
    assert not test or f"def {test}(" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(set(
    re.findall(r"\]\((?!https?:)([^)]+)\)", README))))
def test_link(path):
    assert (ROOT / path).exists()


def test_every_source_file_has_its_place_in_the_tour():
    names = {path.stem for path in (ROOT / "src").glob("*.c")}
    inner = {name for name in names if name.startswith("settings_")} | {"utf8"}
    linked = {pathlib.Path(path).stem for path in re.findall(r"\]\((src/[^)]+)\)", README)}
    assert names - inner <= linked
