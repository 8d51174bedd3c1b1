"""The arithmetic of `make bench-cgi`, what it reads of others' output, and its one run."""
import concurrent.futures
import multiprocessing
import os
import shutil

import pytest

from bench.cgi import profile, report, runs, store
from servers import certificates

ANNOTATED = """\
--------------------------------------------------------------------------------
Ir
--------------------------------------------------------------------------------
9,723,341 (100.0%)  PROGRAM TOTALS

--------------------------------------------------------------------------------
Ir                  file:function
--------------------------------------------------------------------------------
19,000,000 (195.4%)  ???:(below main)'2 [/a/program]
 9,254,136 (95.18%)  /src/main.c:main [/a/program]
 5,605,405 (57.65%)  ???:SSL_connect [/a/program]
    22,000 ( 0.23%)  /usr/include/x86_64-linux-gnu/bits/string_fortified.h:__wrap_free
   827,367 ( 8.51%)  src/memory.c:__wrap_free [/a/program]
   510,000 ( 5.25%)  ???:X509_verify_cert'2 [/a/program]
   500,000 ( 5.14%)  ???:X509_verify_cert [/a/program]
   287,413 ( 2.96%)  ./elf/dl-reloc.c:_dl_relocate_object@GLIBC_2.2 [/lib/ld.so]
"""

TRACED = """\
812 execve("/a/program", ["/a/program"], 0x7ffe /* 15 vars */) = 0
812 read(0, "read(", 5) = 5
813 read(8,  <unfinished ...>
812 close(3) = 0
813 <... read resumed>"x", 1) = 1
812 +++ exited with 0 +++
"""


def subject_of(argv, expected=b"token", body=b"a token"):
    return runs.Subject(argv[0], argv[0], argv, {"PATH": "/usr/bin:/bin"}, body, expected)


def run_of(ms, cpu_ms, faults=300):
    return runs.Run(ms / 1000, (ms + 1) / 1000, cpu_ms / 1000, faults)


def test_figures_of_callgrind():
    found = profile.read_figures(ANNOTATED)
    assert found[None] == 9723341
    assert (found["main"], found["SSL_connect"], found["__wrap_free"]) == (9254136, 5605405, 827367)
    assert (found["X509_verify_cert"], found["_dl_relocate_object"]) == (510000, 287413)
    assert found["RAND_status"] == 0


def test_calls_of_strace():
    assert profile.read_calls(TRACED) == {"execve": 1, "read": 2, "close": 1}


def test_time_table():
    subjects = [subject_of(("slow",)), subject_of(("fast",))]
    rounds = [{"slow": run_of(70 + i, 60), "fast": run_of(6 + i, 6)} for i in range(10)]
    lines = report.time_table(subjects, rounds, "slow")
    assert lines[-2:] == ["| slow | 75.00 | 71.00 | 79.00 | 76.00 | 60.00 | 1.00 | 300 |",
                          "| fast | 11.00 | 7.00 | 15.00 | 12.00 | 6.00 | 0.10 | 300 |"]


def test_tables_of_counts():
    subjects = [subject_of(("a",)), subject_of(("b",))]
    counted = {"a": (9723341, {"main()": 9254136, "exit()": 0}),
               "b": (274410000, {"main()": 260470000, "exit()": 1570000})}
    assert report.instruction_table(subjects, counted)[-3:] == [
        "| the whole run | 9.72 | 274.41 |", "| main() | 9.25 | 260.47 |", "| exit() | – | 1.57 |"]
    calls = {"a": profile.read_calls(TRACED), "b": profile.read_calls("1 read(0) = 0")}
    assert report.call_table(subjects, calls)[2:4] == ["| all | 4 | 1 |", "| read | 2 | 1 |"]


def test_a_run():
    run = runs.run(subject_of(("cat",)))
    assert 0 < run.last_byte_s <= run.exit_s < 10
    assert 0 <= run.cpu_s < 10 and run.page_faults > 0


@pytest.mark.parametrize("argv, expected", [(("cat",), b"another"), (("false",), b"")])
def test_a_run_that_fails(argv, expected):
    with pytest.raises(runs.Failure):
        runs.run(subject_of(argv, expected))


def test_store(folder):
    """The system's whole store and one more, for one process alone."""
    if not (store.SYSTEM / store.BUNDLE).exists():
        pytest.skip("this system has no bundle of certificate authorities")
    authority = certificates.Authority(folder / "cgi-ca")
    kept = store.make(folder, authority)
    assert store.size(kept) == store.size(store.SYSTEM) + 1
    assert sum(path.name.endswith(".0") for path in kept.iterdir()) == 1 + sum(
        path.name.endswith(".0") for path in store.SYSTEM.iterdir())
    pool = concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("fork"), store.enter,
        (kept, store.make_hosts(folder, "tokens.example.test")))
    with pool:
        try:
            names = pool.submit(os.listdir, store.SYSTEM).result()
        except concurrent.futures.process.BrokenProcessPool:
            pytest.skip("no mount namespace of one's own is allowed here")
        hosts = pool.submit(store.HOSTS.read_text).result()
    assert set(names) == {path.name for path in kept.iterdir()} != set(os.listdir(store.SYSTEM))
    assert "tokens.example.test" in hosts
    assert "tokens.example.test" not in store.HOSTS.read_text(encoding="ascii")
    shutil.rmtree(kept)
