"""The fuzz targets, their corpora, and where they are built."""
import os
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / os.environ.get("BAKRYPT_LOGIN_BUILD", "build")
REPLAY_TIMEOUT_S = 300

# The files of src/ whose coverage says how far a target gets.
COVERED = {
    "answer": ("oauth.c", "upstream_call.c"),
    "form": ("form.c",),
    "gate": ("gate.c", "responder.c"),
    "gateway": ("gateway.c", "session.c", "oauth.c", "log.c"),
    "http": ("http.c",),
    "http2": ("http2.c",),
    "json": ("json.c", "utf8.c"),
    "settings": ("config.c", "settings_file.c", "settings_source.c", "settings_text.c"),
}
NAMES = tuple(sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c")))


def corpus(name):
    """The folder of a target's inputs, by which the ordinary tests call it."""
    return HERE / "corpus" / name


def inputs(folder):
    return sorted(path for path in folder.iterdir() if path.is_file())


def dictionary(name):
    """Words for libFuzzer to put together; None: the target has none."""
    path = HERE / "dictionaries" / f"{name}.dict"
    return path if path.exists() else None


def replay(program, paths, env=None):
    """Calls a target that was linked with replay.c. Gives the ended process."""
    return subprocess.run([program, *paths], env=dict(os.environ, **(env or {})),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=REPLAY_TIMEOUT_S, check=False, cwd=ROOT)
