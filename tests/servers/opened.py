"""Several servers that are started and stopped as one.

A subclass starts them in open(), by run(); they are stopped again in reverse order.
"""
import contextlib


class Opened:
    """A context manager; what open() had started is stopped also if it fails."""

    def __init__(self):
        self._stack = contextlib.ExitStack()

    def open(self):
        """Starts all there is to start."""
        raise NotImplementedError

    def run(self, server):
        """Enters a context manager that is left at the end; returns its value."""
        return self._stack.enter_context(server)

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._stack = stack
            self.open()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *unused):
        self._stack.close()
