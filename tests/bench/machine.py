"""What machine this is, and the versions of everything that is measured."""
import datetime
import json
import os
import pathlib
import platform
import re
import resource
import subprocess

from servers import apache, nginx, program

PACKAGES = ("libfcgi0ldbl", "libcurl4", "libssl3", "libnghttp2-14", "libcjson1", "libc6",
            "libnginx-mod-http-lua", "libluajit2-5.1-2", "wrk", "valgrind")


FILES_WANTED = 1 << 16


def allow_many_files(say):
    """As many descriptors as thousands of clients need. Not every root may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_WANTED, max(FILES_WANTED, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        say(f"No more than {hard} descriptors a process are allowed here.")
    if os.geteuid() != 0:
        say("Not root: what only root may read of a process is left out.")


def cpu_model():
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1) if found else platform.machine()


def memory_gib():
    text = pathlib.Path("/proc/meminfo").read_text(encoding="ascii")
    return int(re.search(r"MemTotal:\s+(\d+) kB", text).group(1)) / (1 << 20)


def load_average():
    """Over the last minute."""
    return os.getloadavg()[0]


def _output(*argv):
    try:
        done = subprocess.run([str(part) for part in argv], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip()


def package_version(name):
    """Of an installed Debian package."""
    return _output("dpkg-query", "--show", "--showformat=${Version}", name)


def versions(build):
    """{what: version} of all subjects and of the libraries below the program."""
    found = {
        "bakrypt-login": _output(program.binary(), "--version").split()[1],
        "nginx": _output(nginx.binary(), "-v").rpartition("/")[2],
        "Apache": _output(apache.binary(), "-v").splitlines()[0].rpartition("/")[2],
        "Go": _output("go", "version").split(" ")[2].removeprefix("go"),
        "node": _output("node", "--version").removeprefix("v"),
    }
    for name in ("express", "axios"):
        manifest = build / "express" / "node_modules" / name / "package.json"
        found[name] = json.loads(manifest.read_text(encoding="utf-8"))["version"]
    for name in PACKAGES:
        version = package_version(name)
        if version and "no packages found" not in version:
            found[name] = version
    return found


def commit():
    """The source's commit, with a mark if files were changed since; "unknown" outside of git."""
    head = _output("git", "-C", program.ROOT, "rev-parse", "--short=12", "HEAD")
    if not re.fullmatch(r"[0-9a-f]{12}", head):
        return "unknown"
    is_changed = _output("git", "-C", program.ROOT, "status", "--porcelain", "--", "src")
    return f"{head}, with changes" if is_changed else head


def when_and_where():
    """A sentence: date, commit, machine and kernel."""
    today = datetime.date.today().isoformat()
    return (f"{today}, commit {commit()}, {cpu_model()}, {os.cpu_count()} cores, "
            f"{memory_gib():.0f} GiB, Linux {platform.release()}.")
