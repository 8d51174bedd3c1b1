"""Where secrets leave traces: in a process's memory, in its core, in what it opens for writing.

    found = traces.in_memory(pid, "hunter2")
    assert not found, found
"""
import os
import re
import shutil
import signal
import subprocess

from servers import procfs
from servers.process import ServerError, wait_until

AROUND = 40  # bytes before and after, in what is told of a place


def missing():
    """What the machine lacks for it, as a sentence; or None."""
    for name in ("gcore", "strace"):
        if not shutil.which(name):
            return f"{name} is not installed"
    return None


def find(content, marks, start=0):
    """{mark: [(address, surroundings)]} of those of the marks that are there; texts or bytes. Small
    letters count as capitals do."""
    content = content if isinstance(content, bytes) else content.encode()
    folded = content.lower()
    found = {}
    for mark in marks:
        needle = (mark if isinstance(mark, bytes) else mark.encode()).lower()
        for match in re.finditer(re.escape(needle), folded):
            at, end = match.span()
            found.setdefault(mark, []).append(
                (hex(start + at), content[max(0, at - AROUND):end + AROUND]))
    return found


def in_memory(pid, *marks):
    """find() over all that a process can write."""
    found = {}
    for start, content in procfs.memory(pid):
        for mark, places in find(content, marks, start).items():
            found.setdefault(mark, []).extend(places)
    return found


def in_core(pid, folder, *marks):
    """find() in a core that gdb makes of a process, which goes on. It leaves out what the kernel
    would leave out of its own. Root's alone: the program is not dumpable."""
    core = folder / f"core.{pid}"
    done = subprocess.run(["gcore", "-o", folder / "core", str(pid)], capture_output=True,
                          text=True, check=False, timeout=60)
    try:
        if done.returncode != 0 or not core.exists():
            raise ServerError(f"no core of {pid}: {done.stdout}{done.stderr}")
        return find(core.read_bytes(), marks)
    finally:
        core.unlink(missing_ok=True)


def list_openings(process, path):
    """Has a Process, which is not started yet, leave in a file what it opens or makes, to be read
    by written_files(). Its process id stays its own."""
    process.argv[:0] = ["strace", "-D", "-f", "-I2", "-qq", "-s", "200", "-o", str(path), "-e",
                        "trace=open,openat,openat2,creat,memfd_create,rename,renameat,renameat2,"
                        "link,linkat,symlink,symlinkat,mkdir,mkdirat"]


def end_listing(pid):
    """Lets go of a process that is listed: only one at a time can trace it."""
    os.kill(int(procfs.status(pid, "TracerPid")), signal.SIGTERM)
    wait_until(lambda: procfs.status(pid, "TracerPid") == "0", 10, f"{pid} is traced no more")


def written_files(path):
    """The lines of that file which are no opening for reading alone."""
    lines = path.read_text("utf-8", "replace").splitlines()
    assert any(" openat(" in line for line in lines), "nothing was traced"
    calls = (line for line in lines if re.match(r"\d+ +\w+\(", line))
    return [line for line in calls
            if not re.search(r"\bopen(at)?2?\(.*\bO_RDONLY\b", line) or "O_CREAT" in line]
