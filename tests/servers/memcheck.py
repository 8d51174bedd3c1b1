"""The program under valgrind, which finds memory that is lost, or is not to be used.

    service = Service(..., wrapper=memcheck.wrapper(folder))
    ...
    assert not memcheck.findings(folder)
"""
import shutil


def missing():
    """What the machine lacks for it, as a sentence; or None."""
    return None if shutil.which("valgrind") else "valgrind is not installed"


def wrapper(folder):
    """The command that runs a program under it, and leaves a report of each process there."""
    # It runs within the process, and makes calls of its own.
    return ["env", "BAKRYPT_SANDBOX=off", "valgrind", "--quiet", "--leak-check=full",
            "--show-leak-kinds=definite,indirect", "--errors-for-leak-kinds=definite,indirect",
            "--num-callers=30", f"--log-file={folder}/memcheck.%p"]


def findings(folder):
    """All reports. Without findings they are empty."""
    reports = sorted(folder.glob("memcheck.*"))
    assert reports, "nothing ran under valgrind"
    return "".join(path.read_text("utf-8", "replace") for path in reports)
