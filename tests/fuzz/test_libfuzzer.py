"""What `make fuzz` makes of libFuzzer's output."""
import re

import pytest

from fuzz import libfuzzer, targets

END = """#4\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 30Mb
#1024\tpulse  cov: 300 ft: 1371 corp: 361/83Kb lim: 4096 exec/s: 512 rss: 42Mb
#2000\tDONE   cov: 330 ft: 1402 corp: 366/84Kb lim: 4096 exec/s: 500 rss: 43Mb
Done 2000 runs in 4 second(s)
stat::number_of_executed_units: 2000
stat::average_exec_per_sec:     500
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(libfuzzer, "FOLDER", tmp_path)
    return tmp_path


def test_figures():
    assert libfuzzer.read_figures(END) == (2000, 330, 1402)
    assert libfuzzer.read_figures("") == (0, 0, 0)


def test_a_find_is_told_with_the_way_to_it(folder):
    (folder / "form-0.log").write_text(END, encoding="ascii")
    (folder / "form-1.log").write_text(
        "#9\tNEW    cov: 1 ft: 1\ntests/fuzz/fuzz_form.c:7: does not hold: is_good\n"
        "artifact_prefix='x'; Test unit written to /found/form-crash-1\n", encoding="ascii")
    with pytest.raises(libfuzzer.Failure) as told:
        libfuzzer._complain("form", 2)  # pylint: disable=protected-access
    assert str(told.value) == ("form: tests/fuzz/fuzz_form.c:7: does not hold: is_good\n"
                               f"Again: {folder / 'tests' / 'fuzz_form'} /found/form-crash-1")


def test_an_end_without_a_find_is_told_as_well(folder):
    (folder / "form-0.log").write_text(END, encoding="ascii")
    with pytest.raises(libfuzzer.Failure, match="it ended early"):
        libfuzzer._complain("form", 1)  # pylint: disable=protected-access


@pytest.mark.parametrize("name", targets.NAMES)
def test_dictionaries_are_such(name):
    """libFuzzer knows three escapes, and ends at any other."""
    lines = targets.dictionary(name).read_text(encoding="ascii").splitlines()
    assert len(lines) > 5
    for line in lines:
        assert re.fullmatch(r'"([^"\\]|\\\\|\\"|\\x[0-9a-f]{2})+"', line), line
