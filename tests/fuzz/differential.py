"""The program's reading of a body beside another's, for as many bodies as one likes."""
import contextlib
import random as randomness
import shutil
import subprocess
import time

from fuzz import cases, readings, targets

REFERENCE = targets.HERE / "form_reference.mjs"
KINDS = ("json", "form", "200:", "400:")  # by the words of reading.c


class Reader:
    """A process that answers each line with one."""

    def __init__(self, argv):
        self.process = subprocess.Popen([str(part) for part in argv], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()

    def answers(self, lines):
        """Of so few lines that all fit into the pipes."""
        lines = list(lines)
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.flush()
        return [self.process.stdout.readline().rstrip("\n") for _ in lines]


def missing(kind):
    """Why no comparison is possible, or None."""
    return "nodejs is not installed" if kind == "form" and not shutil.which("node") else None


def _ours():
    return Reader([targets.BUILD / "tests" / "reading"])


def _node():
    return Reader([shutil.which("node"), REFERENCE, *readings.CREDENTIALS])


def _theirs(kind, node, bodies):
    if kind == "form":
        return [readings.read_form(told) for told in node.answers(body.hex() for body in bodies)]
    if kind == "json":
        return [readings.read_json(body) for body in bodies]
    return [readings.read_answer(int(kind[:-1]), body) for body in bodies]


def _pieces(bodies):
    """The bodies, a few at a time: up to 4 KiB in hexadecimal digits, or one."""
    piece, size = [], 0
    for body in bodies:
        if piece and size + 2 * len(body) > 4096:
            yield piece
            piece, size = [], 0
        piece.append(body)
        size += 2 * len(body)
    if piece:
        yield piece


def differences(kind, bodies):
    """(body, ours, theirs) of each that is read otherwise."""
    with _ours() as program, (_node() if kind == "form" else contextlib.nullcontext()) as node:
        for piece in _pieces(bodies):
            ours = program.answers(f"{kind} {body.hex()}" for body in piece)
            if kind[0].isdigit():
                ours = [readings.shown(line) for line in ours]
            for body, mine, other in zip(piece, ours, _theirs(kind, node, piece)):
                if mine != other:
                    yield body, mine, other


def kept(kind):
    """The bodies of the target's corpus: of an answer, what follows its status and header lines."""
    paths = targets.inputs(targets.corpus("answer" if kind[0].isdigit() else kind))
    bodies = (path.read_bytes() for path in paths)
    if kind[0].isdigit():
        bodies = (body.split(b"\xff")[2] for body in bodies if body.count(b"\xff") >= 2)
    return [body[:cases.BODY_MAX_BYTES] for body in bodies]


def generated(kind, seed, count=None, seconds=None):
    """So many bodies, or as many as are asked for in that time."""
    random = randomness.Random(seed)
    end = time.monotonic() + seconds if seconds else None
    made = 0
    while (made < count) if count else (time.monotonic() < end):
        yield cases.make(kind, random)
        made += 1
