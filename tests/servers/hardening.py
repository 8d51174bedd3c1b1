"""How hard a program is to take over, read out of the program itself by readelf, objdump and nm.

    assert not hardening.gaps(path)

What compilers are told is not looked at, but what came of it.
"""
import dataclasses
import platform
import re
import shutil
import subprocess

@dataclasses.dataclass(frozen=True)
class Marks:
    """Functions whose code shows what no table of a program does. open: called from other files. address: gives
    away that of a local variable which is no array. large: has more than 4 KB of those. copies: into memory whose size only its run tells."""
    open: str
    address: str
    large: str
    copies: str


OURS = Marks("loop_stop", "loop_clock_us", "log_event", "secret_reserve")


def missing():
    """What the machine lacks for it, as a sentence; or None."""
    if platform.machine() != "x86_64":
        return "what the code shows is known for x86-64 alone"
    return None if shutil.which("objdump") else "binutils is not installed"


def _read(*command):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True,
                          env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}).stdout


def _segments(path):
    """[(type, offset, flags)]."""
    lines = _read("readelf", "--wide", "--segments", path).splitlines()
    found = (re.match(r"\s+(\w+)\s+0x(\w+) 0x\w+ 0x\w+ 0x\w+ 0x\w+ ([RWE ]{3})", line)
             for line in lines)
    return [(row[1], int(row[2], 16), row[3].replace(" ", "")) for row in found if row]


def _functions(path):
    """{name: its instructions, a line each}."""
    text = _read("objdump", "--disassemble", "--no-show-raw-insn", path)
    parts = re.split(r"^[0-9a-f]+ <([^>]+)>:$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def _linked(path):
    """{what is missing} in how the program was put together."""
    segments = _segments(path)
    dynamic = _read("readelf", "--wide", "--dynamic", path)
    flags = " ".join(re.findall(r"\(FLAGS(?:_1)?\)\s+(.*)", dynamic))
    stacks = [rights for kind, _, rights in segments if kind == "GNU_STACK"]
    loads = [(offset, rights) for kind, offset, rights in segments if kind == "LOAD"]
    is_there = {
        "position-independent": "PIE" in flags
        and "DYN" in _read("readelf", "--file-header", path),
        "relocations read-only": any(kind == "GNU_RELRO" for kind, *_ in segments),
        "relocations all at the start": "NOW" in flags,
        "no runnable stack": stacks == ["RW"],
        "code apart": len(loads) > 2 and loads[0] == (0, "R")
        and all(rights in ("R", "RE", "RW") for _, rights in loads),
        "code unchanged": "TEXTREL" not in dynamic,
        "no path of its own to libraries": not re.search("RPATH|RUNPATH", dynamic),
    }
    return {name for name, found in is_there.items() if not found}


def _compiled(path, marks):
    """{what is missing} in the code. The program has its symbols."""
    code = _functions(path)
    copies = code[marks.copies]
    is_there = {
        "stack protector, strong": "%fs:0x28" in code[marks.address]
        and "__stack_chk_fail" in code[marks.address],
        "stack clash": re.search(r"or[ql]\s+\$0x0,\(%rsp\)", code[marks.large]),
        "jump targets marked": re.match(r"\s*\w+:\s+endbr64", code[marks.open]),
        "fortified, 3": re.search(r"(?:call|jmp)\s.*__(?:memcpy|memmove)_chk", copies),
    }
    return {name for name, found in is_there.items() if not found}


def gaps(path, marks=OURS):
    """{what is missing}."""
    return _linked(path) | _compiled(path, marks)
