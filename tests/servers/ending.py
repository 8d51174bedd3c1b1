"""Ending a program that has started servers, by Ctrl-C or a signal: as an exception does."""
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody asked for the end."""


def take_signals():
    """From now on the first of SIGNALS raises Interrupted, and the next ones are ignored."""
    def end(*unused):
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise Interrupted
    for number in SIGNALS:
        signal.signal(number, end)
