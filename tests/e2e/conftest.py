"""What the end-to-end tests with a scripted token server share."""
import pytest

from servers import folders, throwaway
from servers.process import ServerError
from servers.service import Service


@pytest.fixture(name="start")
def starter(folder, authority):
    """Starts services with other settings or upstreams than the rest, for one test. Whatever the
    test did, they are then alive, stop with status 0 and have logged nothing secret."""
    started = []

    def start(**options):
        service = Service(folder, authority, **options)
        started.append(service.__enter__())
        return service

    yield start
    for service in started:
        service.check_alive()
        service.__exit__()
        assert service.program.returncode == 0


@pytest.fixture
def bare_root(folder, require):
    """A copy of the machine's root, to install into; it ends with the test."""
    if not folders.is_root():
        pytest.skip("only root can make a throw-away root")
    try:
        root = throwaway.Root(folder).start()
    except ServerError as error:
        require(f"no throw-away root can be made here: {error}")
    with root:
        yield root
