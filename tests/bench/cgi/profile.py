"""Where a run's instructions and system calls go, by valgrind's callgrind and by strace.

Instructions do not depend on the clock or on who else is there: two runs differ by about 1 %.
"""
import collections
import dataclasses
import re
import subprocess

from bench.cgi import runs

# Functions that Debian's libraries export, so that each program's profile has them by name; the
# figure of one includes what it calls. A few are parts of others.
PARTS = (
    ("the loader's relocations", ("_dl_relocate_object", "_dl_relocate_static_pie")),
    ("main()", ("main",)),
    ("curl_global_init()", ("curl_global_init",)),
    ("seeding OpenSSL's generators", ("RAND_status",)),
    ("SSL_CTX_new()", ("SSL_CTX_new",)),
    ("reading the system's authorities", ("X509_STORE_load_locations", "X509_LOOKUP_by_subject_ex",
                                          "X509_STORE_load_file", "X509_load_cert_crl_file")),
    ("TLS handshake", ("SSL_connect",)),
    ("verifying the chain, within it", ("X509_verify_cert",)),
    ("free(), wiping or not", ("free", "__wrap_free", "cfree")),
    ("exit()", ("exit",)),
)

_INCLUSIVE = re.compile(r"^\s*([\d,]+) \(\s*[\d.]+%\)\s+(?:.*?:)?([\w@.']+)(?: \[.*\])?$")
_CALL = re.compile(r"^\d+\s+(\w+)\(")


def read_figures(text):
    """{function: instructions in it and in what it calls}, and the program's under None, of what
    callgrind_annotate prints. A function that calls itself stands there more than once."""
    total = re.search(r"^\s*([\d,]+) \(100\.0%\)\s+PROGRAM TOTALS", text, re.MULTILINE)
    found = collections.Counter({None: int(total.group(1).replace(",", ""))})
    for match in filter(None, map(_INCLUSIVE.match, text.splitlines())):
        name = re.split(r"[@']", match.group(2))[0]
        found[name] = max(found[name], int(match.group(1).replace(",", "")))
    return found


def count_instructions(subject, folder):
    """(all, {part: its share or 0}) of one run. The folder is for callgrind's file."""
    path = folder / f"{subject.name}.callgrind"
    # callgrind runs within the process, and writes its file at the end.
    unconfined = dataclasses.replace(subject, env={**subject.env, "BAKRYPT_SANDBOX": "off"})
    runs.run(unconfined, ("valgrind", "--quiet", "--tool=callgrind",
                       f"--callgrind-out-file={path}"))
    found = read_figures(subprocess.run(
        ["callgrind_annotate", "--inclusive=yes", "--threshold=100", "--auto=no", str(path)],
        capture_output=True, text=True, check=True).stdout)
    return found[None], {part: max(found[name] for name in names) for part, names in PARTS}


def read_calls(text):
    """{system call: how often}, of what strace writes. One that was interrupted by another thread's
    counts once."""
    return collections.Counter(match.group(1) for match in map(_CALL.match, text.splitlines())
                               if match)


def count_calls(subject, folder):
    """{system call: how often one run makes it}, with its threads."""
    path = folder / f"{subject.name}.strace"
    runs.run(subject, ("strace", "-f", "-qq", "-o", path))
    return read_calls(path.read_text(encoding="utf-8", errors="replace"))
