"""A process and all below it, as /proc tells: time and memory."""
import contextlib
import os
import time

from servers import procfs

KIB = 1024


def pids(root):
    """The ids of a process and its descendants that are alive."""
    found = [root]
    for pid in found:
        with contextlib.suppress(OSError):
            found += procfs.children(pid)
    return found


def read_reaped_ticks(text):
    """From a line of /proc/PID/stat: user and system time of children that have ended and were
    waited for."""
    fields = text.rpartition(")")[2].split()
    return int(fields[13]) + int(fields[14])


def _clock(pid):
    """The id of the clock that counts a process's time: the same as in /proc/PID/stat, but in
    nanoseconds. See clock_getcpuclockid(3)."""
    return (~pid << 3) | 2


def cpu_seconds(root):
    """User and system time of the whole tree so far, the dead included."""
    seconds = 0.0
    for pid in pids(root):
        with contextlib.suppress(OSError):
            seconds += time.clock_gettime(_clock(pid))
            ticks = read_reaped_ticks(procfs.folder(pid).joinpath("stat").read_text("ascii"))
            seconds += ticks / os.sysconf("SC_CLK_TCK")
    return seconds


def read_kib(text, name):
    """The figure of a line "Name:  123 kB" in /proc/PID/status or smaps_rollup."""
    for line in text.splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


def _sum_bytes(root, file, name):
    total = 0
    for pid in pids(root):
        with contextlib.suppress(OSError, KeyError):
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
        with contextlib.suppress(OSError):
            procfs.folder(pid).joinpath("clear_refs").write_text("5", "ascii")
