"""What goes wrong while many log in: one function for each scene, in a table.

A scene is played by a function of (stage), while clients log in; it returns when all is well again.
"""
import contextlib
import dataclasses
import os
import resource
import signal
import subprocess
import time

from servers import folders, procfs
from servers.name_server import NameServer
from servers.process import wait_until

NAME = "tokens.example.test"


@dataclasses.dataclass(frozen=True)
class Scene:
    """play(stage). may_lack: nginx may answer in the program's place, for this reason.
    wrapper(folder): a command that runs the program."""
    text: str
    play: object
    may_lack: str = ""
    wrapper: object = None
    host: str = "localhost"
    around: object = None  # a context manager for the time of the stage
    versions: tuple = ("HTTP/2", "HTTP/1.1")
    is_felt: bool = True  # some logins fail


def turns(stage, first, second, *, first_share=0.5, count=4):
    """One and the other, in turn, as long as the plan says; it ends with the other."""
    turn_s = stage.plan.seconds / count
    for _ in range(count):
        first()
        time.sleep(turn_s * first_share)
        second()
        time.sleep(turn_s * (1 - first_share))


def answers(*names):
    """Logins are answered so, one of the names after the other, and well in between."""
    def play(stage):
        for name in names:
            if stage.tokens.knows(name):
                turns(stage, lambda n=name: stage.tokens.behave(n),
                      lambda: stage.tokens.behave("token"), count=max(1, 4 // len(names)))
    return play


def calm(stage):
    time.sleep(stage.plan.seconds)


def killed(stage):
    turns(stage, stage.tokens.kill, stage.tokens.start)


def idle(stage):
    turns(stage, stage.tokens.hang_up, lambda: None, count=int(stage.plan.seconds * 5))


def certificate(stage):
    turns(stage, lambda: stage.tokens.show(stage.tokens.stranger), stage.tokens.show)


def workers_killed(stage):
    """With some logins under way in each, at all times."""
    stage.tokens.behave("slow")

    def kill():
        os.kill(stage.workers[0], signal.SIGKILL)

    def whole():
        wait_until(lambda: len(stage.workers) == 2, 10, "a new worker")
    turns(stage, kill, whole, count=max(2, int(stage.plan.seconds / 2)))


def reloads(stage):
    turns(stage, lambda: stage.program.send_signal(signal.SIGHUP), lambda: None,
          count=int(stage.plan.seconds * 10))


def restarts(stage):
    def restart():
        stage.program.send_signal(signal.SIGTERM)
        status = stage.program.wait(30)
        assert status == 0, f"it ended with status {status}"
        stage.start_program()
    turns(stage, restart, lambda: None, count=max(2, int(stage.plan.seconds / 3)))


def memory(stage):
    """The workers get no more than they have, and then what they want."""
    def limit(is_on):
        for pid in stage.workers:
            has = int(procfs.status(pid, "VmSize").split()[0]) * 1024
            most = has + 65536 if is_on else resource.RLIM_INFINITY
            resource.prlimit(pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    turns(stage, lambda: limit(True), lambda: limit(False))


def names(stage):
    def mute(is_mute):
        stage.name_server.is_mute = is_mute
        stage.tokens.hang_up()
    turns(stage, lambda: mute(True), lambda: mute(False), first_share=0.7, count=1)


def few_files(folder):
    return ("prlimit", "--nofile=260:260")


def own_name_server(folder):
    """In a mount namespace where /etc/resolv.conf is another."""
    path = folders.make_subfolder(folder, "names") / "resolv.conf"
    path.write_text(f"nameserver {NameServer.address}\noptions timeout:1 attempts:1\n",
                    encoding="ascii")
    return ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"',
            str(path))


@contextlib.contextmanager
def name_server(stage):
    with NameServer({NAME: ["127.0.0.1"]}) as server:
        stage.name_server = server
        yield


SCENES = {
    "calm": Scene("nothing goes wrong", calm, is_felt=False),
    "killed": Scene("the token server is killed, and comes back", killed),
    "stalls": Scene("the token server falls silent", answers("silence")),
    "late": Scene("it answers just before the deadline, and after it", answers("late", "too late")),
    "resets": Scene("it resets connections, in the middle of answers too", answers("reset", "part")),
    "garbage": Scene("what it sends is garbage, or a fault", answers("garbage", "fault")),
    "refuses": Scene("by HTTP/2 it refuses logins, and says farewell",
                     answers("refuse", "farewell"), versions=("HTTP/2",)),
    "certificate": Scene("its certificate is a stranger's for a while", certificate),
    "idle": Scene("it closes all connections, five times a second", idle, is_felt=False),
    "crash": Scene("workers are killed with -9, one by one", workers_killed,
                   may_lack="a killed worker's logins get nginx's 502"),
    "reload": Scene("SIGHUP, ten times a second", reloads, is_felt=False),
    "restart": Scene("SIGTERM, and the next program on the same socket", restarts,
                     is_felt=False),
    "files": Scene("260 descriptors a worker", calm, wrapper=few_files, is_felt=False),
    "names": Scene("the name server falls silent", names, wrapper=own_name_server, host=NAME,
                   around=name_server, versions=("HTTP/2",)),  # there is one address for it
    "memory": Scene("the workers get 64 KiB more than they have", memory,
                    may_lack="a login whose end finds no memory gets nginx's 502", is_felt=False),
}


def missing(scene):
    """Why it cannot be played here, as a sentence; or None."""
    if scene.around and not folders.is_root():
        return "only root can have a name server of its own"
    if scene.wrapper is own_name_server:
        done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
        if done.returncode != 0:
            return "no mount namespace of one's own is allowed here"
    return None
