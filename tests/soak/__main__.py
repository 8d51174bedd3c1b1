"""What `make soak` runs, from tests: `/usr/bin/python3 -m soak`.

Plays scenes in which much goes wrong while thousands log in through nginx, and refuses each
allocation of a login once. Says of every login what became of it; prints a report, and writes it to
build/soak/report.md. Ends by Ctrl-C or SIGTERM with everything it started; exit status 0, or 1 if
a goal was missed or something failed.
"""
import argparse
import os
import sys

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from bench import machine  # noqa: E402
from servers import certificates, ending, folders, nginx, program  # noqa: E402
from servers.process import ServerError  # noqa: E402

from soak import play, report  # noqa: E402
from soak.scenes import SCENES  # noqa: E402
from soak.stage import Plan  # noqa: E402

ALLOCATIONS = "allocations"


class Missed(Exception):
    """Goals that were missed, as text."""


def say(text):
    print(text, flush=True)


def run(options):
    names = options.scenes or [*SCENES, ALLOCATIONS]
    pairs = [(name, version) for name in names if name != ALLOCATIONS
             for version in SCENES[name].versions]
    plan = Plan(clients=options.clients, rate=options.rate,
                seconds=options.seconds / max(1, len(pairs)))
    build = program.ROOT / os.environ.get("BAKRYPT_LOGIN_BUILD", "build") / "soak"
    build.mkdir(parents=True, exist_ok=True)
    machine.allow_many_files(say)
    with folders.temporary_folder(options.parent) as folder:
        authority = certificates.Authority(folder / "ca")
        results = play.scenes(folder, authority, pairs, plan, say)
        outcomes = play.allocations(folder, authority, say) if ALLOCATIONS in names else {}
    text, missed = report.write(plan, results, outcomes)
    (build / "report.md").write_text(text, encoding="utf-8")
    say(f"\n{text}\nWritten to {build / 'report.md'}")
    if missed:
        raise Missed("\n".join(["Missed:", *missed]))


def main():
    parser = argparse.ArgumentParser(description="faults under load")
    parser.add_argument("scenes", nargs="*", metavar="SCENE",
                        help=f"of {', '.join([*SCENES, ALLOCATIONS])}")
    parser.add_argument("--seconds", type=float, default=300, help="of load, all scenes together")
    parser.add_argument("--clients", type=int, default=Plan.clients)
    parser.add_argument("--rate", type=float, default=Plan.rate, help="logins a second")
    parser.add_argument("--parent", default="/tmp", help="where its temporary folder is made")
    options = parser.parse_args()
    unknown = set(options.scenes) - {*SCENES, ALLOCATIONS}
    if unknown:
        parser.error(f"no such scene: {', '.join(sorted(unknown))}")
    if nginx.missing():
        parser.error(nginx.missing())
    os.umask(0o022)
    return ending.exit_status(lambda: run(options), Missed, ServerError)


if __name__ == "__main__":
    sys.exit(main())
