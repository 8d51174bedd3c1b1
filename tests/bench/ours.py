"""The program behind web servers, with the configuration shipped for them."""
import pathlib

from servers import apache, folders, nginx, ports, program
from servers.process import Process

from bench.subjects import Subject

# Of Apache from the start: while it has too few it hangs up on clients that it kept.
ENOUGH_THREADS = "ThreadsPerChild 64\nMaxRequestWorkers 256\nStartServers 2\n"


class LoggingToFile(program.Program):
    """The program with its log in a file, as a supervisor would keep it: nobody reads along."""

    def __init__(self, folder, **options):
        super().__init__(folder, keep=20, **options)
        self.log = pathlib.Path(folder) / f"login-{self.number}.log"
        self.argv = ["/bin/sh", "-c", f'exec "$@" 2>>"{self.log}"', "sh", *self.argv]

    def start(self, timeout=15):
        Process.start(self)
        self.wait_until_live(lambda: ports.is_listening(self.target), timeout, "its socket")
        return self


class Ours(Subject):
    """bakrypt-login behind nginx, with the shipped location and its defaults. settings: more of
    the environment; arguments: of the command line; listen and keepalive: as for program.Program
    and nginx.Login."""

    name = "kept"
    label = "**bakrypt-login** behind nginx, kept connections"
    title = "bakrypt-login, nginx, kept"
    keep_conn = True
    settings = {}

    def __init__(self, place, *, settings=None, arguments=(), listen="unix",
                 keepalive=nginx.KEEPALIVE, **options):
        super().__init__(place, **options)
        self.listen = listen
        self.keepalive = keepalive
        self.settings = {**self.settings, **(settings or {})}
        self.arguments = arguments

    def open(self):
        self.program = self.run(LoggingToFile(
            self.place.folder, token_url=self.token_url, ca_file=self.place.authority.file,
            settings=self.settings, arguments=self.arguments, listen=self.listen))
        self.open_front()

    def open_front(self):
        self.front = self.run(nginx.Login(self.place.folder, self.program.target,
                                          keep_conn=self.keep_conn,
                                          keepalive=self.keepalive, **self.nginx_options()))
        self.port = self.front.port


class OursSilent(Ours):
    """As the others, which log no logins."""

    name = "silent"
    label = "the same, `BAKRYPT_LOG_LEVEL=warn`: as the others, no line per login"
    title = "bakrypt-login, nginx, kept, no log"
    settings = {"BAKRYPT_LOG_LEVEL": "warn"}


class OursNotKept(Ours):
    """With fastcgi_keep_conn off."""

    name = "not-kept"
    label = "**bakrypt-login** behind nginx, a connection per request"
    title = "bakrypt-login, nginx, not kept"
    keep_conn = False


class OursApache(Ours):
    """Behind mod_proxy_fcgi, which opens a connection per request."""

    name = "apache"
    label = "**bakrypt-login** behind Apache, mod_proxy_fcgi"
    title = "bakrypt-login, Apache"

    def open_front(self):
        folder = folders.make_subfolder(self.place.folder, f"apache-{self.program.number}")
        text = apache.proxy_fcgi_text(self.program.target) + ENOUGH_THREADS
        self.front = self.run(apache.Apache(folder, apache.ProxyFcgi.modules, text))
        self.port = self.front.port
