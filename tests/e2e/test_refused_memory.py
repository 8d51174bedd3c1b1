"""Memory that is refused once, at any place: a login then fails with a reply from the table, or is
done all the same. It is sent once at most, and the next one works."""
import os

import pytest

from servers import fastcgi, source
from soak.allocations import Place

STATUSES = {fault.status for fault in source.faults().values()} | {200}
STEP_COLD = 23  # `make soak` refuses every one

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
