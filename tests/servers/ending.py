"""Ending a program that has started servers, by Ctrl-C or a signal: as an exception does."""
import signal
import sys

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


def exit_status(run, *failures):
    """Runs it to its end, or until somebody asks for the end. 0; or 1, also after one of these
    exceptions, which is told."""
    take_signals()
    try:
        run()
    except Interrupted:
        print("\nStopped.", flush=True)
        return 1
    except failures as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0
