"""Memory that is refused once, at any place: a login then fails with a reply from the table, or is
done all the same. It is sent once at most, and the next one works."""
import collections
import itertools
import os
import subprocess

import pytest

from servers import cgi, fastcgi, program, source, upstream
from servers.refusal import Refusal
from servers.service import CONNECT_TIMEOUT_MS, PASSWORD, TIMEOUT_MS, USER
from soak.allocations import Place

EX_UNAVAILABLE, EX_OSERR, EX_CONFIG = 69, 71, 78
STATUSES = {fault.status for fault in source.faults().values()} | {200}
STEP_COLD = 41  # of thousands; `make soak` refuses every one
STEP_RELOAD, STEP_RUN, STEP_START = 3, 211, 53

pytestmark = pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                                reason="a sanitizer brings its own malloc()")


def check(outcome, allocations):
    """allocations: a login needs more than so many; fewer would prove little."""
    assert not outcome.faults
    assert set(outcome.answered) <= STATUSES
    assert outcome.answered[200] and outcome.answered[503]
    assert outcome.refused > allocations


@pytest.mark.parametrize("content_type", [fastcgi.JSON, fastcgi.FORM])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_each_of_a_login_on_a_kept_connection(folder, authority, version, content_type):
    with Place(folder, authority, version, is_cold=False) as place:
        check(place.sweep(content_type), 30)
        # What one refusal leaves behind would now be there once more.
        assert place.sweep(content_type).grown_bytes < 1024


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_some_of_a_login_for_which_all_is_made_anew(folder, authority, version):
    with Place(folder, authority, version, is_cold=True) as place:
        check(place.sweep(fastcgi.JSON, step=STEP_COLD), 100)


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_some_of_a_reload(folder, authority, version):
    """It takes place or it is refused, and the next login works either way."""
    with Place(folder, authority, version, is_cold=False) as place:
        assert place.sweep_reloads(step=STEP_RELOAD) > 3


# Processes of their own: counted from the beginning of main() on ----------------------------------

class Runs:
    """Runs of the program, each with another allocation refused."""

    def __init__(self, folder, authority, server):
        self.refusal = Refusal(folder)
        self._server = server
        self.env = program.make_env({
            **cgi.settings(server.url, authority.file), "BAKRYPT_TIMEOUT_MS": TIMEOUT_MS,
            "BAKRYPT_CONNECT_TIMEOUT_MS": CONNECT_TIMEOUT_MS, **self.refusal.env_from_main})

    def each(self, step, run):
        """The subprocess.CompletedProcess that run() gives, for the first allocation and each
        step-th from there, until it needs no more of them."""
        for number in itertools.count(1, step):
            self._server.reset()
            self.refusal.order(number)
            done = run()
            if not self.refusal.refused:
                return
            assert done.returncode >= 0, f"signal {-done.returncode} at allocation {number}"
            assert len(self._server.requests) <= 1, number
            yield done

    def once(self, *arguments, body=b"", **more):
        return subprocess.run([program.binary(), *arguments], env={**self.env, **more}, input=body,
                              capture_output=True, timeout=20, check=False)

    def until_it_listens(self, path):
        """Started, and stopped as soon as it says something."""
        with subprocess.Popen([program.binary(), "--listen", path], env=self.env,
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as started:
            line = started.stderr.readline()
            self.refusal.disarm()
            started.terminate()
            return subprocess.CompletedProcess(started.args, started.wait(20), None,
                                               line + started.stderr.read())


@pytest.fixture(name="runs")
def fixture_runs(folder, authority):
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        yield Runs(folder, authority, server)


def test_some_of_a_login_by_cgi(runs):
    """A reply, whatever is refused."""
    body = fastcgi.login_json(USER, PASSWORD)
    statuses = collections.Counter(
        cgi.read_reply(done.stdout).status for done in runs.each(
            STEP_RUN, lambda: runs.once(body=body, **cgi.variables(length=len(body)))))
    assert set(statuses) <= STATUSES
    assert statuses[200] and statuses[503]


def test_some_of_a_token_for_the_command_line(runs):
    """A token, or a sentence and an exit status."""
    ends = collections.Counter()
    for done in runs.each(STEP_RUN, lambda: runs.once("token", "-u", USER, body=b"kennwort")):
        ends[done.returncode] += 1
        assert (done.returncode == 0) == bool(done.stdout)
        assert done.stdout or done.stderr.startswith(b"bakrypt-login: ")
    assert set(ends) <= {0, EX_UNAVAILABLE, EX_OSERR, EX_CONFIG}
    assert ends[0] and ends[EX_OSERR]


def test_some_of_a_start(runs, folder):
    """It listens, or ends with a line that says why not."""
    ends = collections.Counter()
    for done in runs.each(STEP_START, lambda: runs.until_it_listens(folder / "start.sock")):
        has_started = b'"event":"start"' in done.stderr
        ends[done.returncode] += 1
        assert (done.returncode == 0) == has_started
        assert has_started or b"memory" in done.stderr.lower(), done
    assert set(ends) <= {0, EX_OSERR, EX_CONFIG} and ends[EX_OSERR]
