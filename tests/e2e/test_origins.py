"""Pages of other sites: who may ask, and who may read the reply."""
import signal

import pytest

from servers import browser as browsers, cgi, client, fastcgi, nginx, ports, upstream
from servers.program import Program
from servers.service import ALLOW, PASSWORD, USER, good_login

APP = "https://app.example.com"
SHOP = "https://shop.example.com:8443"
EVIL = "https://evil.example.com"
LISTED = {"BAKRYPT_ALLOWED_ORIGINS": f"{APP} {SHOP}"}
SHARED = {"access-control-allow-origin": APP,
          "access-control-expose-headers": "Retry-After, X-Request-Id"}
PREFLIGHT = {**SHARED, "access-control-allow-methods": "POST",
             "access-control-allow-headers": "Content-Type", "access-control-max-age": "600"}
ROUTES = ("/login", "/refresh", "/logout")
GOOD = fastcgi.login_json(USER, PASSWORD)


def sharing(reply):
    """The reply's header lines about other origins."""
    return {name: value for name, value in reply.headers
            if name.startswith("access-control-")}


def from_page(origin=None, site=None, **request):
    return good_login(more={"HTTP_ORIGIN": origin, "HTTP_SEC_FETCH_SITE": site}, **request)


FOREIGN = {
    "of another site": (EVIL, "cross-site"), "of a sister site": (EVIL, "same-site"),
    "of an older browser": (EVIL, None), "in a sandbox": ("null", None),
    "without an origin": (None, "cross-site"),
    "that says it is our own": ("https://login.test", "cross-site"),
}
OWN = {
    "the site's own": ("https://login.test", "same-origin"),
    "an older browser": ("https://login.test", None),
    "the address bar": (None, "none"), "no browser": (None, None),
}


@pytest.mark.parametrize("who", FOREIGN)
@pytest.mark.parametrize("settings", [{}, LISTED], ids=["no list", "a list"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_page_of_another_site_is_refused_unasked(start, route, settings, who):
    service = start(settings=settings)
    reply = service.send(from_page(*FOREIGN[who], target=route))
    service.check_fault(reply, "ORIGIN")
    assert sharing(reply) == {}
    assert service.upstream.requests == []
    origin = FOREIGN[who][0]
    note = service.log_of(reply).get("note", "")
    assert note == (f"origin {origin} is not in BAKRYPT_ALLOWED_ORIGINS" if origin else "")


def test_it_is_refused_before_its_body_is_read(start):
    service = start()
    for more in ({"body": b"nonsense"}, {"content_type": "text/plain"},
                 {"body": b" " * 20000}, {"length": "9"}):
        service.check_fault(service.send(from_page(EVIL, "cross-site", **more)), "ORIGIN")


@pytest.mark.parametrize("odd", ["https://x.example/?password=kennwort\x01", "ulrike:kennwort",
                                 "https://kennwort@x.example", "https://" + "x" * 300])
def test_what_is_no_origin_is_not_logged(start, odd):
    service = start()
    reply = service.send(from_page(odd))
    service.check_fault(reply, "ORIGIN")
    assert "note" not in service.log_of(reply)


@pytest.mark.parametrize("who", OWN)
def test_own_pages_and_programs_are_served(start, who):
    service = start()
    reply = service.send(from_page(*OWN[who]))
    service.check_token(reply)
    assert sharing(reply) == {}


@pytest.mark.parametrize("site", ["cross-site", "same-site", None])
def test_a_listed_page_is_served(start, site):
    service = start(settings=LISTED)
    reply = service.send(from_page(APP, site))
    assert (reply.status, sharing(reply)) == (200, SHARED)
    reply = service.send(from_page(SHOP, site))
    assert sharing(reply)["access-control-allow-origin"] == SHOP


@pytest.mark.parametrize("odd", [f"{APP}:443", f"{APP}/", APP.upper(), f"{APP} {SHOP}",
                                 "https://app.example.com.evil.example", "https://shop.example.com"])
def test_an_origin_is_listed_letter_by_letter(start, odd):
    service = start(settings=LISTED)
    reply = service.send(from_page(odd, "cross-site"))
    service.check_fault(reply, "ORIGIN")
    assert sharing(reply) == {}


REPLIES = {
    400: {"body": b"nonsense"}, 404: {"target": "/other"}, 405: {"method": "GET"},
    413: {"body": b" " * 20000}, 415: {"content_type": "text/plain"},
}
ANSWERS = {401: upstream.error("invalid_grant"), 403: upstream.status(403, "{}", fastcgi.JSON),
           429: upstream.status(429), 500: upstream.error("invalid_client"),
           502: upstream.status(500), 504: upstream.hang_up}


def test_a_listed_page_may_read_every_status(start):
    service = start(settings=LISTED)
    for status, request in REPLIES.items():
        reply = service.send(from_page(APP, "cross-site", **request))
        assert (reply.status, sharing(reply)) == (status, SHARED), reply
    for status, answer in ANSWERS.items():
        service = start(settings=LISTED)
        service.upstream.script(answer)
        reply = service.send(from_page(APP, "cross-site"))
        assert (reply.status, sharing(reply)) == (status, SHARED), reply
    with upstream.ClosedPort() as port:
        reply = start(settings=LISTED, token_url=port.url).send(from_page(APP, "cross-site"))
        assert (reply.status, sharing(reply)) == (503, SHARED), reply


def test_every_reply_varies_by_origin(start):
    service = start()
    for request in ({}, {"target": "/other"}, {"method": "OPTIONS"},
                    {"target": "/healthz", "method": "GET"}):
        assert service.send(from_page(**request)).header("vary") == "Origin"


@pytest.mark.parametrize("route", ROUTES)
def test_preflight(start, route):
    service = start(settings=LISTED)
    asked = {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST",
             "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "content-type"}
    replies = {origin: service.send(fastcgi.Request(
        method="OPTIONS", target=route, more={"HTTP_ORIGIN": origin, **asked}))
        for origin in (APP, EVIL, None)}
    for origin, reply in replies.items():
        assert (reply.status, reply.body, reply.header("allow")) == (204, b"", ALLOW)
        assert reply.header("vary") == "Origin"
        assert sharing(reply) == (PREFLIGHT if origin == APP else {})
    assert service.upstream.requests == []


def test_health_is_told_to_a_listed_page_and_hidden_from_none(start):
    service = start(settings=LISTED)
    for origin, told in ((APP, SHARED), (EVIL, {})):
        reply = service.send(from_page(origin, "cross-site", method="GET", target="/healthz"))
        assert (reply.status, sharing(reply)) == (200, told)


def test_a_reload_takes_the_new_list(start, folder):
    file = folder / "origins.conf"
    file.write_text("BAKRYPT_ALLOWED_ORIGINS=\n")
    file.chmod(0o600)
    service = start(arguments=("--config", file))
    assert service.send(from_page(APP, "cross-site")).status == 403
    file.write_text(f"BAKRYPT_ALLOWED_ORIGINS={APP}\n")
    service.program.send_signal(signal.SIGHUP)
    service.program.wait_for_event("reload")
    reply = service.send(from_page(APP, "cross-site"))
    assert (reply.status, sharing(reply)) == (200, SHARED)


def test_by_cgi(authority):
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        env = {**cgi.settings(server.url, authority.file), **LISTED}
        page = {"HTTP_ORIGIN": APP, "HTTP_SEC_FETCH_SITE": "cross-site"}
        run = cgi.request(GOOD, {**env, **page})
        assert (run.reply.status, sharing(run.reply)) == (200, SHARED)
        run = cgi.request(GOOD, {**env, **page, "HTTP_ORIGIN": EVIL})
        assert (run.reply.status, sharing(run.reply)) == (403, {})
        assert len(server.requests) == 1


# Through nginx

@pytest.fixture(name="site")
def site_with_scripted_upstream(folder, authority, has_nginx):
    """A function that gives the page of the program, with settings; and the program's upstream."""
    leaf = authority.leaf()
    with upstream.Upstream(leaf.certificate, leaf.key) as server:
        opened = []

        def make(settings, **options):
            login = Program(folder, token_url=server.url, ca_file=authority.file,
                            settings=settings)
            opened.append(login.__enter__())
            site = nginx.Site(folder, login.target, **options)
            opened.append(site.__enter__())
            site.login = login
            return site, server

        yield make
        for each in reversed(opened):
            each.__exit__(None, None, None)


def test_nginx_passes_it_on(site):
    front, server = site(LISTED)
    reply = client.send(front.origin, GOOD, headers={"Origin": APP, "Sec-Fetch-Site": "cross-site"})
    assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (200, APP)
    assert client.send(front.origin, GOOD, headers={"Origin": EVIL}).status == 403
    assert client.send(front.origin, GOOD, headers={"Origin": front.origin}).status == 200
    assert len(server.requests) == 2


def sharing_conf(folder, *pages):
    """nginx/bakrypt-login.conf with what its comment says: the text for the http block, and the
    file with the lines that are commented out."""
    text = nginx.LOGIN_CONF.read_text("ascii")
    head, _, _ = text.partition("\nlocation")
    lines = [line[1:] for line in head.splitlines() if line.startswith("#\t")]
    start = lines.index("\tmap $http_origin $bakrypt_login_origin {")
    extra = "\n".join(lines[start:lines.index("\t}", start) + 1])
    assert extra.count(APP) == 1
    answers = text.count("\treturn 4") + text.count("\treturn 5")
    assert text.count("#add_header") == 2 * answers
    conf = folder / f"sharing-{ports.free_port()}.conf"
    conf.write_text(text.replace("#add_header", "add_header"))
    entry = f"\t\t{APP} $http_origin;\n"
    assert entry in extra
    return extra.replace(entry, "".join(entry.replace(APP, page) for page in pages)), conf


def test_nginx_tells_a_listed_page_of_its_own_errors_too(folder, has_nginx):
    """With what nginx/bakrypt-login.conf says in its comment."""
    extra, conf = sharing_conf(folder, APP, SHOP)
    port = ports.free_port()
    http = (f"{extra}\n\tupstream bakrypt_login {{\n\t\tserver unix:{folder}/nobody.sock;\n\t}}\n"
            f"\tserver {{\n\t\tlisten 127.0.0.1:{port};\n\t\tinclude {conf};\n\t}}\n")
    with nginx.Nginx(folder, "sharing", http, [("127.0.0.1", port)]):
        for body, status in ((GOOD, 502), (b" " * 20000, 413)):
            for origin, told in ((APP, APP), (SHOP, SHOP), (EVIL, None), (None, None)):
                reply = client.send(f"http://127.0.0.1:{port}", body,
                                    headers={"Origin": origin} if origin else {})
                assert (reply.status, reply.headers["Vary"]) == (status, "Origin")
                assert reply.headers["Access-Control-Allow-Origin"] == told
                assert reply.headers["Access-Control-Expose-Headers"] == \
                    SHARED["access-control-expose-headers"]


# In a browser

PAGE = f"""\
		location = /page.html {{
			default_type text/html;
			return 200 "<!doctype html><meta charset=utf-8><title>page</title>
				<form id=form method=post action=/login>
				<input name=username value='{USER}'><input name=password value='{PASSWORD}'></form>";
		}}
"""
MODULE = "const page = await import(new URL('bakrypt-login.js', location.href));"


@pytest.fixture(name="browser", scope="module")
def started_chromium(folder, require):
    require(browsers.missing())
    with browsers.Browser(folder) as browser:
        yield browser


def other_host(origin):
    """The same server as a site of another name."""
    return origin.replace("localhost", "127.0.0.1")


def run_on(browser, page, front, script):
    """Runs a script on a page, with `session` of the client module for another site."""
    browser.open(f"{page}/page.html")
    return browser.run_async(
        f"{MODULE} const session = new page.Session({{base: '{front.origin}/'}});"
        f"const login = () => session.login('{USER}', '{PASSWORD}');"
        f"const told = ({{status, code, requestId, retryAfter}}) =>"
        f" [status, code, requestId, retryAfter]; {script}")


LOG_IN = ("try { return (await login()).access_token; }"
          "catch (error) { return error.code; }")


def test_a_browser_lets_a_listed_page_log_in_and_no_other(browser, site):
    other, _ = site({}, more=PAGE)
    strict, server = site({"BAKRYPT_ALLOWED_ORIGINS": other.origin})
    assert run_on(browser, other_host(other.origin), strict, LOG_IN) == "network"
    assert server.requests == []
    front, server = site({"BAKRYPT_ALLOWED_ORIGINS": other_host(other.origin)})
    token = run_on(browser, other_host(other.origin), front, LOG_IN)
    assert token == upstream.token_members()["access_token"]


def test_a_listed_page_has_the_whole_session_and_reads_why_not(browser, site):
    other, _ = site({}, more=PAGE)
    page = other_host(other.origin)
    front, server = site({"BAKRYPT_ALLOWED_ORIGINS": page})
    server.script(upstream.token(), upstream.token(access_token="second"),
                  upstream.status(200, ""), upstream.status(200, ""),
                  upstream.error("invalid_grant"),
                  upstream.status(429, headers=[("Retry-After", "7")]))
    browser.reset()
    got = run_on(browser, page, front, """
        await login();
        const second = (await session.refresh()).access_token;
        await session.logout();
        const wrong = await login().catch(told);
        const busy = await login().catch(told);
        return { second, isSignedIn: session.isSignedIn, wrong, busy };""")
    assert (got["second"], got["isSignedIn"]) == ("second", False)
    assert got["wrong"][:2] == [401, "invalid_grant"] and got["wrong"][2]
    assert got["busy"][:2] == [429, "slow_down"] and got["busy"][3] == 7
    paths = [request.path for request in server.requests]
    assert [path == upstream.REVOKE_PATH for path in paths] == \
        [False, False, True, True, False, False]
    assert {path for method, path in asked_of(browser, front) if method == "OPTIONS"} == \
        set(ROUTES)


def asked_of(browser, front):
    """What the browser asked a server: method and path."""
    return [(method, url.removeprefix(front.origin)) for method, url, _ in browser.requests()
            if url.startswith(front.origin)]


def test_a_browser_keeps_the_answer_to_a_preflight(browser, site):
    other, _ = site({}, more=PAGE)
    page = other_host(other.origin)
    front, _ = site({"BAKRYPT_ALLOWED_ORIGINS": page})
    browser.reset()
    statuses = run_on(browser, page, front, f"""
        const ask = () => fetch("{front.origin}/login", {{ method: "POST", body: "{{}}",
            headers: {{ "Content-Type": "application/json" }} }});
        return [(await ask()).status, (await ask()).status];""")
    assert statuses == [400, 400]
    methods = [method for method, _ in asked_of(browser, front)]
    assert sorted(methods) == ["OPTIONS", "POST", "POST"]


# What a page can send without asking first, as the attack on a login would.
UNASKED = {
    "a form": "document.body.innerHTML = FORM; document.forms[0].submit();",
    "a form in a sandbox": "const frame = document.createElement('iframe');"
                           "frame.sandbox = 'allow-forms allow-scripts'; frame.srcdoc = FORM + "
                           "'<script>document.forms[0].submit()<\\/script>';"
                           "document.body.append(frame);",
    "a form without a referrer": "document.head.innerHTML ="
                                 "'<meta name=referrer content=no-referrer>';"
                                 "document.body.innerHTML = FORM; document.forms[0].submit();",
    "a script": "fetch(URL + '/login', {method: 'POST', mode: 'no-cors', body:"
                "new URLSearchParams([['username', USER], ['password', WORD]])});",
    "a beacon": "navigator.sendBeacon(URL + '/login',"
                "new URLSearchParams([['username', USER], ['password', WORD]]));",
}


@pytest.mark.parametrize("host", [str, other_host], ids=["another port", "another host"])
@pytest.mark.parametrize("how", UNASKED)
def test_a_page_of_another_site_logs_nobody_in(browser, site, how, host):
    other, _ = site({}, more=PAGE)
    front, server = site({})
    browser.open(f"{host(other.origin)}/page.html")
    browser.run(f"const URL = '{front.origin}', USER = '{USER}', WORD = '{PASSWORD}';"
                "const FORM = `<form method=post action='${URL}/login'>"
                "<input name=username value='${USER}'><input name=password value='${WORD}'>"
                f"</form>`; {UNASKED[how]}")
    entry = front.login.wait_for_event("bad_origin")
    assert (entry["status"], entry["route"]) == (403, "/login")
    assert server.requests == []


def test_a_form_of_the_site_itself_logs_in(browser, site):
    front, server = site({}, more=PAGE)
    browser.open(f"{front.origin}/page.html")
    browser.run("document.getElementById('form').submit();")
    browser.wait_for(lambda: upstream.ACCESS_TOKEN in browser.text, "the token")
    assert len(server.requests) == 1
