"""Apache 2.4 from a folder of its own, with the files shipped under deploy/apache/ and
deploy/shared-hosting/. One door for each module that can reach the program.
"""
import os
import pathlib
import shutil

from servers import folders, ports
from servers.door import DEPLOY, Door, ProgramDoor
from servers.nginx import substitute
from servers.process import Process, ServerError

MODULES = pathlib.Path("/usr/lib/apache2/modules")
SHIPPED = DEPLOY / "apache"
HOSTING = DEPLOY / "shared-hosting"

# What Debian's apache2.conf sets up before a site's own files, in as few lines.
MAIN = """\
ServerRoot "{folder}"
ServerName localhost
Listen 127.0.0.1:{port}
PidFile apache.pid
DefaultRuntimeDir "{folder}"
Mutex "file:{folder}" default
ErrorLog error.log
LogLevel info
{modules}
{user}
LogFormat "%h %t \\"%m %U %H\\" %>s %{{X-Request-Id}}o" plain
CustomLog access.log plain
StartServers 1
<Directory "/">
	AllowOverride None
	Require all denied
</Directory>
DocumentRoot "{folder}/site"
<Directory "{folder}/site">
	Require all granted
</Directory>
"""
FCGID_DIFFERENCES = dict.fromkeys(
    ("huge", "huge chunked"), (500, "FcgidMaxRequestLen: mod_fcgid's own page"))
BASE_MODULES = ("authz_core", "authz_host")  # as Debian enables them


def binary():
    """Apache's path, or None. /usr/sbin is not everybody's PATH."""
    return shutil.which("apache2", path=os.environ.get("PATH", "") + ":/usr/sbin")


def missing(*modules):
    """What the machine lacks for these modules, as a sentence; or None."""
    if not binary():
        return "Apache is not installed (apache2-bin)"
    for module in modules:
        if not (MODULES / f"mod_{module}.so").exists():
            return f"Apache's mod_{module} is not installed"
    return None


class Apache(Process):
    """Apache with some modules and the given text after its main settings. Its processes are those
    of mpm_event, unless another mpm is among the modules.

    folder: its own, in one of folders.make_folder(). `site` in it is the document root.
    """

    def __init__(self, folder, modules, text):
        self.port = ports.free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.error_log = folder / "error.log"
        self.access_log = folder / "access.log"
        folders.make_subfolder(folder, "site")
        user = folders.web_user()
        mpm = () if any(name.startswith("mpm_") for name in modules) else ("mpm_event",)
        conf = folder / "apache.conf"
        main = MAIN.format(
            folder=folder, port=self.port,
            user="User {}\nGroup {}".format(*user) if user else "",
            modules="\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so"
                              for name in (*mpm, *BASE_MODULES, *modules)))
        conf.write_text(main + text, encoding="utf-8")
        super().__init__([binary(), "-d", folder, "-f", conf, "-DFOREGROUND"], name="apache")

    def start(self, timeout=15):
        """Starts it and waits until it takes connections."""
        super().start()
        try:
            self.wait_until_live(lambda: ports.is_listening(("127.0.0.1", self.port)), timeout,
                                 f"connections on port {self.port}")
        except ServerError as error:
            self.stop()
            raise ServerError(f"{error}\n{self.log_text()}") from None
        return self

    def wait_for_log(self, text, timeout=10):
        """Waits until the error log has a line with this text."""
        self.wait_until_live(lambda: text in self.log_text(), timeout, f"{text!r} in its log")

    def log_text(self):
        """Everything it logged: errors, with what programs wrote to stderr, and accesses."""
        return "".join(path.read_text("utf-8", "backslashreplace")
                       for path in (self.error_log, self.access_log) if path.exists())


def proxy_fcgi_text(target, changes=None):
    """deploy/apache/bakrypt-login.conf for a program's socket, with more changes."""
    return substitute(SHIPPED / "bakrypt-login.conf", {
        "/run/bakrypt-login/fcgi.sock": target, **(changes or {})})


class ProxyFcgi(ProgramDoor):
    """deploy/apache/bakrypt-login.conf, by mod_proxy_fcgi."""

    name = "apache-proxy-fcgi"
    modules = ("proxy", "proxy_fcgi", "headers")
    sees_abort = False
    changes = {}  # to the shipped file, beyond the socket's path

    @classmethod
    def missing(cls):
        return missing(*cls.modules)

    def open_front(self, target):
        text = proxy_fcgi_text(target, self.changes)
        self.apache = self.run(Apache(self.folder, self.modules, text))
        return self.apache.origin


class ApacheDoor(Door):
    """For the doors where Apache starts the program, and its error log holds what that logs.

    program_path: the program's copy, which open() makes.
    """

    modules = ()
    apache = None
    program_path = None
    sees_abort = False

    @classmethod
    def missing(cls):
        return missing(*cls.modules)

    def start_apache(self, text):
        self.apache = self.run(Apache(self.folder, self.modules, text))
        self.origin = self.apache.origin

    def log_lines(self):
        return self.apache.error_log.read_text("utf-8", "backslashreplace").splitlines()


class Fcgid(ApacheDoor):
    """deploy/apache/bakrypt-login-fcgid.conf, by mod_fcgid."""

    name = "apache-fcgid"
    differences = FCGID_DIFFERENCES
    modules = ("alias", "fcgid")

    def open(self):
        self.install_ca_file()
        self.program_path = self.install_program(self.folder / "program")
        text = substitute(SHIPPED / "bakrypt-login-fcgid.conf", {
            "/usr/local/bin/bakrypt-login": str(self.program_path),
            "/etc/bakrypt-login.conf": str(self.write_settings(self.folder / "settings"))})
        self.start_apache(fcgid_places(self.folder) + text)


class HtaccessDoor(ApacheDoor):
    """A customer's folder on a shared host: .htaccess may set what AllowOverride lets it, and the
    customer's home is not in the document root."""

    has_health = False  # there is a line for it, but it would be for all the world
    # What the shipped files need, and no more.
    overrides = "FileInfo AuthConfig Options=ExecCGI"
    host = ""

    def __init__(self, folder, settings):
        super().__init__(folder, settings)
        self.site = folders.make_subfolder(self.folder, "site")
        self.home = folders.make_subfolder(self.folder, "home")

    def open(self):
        self.install_ca_file()
        self.install()
        self.start_apache(
            f'{self.host}<Directory "{self.site}">\n\tAllowOverride {self.overrides}\n'
            f"</Directory>\n")

    def install(self):
        """Puts into the site and the home what a customer would."""
        raise NotImplementedError

    def write_secret(self, secret):
        """A file in the home, for the web server's user alone."""
        path = self.home / "bakrypt-secret"
        path.touch(mode=0o600)
        path.write_text(secret, encoding="utf-8")
        if folders.web_user():
            shutil.chown(path, *folders.web_user())
        return path

    def write_htaccess(self, text):
        """Apache reads it at each request, as its own user."""
        path = self.site / ".htaccess"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)


class HtaccessCgi(HtaccessDoor):
    """deploy/shared-hosting/htaccess-cgi, by mod_cgid; settings in ~/.config."""

    name = "apache-cgi-htaccess"
    modules = ("cgid", "env", "mime", "rewrite")

    script_socket = "ScriptSock cgid.sock\n"

    @property
    def host(self):
        return f'{self.script_socket}TypesConfig /dev/null\nSetEnv HOME "{self.home}"\n'

    def install(self):
        self.program_path = self.install_program(self.site / "login.cgi")
        self.write_htaccess((HOSTING / "htaccess-cgi").read_text(encoding="utf-8"))
        config = folders.make_subfolder(self.home, ".config")
        self.write_settings(config / "bakrypt-login.conf")


class HtaccessModCgi(HtaccessCgi):
    """The same by mod_cgi, which Apache's one-process-a-request kind has instead: the program's
    input and output are then pipes, and its log lines get a head."""

    name = "apache-mod-cgi-htaccess"
    modules = ("mpm_prefork", "cgi", "env", "mime", "rewrite")
    script_socket = ""


class HtaccessFcgid(HtaccessDoor):
    """deploy/shared-hosting/htaccess-fcgid and login.fcgi, by mod_fcgid."""

    name = "apache-fcgid-htaccess"
    differences = FCGID_DIFFERENCES
    modules = ("fcgid", "mime", "rewrite")

    @property
    def host(self):
        return f"{fcgid_places(self.folder)}TypesConfig /dev/null\n"

    def install(self):
        self.write_htaccess((HOSTING / "htaccess-fcgid").read_text(encoding="utf-8"))
        self.program_path = self.install_program(self.home / "program")
        wrapper = self.site / "login.fcgi"
        wrapper.write_text(substitute(HOSTING / "login.fcgi", {
            "/home/you/.config/bakrypt-login.conf": str(self.write_settings(
                self.home / "settings")),
            "/home/you/bin/bakrypt-login": str(self.program_path)}), encoding="utf-8")
        wrapper.chmod(0o755)


def fcgid_places(folder):
    """Where mod_fcgid keeps its sockets and table; Debian's own are in /run."""
    sockets = folders.make_subfolder(folder, "fcgid")
    if folders.web_user():
        shutil.chown(sockets, *folders.web_user())
    return f'FcgidIPCDir "{sockets}"\nFcgidProcessTableFile "{folder}/fcgid-table"\n'
