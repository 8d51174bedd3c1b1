"""`make soak` for seconds: each scene is played, and every login gets exactly one answer and is sent
upstream once at most. How long it takes is not tested here."""
import os

import pytest

from soak import play
from soak.scenes import SCENES
from soak.stage import Plan

# Enough for each scene's faults to meet logins.
PLAN = Plan(clients=150, rate=75, seconds=2.5, timeout_ms=1500)
TIMES = {"late"}

pytestmark = pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                                reason="a sanitizer keeps memory that was given back")


@pytest.fixture(scope="module", name="results")
def fixture_results(folder, authority, has_nginx):
    """Of all scenes; they come to rest together, which takes as long as all the rest."""
    pairs = [(name, scene.versions[0]) for name, scene in SCENES.items()]
    pairs += [("resets", "HTTP/1.1"), ("idle", "HTTP/1.1")]
    return {result.label: result
            for result in play.scenes(folder, authority, pairs, PLAN, lambda text: None)}


def test_every_login_is_answered_once_and_sent_once_at_most(results):
    assert len(results) >= len(SCENES)
    assert not {label: result.missed_for(ignoring=TIMES) for label, result in results.items()
                if result.missed_for(ignoring=TIMES)}


def test_scenes_bring_about_what_they_say(results):
    """Or their figures would prove nothing."""
    for result in results.values():
        assert result.found.sent > PLAN.clients
        assert result.found.statuses[200]
        if SCENES[result.name].is_felt:
            assert sum(result.found.statuses.values()) > result.found.statuses[200], result.label
    assert any(result.found.slowest_s > PLAN.timeout_ms / 1000 for result in results.values())
