"""The page under deploy/page, in a browser, served by nginx/bakrypt-login-page.conf."""
import re

import pytest

from servers import browser as browsers, nginx, ports, upstream
from servers.client import send
from servers.dot import USERS
from servers.process import wait_until
from servers.program import Program
from servers.service import PASSWORD, USER

ALICE = "alice"
SECRET_FIELDS = ("access_token", "refresh_token")
MODULE = "const page = await import(new URL('bakrypt-login.js', location.href));"
PLAIN_FAILURE = re.compile(r"Failed to load resource: the server responded with a status of [45]")


@pytest.fixture(name="chromium", scope="module")
def started_chromium(folder, request):
    request.getfixturevalue("require")(browsers.missing())
    with browsers.Browser(folder) as chromium:
        yield chromium


@pytest.fixture(name="browser")
def clean_browser(chromium):
    """The browser, as new. After the test its console has no complaint but of statuses of 400
    and more: no violation of the Content-Security-Policy, no uncaught exception."""
    chromium.reset()
    yield chromium
    odd = [line for line in chromium.console() if not PLAIN_FAILURE.search(line)]
    assert not odd, odd


class Visit:
    """A person at the page."""

    def __init__(self, browser, site, login, path="/"):
        self.browser = browser
        self.site = site
        self.login_program = login
        self.address = site.origin + path
        browser.open(self.address)

    def sign_in(self, name=ALICE, password=USERS[ALICE]):
        self.browser.type("#username", name)
        self.browser.type("#password", password)
        self.browser.click("#login")

    def wait_for_session(self):
        self.browser.wait_for(lambda: self.browser.is_shown("#session"), "the session")
        return self

    def wait_for_form(self):
        self.browser.wait_for(lambda: self.browser.is_shown("#form"), "the form")

    def wait_for_error(self, text=""):
        self.browser.wait_for(lambda: self.browser.is_shown("#error") and text in self.error,
                              f"an error with {text!r}")
        return self.error

    def wait_for_status(self, text):
        self.browser.wait_for(lambda: text in self.browser.find("#status").text,
                              f"a status with {text!r}")

    @property
    def error(self):
        return self.browser.find("#error").text

    @property
    def token(self):
        """What the module holds."""
        return self.browser.run_async(MODULE + "return page.session.token;")

    def row(self, label):
        """A field's value as it is visible, by its label."""
        return self.browser.run(
            "return [...document.querySelectorAll('.row')].find((row) =>"
            " row.querySelector('dt').textContent === arguments[0])"
            "?.querySelector('code').textContent;", label)

    def check_hidden(self, *tokens):
        """None of these is in the page's visible text, or anywhere else in its document."""
        document = self.browser.run("return document.documentElement.outerHTML;")
        for token in tokens:
            assert token not in self.browser.text
            assert token not in document

    def refused(self, refresh_token):
        """Whether a refresh token is none any more, by asking with it."""
        body = f"refresh_token={refresh_token}".encode()
        reply = send(self.site.origin, body, "application/x-www-form-urlencoded", path="/refresh")
        assert reply.status in (200, 401)
        return reply.status == 401


@pytest.fixture(name="real")
def site_with_sandbox(folder, dot, authority, has_nginx):
    """The program before the sandbox server, and nginx before it."""
    with Program(folder, token_url=dot.token_url, ca_file=authority.file) as login, \
            nginx.Site(folder, login.target) as site:
        yield site, login


@pytest.fixture(name="visit")
def visiting(browser, real):
    return Visit(browser, *real)


@pytest.fixture(name="script")
def visiting_scripted(browser, folder, start, has_nginx):
    """Makes a visit before a scripted token server; gives it and that server."""
    stopping = []

    def visit(*behaviours, **options):
        service = start(**options)
        if service.upstream:
            service.upstream.script(*behaviours)
        site = nginx.Site(folder, service.address)
        stopping.append(site)
        site.start()
        return Visit(browser, site, service.program), service.upstream
    yield visit
    for site in stopping:
        site.stop()


# Signing in, and its opposite

def test_sign_in_and_log_out(visit):
    visit.browser.screenshot("1-form")
    visit.sign_in()
    visit.wait_for_session()
    token = visit.token
    assert visit.browser.find("#title").text == "You are signed in"
    assert visit.browser.focused == "title"
    assert visit.browser.find("#status").text == "You are signed in."
    assert visit.row("Type") == "Bearer"
    assert visit.row("Scope") == "read write"
    assert re.search(r"^(10 h 0 min 0 s|9 h 59 min 5\d s)$",
                     visit.browser.find("#left").text.replace("\u00a0", " "))
    visit.browser.screenshot("2-session")
    visit.browser.click("#logout")
    visit.wait_for_form()
    assert "logged out" in visit.browser.find("#status").text
    assert visit.browser.focused == "username"
    assert visit.token is None
    visit.check_hidden(token["access_token"], token["refresh_token"])
    assert visit.refused(token["refresh_token"])
    visit.login_program.wait_for_event("logout_ok")
    visit.browser.screenshot("3-logged-out")


def test_wrong_password(visit):
    visit.sign_in(password="Off with her head")
    said = visit.wait_for_error("The user name or the password is wrong.")
    entry = visit.login_program.wait_for_event("login_fail")
    assert "try again" in said and entry["request_id"] in said
    assert visit.browser.focused == "password"
    for selector in ("#username", "#password"):
        assert visit.browser.find(selector).get_attribute("aria-invalid") == "true"
    visit.browser.screenshot("4-wrong-password")
    visit.browser.press(USERS[ALICE], "\ue007")  # Typed over what is selected; Enter.
    visit.wait_for_session()
    assert not visit.browser.is_shown("#error")


@pytest.mark.parametrize("name", sorted(USERS))
def test_every_kind_of_name_and_password(visit, name):
    """Set as a password manager does it: not every key of these is on the driver's keyboard."""
    for selector, text in (("#username", name), ("#password", USERS[name])):
        visit.browser.run("arguments[0].value = arguments[1];", visit.browser.find(selector), text)
    visit.browser.click("#login")
    visit.wait_for_session()


def test_refresh(visit):
    visit.sign_in()
    before = visit.wait_for_session().token
    visit.browser.click(".show")
    assert visit.row("Access token") == before["access_token"]
    visit.browser.click("#refresh")
    visit.wait_for_status("The token was renewed.")
    after = visit.token
    assert all(after[name] != before[name] for name in SECRET_FIELDS)
    assert visit.row("Access token") == after["access_token"]
    assert visit.browser.focused == "refresh"
    assert visit.refused(before["refresh_token"])


def test_refresh_of_a_session_that_was_ended_elsewhere(visit):
    visit.sign_in()
    token = visit.wait_for_session().token
    send(visit.site.origin, b"refresh_token=" + token["refresh_token"].encode(),
         "application/x-www-form-urlencoded", path="/logout")
    visit.browser.click("#refresh")
    said = visit.wait_for_error("Your session has ended.")
    assert "Sign in again." in said
    visit.wait_for_form()
    assert visit.browser.focused == "username"
    assert visit.token is None
    visit.browser.screenshot("5-session-ended")


# What goes wrong behind it

def test_upstream_down(script):
    with upstream.ClosedPort() as closed:
        visit, _ = script(token_url=closed.url)
        visit.sign_in(USER, "another password")
        said = visit.wait_for_error("The service is not available at the moment.")
        entry = visit.login_program.wait_for_event("upstream_unreachable")
    assert "Wait 5 s" in said and entry["request_id"] in said
    assert visit.browser.find("#password").get_attribute("value") == "another password"
    assert visit.browser.focused == "password"
    visit.browser.screenshot("6-upstream-down")


@pytest.mark.parametrize("behaviour, sentence", (
    (upstream.status(429, headers=[("Retry-After", "7")]), "There were too many attempts."),
    (upstream.status(429, headers=[("Retry-After", "7")]), "Wait 7 s"),
    (upstream.status(403, '{"detail": "no"}', "application/json"),
     "Bakrypt does not let this account in."),
    (upstream.error("invalid_client", 401), "not set up correctly. It is not your password."),
    (upstream.status(500), "Bakrypt has a fault at the moment."),
    (upstream.status(200), "Bakrypt gave an answer that cannot be used."),
    (upstream.silence, "Bakrypt did not answer in time."),
))
def test_each_fault_in_a_persons_words(script, behaviour, sentence):
    visit, _ = script(behaviour)
    visit.sign_in(USER, PASSWORD.replace("\U0001f511", ""))
    said = visit.wait_for_error(sentence)
    assert re.search(r"Number of this request: [0-9a-f]{32}$", said)
    assert upstream.GOSSIP not in visit.browser.text


def test_program_down(browser, real):
    """nginx's own answer does as well; and so does none at all."""
    site, login = real
    visit = Visit(browser, site, login)
    login.stop()
    visit.sign_in()
    said = visit.wait_for_error("Bakrypt has a fault at the moment.")
    assert re.search(r"Number of this request: [0-9a-f]{32}$", said)
    site.stop()
    visit.sign_in()
    assert "Check your connection" in visit.wait_for_error("cannot be reached")
    browser.ignore("ERR_CONNECTION_REFUSED")


def test_log_out_that_fails_can_be_tried_again(script):
    visit, server = script(upstream.token(), upstream.status(500))
    visit.sign_in(USER, "whatever")
    visit.wait_for_session()
    visit.browser.click("#logout")
    visit.wait_for_error("Bakrypt has a fault at the moment.")
    assert visit.browser.is_shown("#session") and visit.token
    server.script(upstream.status(200, ""))
    visit.browser.click("#logout")
    visit.wait_for_form()
    assert [request.path for request in server.requests] == [
        "/auth/token/", "/auth/revoke_token/", "/auth/revoke_token/"]
