"""A malloc() that refuses, for the program and all its libraries: refusal.c, preloaded.

    with Refusal(folder) as refusal:
        with Service(folder, authority, wrapper=refusal.wrapper) as service:
            with refusal.of(7):          # the 7th allocation from now on, and no other
                ... log in ...
            refusal.seen, refusal.refused
"""
import contextlib
import ctypes
import itertools
import mmap
import os
import pathlib

from servers.process import wait_until
from servers.program import ROOT

FOR_EVER = 2**63

_numbers = itertools.count(1)


def library():
    """The preloaded part, as the Makefile has built it."""
    return ROOT / os.environ.get("BAKRYPT_LOGIN_BUILD", "build") / "tests" / "refusal.so"


class Orders(ctypes.Structure):
    """What refusal.c maps as well."""
    _fields_ = [(name, ctypes.c_uint64) for name in (
        "is_armed", "seen", "first", "last", "refused", "is_asked", "used")]


class Refusal:
    """The orders to one program, its workers included."""

    def __init__(self, folder):
        self._path = pathlib.Path(folder) / f"refusal-{next(_numbers)}"
        self._path.write_bytes(bytes(ctypes.sizeof(Orders)))
        with open(self._path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._orders = Orders.from_buffer(self._map)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        del self._orders
        self._map.close()
        self._path.unlink()

    @property
    def env(self):
        """For the program's environment."""
        # Without the threads' caches, whose blocks would count as used.
        return {"LD_PRELOAD": str(library()), "REFUSAL_FILE": str(self._path),
                "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}

    @property
    def env_from_main(self):
        """The same for one whose allocations count from the beginning of main()."""
        return {**self.env, "REFUSAL_FROM_MAIN": "1"}

    @property
    def seen(self):
        """Allocations asked for, since the last order began."""
        return self._orders.seen

    @property
    def refused(self):
        """And those of them that were refused."""
        return self._orders.refused

    def order(self, number, count=1):
        """Refuses the allocations from this one on, counted from 1, until disarm(); it begins
        with main()."""
        self._orders.seen = self._orders.refused = 0
        self._orders.first, self._orders.last = number, number + count - 1

    def disarm(self):
        self._orders.is_armed = 0

    @contextlib.contextmanager
    def of(self, number, count=1):
        """The same, of a running program, from now on."""
        self.order(number, count)
        self._orders.is_armed = 1
        try:
            yield
        finally:
            self.disarm()

    def used_bytes(self, provoke):
        """What the program has in use at its next allocation; provoke() leads to one."""
        self._orders.is_asked = 1
        provoke()
        wait_until(lambda: not self._orders.is_asked, 10, "an allocation")
        return self._orders.used
