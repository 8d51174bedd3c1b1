"""The arithmetic of `make bench`, and what it reads of others' output."""
import json
import pathlib
import socket
import subprocess

import pytest

from bench import (figures, hostile, idle, in_flight, instructions, load, others, ours, prepare,
                   profile, record, report, table, tree)


def run_of(logins=1000, cpu_s=0.05, faults=None, seconds=2.0):
    return figures.Run(logins=logins, seconds=seconds, cpu_s=cpu_s, faults=faults or {},
                       connections=7, connections_late=2, rss=3 << 20, pss=2 << 20,
                       upstream_busy=0.5)


def outcome_of(p50_ms=1.0, p99_ms=4.0, faults=None, logins=400, seconds=2.0):
    return load.Outcome(logins, seconds, p50_ms, p99_ms, faults or {})


# Figures

def test_a_run():
    run = run_of(logins=4000, cpu_s=0.2, seconds=2.0)
    assert run.rate == 2000
    assert run.cpu_per_1000 == pytest.approx(0.05)
    assert run_of(logins=0).cpu_per_1000 is None


@pytest.mark.parametrize("values, expected", [
    ([3, 1, 2], 2), ([1, 4], 2.5), ([None, 5, None], 5), ([None], None), ([], None)])
def test_median(values, expected):
    assert figures.median(values) == expected


@pytest.mark.parametrize("figure, base, expected", [
    (6, 3, 2), (0, 3, 0), (6, 0, None), (None, 3, None), (6, None, None)])
def test_ratio(figure, base, expected):
    assert figures.ratio(figure, base) == expected


def test_a_ratio_is_within_a_round():
    """A machine that is slower in one round is slower for both."""
    rounds = [{"a": run_of(cpu_s=2), "b": run_of(cpu_s=1)},
              {"a": run_of(cpu_s=30), "b": run_of(cpu_s=10)},
              {"a": run_of(cpu_s=8), "b": run_of(cpu_s=2)},
              {"a": run_of(cpu_s=99)}]
    assert figures.median_ratio(rounds, "a", "b", lambda run: run.cpu_s) == 3
    assert figures.median_ratio(rounds, "a", "c", lambda run: run.cpu_s) is None


def test_every_item_is_the_first_of_some_round():
    assert figures.rotated("abc", 0) == ["a", "b", "c"]
    assert figures.rotated("abc", 4) == ["b", "c", "a"]
    assert {figures.rotated("abcdefghi", 2 * number)[0] for number in range(9)} == set("abcdefghi")


def test_faults_add_up():
    assert figures.add_faults([{}, {"502": 2}, {"502": 1, "socket": 4}]) == {
        "502": 3, "socket": 4}


def test_the_share_of_the_ideal_rate():
    def share(delay_s):
        case = in_flight.Case(ours.Ours, 1000, delay_s)
        return in_flight.Flight(case, outcome_of(logins=3000, seconds=1.0), 0.1, 0.05, 1, 1, 1).of_ideal
    assert share(0.3) == pytest.approx(0.9)
    assert share(0) is None


@pytest.mark.parametrize("seconds, delay_s, expected", [
    (5, 0, 5), (5, 0.3, 5.1), (2, 3, 9), (30, 3, 30)])
def test_a_run_is_as_long_as_whole_waits(seconds, delay_s, expected):
    assert in_flight.whole_waits(seconds, delay_s) == pytest.approx(expected)


# What others print

def test_time_of_children_in_stat():
    line = "42 (a) b) S " + " ".join(str(number) for number in range(4, 53))
    assert tree.read_reaped_ticks(line) == 16 + 17  # cutime and cstime of proc(5)


def test_memory():
    text = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"
    assert tree.read_kib(text, "VmRSS") == 1024
    with pytest.raises(KeyError):
        tree.read_kib(text, "Pss")


def test_an_outcome():
    outcome = load.read_outcome('{"logins":10,"seconds":2.5,"p50_ms":1.5,"p99_ms":9.0,"faults":'
                                '{"body":0,"socket":2,"timeout":0,"502":1}}')
    assert outcome.rate == 4
    assert outcome.faults == {"socket": 2, "502": 1}
    assert outcome.errors == 3


CALLGRIND = """\
version: 1
events: Ir
ob=(1) /usr/bin/program
fl=(1) a.c
fn=(1) main
10 5
+1 7
cob=(2) /usr/lib/libx.so.1
cfn=(2) inner
calls=1 3
* 100
fi=(2)
-3 2
ob=(2)
fn=(2)
3 60
cfn=(1)
calls=2 10
3 40
fn=(3) other
9 40
totals: 114
"""


def test_costs_are_of_the_function_itself():
    costs = instructions.read_costs(CALLGRIND)
    assert costs == {("program", "main"): 14, ("libx.so.1", "inner"): 60,
                     ("libx.so.1", "other"): 40}
    assert instructions.by_object(costs) == {"program": 14, "libx.so.1": 100}


def test_costs_that_do_not_add_up():
    with pytest.raises(ValueError):
        instructions.read_costs(CALLGRIND.replace("totals: 114", "totals: 115"))


def test_what_more_logins_cost_more():
    more = {("a", "f"): 50, ("a", "g"): 9, ("b", "h"): 4}
    fewer = {("a", "f"): 20, ("a", "g"): 9, ("c", "i"): 2}
    assert instructions.less(more, fewer, 2) == {("a", "f"): 15, ("b", "h"): 2, ("c", "i"): -1}


def test_shares_of_a_profile():
    text = ("# Overhead  Shared Object\n#\n    61.50%  libcurl.so.4.8.0\n"
            "    30.25%  [kernel.kallsyms]\n     1.25%  [vdso]\n\n")
    assert profile.read_shares(text) == pytest.approx(
        {"libcurl.so.4.8.0": 0.615, profile.KERNEL: 0.315})


def test_calls_in_a_trace():
    lines = ["strace: Process 7 attached with 2 threads",
             "[pid     7] epoll_wait(3,  <unfinished ...>",
             "epoll_wait(3, [], 16, 20) = 0",
             "[pid     8] read(4, \"x\", 1) = 1",
             "[pid     7] <... epoll_wait resumed>) = 1",
             "epoll_wait(3, strace: Process 7 detached", " <detached ...>"]
    assert idle.count_calls(lines) == 3


# The report

def result_of():
    faults = {"502": 2}
    rounds = [{"proxy": run_of(cpu_s=0.02), "express": run_of(logins=100, cpu_s=0.1),
               "kept": run_of(cpu_s=0.05, faults=faults)}]
    latencies = [{"proxy": outcome_of(1.0, 2.0), "express": outcome_of(5, 9),
                  "kept": outcome_of(1.5, 3.0, {"socket": 1})}]
    return table.Result(rounds, latencies, [0.5], dict.fromkeys(rounds[0], (1 << 20, 0)), 22)


def test_the_main_table():
    kinds = (others.Floor, others.Express, ours.Ours)
    lines = report.main_table(kinds, result_of())
    assert len({line.count("|") for line in lines}) == 1
    assert lines[-1] == ("| **bakrypt-login** behind nginx, kept connections | 500 | 10.0 | 0.050 "
                         "| 2.50 | 1.50 · 1.5 × | 3.00 · 1.5 × | 3.0 / 1.0 | 2.0 / – | 7 / 2 "
                         "| 3 (502: 2, socket: 1) |")


def test_a_rate_in_flight_is_relative_to_the_floors():
    flights = [in_flight.Flight(in_flight.Case(kind, 1000), outcome_of(logins=logins), 0.1, 0.05,
                                1, 1, 1)
               for kind, logins in ((others.Floor, 4000), (ours.Ours, 3000))]
    cells = report.flight_lines(flights)[3].split(" | ")
    assert cells[3:5] == ["45 %", "75 %"]


def test_a_login_under_attack_is_relative_to_the_quiet_moments_of_its_round():
    """A machine that is slower in one round is slower in both halves of it."""
    attack = hostile.ATTACKS[0]
    rounds = [hostile.Round(outcome_of(p99_ms=quiet), outcome_of(p99_ms=attacked, faults=faults),
                            1000, 2e6, 0.1, 0.2, 0.3)
              for quiet, attacked, faults in ((1, 2, {}), (10, 30, {"502": 2}), (4, 16, {}))]
    lines = report.hostile_lines({attack: rounds})
    assert lines[2] == ("| logins byte by byte, FastCGI | 1,000 | 1,000 | 2.0 | 0.10 | 0.30 | 0.20 "
                        "| 1.00 | 1.00 | 1.00 | 4.00 | 16.00 | **3.00** | 2 (502: 2) |")
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert "of 3 rounds." in lines[-1]
    assert "of 1 round." in report.hostile_lines({attack: rounds[:1]})[-1]


def test_no_attack_is_measured_twice():
    names = [attack.name for attack in hostile.ATTACKS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("mode", ["again", "close", "unread"])
def test_attackers_send_what_they_are_told(tmp_path, mode):
    """Five bytes, two at a time, at no more than the rate."""
    prepare.build_c(tmp_path / "attack", [prepare.HERE / "attack" / "main.c"])
    (tmp_path / "data").write_bytes(b"abcde")
    received = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen(1000)
        done = subprocess.run(
            [tmp_path / "attack", tmp_path / "socket", tmp_path / "data", "2", "3", "300", "0.5",
             mode], capture_output=True, text=True, timeout=20, check=True)
        told = json.loads(done.stdout)
        for _ in range(told["connections"]):
            with listener.accept()[0] as connection:
                received.append(b"")
                while data := connection.recv(65536):
                    received[-1] += data
    assert 3 <= told["pieces"] <= 151
    assert told["bytes"] == sum(map(len, received))
    for data in received:
        assert (b"abcde" * 300).startswith(data)
    if mode == "close":
        assert max(map(len, received)) == 5
        assert told["connections"] >= told["pieces"] // 3
    else:
        assert told["connections"] == 3


def test_what_two_workers_would_do_on_cores_of_their_own():
    lines = report.worker_lines({1: (5000, 0, 0.1, 0.08), 2: (6000, 0, 0.12, 0.1)})
    assert "Two workers: 1.20 × " in lines[-1]
    assert "1.60 × on cores of their own" in lines[-1]
    assert "– × on cores" in report.worker_lines(dict.fromkeys((1, 2), (0, 9, None, None)))[-1]


def test_recording_replaces_the_blocks_that_were_measured():
    def text(table_text, more):
        return "\n".join(["before", *record.marked("table", [table_text]), "between",
                          *record.marked("instructions", [more]), "after"])
    measured = "\n".join(["# Report", *record.marked("table", ["new"])])
    assert record.with_blocks_of(text("old", "kept"), measured) == text("new", "kept")
    assert record.with_blocks_of("no blocks", measured) == "no blocks"


def test_the_readme_has_the_blocks():
    readme = (pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
    for name in record.BLOCKS:
        assert record.find_block(readme, name)[1].strip()
