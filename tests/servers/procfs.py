"""What the kernel tells about a process, out of /proc."""
import contextlib
import os
import pathlib

import pytest


def folder(pid):
    return pathlib.Path("/proc") / str(pid)


def cpu_seconds(pid):
    """User and system time so far."""
    fields = folder(pid).joinpath("stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid):
    text = folder(pid).joinpath("task", str(pid), "children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]


def is_alive(pid):
    """Whether the process exists and has not ended."""
    try:
        stat = folder(pid).joinpath("stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def find(text):
    """The ids of the processes that are alive with a text on their command line."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if entry.name.isdigit() and text.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def descriptors(pid):
    """The program is not dumpable, so that its descriptors are for root alone to see."""
    if os.geteuid() != 0:
        pytest.skip("only root can see the descriptors of a process that is not dumpable")
    return folder(pid) / "fd"


def open_files(pid):
    return len(os.listdir(descriptors(pid)))


def is_connected(pid, port):
    """Whether it has a TCP connection over IPv4 to this port."""
    lines = folder(pid).joinpath("net", "tcp").read_text(encoding="ascii").splitlines()[1:]
    rows = [line.split() for line in lines]
    sockets = {f"socket:[{row[9]}]" for row in rows if int(row[2].partition(":")[2], 16) == port}
    names = descriptors(pid)
    return any(os.readlink(names / name) in sockets for name in os.listdir(names))


def status(pid, name):
    """One line of /proc/PID/status."""
    for line in folder(pid).joinpath("status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return line.partition(":")[2].strip()
    raise KeyError(name)


def switches(pid):
    """How often its threads, and those of its children, were put to sleep or taken off a
    processor so far. Who sleeps through in one system call makes no other."""
    count = 0
    for process in [pid, *children(pid)]:
        for task in os.listdir(folder(process) / "task"):
            count += int(status(f"{process}/task/{task}", "voluntary_ctxt_switches"))
            count += int(status(f"{process}/task/{task}", "nonvoluntary_ctxt_switches"))
    return count


def limit(pid, name):
    """The (soft, hard) values of one line of /proc/PID/limits, as text."""
    for line in folder(pid).joinpath("limits").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return tuple(line[len(name):].split()[:2])
    raise KeyError(name)


def memory(pid):
    """(start address, bytes) of every mapping that can be read and written."""
    with open(folder(pid) / "maps", encoding="utf-8") as maps, \
            open(folder(pid) / "mem", "rb", buffering=0) as mem:
        for line in maps:
            span, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            mem.seek(start)
            try:
                yield start, _read_all(mem, end - start)
            except OSError:
                continue


def flags(pid, address):
    """The VmFlags of the mapping that an address is in, as a set of two letters each."""
    is_it = False
    for line in folder(pid).joinpath("smaps").read_text(encoding="utf-8").splitlines():
        span = line.split()[0].split("-")
        if len(span) == 2:
            is_it = int(span[0], 16) <= address < int(span[1], 16)
        elif is_it and line.startswith("VmFlags:"):
            return set(line.split()[1:])
    raise KeyError(hex(address))


def _read_all(file, count):
    pieces = []
    while count > 0:
        piece = file.read(min(count, 1 << 24))
        if not piece:
            break
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
