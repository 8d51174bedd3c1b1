"""`bakrypt-login token`: a token on the command line."""
import json
import os
import signal
import subprocess

import pytest

from servers import cgi, dot as dot_server, folders, procfs, upstream
from servers.process import wait_until
from servers.program import CLIENT_SECRET, binary, make_env, run_once
from servers.service import CONNECT_TIMEOUT_MS, PASSWORD, TIMEOUT_MS, USER
from servers.terminal import Terminal

REFUSED, USAGE, UNAVAILABLE, OS_ERROR, CONFIG = 1, 64, 69, 71, 78
TOKEN_PATH, REVOKE_PATH = "/auth/token/", "/auth/revoke_token/"
SECRETS = (PASSWORD, CLIENT_SECRET, upstream.ACCESS_TOKEN, upstream.REFRESH_TOKEN, upstream.GOSSIP)


@pytest.fixture(scope="module", name="server")
def fixture_server(authority):
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        yield server


@pytest.fixture(name="env")
def fixture_env(server, authority):
    server.reset()
    return {**cgi.settings(server.url, authority.file), "BAKRYPT_TIMEOUT_MS": TIMEOUT_MS,
            "BAKRYPT_CONNECT_TIMEOUT_MS": CONNECT_TIMEOUT_MS}


@pytest.fixture(name="file")
def file_maker(folder):
    """Makes files for us alone; they go with the test."""
    made = []

    def make(text, mode=0o600):
        path = folder / f"token-test-{len(made)}"
        path.write_bytes(text.encode())
        path.chmod(mode)
        made.append(path)
        return path

    yield make
    for path in made:
        path.unlink()


def token(env, *arguments, text=None, **options):
    if text is not None:
        options["input"], options["stdin"] = text, None
    return run_once("token", *arguments, settings=env, **options)


def check_token(done, **changes):
    """The JSON, a newline, and nothing else."""
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("}\n") and done.stdout.count("\n") == 1
    assert json.loads(done.stdout) == upstream.token_members(**changes)


def check_fault(done, status, *words):
    """One or two plain lines that say nothing secret."""
    assert done.returncode == status, done
    assert done.stdout == ""
    check_complaint(done.stderr, *words)


def check_complaint(text, *words):
    lines = text.splitlines()
    assert 1 <= len(lines) <= 2, text
    assert all(line.startswith("bakrypt-login: ") for line in lines)
    for secret in SECRETS:
        assert secret not in text
    for word in words:
        assert word in text


def sent(server, number=-1):
    return {name: values[0] for name, values in server.requests[number].form.items()}


# On a terminal -------------------------------------------------------------------------------------

def on_terminal(env, *arguments, **options):
    return Terminal([binary(), "token", *arguments], env=make_env(env), **options)


def test_asks_for_name_and_password(env, server):
    with on_terminal(env) as terminal:
        terminal.expect("User name: ")
        assert terminal.is_echoing
        terminal.type(f"{USER}\n")
        terminal.expect("Password: ")
        assert not terminal.is_echoing
        terminal.type(f"{PASSWORD}\n")
        assert terminal.wait() == 0
        assert terminal.is_echoing
    assert json.loads(terminal.output) == upstream.token_members()
    assert terminal.text.splitlines() == [f"User name: {USER}", "Password: "]
    assert (sent(server)["username"], sent(server)["password"]) == (USER, PASSWORD)


@pytest.mark.parametrize("arguments, prompt, text", [
    (("-u", USER, "--password-file", "-"), "Password: ", PASSWORD),
    (("--refresh-token-file", "-"), "Refresh token: ", upstream.REFRESH_TOKEN)])
def test_what_is_typed_for_a_file_is_not_shown_either(env, arguments, prompt, text):
    with on_terminal(env, *arguments) as terminal:
        terminal.expect(prompt)
        assert not terminal.is_echoing
        terminal.type(f"{text}\n")
        assert terminal.wait() == 0
    assert terminal.text.splitlines() == [prompt]


def test_prompts_do_not_go_into_a_pipe(env):
    """As in `bakrypt-login token -u alice | jq`."""
    with on_terminal(env, "-u", USER) as terminal:
        terminal.expect("Password: ")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.wait() == 0
    assert terminal.output.startswith("{") and "Password" not in terminal.output


def test_echo_is_on_while_the_token_server_is_asked(env, server):
    held = upstream.Held()
    server.script(held)
    with on_terminal(env, "-u", USER) as terminal:
        terminal.expect("Password: ")
        terminal.type(f"{PASSWORD}\n")
        server.wait_for_requests(1)
        assert terminal.is_echoing
        held.release()
        assert terminal.wait() == 0


def test_end_of_input_instead_of_a_password(env, server):
    with on_terminal(env, "-u", USER) as terminal:
        terminal.expect("Password: ")
        terminal.press("D")
        assert terminal.wait() == USAGE
        assert terminal.is_echoing
    assert "nothing was typed" in terminal.text
    assert not server.requests


@pytest.mark.parametrize("letter, number", [("C", signal.SIGINT), ("\\", signal.SIGQUIT)])
def test_key_that_ends_it_leaves_the_terminal_as_it_was(env, server, letter, number):
    with on_terminal(env, "-u", USER) as terminal:
        terminal.expect("Password: ")
        assert not terminal.is_echoing
        terminal.press(letter)
        assert terminal.wait() == -number
        assert terminal.is_echoing
    assert not server.requests


@pytest.mark.parametrize("prompt", ["User name: ", "Password: "])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM])
def test_signal_leaves_the_terminal_as_it_was(env, number, prompt):
    with on_terminal(env, *(("-u", USER) if prompt == "Password: " else ())) as terminal:
        terminal.expect(prompt)
        os.kill(terminal.pid, number)
        assert terminal.wait() == -number
        assert terminal.is_echoing


def test_signal_that_was_to_be_ignored_is_ignored(env):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with on_terminal(env, "-u", USER, preexec=ignore) as terminal:
        terminal.expect("Password: ")
        os.kill(terminal.pid, signal.SIGHUP)
        wait_until(lambda: int(procfs.status(terminal.pid, "ShdPnd"), 16) == 0, 10, "a delivery")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.wait() == 0


def test_stopped_and_continued_it_asks_anew(env):
    """Whatever happened to the terminal meanwhile."""
    with on_terminal(env, "-u", USER) as terminal:
        terminal.expect("Password: ")
        os.kill(terminal.pid, signal.SIGSTOP)
        wait_until(lambda: procfs.status(terminal.pid, "State").startswith("T"), 10, "a stop")
        terminal.set_echo(True)
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.expect("Password: ")
        assert not terminal.is_echoing
        terminal.type(f"{PASSWORD}\n")
        assert terminal.wait() == 0
        assert terminal.is_echoing


def test_ctrl_z_in_a_shell(env, server):
    with Terminal(["/bin/sh", "-i"], env={**make_env(env), "PS1": "ready> "},
                  stdout=None) as terminal:
        terminal.expect("ready> ")
        terminal.type(f"{binary()} token -u {USER}\n")
        terminal.expect("Password: ")
        assert not terminal.is_echoing
        terminal.press("Z")
        terminal.expect("ready> ")
        terminal.expect_echo(True)
        assert "Stopped" in terminal.text
        terminal.type("fg\n")
        terminal.expect("Password: ")
        terminal.expect_echo(False)
        terminal.type(f"{PASSWORD}\n")
        terminal.expect(upstream.ACCESS_TOKEN)
        terminal.expect("ready> ")
        terminal.type("exit\n")
        assert terminal.wait() == 0
    assert PASSWORD not in terminal.text
    assert sent(server)["password"] == PASSWORD


def test_in_the_background_it_leaves_the_terminal_alone(env):
    with Terminal(["/bin/sh", "-i"], env={**make_env(env), "PS1": "ready> "},
                  stdout=None) as terminal:
        terminal.expect("ready> ")
        terminal.type(f"{binary()} token -u {USER} & wait; jobs\n")
        terminal.expect("Stopped")
        assert terminal.is_echoing
        assert "Password" not in terminal.text
        terminal.expect("ready> ")
        terminal.type("fg\n")
        terminal.expect("Password: ")
        terminal.press("C")
        terminal.expect("ready> ")
        assert terminal.is_echoing
        terminal.type("exit\n")
        terminal.wait()


def test_password_from_a_pipe_while_there_is_a_terminal(env, server):
    reader, writer = os.pipe()
    os.write(writer, f"{PASSWORD}\n".encode())
    os.close(writer)
    with on_terminal(env, stdin=reader) as terminal:
        os.close(reader)
        terminal.expect("User name: ")
        terminal.type(f"{USER}\n")
        assert terminal.wait() == 0
    assert "Password" not in terminal.text
    assert (sent(server)["username"], sent(server)["password"]) == (USER, PASSWORD)


def test_without_a_terminal_somebody_has_to_say_who(env):
    """In a session of its own there is no /dev/tty."""
    check_fault(token(env, text=PASSWORD, start_new_session=True), USAGE, "-u")


# The password from elsewhere -----------------------------------------------------------------------

ENDS = {"nothing": "", "newline": "\n", "CR and LF": "\r\n"}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_password_on_standard_input(env, server, end):
    check_token(token(env, "-u", USER, text=PASSWORD + end))
    assert (sent(server)["username"], sent(server)["password"]) == (USER, PASSWORD)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_password_in_a_file(env, server, file, end):
    check_token(token(env, "--user", USER, "--password-file", file(PASSWORD + end)))
    assert sent(server)["password"] == PASSWORD


@pytest.mark.parametrize("word", [" leading and trailing ", "two\n", "\n", "a\r\n\r\n", "x" * 4096])
def test_password_is_not_trimmed(env, server, word):
    check_token(token(env, "-u", USER, "--password-file", "-", text=word + "\n"))
    assert sent(server)["password"] == word


def test_password_by_way_of_a_pipe_with_a_name(env, server):
    """As the shell's <(pass show bakrypt) gives it."""
    reader, writer = os.pipe()
    os.write(writer, f"{PASSWORD}\n".encode())
    os.close(writer)
    check_token(token(env, "-u", USER, "--password-file", f"/dev/fd/{reader}", pass_fds=[reader]))
    os.close(reader)
    assert sent(server)["password"] == PASSWORD


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_file_that_others_can_read_is_refused(env, server, file, mode):
    path = file(PASSWORD, mode)
    check_fault(token(env, "-u", USER, "--password-file", path), CONFIG, str(path), "chmod")
    check_fault(token(env, "--refresh-token-file", path), CONFIG, str(path), "chmod")
    assert not server.requests


def test_name_of_a_file_cannot_command_the_terminal(env, tmp_path):
    path = tmp_path / "a\x1b[2Jb"
    path.write_text(PASSWORD, encoding="utf-8")
    path.chmod(0o604)
    done = token(env, "-u", USER, "--password-file", path)
    check_fault(done, CONFIG, "a?[2Jb")
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("path", ["/nowhere/password", "/etc", "/dev/zero"])
def test_file_that_cannot_be_read(env, server, path):
    check_fault(token(env, "-u", USER, "--password-file", path), CONFIG, "--password-file")
    check_fault(token(env, "--refresh-token-file", path), CONFIG, "--refresh-token-file")
    assert not server.requests


@pytest.mark.parametrize("word", ["", "\n", "x" * 4097, "a\0b", "x" * 100000])
def test_password_that_cannot_be_one(env, server, word):
    done = token(env, "-u", USER, text=word)
    check_fault(done, CONFIG if len(word) > 16384 else USAGE)
    assert not server.requests


@pytest.mark.parametrize("name", ["", "x" * 4097])
def test_user_name_that_cannot_be_one(env, server, name):
    check_fault(token(env, "-u", name, text=PASSWORD), USAGE)
    assert not server.requests


# What can go wrong ---------------------------------------------------------------------------------

FAULTS = {
    "wrong password": (upstream.error("invalid_grant"), REFUSED, "password is wrong"),
    "denied": (upstream.status(403, "{}", "application/json"), REFUSED, "denies access"),
    "wrong client": (upstream.error("invalid_client", 401), CONFIG, "--check"),
    "grant switched off": (upstream.error("unsupported_grant_type"), CONFIG, "switched"),
    "asked to wait": (upstream.status(429, headers=[("Retry-After", "7")]), UNAVAILABLE,
                      "in 7 seconds"),
    "firewall": (upstream.status(403), UNAVAILABLE, "firewall"),
    "redirect": (upstream.status(301, headers=[("Location", "/x/")]), UNAVAILABLE, "redirect"),
    "fault": (upstream.status(500), UNAVAILABLE, "has a fault"),
    "out of service": (upstream.status(503, headers=[("Retry-After", "60")]), UNAVAILABLE,
                       "out of service"),
    "nonsense": (upstream.status(200), UNAVAILABLE, "cannot be used"),
    "no answer": (upstream.silence, UNAVAILABLE, "in time"),
    "hangs up": (upstream.break_off, UNAVAILABLE, "hung up"),
}


@pytest.mark.parametrize("behaviour, status, words", FAULTS.values(), ids=FAULTS)
def test_fault_of_the_token_server(env, server, behaviour, status, words):
    server.script(behaviour)
    check_fault(token(env, "-u", USER, text=PASSWORD), status, words)
    assert len(server.requests) == 1


def test_token_server_that_is_down(env):
    with upstream.ClosedPort() as closed:
        check_fault(token({**env, "BAKRYPT_TOKEN_URL": closed.url}, "-u", USER, text=PASSWORD),
                    UNAVAILABLE, "cannot be reached", "nothing was sent")


def test_certificate_that_cannot_be_trusted(env, authority):
    leaf = authority.self_signed()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        done = token({**env, "BAKRYPT_TOKEN_URL": server.url}, "-u", USER, text=PASSWORD)
        check_fault(done, UNAVAILABLE, "trusted")
        assert not server.requests


@pytest.mark.parametrize("changes, name", [
    ({"BAKRYPT_CLIENT_ID": None}, "BAKRYPT_CLIENT_ID"),
    ({"BAKRYPT_TIMEOUT_MS": "soon"}, "BAKRYPT_TIMEOUT_MS"),
    ({"BAKRYPT_CONFIG": "/nowhere/settings"}, "/nowhere/settings")])
def test_bad_setting_is_told_before_anything_is_asked(env, changes, name):
    with on_terminal({**env, **changes}) as terminal:
        assert terminal.wait() == CONFIG
    assert name in terminal.text and "User name" not in terminal.text
    assert len(terminal.text.splitlines()) == 1


@pytest.mark.parametrize("arguments, repeated", [
    (("hunter2",), ""), (("-u", USER, "hunter2"), ""), (("--password", "hunter2"), "--password"),
    (("--password=hunter2",), "--password"), (("-phunter2",), "-p"), (("--user",), "--user"),
    (("-u",), "-u"), (("--revoke",), "--refresh-token-file"), (("--revoke=hunter2",), "--revoke"),
    (("--refresh-token-file", "hunter2", "-u", USER), "user name"),
    (("--refresh-token-file", "hunter2", "--password-file", "hunter2"), "password"),
    (("--check",), ""), (("--listen", "hunter2"), ""), (("--json",), ""), (("token",), "")])
def test_wrong_usage_repeats_nothing_that_could_be_a_password(env, server, arguments, repeated):
    done = token(env, *arguments, text=PASSWORD)
    check_fault(done, USAGE, repeated)
    assert "hunter2" not in done.stderr
    assert not server.requests


# Settings ------------------------------------------------------------------------------------------

def as_file(env):
    return "".join(f"{name}={value}\n" for name, value in env.items())


def test_settings_from_a_named_file(env, file):
    for arguments in (("--config", file(as_file(env)), "token", "-u", USER),
                      ("token", "-u", USER, "--config", file(as_file(env)))):
        check_token(run_once(*arguments, input=PASSWORD, stdin=None))


def test_settings_from_the_home_folder(env, tmp_path):
    (tmp_path / ".config").mkdir()
    path = tmp_path / ".config" / "bakrypt-login.conf"
    path.write_text(as_file(env), encoding="ascii")
    path.chmod(0o600)
    check_token(token({"HOME": tmp_path}, "-u", USER, text=PASSWORD))


def test_log_is_silent_unless_it_is_asked_for(env, server):
    loud = {**env, "BAKRYPT_LOG_LEVEL": "debug"}
    for level in ("info", "crit"):
        check_token(token({**env, "BAKRYPT_LOG_LEVEL": level}, "-u", USER, text=PASSWORD))
    server.script(upstream.error("invalid_grant"))
    lines = token(loud, "-u", USER, text=PASSWORD).stderr.splitlines()
    entry = json.loads(lines[0])
    assert (entry["event"], entry["level"], entry["upstream_error"]) == (
        "token", "debug", "invalid_grant")
    check_complaint("\n".join(lines[1:]))
    assert USER not in lines[0]


# Refresh and revocation ----------------------------------------------------------------------------

JSON = json.dumps(upstream.token_members())


@pytest.mark.parametrize("text", [upstream.REFRESH_TOKEN, upstream.REFRESH_TOKEN + "\n", JSON,
                                  f"\n {JSON}\n"], ids=["token", "line", "JSON", "blanks"])
def test_refresh(env, server, file, text):
    server.script(upstream.token(access_token="new", refresh_token="newer"))
    done = token(env, "--refresh-token-file", file(text))
    check_token(done, access_token="new", refresh_token="newer")
    assert (sent(server)["grant_type"], sent(server)["refresh_token"]) == (
        "refresh_token", upstream.REFRESH_TOKEN)
    assert len(server.requests) == 1


def test_refresh_of_what_another_one_prints(env):
    first = token(env, "-u", USER, text=PASSWORD)
    check_token(token(env, "--refresh-token-file", "-", text=first.stdout))


def test_refresh_writes_nothing_back(env, file):
    path = file(JSON)
    before = path.stat()
    check_token(token(env, "--refresh-token-file", path))
    assert path.read_text() == JSON and path.stat().st_mtime_ns == before.st_mtime_ns


def test_refresh_token_that_is_dead(env, server, file):
    server.script(upstream.error("invalid_grant"))
    check_fault(token(env, "--refresh-token-file", file(JSON)), REFUSED, "log in again")


def test_refresh_whose_answer_is_lost(env, server, file):
    server.script(upstream.break_off)
    check_fault(token(env, "--refresh-token-file", file(JSON)), UNAVAILABLE, "used up")
    assert len(server.requests) == 1


@pytest.mark.parametrize("text, words", [
    ("", "emptied"), ("\n", "emptied"), ("{}", "no refresh token"), ('{"refresh_token": 1}', ""),
    ("{not JSON", "no JSON"), ('{"refresh_token": "a", "refresh_token": "b"}', "more than once")])
def test_file_without_a_refresh_token(env, server, file, text, words):
    check_fault(token(env, "--refresh-token-file", file(text)), CONFIG, words)
    assert not server.requests


@pytest.mark.parametrize("text, revoked", [
    (upstream.REFRESH_TOKEN, [upstream.REFRESH_TOKEN]),
    (JSON, [upstream.REFRESH_TOKEN, upstream.ACCESS_TOKEN]),
    ('{"access_token": "only this"}', ["only this"])])
def test_revocation(env, server, file, text, revoked):
    server.always = upstream.status(200, "")
    done = token(env, "--refresh-token-file", file(text), "--revoke")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {each.path for each in server.requests} == {REVOKE_PATH}
    assert [each.form["token"] for each in server.requests] == [[token] for token in revoked]


def test_revocation_url_that_is_not_there(env, server, file):
    server.script(upstream.status(404))
    check_fault(token(env, "--refresh-token-file", file(JSON), "--revoke"), UNAVAILABLE,
                "BAKRYPT_REVOKE_URL")


def test_real_token_server(dot, authority, file):
    env = cgi.settings(dot.token_url, authority.file)
    for name, word in dot_server.USERS.items():
        done = token(env, "-u", name, text=word)
        assert (done.returncode, done.stderr) == (0, ""), name
    first = json.loads(done.stdout)
    kept = file(done.stdout)
    second = token(env, "--refresh-token-file", kept)
    assert json.loads(second.stdout)["access_token"] != first["access_token"]
    check_fault(token(env, "--refresh-token-file", kept), REFUSED)
    kept.write_text(second.stdout)
    assert token(env, "--refresh-token-file", kept, "--revoke").returncode == 0
    check_fault(token(env, "--refresh-token-file", kept), REFUSED)
    check_fault(token(env, "-u", "alice", text="wrong"), REFUSED, "password is wrong")


# The end in the middle -----------------------------------------------------------------------------

@pytest.fixture(name="held")
def fixture_held(server, env):
    """The token server's answer waits until it is let go."""
    held = upstream.Held()
    server.script(held)
    yield held
    held.release()


def start(env, *arguments, text=""):
    process = subprocess.Popen([binary(), "token", *map(str, arguments)], env=make_env(env),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    process.stdin.write(text)
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_login_leaves_no_token_alive(env, server, held, number):
    process = start(env, "-u", USER, text=PASSWORD)
    server.wait_for_requests(1)
    process.send_signal(number)
    assert "waiting" in process.stderr.readline()
    held.release()
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (-number, "", "")
    assert [each.path for each in server.requests] == [TOKEN_PATH, REVOKE_PATH]
    assert sent(server)["token"] == upstream.REFRESH_TOKEN


def test_interrupted_refresh_loses_no_token(env, server, held, file):
    process = start(env, "--refresh-token-file", file(JSON))
    server.wait_for_requests(1)
    process.send_signal(signal.SIGINT)
    assert "waiting" in process.stderr.readline()
    held.release()
    output, _ = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert json.loads(output) == upstream.token_members()
    assert len(server.requests) == 1


@pytest.mark.usefixtures("held")
def test_second_signal_ends_at_once(env, server):
    process = start({**env, "BAKRYPT_TIMEOUT_MS": 60000}, "-u", USER, text=PASSWORD)
    server.wait_for_requests(1)
    process.send_signal(signal.SIGINT)
    assert "waiting" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT


def run_unwritable(env, *arguments, preexec=None, **options):
    """To its end, with a full disk behind standard output, or what preexec makes of it."""
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([binary(), "token", *map(str, arguments)], env=make_env(env),
                              stdout=full, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=20, preexec_fn=preexec, **options)
    assert done.returncode == OS_ERROR
    return done.stderr


@pytest.mark.parametrize("preexec", [None, lambda: os.close(1)], ids=["full", "closed"])
def test_token_that_cannot_be_written_is_revoked(env, server, preexec):
    """What is opened in place of what is closed takes nothing: there it would live on unseen."""
    errors = run_unwritable(env, "-u", USER, input=PASSWORD, preexec=preexec)
    check_complaint(errors, "cannot be written", "revoked")
    assert [each.path for each in server.requests] == [TOKEN_PATH, REVOKE_PATH, REVOKE_PATH]


def test_token_that_can_neither_be_written_nor_revoked(env, server):
    server.script(upstream.token(), upstream.status(500))
    check_complaint(run_unwritable(env, "-u", USER, input=PASSWORD), "cannot be written",
                    "could not be revoked")


def test_reader_that_left(env, server, held):
    process = start(env, "-u", USER, text=PASSWORD)
    server.wait_for_requests(1)
    process.stdout.close()
    held.release()
    assert process.wait(timeout=20) == OS_ERROR
    check_complaint(process.stderr.read(), "cannot be written", "revoked")
    process.stderr.close()
    assert server.requests[-1].path == REVOKE_PATH


def test_refreshed_token_that_cannot_be_written_is_not_revoked(env, server, file):
    """Where tokens are not rotated, it is the one that the file still has."""
    errors = run_unwritable(env, "--refresh-token-file", file(JSON))
    check_complaint(errors, "cannot be written", "log in again")
    assert len(server.requests) == 1


# What others can see -------------------------------------------------------------------------------

def test_nothing_secret_in_proc(env, server, held):
    process = start(env, "-u", USER, text=PASSWORD)
    server.wait_for_requests(1)
    seen = [procfs.folder(process.pid).joinpath("cmdline").read_bytes()]
    if folders.is_root():
        seen.append(procfs.folder(process.pid).joinpath("environ").read_bytes())
        assert b"BAKRYPT_CLIENT_ID" in seen[-1]
    for text in seen:
        for secret in (PASSWORD, CLIENT_SECRET):
            assert secret.encode() not in text
    held.release()
    process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                    reason="a sanitizer reads the process by ptrace")
def test_no_core_is_written(env, server, held):
    process = start(env, "-u", USER, text=PASSWORD)
    server.wait_for_requests(1)
    assert procfs.limit(process.pid, "Max core file size") == ("0", "0")
    held.release()
    process.communicate(timeout=20)
