"""What `make bench` runs, from tests: `/usr/bin/python3 -m bench`.

Measures the program beside what one would run instead, on this machine alone, and writes
build/bench/report.md. Ends by Ctrl-C or SIGTERM with everything it started; exit status 0, or 1 if
something failed.
"""
import argparse
import os
import pathlib
import resource
import sys

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from servers import certificates, ending, folders, program  # noqa: E402
from servers.process import ServerError  # noqa: E402

from bench import machine, prepare, report, subjects, table, upstream  # noqa: E402


FILES_WANTED = 1 << 16


def say(text):
    print(text, flush=True)


def allow_many_files():
    """As many descriptors as the parts with thousands in flight need. Not every root may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_WANTED, max(FILES_WANTED, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        say(f"No more than {hard} descriptors a process are allowed here.")


def run(options):
    build = pathlib.Path(program.ROOT) / os.environ.get("BAKRYPT_LOGIN_BUILD", "build") / "bench"
    prepare.prepare(build, say)
    allow_many_files()
    with folders.temporary_folder(options.parent) as folder:
        authority = certificates.Authority(folder / "ca")
        with upstream.TokenServer(folder, authority) as token_server:
            place = subjects.Place(folder, build, authority, token_server)
            rounds, seconds = (2, 2) if options.quick else (5, 5)
            result = table.run(place, subjects.ALL, rounds=rounds, seconds=seconds, warm_s=1,
                               idle_s=1, say=say)
    text = "\n".join([machine.describe(), "", str(machine.versions(build)), "",
                      *report.main_table(subjects.ALL, result, {})]) + "\n"
    (build / "report.md").write_text(text, encoding="utf-8")
    say(text)


def main():
    parser = argparse.ArgumentParser(description="the program beside what one would run instead")
    parser.add_argument("--quick", action="store_true", help="two minutes")
    parser.add_argument("--parent", default="/tmp", help="where its temporary folder is made")
    options = parser.parse_args()
    os.umask(0o022)
    ending.take_signals()
    try:
        run(options)
    except ending.Interrupted:
        say("\nStopped.")
        return 1
    except (prepare.Failure, ServerError) as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
