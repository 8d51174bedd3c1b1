"""What `make bench` runs, from tests: `/usr/bin/python3 -m bench`.

Measures the program beside what one would run instead, on this machine alone, prints a report and
writes it to build/bench/report.md, with pictures beside it. Ends by Ctrl-C or SIGTERM with
everything it started; exit status 0, or 1 if something failed.
"""
import argparse
import os
import sys

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from servers import certificates, ending, folders, program  # noqa: E402
from servers.process import ServerError  # noqa: E402

from bench import machine, parts, prepare, record, subjects, upstream  # noqa: E402


def say(text):
    print(text, flush=True)


def opening(build):
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions(build).items())
    return ["# Benchmark", "", machine.when_and_where(), "", f"{versions}.", ""]


def run(options):
    names = options.parts or (parts.IN_QUICK if options.quick else parts.ALL)
    plan = parts.QUICK if options.quick else parts.FULL
    build = prepare.folder()
    prepare.prepare(build, say)
    machine.allow_many_files(say)
    lines = opening(build)
    with folders.temporary_folder(options.parent) as folder:
        authority = certificates.Authority(folder / "ca")
        with upstream.TokenServer(folder, authority) as token_server:
            place = subjects.Place(folder, build, authority, token_server)
            for name in names:
                heading, run_part = parts.ALL[name]
                say(f"{heading} ...")
                lines += [f"## {heading}", "", *run_part(place, plan, say), ""]
    text = "\n".join(lines)
    (build / "report.md").write_text(text, encoding="utf-8")
    say(f"\n{text}\nWritten to {build / 'report.md'}")
    if options.record:
        record.record(build, program.ROOT, say)


def main():
    parser = argparse.ArgumentParser(description="the program beside what one would run instead")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts.ALL)}")
    parser.add_argument("--quick", action="store_true", help="the main parts, in two minutes")
    parser.add_argument("--record", action="store_true",
                        help="copy the report to where the README shows it")
    parser.add_argument("--parent", default="/tmp", help="where its temporary folder is made")
    options = parser.parse_args()
    unknown = set(options.parts) - set(parts.ALL)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    os.umask(0o022)
    return ending.exit_status(lambda: run(options), prepare.Failure, ServerError)


if __name__ == "__main__":
    sys.exit(main())
