"""The page under deploy/page, in a browser, served by nginx/bakrypt-login-page.conf."""
import re

import pytest

from servers import browser as browsers, nginx, upstream
from servers.client import send
from servers.dot import USERS
from servers.program import Program
from servers.service import PASSWORD, USER

ALICE = "alice"
SECRET_FIELDS = ("access_token", "refresh_token")
MODULE = "const page = await import(new URL('bakrypt-login.js', location.href));"
TAB, ENTER, SPACE = "\ue004", "\ue007", "\ue00d"  # As WebDriver writes them.
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
    visit.browser.press(USERS[ALICE], ENTER)  # Typed over what is selected; Enter.
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
    assert "Try again in 5 s." in said and entry["request_id"] in said
    assert visit.browser.find("#password").get_attribute("value") == "another password"
    assert visit.browser.focused == "login"
    visit.browser.screenshot("6-upstream-down")


@pytest.mark.parametrize("behaviour, sentence", (
    (upstream.status(429, headers=[("Retry-After", "7")]), "There were too many attempts."),
    (upstream.status(429, headers=[("Retry-After", "7")]), "Try again in 7 s."),
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
    assert re.search(r"Request number: [0-9a-f]{32}$", said)
    assert upstream.GOSSIP not in visit.browser.text


def test_program_down(browser, real):
    """nginx's own answer does as well; and so does none at all."""
    site, login = real
    visit = Visit(browser, site, login)
    login.stop()
    visit.sign_in()
    said = visit.wait_for_error("Bakrypt has a fault at the moment.")
    assert re.search(r"Request number: [0-9a-f]{32}$", said)
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
    server.script(upstream.status(200, ""), upstream.status(200, ""))
    visit.browser.click("#logout")
    visit.wait_for_form()
    assert [request.path for request in server.requests] == [
        upstream.PATH, *[upstream.REVOKE_PATH] * 3]  # The last two: both of its tokens.


# Time

def test_countdown(script):
    visit, _ = script(upstream.token(expires_in=125, refresh_token=None))
    visit.sign_in(USER, "whatever")
    visit.wait_for_session()
    assert re.match(r"2\smin [0-5]\ss$", visit.browser.find("#left").text)
    seen = visit.browser.find("#left").text
    visit.browser.wait_for(lambda: visit.browser.find("#left").text != seen, "another second")
    bar = [float(visit.browser.find("#bar").get_property("value"))]
    visit.browser.wait_for(
        lambda: float(visit.browser.find("#bar").get_property("value")) < bar[0], "a shorter bar")


def test_renewal_before_expiry(script):
    """Once, with nobody at the keyboard; what was shown stays shown, and the focus where it is."""
    visit, server = script(upstream.token(expires_in=5),
                           upstream.token(access_token="the-second", refresh_token="its-refresh"))
    visit.sign_in(USER, "whatever")
    visit.wait_for_session()
    visit.browser.click(".show")
    focused = visit.browser.focused
    visit.browser.wait_for(lambda: visit.row("Access token") == "the-second", "the second token")
    assert visit.browser.find("#status").text == "The token was renewed."
    assert visit.browser.focused == focused == "Hide: Access token"
    assert "10\u00a0h" in visit.browser.find("#left").text.replace(" ", "\u00a0") or \
        "9\u00a0h" in visit.browser.find("#left").text.replace(" ", "\u00a0")
    assert len(server.requests) == 2
    assert server.requests[1].form["refresh_token"] == [upstream.REFRESH_TOKEN]
    assert 2.9 < server.requests[1].at - server.requests[0].at < 5


def test_expiry_without_renewal(script):
    visit, server = script(upstream.token(expires_in=2))
    visit.browser.run("document.getElementById('renews').click();")
    visit.sign_in(USER, "whatever")
    visit.wait_for_session()
    visit.wait_for_status("The token has expired.")
    assert re.match(r"0\ss$", visit.browser.find("#left").text)
    assert len(server.requests) == 1
    assert visit.browser.find("#title").text == "Your session has expired"
    assert "Refresh it" in visit.browser.find("#status").text
    visit.browser.click("#renews")
    visit.wait_for_status("The token was renewed.")
    assert visit.browser.find("#title").text == "You are signed in"


def test_what_cannot_be_refreshed_offers_no_refresh(script):
    visit, server = script(upstream.token(expires_in=2, refresh_token=None))
    visit.sign_in(USER, "whatever")
    visit.wait_for_session()
    assert not visit.browser.is_shown("#refresh") and not visit.browser.is_shown("#renews")
    visit.wait_for_status("Log out, and sign in again.")
    server.script(upstream.status(200, ""))
    visit.browser.click("#logout")
    visit.wait_for_form()
    assert len(server.requests) == 2


def test_many_refreshes_at_once_are_one(script):
    visit, server = script()
    visit.sign_in(USER, "whatever")
    visit.wait_for_session()
    visit.browser.run_async(MODULE + "await Promise.all([1, 2, 3].map(() => page.refresh()));")
    assert len(server.requests) == 2


def test_pressed_twice(script):
    held = upstream.Held()
    visit, server = script(held)
    visit.sign_in(USER, "whatever")
    server.wait_for_requests(1)
    assert visit.browser.find("#login").text == "Signing in …"
    visit.browser.click("#login")
    held.release()
    visit.wait_for_session()
    assert len(server.requests) == 1


# What is not for everybody's eyes

def test_masked_shown_and_masked_again(visit):
    visit.sign_in()
    token = visit.wait_for_session().token
    access, refresh = (token[name] for name in SECRET_FIELDS)
    visit.check_hidden(access, refresh, USERS[ALICE])
    assert visit.row("Access token") == visit.row("Refresh token") == "•" * 8
    visit.browser.click(".show")
    assert access in visit.browser.text and refresh not in visit.browser.text
    visit.browser.screenshot("7-token-shown")
    visit.browser.click(".show")
    visit.check_hidden(access, refresh)


def test_copy(visit):
    visit.sign_in()
    token = visit.wait_for_session().token
    visit.browser.command("Browser.grantPermissions", origin=visit.site.origin,
                          permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    visit.browser.click(".copy")
    visit.wait_for_status("Access token: copied.")
    assert visit.browser.run_async("return navigator.clipboard.readText();") == \
        token["access_token"]
    visit.check_hidden(token["access_token"])


def test_copy_without_a_clipboard(visit):
    """As over plain HTTP: the text is selected instead."""
    visit.browser.run("Object.defineProperty(navigator, 'clipboard', { value: undefined });")
    visit.sign_in()
    token = visit.wait_for_session().token
    visit.browser.click(".copy")
    visit.wait_for_status("Access token: selected.")
    assert visit.browser.run("return String(getSelection());") == token["access_token"]


def test_nothing_is_stored_or_in_the_address(visit):
    visit.sign_in()
    token = visit.wait_for_session().token
    visit.browser.click("#refresh")
    visit.wait_for_status("renewed")
    secrets = [USERS[ALICE], *(token[name] for name in SECRET_FIELDS)]
    assert visit.browser.url == visit.address
    assert visit.browser.run("return [localStorage.length, sessionStorage.length, "
                             "document.cookie, history.state];") == [0, 0, "", None]
    assert visit.browser.run_async("return [await indexedDB.databases(), await caches.keys()];") \
        == [[], []]
    assert visit.browser.command("Network.getAllCookies")["cookies"] == []
    log = visit.site.log_text()
    assert "POST /refresh 200" in log
    assert not [secret for secret in secrets if secret in log]
    assert {method for method, url, _ in visit.browser.requests()
            if url.endswith(("/login", "/refresh"))} == {"POST"}


def test_back_does_not_bring_the_token_back(visit):
    visit.sign_in()
    token = visit.wait_for_session().token
    visit.browser.click(".show")
    visit.browser.open(visit.site.origin + "/index.css")
    visit.browser.back()
    visit.wait_for_form()
    assert visit.browser.url == visit.address
    assert visit.token is None
    visit.check_hidden(*(token[name] for name in SECRET_FIELDS))
    assert visit.browser.find("#password").get_attribute("value") == ""


def test_a_page_kept_for_going_back_holds_nothing(visit):
    """What the browser keeps of a page that is left is what its last event leaves."""
    visit.sign_in()
    token = visit.wait_for_session().token
    visit.browser.run("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));")
    assert visit.browser.is_shown("#form")
    assert visit.token is None
    visit.check_hidden(*(token[name] for name in SECRET_FIELDS))


# The way it is served

def test_headers(visit):
    for path, kind in (("/", "html"), ("/index.html", "html"), ("/index.css", "css"),
                       ("/index.js", "javascript"), ("/bakrypt-login.js", "javascript"),
                       ("/none", None)):
        reply = send(visit.site.origin, path=path, method="GET", content_type=None)
        assert reply.status == (200 if kind else 404)
        assert not kind or reply.headers["Content-Type"] == f"text/{kind}; charset=utf-8"
        policy = dict(rule.strip().split(" ", 1)
                      for rule in reply.headers["Content-Security-Policy"].split(";"))
        assert policy == {
            "default-src": "'none'", "script-src": "'self'", "style-src": "'self'",
            "connect-src": "'self'", "img-src": "data:", "base-uri": "'none'",
            "form-action": "'none'", "frame-ancestors": "'none'"}
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"


def test_the_policy_is_in_force(visit):
    """Or the console's silence in every other test would prove nothing."""
    visit.browser.run("const script = document.createElement('script');"
                      "script.textContent = 'document.title = \"run\"';"
                      "document.body.append(script);")
    assert visit.browser.run("return document.title;") != "run"
    visit.browser.ignore("Content Security Policy")


def test_nothing_inline():
    text = (nginx.PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    assert set(re.findall(r"https?://[\w./]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_under_another_path(browser, folder, dot, authority, has_nginx):
    with Program(folder, token_url=dot.token_url, ca_file=authority.file) as login, \
            nginx.Site(folder, login.target, prefix="/account") as site:
        visit = Visit(browser, site, login, "/account/")
        visit.sign_in()
        visit.wait_for_session()
        browser.click("#refresh")
        visit.wait_for_status("renewed")
        browser.click("#logout")
        visit.wait_for_form()
        posts = [url for method, url, _ in browser.requests() if method == "POST"]
    assert posts == [f"{site.origin}/account/{name}" for name in ("login", "refresh", "logout")]


# Everybody

def test_keyboard_only(visit):
    """Tab, Enter and space are enough, and what has the focus is seen to have it."""
    browser = visit.browser
    assert browser.focused == "username"
    browser.press(ALICE, TAB)
    assert browser.focused == "password"
    browser.press("x", TAB)
    assert browser.focused == "reveal"
    browser.press(SPACE)
    assert browser.find("#password").get_attribute("type") == "text"
    browser.press(SPACE, TAB)
    assert browser.focused == "login"
    browser.press(ENTER)
    visit.wait_for_error("wrong")
    browser.press(USERS[ALICE], ENTER)
    visit.wait_for_session()
    passed = []
    while not passed or passed[-1] != "logout":
        browser.press(TAB)
        passed.append(browser.focused)
        outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle;")
        assert outline == "solid", passed
        assert len(passed) < 20, passed
    assert passed[:3] == ["renews", "Show: Access token", "Copy: Access token"]
    assert passed[-2:] == ["refresh", "logout"]
    browser.press(ENTER)
    visit.wait_for_form()


def test_names_for_screen_readers(visit):
    visit.sign_in(password="wrong")
    visit.wait_for_error("wrong")
    nodes = accessible(visit.browser)
    assert {("textbox", "User name"), ("textbox", "Password"), ("button", "Show the password"),
            ("button", "Sign in"), ("heading", "Sign in to Bakrypt")} <= nodes
    assert {"alert", "status"} <= {role for role, _ in nodes}
    visit.browser.click("#reveal")
    assert ("button", "Hide the password") in accessible(visit.browser)
    visit.sign_in()
    token = visit.wait_for_session().token
    nodes = accessible(visit.browser)
    assert {("checkbox", "Renew it before it expires"), ("button", "Show: Access token"),
            ("button", "Copy: Refresh token"), ("button", "Refresh now"), ("button", "Log out"),
            ("StaticText", "hidden")} <= nodes
    assert any(role == "timer" and name.startswith("The token expires in") for role, name in nodes)
    assert not any(token["access_token"] in name or "•" in name for _, name in nodes)
    visit.browser.click(".show")
    nodes = accessible(visit.browser)
    assert {("button", "Hide: Access token"), ("StaticText", token["access_token"])} <= nodes


def test_live_region_is_there_before_it_says_something(visit):
    """Screen readers read what appears in one, not one that appears."""
    def regions():
        return [role for role, _ in accessible(visit.browser) if role == "status"]
    assert len(regions()) == 1
    assert visit.browser.run("return document.getElementById('status').offsetHeight;") == 0
    visit.sign_in()
    visit.wait_for_session()
    assert len(regions()) == 1


def accessible(browser):
    """(role, name) of what is offered to screen readers."""
    nodes = browser.command("Accessibility.getFullAXTree")["nodes"]
    return {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes
            if not node["ignored"] and "role" in node}


def test_password_managers(visit):
    browser = visit.browser
    found = [(browser.find(f"#{name}").get_attribute("autocomplete"),
              browser.find(f"#{name}").get_attribute("name")) for name in ("username", "password")]
    assert found == [("username", "username"), ("current-password", "password")]
    assert browser.run("return document.getElementById('password').form.method;") == "post"


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_phone(visit, scheme):
    """Nothing to be scrolled sideways, nothing too small for a finger, enough contrast."""
    visit.browser.be(browsers.PHONE, prefers_color_scheme=scheme)
    visit.sign_in(password="wrong")
    visit.wait_for_error("wrong")
    check_phone(visit.browser)
    visit.browser.screenshot(f"8-phone-error-{scheme}")
    visit.browser.be(browsers.PHONE, prefers_color_scheme=scheme)
    visit.sign_in()
    visit.wait_for_session()
    visit.browser.click(".show")
    check_phone(visit.browser)
    visit.browser.screenshot(f"9-phone-session-{scheme}")


@pytest.mark.parametrize("answer, notice", ((upstream.token(), "#status"),
                                            (upstream.status(500), "#error")))
def test_phone_shows_what_came_of_a_button_far_down(script, answer, notice):
    visit, _ = script(upstream.token(), answer)
    visit.browser.be(browsers.PHONE)
    visit.sign_in(USER, "whatever")
    visit.wait_for_session()
    visit.browser.run("scrollTo(0, document.documentElement.scrollHeight);")
    assert visit.browser.run("return scrollY;") > 100
    visit.browser.click("#refresh")
    visit.browser.wait_for(lambda: visit.browser.find(notice).text, "a notice")
    top, bottom = visit.browser.run("const box = arguments[0].getBoundingClientRect();"
                                    "return [box.top, box.bottom];", visit.browser.find(notice))
    assert 0 <= top < bottom <= browsers.PHONE[1]


def check_phone(browser):
    assert browser.run("return innerWidth;") == browsers.PHONE[0]
    assert browser.run("return document.documentElement.scrollWidth;") <= browsers.PHONE[0]
    sizes = browser.run(
        "return [...document.querySelectorAll('button, input:not([type=checkbox]), .check')]"
        ".filter((e) => e.checkVisibility()).map((e) => [e.id || e.textContent,"
        " e.getBoundingClientRect().height]);")
    assert len(sizes) > 3
    assert not [size for size in sizes if size[1] < 44]
    for words, text, ground in browser.run(CONTRASTS):
        assert contrast(text, ground) >= 4.5, (words, text, ground)


CONTRASTS = """
const solid = (e) => {
	const ground = getComputedStyle(e).backgroundColor;
	return ground === "rgba(0, 0, 0, 0)" && e.parentElement ? solid(e.parentElement) : ground;
};
return [...document.querySelectorAll("h1, p, label, button, dt, code, span")]
	.filter((e) => e.checkVisibility() && e.textContent.trim())
	.map((e) => [e.textContent.trim(), getComputedStyle(e).color, solid(e)]);
"""


def contrast(*colors):
    """WCAG 2's ratio of two colors, as CSS writes them."""
    def luminance(color):
        parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
                  for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    darker, lighter = sorted(map(luminance, colors))
    return (lighter + 0.05) / (darker + 0.05)


def test_reduced_motion(visit):
    visit.browser.be(prefers_reduced_motion="reduce")
    assert visit.browser.run("return [...document.querySelectorAll('*')]"
                             ".every((e) => getComputedStyle(e).transitionDuration === '0s');")
