"""What `make bench-cgi` runs, from tests: `/usr/bin/python3 -m bench.cgi`.

Measures one login by CGI, each time from exec, without a web server: the program linked with
Debian's libraries, the static one of `make shared-hosting`, and what one would write instead. All
trust the system's store of authorities, see store.py. The token server is on this machine and
answers at once; its name is in /etc/hosts. Writes build/bench/cgi.md; exit status as for bench.
"""
import argparse
import concurrent.futures
import contextlib
import dataclasses
import gc
import multiprocessing
import os
import pathlib
import sys

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from servers import certificates, cgi, ending, fastcgi, folders, program  # noqa: E402
from servers.process import ServerError  # noqa: E402

from bench import figures, machine, prepare, upstream  # noqa: E402
from bench.cgi import profile, report, runs, store  # noqa: E402

HOST = "tokens.example.test"
STATIC = "shared-hosting/program/bakrypt-login"
PACKAGES = ("libcurl4", "libssl3", "libnghttp2-14", "libc6", "ca-certificates", "valgrind")


def say(text):
    print(text, flush=True)


class Authority(certificates.Authority):
    """One whose certificates are for HOST as well."""

    def leaf(self, name="localhost", hosts=(*certificates.LOCAL_HOSTS, HOST)):
        return super().leaf(name, hosts)


def make_subjects(build, token_url):
    """[Subject]: the one to compare with first."""
    body = fastcgi.login_json(f"{upstream.USER_PREFIX}17", "correct horse battery staple")
    credentials = {"CLIENT_ID": program.CLIENT_ID, "CLIENT_SECRET": program.CLIENT_SECRET,
                   "TOKEN_URL": token_url}
    env = program.make_env({
        **cgi.variables(length=len(body)), **credentials,
        **{f"BAKRYPT_{name}": value for name, value in credentials.items()}})
    dynamic, static = program.binary(), build / STATIC

    def login(name, label, path, **more):
        return runs.Subject(name, label, (str(path),), {**env, **more}, body, b'"access_token"')

    def start_alone(name, label, path):
        return runs.Subject(name, label, (str(path), "--help"), program.make_env({}), b"",
                            b"BAKRYPT_TOKEN_URL")

    return [login("obvious", "libcurl, the obvious way", build / "bench" / "obvious-cgi"),
            login("dynamic", "bakrypt-login", dynamic),
            login("static", "bakrypt-login, static", static),
            login("dynamic-open", "bakrypt-login, without the sandbox", dynamic,
                  BAKRYPT_SANDBOX="off"),
            login("static-open", "bakrypt-login, static, without the sandbox", static,
                  BAKRYPT_SANDBOX="off"),
            start_alone("dynamic-start", "bakrypt-login --help", dynamic),
            start_alone("static-start", "bakrypt-login --help, static", static)]


def run_round(subjects):
    """{name: Run}, in the order given. The collector of Python does not interfere."""
    gc.disable()
    return {subject.name: runs.run(subject) for subject in subjects}


def profile_all(subjects, folder):
    """{name: instructions}, {name: system calls}."""
    return ({subject.name: profile.count_instructions(subject, folder) for subject in subjects},
            {subject.name: profile.count_calls(subject, folder) for subject in subjects})


def in_store(stack, kept, hosts):
    """A function that calls another in a process that sees the store."""
    pool = stack.enter_context(concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("fork"), store.enter, (kept, hosts)))
    return lambda function, *arguments: pool.submit(function, *arguments).result()


def measure(build, folder, count):
    """The lines of the report's tables."""
    with contextlib.ExitStack() as stack:
        authority = Authority(folder / "ca")
        token_server = stack.enter_context(upstream.TokenServer(folder, authority))
        subjects = make_subjects(build, token_server.url(True, 0).replace("localhost", HOST))
        kept = store.make(folder, authority)
        hosts = store.make_hosts(folder, HOST)
        call = in_store(stack, kept, hosts)
        call_with_bundle = in_store(stack, store.make_bundle_only(folder, kept), hosts)
        bundled = [dataclasses.replace(subject, name=f"{subject.name}-bundle",
                                       label=f"{subject.label}, where there is a bundle alone")
                   for subject in subjects if subject.name in ("dynamic", "static")]
        say(f"{count} rounds, with a store of {store.size(kept)} authorities ...")
        rounds = []
        for number in range(-1, count):
            done = {**call(run_round, figures.rotated(subjects, number)),
                    **call_with_bundle(run_round, bundled)}
            if number >= 0:  # the first one warms the page cache
                rounds.append(done)
        logins = subjects[:3]
        instructions, calls = call(profile_all, logins, folder)
    return [*report.time_table([*subjects, *bundled], rounds, "obvious"), "",
            *report.instruction_table(logins, instructions), "",
            *report.call_table(logins, calls)]


def run(options):
    build = pathlib.Path(program.ROOT) / os.environ.get("BAKRYPT_LOGIN_BUILD", "build")
    prepare.build_obvious_cgi(build / "bench")
    prepare.build_token_server(build / "bench")
    load = machine.load_average()
    with folders.temporary_folder(options.parent) as folder:
        tables = measure(build, folder, options.rounds)
    text = "\n".join([
        f"{machine.when_and_where()} Load average {load:.1f} before, "
        f"{machine.load_average():.1f} after. " + ", ".join(
            f"{name} {machine.package_version(name)}" for name in PACKAGES) + ".",
        "", *tables]) + "\n"
    (build / "bench" / "cgi.md").write_text(text, encoding="utf-8")
    say(text)


def main():
    parser = argparse.ArgumentParser(description="what one login by CGI costs")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--parent", default="/tmp", help="where its temporary folder is made")
    options = parser.parse_args()
    os.umask(0o022)
    return ending.exit_status(lambda: run(options), prepare.Failure, runs.Failure, ServerError,
                              OSError)


if __name__ == "__main__":
    sys.exit(main())
