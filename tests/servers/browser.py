"""Chromium without a window, by chromedriver: what a person sees and does.

    with Browser(folder) as browser:
        browser.open(f"{site.origin}/")
        browser.type("#username", "alice")
        browser.click("#login")
        browser.wait_for(lambda: "signed in" in browser.text, "the session")

No name but localhost is found, and no address but this machine's is connected to, unless `hosts`
names it: {"testnet.bakrypt.io": port on 127.0.0.1}.
"""
import importlib.util
import json
import os
import pathlib
import shutil

from servers import folders, ports
from servers.process import Process, ServerError, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / os.environ.get("BAKRYPT_LOGIN_BUILD", "build") / "screenshots"
PACKAGES = "chromium chromium-driver python3-selenium"
WAIT_S = 15
DESKTOP = (1000, 900)
PHONE = (320, 640)


def missing():
    """What the machine lacks for it, as a sentence; or None."""
    for command in ("chromium", "chromedriver"):
        if shutil.which(command) is None:
            return f"{command} is not installed ({PACKAGES})"
    if importlib.util.find_spec("selenium") is None:
        return f"selenium is not installed ({PACKAGES})"
    return None


class Browser(Process):
    """A browser with a profile of its own, in a folder."""

    def __init__(self, folder, *, hosts=None):
        self.port = ports.free_port()
        self.home = folders.make_subfolder(folder, f"browser-{self.port}")
        self._hosts = hosts or {}
        self._driver = None
        self._console = []
        self._requests = []
        # Whatever it writes goes below its own folder.
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.home),
               "TMPDIR": str(self.home)}
        argv = [shutil.which("chromedriver"), f"--port={self.port}"]
        super().__init__(argv, name="chromedriver", env=env)

    def start(self, timeout=20):
        # Not everybody who collects the tests has it.
        # pylint: disable=import-outside-toplevel
        from selenium.webdriver.chromium.remote_connection import ChromiumRemoteConnection
        from selenium.webdriver.remote.webdriver import WebDriver
        super().start()
        try:
            self.wait_until_live(lambda: ports.is_listening(("127.0.0.1", self.port)), timeout,
                                 f"connections on port {self.port}")
            connection = ChromiumRemoteConnection(f"http://127.0.0.1:{self.port}", "goog", "chrome")
            self._driver = WebDriver(connection, options=self._options())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        try:
            if self._driver:
                self._driver.quit()
                self._driver = None
        finally:
            super().stop()

    def _options(self):
        # pylint: disable=import-outside-toplevel
        from selenium.webdriver.chrome.options import Options
        rules = [f"MAP {name}:443 127.0.0.1:{port}" for name, port in self._hosts.items()]
        rules += ["MAP * ~NOTFOUND", "EXCLUDE localhost", "EXCLUDE 127.0.0.1"]
        options = Options()
        options.binary_location = shutil.which("chromium")
        for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage",
                         "--disable-background-networking", "--disable-component-update",
                         "--disable-sync", "--no-first-run", "--no-proxy-server",
                         f"--user-data-dir={self.home}/profile",
                         f"--host-resolver-rules={', '.join(rules)}"):
            options.add_argument(argument)
        if folders.is_root():
            options.add_argument("--no-sandbox")
        options.set_capability("acceptInsecureCerts", bool(self._hosts))
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        return options

    # What a person does

    def open(self, url):
        self._driver.get(url)

    def back(self):
        self._driver.back()

    def find(self, selector):
        return self._driver.find_element("css selector", selector)

    def click(self, selector):
        self.find(selector).click()

    def type(self, selector, text):
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def press(self, *keys):
        """Keys for whatever has the focus."""
        # pylint: disable=import-outside-toplevel
        from selenium.webdriver.common.action_chains import ActionChains
        ActionChains(self._driver).send_keys(*keys).perform()

    # What a person sees

    @property
    def text(self):
        """What is visible."""
        return self.find("body").text

    @property
    def url(self):
        return self._driver.current_url

    @property
    def focused(self):
        """The id of the element with the focus, or else its aria-label."""
        return self.run("const e = document.activeElement;"
                        "return e.id || e.getAttribute('aria-label') || e.tagName;")

    def is_shown(self, selector):
        return self.find(selector).is_displayed()

    def wait_for(self, condition, what, timeout=WAIT_S):
        """As wait_until(); a failure shows what the page said."""
        try:
            return wait_until(condition, timeout, what)
        except ServerError as error:
            raise AssertionError(f"{error}\n{self.text}\n{self.console()}") from None

    def screenshot(self, name):
        """A picture of the whole page, under build/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        height = self.run("return document.documentElement.scrollHeight;")
        width = self.run("return innerWidth;")
        self.command("Emulation.setScrollbarsHidden", hidden=True)
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=max(height, 400),
                     deviceScaleFactor=2, mobile=False)
        self._driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))

    # What a developer does

    def run(self, script, *arguments):
        return self._driver.execute_script(script, *arguments)

    def run_async(self, body, *arguments):
        """Runs the body of an async function in the page; gives what it returns."""
        result = self._driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            f"(async () => {{ {body} }})().then((value) => done({{ value }}),"
            "(error) => done({ error: String(error) }));", *arguments)
        assert "error" not in result, result
        return result.get("value")

    def command(self, name, **parameters):
        """A command of the DevTools protocol."""
        return self._driver.execute("executeCdpCommand",
                                    {"cmd": name, "params": parameters})["value"]

    def be(self, size=DESKTOP, **features):
        """A window's size, and media features: be(PHONE, prefers_color_scheme="dark")."""
        self.command("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1],
                     deviceScaleFactor=1, mobile=size[0] < 500)
        self.command("Emulation.setEmulatedMedia", features=[
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()])

    def reset(self):
        """As new, for the next test."""
        self.open("about:blank")
        self.be()
        self.command("Network.clearBrowserCookies")
        self.console()
        self.requests()
        self._console.clear()
        self._requests.clear()

    def console(self):
        """The console's lines since reset()."""
        self._console += [entry["message"] for entry in self._driver.get_log("browser")]
        return self._console

    def ignore(self, text):
        """Forgets the console's lines with this text, of which there must be one."""
        lines = self.console()
        kept = [line for line in lines if text not in line]
        assert len(kept) < len(lines), lines
        self._console[:] = kept

    def requests(self):
        """(method, URL, remote address or None) of each answer since reset()."""
        methods = {}
        for entry in self._driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            told = event["params"]
            if event["method"] == "Network.requestWillBeSent":
                methods[told["requestId"]] = told["request"]["method"]
            elif event["method"] == "Network.responseReceived":
                answer = told["response"]
                self._requests.append((methods.get(told["requestId"]), answer["url"],
                                       answer.get("remoteIPAddress")))
        return self._requests
