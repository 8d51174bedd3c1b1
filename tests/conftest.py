"""The one runner of all tests: `/usr/bin/python3 -m pytest tests`.

Unit tests first, then checks, then whatever else, then end to end. The last line printed is
`N passed, N failed`; the exit status is not 0 if anything failed, or nothing ran.
"""
import os
import pathlib
import signal
import sys

import pytest

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from servers import certificates, dot as dot_server, folders, nginx  # noqa: E402

# What the shell ignores for a job in the background would be ignored by every program under test.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

TESTS = pathlib.Path(__file__).resolve().parent
ORDER = {"unit": 0, "checks": 1, "e2e": 9}


# Order, last line, exit status

def pytest_collection_modifyitems(items):
    def place(item):
        parts = item.path.relative_to(TESTS).parts if TESTS in item.path.parents else ("",)
        return ORDER.get(parts[0], 5)
    items.sort(key=place)


def _counts(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    stats = reporter.stats if reporter else {}

    def count(*names):
        return sum(len(stats.get(name, ())) for name in names)
    return count("passed", "xpassed"), count("failed", "error"), count("skipped", "xfailed")


def pytest_sessionfinish(session, exitstatus):
    passed, failed, _ = _counts(session.config)
    if exitstatus == 0 and passed + failed == 0:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if config.getoption("collectonly", False) or hasattr(config, "workerinput"):
        return
    passed, failed, skipped = _counts(config)
    more = f", {skipped} skipped" if skipped else ""
    print(f"{passed} passed, {failed} failed{more}", flush=True)


# What end-to-end tests share

def require(reason):
    """Skips the test if reason says that a server is missing; in CI that is a failure."""
    if reason and os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session", name="require")
def requirement():
    """require(), for tests that are told by a parameter what they need."""
    return require


@pytest.fixture(scope="session")
def folder():
    """A temporary folder with a short path, which nginx's workers can pass through."""
    path = folders.make_folder()
    yield path
    folders.remove_folder(path)


@pytest.fixture(scope="session")
def authority(folder):
    """The test certificate authority."""
    return certificates.Authority(folder / "ca")


@pytest.fixture(scope="session")
def has_nginx():
    """For tests that start an nginx."""
    require(nginx.missing())


@pytest.fixture(scope="session")
def has_sandbox():
    """For tests that start an authorization server."""
    require(dot_server.missing())


@pytest.fixture(scope="session")
def dot(folder, authority, has_sandbox):
    """The authorization server, over HTTP/1.1."""
    with dot_server.Dot(folder, authority) as server:
        yield server


@pytest.fixture(scope="session")
def dot_http2(folder, authority, dot, has_nginx):
    """The same behind an nginx that speaks HTTP/2."""
    with nginx.TlsFront(folder, dot.origin, authority) as server:
        yield server
