"""Bakrypt's web component with a token from bakrypt-login.js, as on a user's site."""
import ipaddress
import urllib.parse

import pytest

from servers import browser as browsers, folders, launchpad, nginx
from servers.dot import USERS
from servers.program import Program

COMPONENT = "document.querySelector('bakrypt-launchpad')"


@pytest.fixture(name="module", scope="module")
def fetched_module(require):
    try:
        return launchpad.fetch()
    except launchpad.Unavailable as reason:
        return require(str(reason))


@pytest.fixture(name="api")
def listening_api(authority):
    with launchpad.Api(authority.leaf()) as api:
        yield api


@pytest.fixture(name="browser")
def opened_browser(folder, dot, authority, module, api, has_nginx, require):
    """A browser on the user's page, and every server behind that."""
    require(browsers.missing())
    files = folders.make_subfolder(folder, "users-site")
    for name, text in (("index.html", launchpad.PAGE), ("site.js", launchpad.SITE_SCRIPT),
                       ("bakrypt-launchpad.js", module)):
        (files / name).write_text(text, encoding="utf-8")
    folders.copy_for_web(files, folder, "users-site-served")
    more = (f"\t\tlocation /shop/ {{\n\t\t\talias {folder}/users-site-served/;\n"
            "\t\t\ttypes { text/html html; text/javascript js; }\n\t\t}\n")
    with Program(folder, token_url=dot.token_url, ca_file=authority.file) as login, \
            nginx.Site(folder, login.target, more=more) as site, \
            browsers.Browser(folder, hosts={launchpad.API_HOST: api.port}) as browser:
        browser.reset()
        browser.open(f"{site.origin}/shop/")
        yield browser


def submit(browser, api, count):
    """Presses the component's own button; gives the Authorization that it sent."""
    browser.run(f"{COMPONENT}.shadowRoot.querySelector('sl-button').click();")
    browser.wait_for(lambda: len(api.calls) >= count, "a call of the component")
    method, path, authorization = api.calls[-1]
    assert (method, path) == ("POST", "/v1/assets/")
    return authorization


def test_component_uses_the_token(browser, api):
    """And after a renewal the new one; all without leaving this machine."""
    browser.wait_for(lambda: browser.run(
        f"return window.site && {COMPONENT}.shadowRoot?.querySelector('sl-button') !== null;"),
        "the component")
    token = browser.run_async("return await site.login('alice', arguments[0]);", USERS["alice"])
    assert browser.run(f"return {COMPONENT}.accessToken;") == token["access_token"]
    assert browser.run(f"return {COMPONENT}.refreshToken;") == token["refresh_token"]
    assert submit(browser, api, 1) == f"Bearer {token['access_token']}"
    browser.wait_for(lambda: browser.run(
        f"return {COMPONENT}.shadowRoot.innerHTML.includes(arguments[0]);", api.SENTENCE),
        "what the API said")
    browser.screenshot("10-launchpad")
    renewed = browser.run_async("return await site.refresh();")
    assert renewed["access_token"] != token["access_token"]
    assert submit(browser, api, 2) == f"Bearer {renewed['access_token']}"
    browser.run_async("await site.logout();")
    assert browser.run(f"return {COMPONENT}.getAttribute('access-token');") == ""
    requests = [each for each in browser.requests() if not each[1].startswith("data:")]
    assert {urllib.parse.urlsplit(url).hostname for _, url, _ in requests} == {
        "localhost", launchpad.API_HOST}
    addresses = {address for _, _, address in requests if address}
    assert addresses and all(ipaddress.ip_address(each.strip("[]")).is_loopback
                             for each in addresses)
