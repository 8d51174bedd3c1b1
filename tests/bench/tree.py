"""A process and all below it, as /proc tells: time and memory."""
import contextlib
import os

from servers import procfs

KIB = 1024


def pids(root):
    """The ids of a process and its descendants that are alive."""
    found = [root]
    for pid in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += procfs.children(pid)
    return found


def read_cpu_ticks(text):
    """User and system time of a line of /proc/PID/stat, with that of children that have ended and
    were waited for."""
    fields = text.rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15])


def cpu_seconds(root):
    """User and system time of the whole tree so far, the dead included."""
    ticks = 0
    for pid in pids(root):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            ticks += read_cpu_ticks(procfs.folder(pid).joinpath("stat").read_text("ascii"))
    return ticks / os.sysconf("SC_CLK_TCK")


def read_kib(text, name):
    """The figure of a line "Name:  123 kB" in /proc/PID/status or smaps_rollup."""
    for line in text.splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


def _sum_bytes(root, file, name):
    total = 0
    for pid in pids(root):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, KeyError):
            total += read_kib(procfs.folder(pid).joinpath(file).read_text("ascii"), name)
    return total * KIB


def rss_bytes(root):
    return _sum_bytes(root, "status", "VmRSS")


def peak_rss_bytes(root):
    """The sum of the peaks since forget_peak()."""
    return _sum_bytes(root, "status", "VmHWM")


def pss_bytes(root):
    """Of a process that is not dumpable only root can read this."""
    return _sum_bytes(root, "smaps_rollup", "Pss")


def forget_peak(root):
    for pid in pids(root):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            procfs.folder(pid).joinpath("clear_refs").write_text("5", "ascii")
