"""Builds what is measured beside the program, below build/bench."""
import os
import pathlib
import shutil
import subprocess

from servers import program

HERE = pathlib.Path(__file__).resolve().parent
PEERS = HERE / "peers"


class Failure(Exception):
    """A reason why there can be no benchmark, as a sentence."""


def folder():
    """Where all is built."""
    return program.ROOT / os.environ.get("BAKRYPT_LOGIN_BUILD", "build") / "bench"


def run(argv, **options):
    done = subprocess.run([str(part) for part in argv], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          **options)
    if done.returncode != 0:
        raise Failure(f"This failed: {' '.join(map(str, argv))}\n{done.stdout}")


def install_express(build):
    """By npm, as the lock file says; again only when that has changed."""
    folder = build / "express"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (PEERS / "express" / "package-lock.json").read_bytes()
    stamp = folder / "installed.json"
    shutil.copytree(PEERS / "express", folder, dirs_exist_ok=True)
    if not stamp.exists() or stamp.read_bytes() != lock:
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder)
        stamp.write_bytes(lock)


def build_go(build):
    """With the standard library alone: nothing is downloaded."""
    temporary = build / "go-tmp"
    temporary.mkdir(exist_ok=True)
    env = dict(os.environ, GOCACHE=str(build / "go-cache"), GOPATH=str(build / "go-path"),
               GOTMPDIR=str(temporary), GOPROXY="off", GOFLAGS="-mod=mod -trimpath")
    run(["go", "build", "-o", build / "go-login", "."], cwd=PEERS / "go", env=env)


def build_c(target, sources, *libraries):
    run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-o", target,
         *sources, *libraries])


def build_token_server(build):
    build.mkdir(parents=True, exist_ok=True)
    build_c(build / "token-server", sorted((HERE / "token_server").glob("*.c")), "-lssl",
            "-lcrypto", "-lnghttp2")


def prepare(build, say):
    """Everything, into the folder; it may be there from an earlier run."""
    build.mkdir(parents=True, exist_ok=True)
    say("Preparing Express, Go and C ...")
    install_express(build)
    build_go(build)
    build_c(build / "threads", [PEERS / "threads.c"], "-lfcgi", "-lcurl", "-lcjson", "-lpthread")
    build_c(build / "attack", [HERE / "attack" / "main.c"])
    build_c(build / "logins", sorted((HERE / "logins").glob("*.c")))
    build_token_server(build)


def build_obvious_cgi(build):
    build.mkdir(parents=True, exist_ok=True)
    build_c(build / "obvious-cgi", [PEERS / "obvious_cgi.c"], "-lcurl", "-lcjson")
