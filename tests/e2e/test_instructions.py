"""`make bench` counts instructions properly. How many there should be is not tested: the README has
what they were."""
import os

import pytest

from bench import instructions
from servers import load

pytestmark = pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                                reason="callgrind cannot run a sanitized program")
LOGINS = 30
PLAUSIBLE = range(20_000, 3_000_000)  # of one login


@pytest.fixture(name="tokens", scope="module")
def token_server(folder, authority, has_nginx, require):
    require(instructions.missing())
    with load.TokenServer(folder, authority, rate=10000) as server:
        yield server


def test_twice_the_logins_are_twice_the_instructions(folder, authority, tokens):
    totals = [sum(instructions.count(folder, tokens.token_url, authority.file, logins).values())
              for logins in (LOGINS, 2 * LOGINS, 4 * LOGINS)]
    once, twice = totals[1] - totals[0], totals[2] - totals[1]
    assert once // LOGINS in PLAUSIBLE
    assert twice == pytest.approx(2 * once, rel=0.2)


def test_a_run_by_cgi(folder, authority, tokens):
    costs = instructions.per_cgi_run(folder, tokens.token_url, authority.file)
    by_object = instructions.by_object(costs)
    assert sum(by_object.values()) > 500_000
    assert by_object["bakrypt-login"] > 10_000
