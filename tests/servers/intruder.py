"""An attacker's code inside the program: intruder.c, built and preloaded.

    env = intruder.settings(folder, "read_file", "/etc/passwd")
    with Program(folder, ..., settings=env) as program:
        assert program.wait_for_event("intruder")["error"] == errno.EACCES
"""
import ctypes
import functools
import pathlib
import subprocess

SOURCE = pathlib.Path(__file__).with_suffix(".c")


@functools.cache
def library(folder):
    """Builds it in the folder, once."""
    path = pathlib.Path(folder) / "intruder.so"
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-shared", "-fPIC",
                    "-o", path, SOURCE],
                   check=True)
    return path


def settings(folder, act, path="", *, is_parent=False):
    """The environment in which the program does this by itself, once it waits for work."""
    env = {"LD_PRELOAD": library(folder), "INTRUDER_DOES": act, "INTRUDER_PATH": path}
    return {**env, "INTRUDER_IS_PARENT": 1} if is_parent else env


def landlock_version():
    """What this kernel has of it; 0: nothing."""
    create_ruleset, ask_version = 444, 1
    return max(0, ctypes.CDLL(None).syscall(create_ruleset, None, 0, ask_version))
