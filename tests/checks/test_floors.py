"""Who may include whom: a file includes only from the floors below its own."""
import pathlib
import re

import pytest

SRC = pathlib.Path(__file__).resolve().parents[2] / "src"

FLOORS = {
    -1: {"buf", "utf8", "log", "fault", "ceilings", "memory"},
    0: {"config", "settings", "settings_file", "settings_source", "settings_place",
        "settings_text", "http", "form", "origin",
        "json", "loop", "breaker", "listener", "gate", "http2", "tls", "trust", "terminal",
        "sandbox_pid"},
    1: {"oauth", "upstream", "upstream_call", "upstream_drive", "upstream_lanes", "upstream_pool",
        "responder", "sandbox"},
    2: {"session"},
    3: {"gateway"},
    4: {"fastcgi", "cgi", "workers", "token", "check"},
    5: {"service"},
    6: {"main", "sandbox_filter"},  # two programs
}

# One room in several files; the header that others see is the second's.
SAME_ROOM = {
    ("config", "settings"), ("config", "settings_file"), ("config", "settings_text"),
    ("settings", "settings_file"), ("settings", "config"), ("settings_source", "settings"), ("settings_source", "settings_file"),
    ("settings_place", "settings"), ("settings_place", "settings_file"),
    ("settings_source", "settings_text"),
    ("http", "form"), ("http", "origin"),
    ("upstream", "upstream_call"), ("upstream_call", "upstream"), ("upstream", "upstream_lanes"), ("upstream", "upstream_pool"),
    ("upstream_lanes", "upstream_drive"),
    ("upstream_pool", "upstream_call"), ("upstream_pool", "upstream_drive"),
    # The cellar's own order.
    ("fault", "log"), ("log", "ceilings"), ("log", "utf8"),
    ("log", "buf"), ("buf", "memory"), ("memory", "ceilings"),
}

# A library is known to one room, and ending the process is for few.
ONE_ROOM = {
    r"#include <cjson/": {"oauth.c"},
    r"#include <curl/": {"upstream_call.h", "upstream_drive.h", "upstream_lanes.h", "upstream_pool.h"},
    r"#include <fcgi": {"responder.c"},
    r"#include <openssl/": {"tls.c"},
    r"#include <nghttp2/": {"http2.c"},
    r"#include <seccomp.h>": {"sandbox_filter.c"},
    r"landlock|PR_SET_SECCOMP": {"sandbox.c", "sandbox_filter.c"},
    r"\b_?exit\(|\babort\(": {"workers.c", "loop.c", "sandbox_filter.c"},
    r"__libc_(malloc|free)": {"memory.c"},
}

FILES = sorted(SRC.glob("*.[ch]"))


def floor_of(name):
    for floor, names in FLOORS.items():
        if name in names:
            return floor
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_includes_only_from_below(path):
    assert floor_of(path.stem) is not None, f"{path.name} is on no floor"
    for included in re.findall(r'#include "(\w+)\.h"', path.read_text()):
        if included == "sandbox_filter":  # made at build time, by the program of this name
            continue
        allowed = (included == path.stem or (path.stem, included) in SAME_ROOM
                   or floor_of(included) < floor_of(path.stem))
        assert allowed, f"{path.name} may not include {included}.h"


def test_no_exception_is_out_of_use():
    used = {(path.stem, included) for path in FILES
            for included in re.findall(r'#include "(\w+)\.h"', path.read_text())}
    assert SAME_ROOM <= used, SAME_ROOM - used


@pytest.mark.parametrize("pattern", ONE_ROOM)
def test_only_one_room_knows_it(pattern):
    users = {path.name for path in FILES if re.search(pattern, path.read_text())}
    assert users == ONE_ROOM[pattern]
