"""What the program cannot do any more once it serves, shown by an attacker's code inside it.

Each act is tried without the sandbox as well, where it has to succeed: or it would prove nothing.
"""
import contextlib
import errno
import os
import pathlib
import signal
import socket
import stat

import pytest

from servers import cgi, fastcgi, folders, intruder, procfs, program
from servers.process import wait_until
from servers.service import PASSWORD, USER, Service

pytestmark = pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                                reason="a sanitizer needs what the program gives up")

KILLED = -signal.SIGSYS
LOGIN = fastcgi.login_json(USER, PASSWORD)

# What ends the process, and what fails with which error.
FATAL = {"run_program": "/bin/sh", "run_descriptor": "/bin/true", "make_process": "", "trace": "",
         "listen_locally": "", "read_memory": "", "change_user": "", "leave_namespace": ""}
REFUSED = {"write_file": errno.EACCES, "bind_port": errno.EACCES, "make_runnable": errno.EACCES,
           "map_runnable": errno.EACCES, "become_dumpable": errno.ENOSYS,
           "raise_core_limit": errno.ENOSYS, "signal_parent": errno.ENOSYS,
           "open_raw_socket": errno.ENOSYS}
CLOSED_FILES = ["/etc/passwd", "/etc/shadow", "/etc/group", "/proc/self/maps", "/proc/self/environ",
                "/proc/1/status", "/root/.profile", "/bin/true", "/var/log/dpkg.log"]
OPEN_FILES = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/dev/urandom",
              "/etc/ssl/certs/ca-certificates.crt"]


LANDLOCK = intruder.landlock_version()


def need_landlock(version=1):
    if LANDLOCK < version:
        pytest.skip(f"this kernel's Landlock is {LANDLOCK}, not {version}")


@pytest.fixture(name="run")
def fixture_run(folder, authority):
    """Starts a service in which the act is done, and gives the errno, or the negative signal
    that it ended by."""
    with contextlib.ExitStack() as stack:
        def run(act, path="", *, sandbox="on", is_parent=False, **options):
            env = intruder.settings(folder, act, path, is_parent=is_parent)
            service = stack.enter_context(Service(
                folder, authority, settings={**env, "BAKRYPT_SANDBOX": sandbox}, **options))
            wait_until(lambda: service.program.find_events("intruder")
                       or not service.program.is_running, 10, f"an end of {act}")
            found = service.program.find_events("intruder")
            return found[0]["error"] if found else service.program.wait(5)
        yield run


# One loop ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("act", FATAL)
def test_what_only_an_attacker_does_ends_the_process(run, act):
    assert run(act, FATAL[act]) == KILLED


@pytest.mark.parametrize("act", REFUSED)
def test_what_fails(run, folder, act):
    if act == "bind_port":
        need_landlock(4)
    assert run(act, folder / "new") == REFUSED[act]
    assert not (folder / "new").exists()


@pytest.mark.parametrize("act", sorted({*FATAL, *REFUSED} - {"run_descriptor"}))
def test_without_the_sandbox_all_of_that_succeeds(run, folder, act):
    assert run(act, FATAL.get(act) or folder / "new", sandbox="off") == 0
    with contextlib.suppress(FileNotFoundError):
        (folder / "new").unlink()


def test_without_the_sandbox_another_program_takes_its_place(run):
    assert run("run_descriptor", "/bin/true", sandbox="off") == 0


@pytest.mark.parametrize("path", CLOSED_FILES)
def test_files_are_closed(run, path):
    need_landlock()
    if not pathlib.Path(path).exists():
        pytest.skip(f"there is no {path}")
    assert run("read_file", path) == errno.EACCES


def test_without_the_sandbox_files_are_open(run):
    assert run("read_file", "/etc/passwd", sandbox="off") == 0


@pytest.mark.parametrize("path", OPEN_FILES)
def test_files_that_it_needs_stay_open(run, path):
    if not pathlib.Path(path).exists():
        pytest.skip(f"there is no {path}")
    assert run("read_file", path) == 0


@pytest.mark.parametrize("path", ["/", "/etc", "/tmp", "/proc"])
def test_folders_are_closed(run, path):
    need_landlock()
    assert run("list_folder", path) == errno.EACCES


def test_other_files_are_not_removed(run, tmp_path):
    need_landlock()
    (tmp_path / "file").touch()
    assert run("remove_file", tmp_path / "file") == errno.EACCES
    assert run("remove_file", tmp_path / "file", sandbox="off") == 0


def test_sockets_of_the_abstract_kind_are_closed(run):
    need_landlock(6)
    name = f"bakrypt-login-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        listener.listen()
        assert run("connect_abstract", name) == errno.EPERM
        assert run("connect_abstract", name, sandbox="off") == 0


def test_it_may_signal_itself(run):
    """abort() does, and `bakrypt-login token` that was interrupted."""
    assert run("signal_self") == 0


# What else serves ----------------------------------------------------------------------------------

@pytest.mark.parametrize("act, path, result", [
    ("run_program", "/bin/sh", None), ("read_file", "/etc/passwd", errno.EACCES)])
def test_workers(folder, authority, act, path, result):
    """One that was ended is told of, and started again."""
    env = intruder.settings(folder, act, path)
    with Service(folder, authority, settings=env, arguments=("--workers", 2)) as service:
        if result is not None:
            need_landlock()
            assert service.program.wait_for_event("intruder", count=2)["error"] == result
        else:
            service.program.wait_for_event("worker_died", signal=int(signal.SIGSYS), count=2)
        assert service.program.is_running


def test_workers_remove_nothing(run, folder):
    """It is the parent that removes the socket."""
    need_landlock()
    (folder / "kept").touch()
    assert run("remove_file", folder / "kept", arguments=("--workers", 2)) == errno.EACCES


@pytest.mark.parametrize("act, path, result", [
    ("run_program", "/bin/sh", KILLED), ("listen_locally", "", KILLED),
    ("change_user", "", KILLED), ("write_file", "new", errno.EACCES)])
def test_parent_of_workers(run, folder, act, path, result):
    """It starts processes, sends signals and reads the settings."""
    path = folder / path if path == "new" else path
    assert run(act, path, is_parent=True, arguments=("--workers", 2)) == result


def cgi_run(folder, env, act, path, sandbox="on"):
    process = cgi.start({**cgi.variables(length=len(LOGIN)), **env, "BAKRYPT_SANDBOX": sandbox,
                         **intruder.settings(folder, act, path)})
    output, errors = process.communicate(LOGIN, timeout=20)
    return process.returncode, output, errors.decode()


@pytest.fixture(name="env")
def fixture_env(folder, authority):
    with Service(folder, authority) as service:
        yield cgi.settings(service.upstream.url, authority.file)


def test_cgi_does_not_run_another_program(folder, env):
    status, output, _ = cgi_run(folder, env, "run_program", "/bin/sh")
    assert (status, output) == (KILLED, b"")
    assert '"error":0' in cgi_run(folder, env, "run_program", "/bin/sh", "off")[2]


def test_cgi_does_not_read_other_files(folder, env):
    need_landlock()
    status, output, errors = cgi_run(folder, env, "read_file", "/etc/passwd")
    assert status == 0 and cgi.read_reply(output).status == 200
    assert f'"error":{errno.EACCES}' in errors
    assert '"error":0' in cgi_run(folder, env, "read_file", "/etc/passwd", "off")[2]


@pytest.mark.parametrize("arguments, given", [
    (("--check",), ""), (("token", "-u", "alice"), "a password\n")])
def test_command_line(folder, env, arguments, given):
    def run(sandbox):
        more = {"BAKRYPT_SANDBOX": sandbox, **intruder.settings(folder, "run_program", "/bin/sh")}
        return program.run_once(*arguments, settings={**env, **more}, stdin=None, input=given)
    assert run("on").returncode == KILLED
    assert '"error":0' in run("off").stderr


# What is said of it --------------------------------------------------------------------------------

@pytest.mark.parametrize("workers", [1, 2])
def test_start_tells_what_is_in_force(start, workers):
    service = start(arguments=("--workers", workers))
    told = service.program.find_events("start")[0]["sandbox"]
    assert told == "seccomp" + (f", Landlock {LANDLOCK}" if LANDLOCK else "")
    assert len(service.program.find_events("sandbox")) == (0 if LANDLOCK else 1)
    if workers > 1:
        wait_until(lambda: len(procfs.children(service.program.pid)) == workers, 5, "workers")
    for pid in procfs.children(service.program.pid) or [service.program.pid]:
        wait_until(lambda pid=pid: procfs.status(pid, "Seccomp_filters") == str(workers), 5,
                   "a filter")
        assert procfs.status(pid, "NoNewPrivs") == "1"
        assert procfs.status(pid, "Seccomp") == "2"


@pytest.mark.parametrize("workers", [1, 2])
def test_off_is_logged(start, workers):
    service = start(settings={"BAKRYPT_SANDBOX": "off"}, arguments=("--workers", workers))
    assert service.program.find_events("start")[0]["sandbox"] == "off"
    said = service.program.wait_for_event("sandbox")
    assert said["level"] == "warn" and "BAKRYPT_SANDBOX" in said["note"]
    assert len(service.program.find_events("sandbox")) == 1
    assert procfs.status(service.program.pid, "Seccomp") == "0"


def test_by_cgi_off_is_logged_at_debug(folder, env):
    env = {**env, "BAKRYPT_SANDBOX": "off"}
    assert len(cgi.request(LOGIN, env).entries) == 1
    assert cgi.request(LOGIN, {**env, "BAKRYPT_LOG_LEVEL": "debug"}).entries[0]["event"] == "sandbox"


def test_another_value_is_a_fault():
    done = program.run_once("--check", "--offline", settings={"BAKRYPT_SANDBOX": "yes"})
    assert 'BAKRYPT_SANDBOX is "yes"; set it to on or off' in done.stdout


# Reload --------------------------------------------------------------------------------------------

def write(path, text):
    """By way of another file, as editors do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.rename(path)


def reload(service, event):
    service.program.send_signal(signal.SIGHUP)
    return service.program.wait_for_event(event)


def test_settings_in_a_folder_of_their_own_are_replaced(start, tmp_path):
    path = tmp_path / "bakrypt" / "settings"
    path.parent.mkdir()
    path.write_text("BAKRYPT_LOG_LEVEL=debug\n")
    service = start(settings={"BAKRYPT_CONFIG": path})
    write(path, "BAKRYPT_SCOPE=read\n")
    reload(service, "reload")
    service.check_token(service.post())
    assert service.upstream.requests[-1].form["scope"] == ["read"]


@pytest.mark.parametrize("place", ["etc", "tmp", ".config", "home"])
def test_settings_in_a_shared_folder_are_read_as_long_as_they_are_the_same_file(
        start, tmp_path, place):
    need_landlock()
    path = tmp_path / place / "settings"
    path.parent.mkdir()
    path.write_text("BAKRYPT_LOG_LEVEL=debug\n")
    home = {"HOME": path.parent} if place == "home" else {}
    service = start(settings={"BAKRYPT_CONFIG": path, **home})
    path.write_text("BAKRYPT_SCOPE=read\n")
    reload(service, "reload")
    write(path, "BAKRYPT_SCOPE=write\n")
    assert "it is new since the start; restart" in reload(service, "reload_refused")["note"]
    service.check_token(service.post())
    assert service.upstream.requests[-1].form["scope"] == ["read"]


def test_secret_that_is_a_link_into_a_folder_that_is_replaced(start, tmp_path):
    """As Kubernetes does it."""
    def put(number, secret):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        (folder / "client_secret").write_text(secret)
        (folder / "client_secret").chmod(0o600)
        (tmp_path / "..new").symlink_to(folder.name)
        (tmp_path / "..new").rename(tmp_path / "..data")

    put(1, "one")
    (tmp_path / "client_secret").symlink_to("..data/client_secret")
    service = start(settings={"BAKRYPT_CLIENT_SECRET": None,
                              "BAKRYPT_CLIENT_SECRET_FILE": tmp_path / "client_secret"})
    put(2, "two")
    reload(service, "reload")
    service.check_token(service.post())
    assert service.upstream.requests[-1].form["client_secret"] == ["two"]


# Its end -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("workers", [1, 2])
def test_the_socket_is_removed(folder, authority, workers):
    with Service(folder, authority, arguments=("--workers", workers)) as service:
        path = service.program.address
        assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert not os.path.exists(path)
    assert service.program.returncode == 0



def test_another_user_than_root_is_confined_as_well(folder, env):
    """Who is not root has to give up new privileges first."""
    if not folders.is_root():
        pytest.skip("so are all the other tests here")
    user, group = folders.web_user()
    env = {**env, **cgi.variables(length=len(LOGIN)), "BAKRYPT_CA_FILE": None,
           **intruder.settings(folder, "run_program", "/bin/sh")}
    process = cgi.start(env, f"--reuid={user}", f"--regid={group}", "--clear-groups",
                        program.binary(), path="setpriv")
    output, errors = process.communicate(LOGIN, timeout=20)
    assert (process.returncode, output, errors) == (KILLED, b"", b"")
