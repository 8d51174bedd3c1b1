"""Each test of a built cmocka program is one test here; test_X.c stands for the program test_X."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / os.environ.get("BAKRYPT_LOGIN_BUILD", "build") / "tests"
TIMEOUT_S = 120
TAP_PLAN = re.compile(r"1\.\.(\d+)$")
TAP_LINE = re.compile(r"(ok|not ok) \d+ (- |# SKIP )(\S+)")


def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".c" and file_path.name.startswith("test_"):
        return UnitFile.from_parent(parent, path=file_path)
    return None


class Outcome:
    """What one test of a program, or the program as a whole, came to."""

    def __init__(self, name, fault=None, is_skipped=False):
        self.name = name
        self.fault = fault
        self.is_skipped = is_skipped


def run_program(path):
    """Runs a cmocka program; gives its Outcomes. Whatever is not a plain good end (a missing
    program, a crash, an exit status without a failed test) is an Outcome of its own."""
    if not path.exists():
        return [Outcome("program", f"{path} is not there: is it in the Makefile?")]
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP")
    try:
        done = subprocess.run([path], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=TIMEOUT_S, check=False, cwd=ROOT)
    except subprocess.TimeoutExpired as error:
        text = (error.stdout or b"").decode("utf-8", "replace")
        return [Outcome("program", f"still running after {TIMEOUT_S} s\n{text}")]
    stdout = done.stdout.decode("utf-8", "replace")
    stderr = done.stderr.decode("utf-8", "replace")
    planned, outcomes = read_tap(stdout)
    failures = [outcome for outcome in outcomes if outcome.fault is not None]
    for failure in failures:
        failure.fault += stderr
    if len(outcomes) != planned or not outcomes or (done.returncode != 0 and not failures):
        outcomes.append(Outcome("program", f"ended with status {done.returncode}, after "
                                           f"{len(outcomes)} of {planned} tests\n"
                                           f"{stdout}\n{stderr}"))
    return outcomes


def read_tap(text):
    """How many tests a text by cmocka in the Test Anything Protocol announces, and those in it."""
    planned = 0
    outcomes = []
    for line in text.splitlines():
        plan = TAP_PLAN.match(line)
        match = TAP_LINE.match(line)
        if plan:
            planned += int(plan[1])
        elif match:
            is_skipped = "SKIP" in match[2]
            is_fault = match[1] == "not ok" and not is_skipped
            outcomes.append(Outcome(match[3], "" if is_fault else None, is_skipped))
        elif outcomes and outcomes[-1].fault is not None and line.startswith("#"):
            outcomes[-1].fault += line.lstrip("# ") + "\n"
    return planned, outcomes


class UnitFile(pytest.File):
    """tests/unit/test_X.c: its program is run while collecting, since only it knows its tests."""

    def collect(self):
        for outcome in run_program(PROGRAMS / self.path.stem):
            yield UnitItem.from_parent(self, name=outcome.name, outcome=outcome)


class UnitFault(Exception):
    """A failed test, with the lines that cmocka printed about it."""


class UnitItem(pytest.Item):
    """One test of the program."""

    def __init__(self, *, outcome, **options):
        super().__init__(**options)
        self.outcome = outcome

    def runtest(self):
        if self.outcome.is_skipped:
            pytest.skip("by the test itself")
        if self.outcome.fault is not None:
            raise UnitFault(self.outcome.fault.strip() or "failed")

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, UnitFault):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, None, self.name
