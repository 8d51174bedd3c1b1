"""Where the program's time goes under load, the kernel's share included, by perf."""
import re
import subprocess
import time

from servers.process import Process

from bench import load, ours

ROW = re.compile(r"^ +(\d+\.\d+)% +(\S.*?) *$")
KERNEL = "kernel"


def read_shares(text):
    """{object file or "kernel": share of the samples} of perf's report."""
    shares = {}
    for line in text.splitlines():
        row = ROW.match(line)
        if row:
            name = KERNEL if row[2].startswith("[") else row[2]
            shares[name] = shares.get(name, 0) + float(row[1]) / 100
    return shares


def run(place, *, seconds, say):
    """(shares, obstacle): one of them is empty."""
    data = place.folder / "perf.data"
    with ours.Ours(place) as subject:
        load.wrk_closed(subject.port, clients=64, seconds=1)
        record = Process(["perf", "record", "-q", "-F", "997", "-o", data, "-p",
                          str(subject.program.pid), "--", "sleep", str(seconds)], name="perf")

        def begin():
            time.sleep(0.5)
            record.start()

        try:
            load.wrk_closed(subject.port, clients=64, seconds=seconds + 1, during=begin)
            status = record.wait(20)
        finally:
            record.stop()
    if status != 0:
        return {}, f"perf is not permitted here, or not installed: {record.tail(2).strip()}"
    done = subprocess.run(["perf", "report", "-i", data, "--stdio", "--no-children",
                           "--sort", "dso"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)
    shares = read_shares(done.stdout)
    say(f"  profile: {shares.get(KERNEL, 0):.0%} of the program's time is the kernel's")
    return shares, "" if shares else "perf saw nothing"
