"""Runs targets that were linked with libFuzzer, and says how far they came."""
import json
import os
import re
import subprocess

from fuzz import targets

FOLDER = targets.BUILD / "fuzz"
FOUND = FOLDER / "found"
MEMORY_MAX_MB = 2048
INPUT_MAX_S = 10
LATE_S = 120  # for the start, the corpus, and the end of the last input


class Failure(Exception):
    """What went wrong, and how to see it again."""


def program(name):
    return FOLDER / "tests" / f"fuzz_{name}"


def own_corpus(name):
    """What was found in this build folder, also by earlier runs."""
    folder = FOLDER / "corpus" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _argv(name, seconds, number):
    FOUND.mkdir(parents=True, exist_ok=True)
    argv = [program(name), f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY_MAX_MB}",
            f"-timeout={INPUT_MAX_S}", "-print_final_stats=1", f"-seed={os.getpid() + number}",
            f"-artifact_prefix={FOUND}/{name}-", "-reload=10",
            # Half of them look at compared values as well, which finds more, slower.
            f"-use_value_profile={number % 2}"]
    if targets.dictionary(name):
        argv.append(f"-dict={targets.dictionary(name)}")
    return [str(part) for part in (*argv, own_corpus(name), targets.corpus(name))]


def _log(name, number):
    return FOLDER / f"{name}-{number}.log"


def _start(name, seconds, number):
    with open(_log(name, number), "wb") as log:
        return subprocess.Popen(_argv(name, seconds, number), stdin=subprocess.DEVNULL,
                                stdout=log, stderr=subprocess.STDOUT)


def _end(processes, seconds):
    """Whether all came to their end. The first that fails ends the others."""
    try:
        for process in processes:
            if process.wait(timeout=seconds + LATE_S) != 0:
                return False
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def _complain(name, count):
    """The end of the log of the process that found it."""
    for number in range(count):
        log = _log(name, number).read_text(encoding="utf-8", errors="replace")
        saved = re.search(r"Test unit written to (\S+)", log)
        if saved:
            why = re.search(r"^.*(does not hold|runtime error|ERROR: ).*$", log, re.M)
            raise Failure(f"{name}: {why[0] if why else 'it failed'}\n"
                          f"Again: {program(name)} {saved[1]}")
    raise Failure(f"{name}: it ended early; see {_log(name, 0)}")


def read_figures(text):
    """(executions, edges, features) from what libFuzzer says at its end."""
    cover = re.findall(r"cov: (\d+) ft: (\d+)", text)
    done = re.search(r"stat::number_of_executed_units: (\d+)", text)
    if not cover or not done:
        return 0, 0, 0
    return int(done[1]), int(cover[-1][0]), int(cover[-1][1])


def fuzz(name, seconds, count):
    """(executions, edges, features, new inputs) of so many processes over one corpus."""
    before = len(targets.inputs(own_corpus(name)))
    processes = [_start(name, seconds, number) for number in range(count)]
    if not _end(processes, seconds):
        _complain(name, count)
    figures = [read_figures(_log(name, number).read_text(encoding="utf-8", errors="replace"))
               for number in range(count)]
    return (sum(figure[0] for figure in figures), max(figure[1] for figure in figures),
            max(figure[2] for figure in figures), len(targets.inputs(own_corpus(name))) - before)


def merge(name):
    """Adds to the kept corpus what reaches code that it does not, in as few inputs as will do.
    Gives how many."""
    kept = targets.corpus(name)
    before = len(targets.inputs(kept))
    done = subprocess.run([str(part) for part in (
        program(name), "-merge=1", "-set_cover_merge=1", "-use_counters=0", "-max_len=4096",
        kept, own_corpus(name))], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", check=False, timeout=600)
    if done.returncode != 0:
        raise Failure(f"{name}: merging failed\n{done.stderr[-2000:]}")
    return len(targets.inputs(kept)) - before


# Which lines the inputs reach

def coverage(name):
    """{file of src: percent of its lines} that all inputs together reach."""
    build = targets.BUILD / "coverage"
    measured = build / "tests" / f"fuzz_{name}"
    raw, data = build / f"{name}.profraw", build / f"{name}.profdata"
    paths = targets.inputs(targets.corpus(name)) + targets.inputs(own_corpus(name))
    done = targets.replay(measured, paths, {"LLVM_PROFILE_FILE": str(raw)})
    if done.returncode != 0:
        raise Failure(f"{name}: an input fails without the sanitizers\n{done.stderr[-2000:]}")
    subprocess.run(["llvm-profdata", "merge", "-o", data, raw], check=True)
    sources = [targets.ROOT / "src" / file for file in targets.COVERED[name]]
    told = subprocess.run(["llvm-cov", "export", "-summary-only", f"-instr-profile={data}",
                           measured, *sources], capture_output=True, check=True)
    files = json.loads(told.stdout)["data"][0]["files"]
    return {file["filename"].rpartition("/")[2]: file["summary"]["lines"]["percent"]
            for file in files}
