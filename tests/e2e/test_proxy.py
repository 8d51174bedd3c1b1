"""The way to the token server by a proxy, and variables of the environment that have no say in it."""
import pytest

from servers import upstream
from servers.proxy import Proxy


@pytest.fixture(name="proxy")
def started_proxy():
    with Proxy() as proxy:
        yield proxy


@pytest.mark.parametrize("environment", [{}, {"NO_PROXY": "*"}, {"no_proxy": upstream.HOST}],
                         ids=["plain", "NO_PROXY", "no_proxy"])
def test_logins_go_by_the_proxy_whatever_else_the_environment_says(start, proxy, environment):
    service = start(settings={"BAKRYPT_PROXY": proxy.url, **environment})
    service.check_token(service.post())
    assert set(proxy.targets) == {f"{upstream.HOST}:{service.upstream.port}"}
    assert len(proxy.targets) == service.upstream.connections


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_no_other_variable_sets_a_proxy(start, proxy, name):
    service = start(settings={name: proxy.url})
    service.check_token(service.post())
    assert proxy.targets == []


def test_time_to_the_first_byte_is_that_of_the_token_server(start, proxy):
    service = start(settings={"BAKRYPT_PROXY": proxy.url})
    service.upstream.script(upstream.after(0.1, upstream.token()))
    assert service.check_token(service.post())["ms"]["first_byte"] >= 90


def test_keys_of_tls_are_not_written_out(start, folder):
    path = folder / "tls-keys"
    service = start(settings={"SSLKEYLOGFILE": path})
    service.check_token(service.post())
    assert not path.exists()
