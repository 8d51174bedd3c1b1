"""`make fuzz`: each target for a while on all cores, and the readings beside those of others."""
import argparse
import os
import random
import sys
import time

from fuzz import differential, libfuzzer, targets

READINGS = {f"reading-{kind.rstrip(':')}": kind for kind in differential.KINDS}


def say(text):
    print(text, flush=True)


def run_target(name, seconds):
    start = time.monotonic()
    executions, edges, features, new = libfuzzer.fuzz(name, seconds, os.cpu_count() or 1)
    rate = executions / (time.monotonic() - start)
    lines = ", ".join(f"{file} {percent:.1f} %"
                      for file, percent in libfuzzer.coverage(name).items())
    say(f"{name:<13}{executions:>12,} executions {rate:>8,.0f}/s {edges:>6} edges "
        f"{features:>6} features {new:>5} new inputs; lines of {lines}")


def run_reading(name, seconds):
    """Until the first difference."""
    kind = READINGS[name]
    seed = random.SystemRandom().randrange(1 << 32)
    count = 0

    def counted():
        nonlocal count
        for body in differential.generated(kind, seed, seconds=seconds):
            count += 1
            yield body
    for body, ours, theirs in differential.differences(kind, counted()):
        raise libfuzzer.Failure(f"{name}: {body!r}\n  is read as  {ours}\n  and not as  {theirs}")
    say(f"{name:<13}{count:>12,} bodies     {count / seconds:>8,.0f}/s read alike (seed {seed})")


def merge(names):
    for name in names:
        say(f"{name:<13}{libfuzzer.merge(name):>4} inputs added to {targets.corpus(name)}")


def main():
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("names", nargs="*", choices=[[], *targets.NAMES, *READINGS])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--merge", action="store_true")
    options = parser.parse_args()
    names = options.names or [*targets.NAMES, *READINGS]
    try:
        if options.merge:
            merge([name for name in names if name in targets.NAMES])
            return 0
        for name in names:
            (run_target if name in targets.NAMES else run_reading)(name, options.seconds)
    except libfuzzer.Failure as failure:
        say(str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
