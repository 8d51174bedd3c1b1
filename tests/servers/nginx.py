"""nginx without privileges, from a folder of its own, with the files shipped under nginx/.

Login: plain HTTP before the program, with nginx/bakrypt-login.conf.
Site: the same with the page, by nginx/bakrypt-login-page.conf.
ExampleSite: TLS, HTTP/2 and a limit per address before the program, by nginx/example-site.conf.
TlsFront: TLS and HTTP/2 before another HTTPS server, so that the program speaks HTTP/2 to it.
"""
import os
import pathlib
import re
import shutil

from servers import folders, ports
from servers.process import Process, ServerError

SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "nginx"
LOGIN_CONF = SHIPPED / "bakrypt-login.conf"
EXAMPLE_SITE = SHIPPED / "example-site.conf"
PAGE_CONF = SHIPPED / "bakrypt-login-page.conf"
PAGE = SHIPPED.parent / "deploy" / "page"
KEEPALIVE = int(re.search(r"^\tkeepalive (\d+);$", EXAMPLE_SITE.read_text(encoding="ascii"),
                          re.MULTILINE)[1])

MAIN = """\
daemon off;
{user}
worker_processes {workers};
pid nginx.pid;
error_log stderr {level};
{main}
events {{
	worker_connections {connections};
	multi_accept {accepts_all};
}}
http {{
	log_format plain '$remote_addr $request_method $uri $status $sent_http_x_request_id';
	access_log {access_log};
	client_body_temp_path temp_body;
	fastcgi_temp_path temp_fastcgi;
	proxy_temp_path temp_proxy;
	scgi_temp_path temp_scgi;
	uwsgi_temp_path temp_uwsgi;
{http}
}}
"""


def binary():
    """nginx's path, or None. /usr/sbin is not everybody's PATH."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def missing():
    """What the machine lacks for it, as a sentence; or None."""
    return None if binary() else "nginx is not installed"


def fastcgi_address(target):
    """A path or (host, port), as nginx's "server" line takes it."""
    if isinstance(target, str):
        return f"unix:{target}"
    host, port = target
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Nginx(Process):
    """nginx with the given text inside of its http block.

    folder: a new folder of its own is made in it, and read by nginx's workers; it comes from
    folders.make_folder(). listens: the (host, port) pairs that must accept once it lives.
    main: more text before its events block. connections: how many each of its workers may hold.
    is_quiet: it logs warnings alone, and no accesses. accepts_all: whoever waits to be accepted is
    at every turn, not one alone.
    """

    def __init__(self, folder, name, http, listens, *, keep=None, main="", workers=1,
                 connections=2048, is_quiet=False, accepts_all=False):
        self.listens = listens
        self.folder = folders.make_subfolder(folder, f"{name}-{listens[0][1]}")
        self.access_log = self.folder / "access.log"
        user = folders.web_user()
        conf = self.folder / "nginx.conf"
        conf.write_text(MAIN.format(
            user=f"user {' '.join(user)};" if user else "", http=http, main=main,
            workers=workers, connections=connections,
            accepts_all="on" if accepts_all else "off", level="warn" if is_quiet else "info",
            access_log="off" if is_quiet else "access.log plain"), encoding="utf-8")
        argv = [binary(), "-p", f"{self.folder}/", "-e", "stderr", "-c", conf]
        super().__init__(argv, name=name, keep=keep)

    def start(self, timeout=10):
        """Starts it and waits until it takes connections."""
        super().start()
        try:
            for address in self.listens:
                self.wait_until_live(lambda a=address: ports.is_listening(a), timeout,
                                     f"connections on {address[0]} port {address[1]}")
        except ServerError:
            self.stop()
            raise
        return self

    def log_text(self):
        """Everything it logged: errors and accesses."""
        accesses = self.access_log.read_text("utf-8", "replace") \
            if self.access_log.exists() else ""
        return "\n".join(self.lines) + "\n" + accesses


def _upstream(target, keepalive):
    return (f"\tupstream bakrypt_login {{\n\t\tserver {fastcgi_address(target)};\n"
            f"\t\tkeepalive {keepalive};\n\t}}\n")


class Login(Nginx):
    """HTTP on 127.0.0.1, and on [::1] where there is one, before the program.

    target: the program's socket. keep_conn=False writes "off" in the shipped file's place.
    keepalive: how many idle connections to the program it keeps, as in the example site.
    more_http: text for the http block. options: as for Nginx.
    """

    def __init__(self, folder, target, *, port=None, keep_conn=True, keepalive=KEEPALIVE,
                 more_http="", **options):
        self.port = port or ports.free_port()
        self.origin = f"http://localhost:{self.port}"
        listens = [("127.0.0.1", self.port)]
        if ports.has_ipv6() and (port or not ports.is_listening(("::1", self.port))):
            listens.append(("::1", self.port))
        listen = "".join(f"\t\tlisten {fastcgi_address(address)};\n" for address in listens)
        conf = self._login_conf(folder, keep_conn)
        super().__init__(
            folder, "nginx",
            f"{more_http}{_upstream(target, keepalive)}\tserver {{\n{listen}\t\tserver_name localhost;\n"
            f"\t\tinclude \"{conf}\";\n{self._rest(folder)}\t}}\n",
            listens, **options)

    def _rest(self, folder):
        """The server block's other locations."""
        return "\t\tlocation / {\n\t\t\treturn 404;\n\t\t}\n"

    def _login_conf(self, folder, keep_conn):
        if keep_conn:
            return LOGIN_CONF
        return self._changed(folder, {"fastcgi_keep_conn on;": "fastcgi_keep_conn off;"})

    def _changed(self, folder, changes):
        conf = pathlib.Path(folder) / f"bakrypt-login-{self.port}.conf"
        conf.write_text(substitute(LOGIN_CONF, changes), encoding="utf-8")
        return conf


class Site(Login):
    """Login with the page at /. Its files are copies, which nginx's workers may read.

    prefix: a path before all of it, changed in the first line of both files, as they say. more:
    text for the server block, for pages of a test's own.
    """

    def __init__(self, folder, target, *, prefix="", more="", **options):
        self._prefix = prefix
        self._more = more
        super().__init__(folder, target, **options)

    def _rest(self, folder):
        page = folders.copy_for_web(PAGE, folder, f"page-{self.port}")
        return self._more + substitute(PAGE_CONF, {
            "location / {": f"location {self._prefix}/ {{",
            "/usr/share/bakrypt-login/page/": f"{page}/"})

    def _login_conf(self, folder, keep_conn):
        if not self._prefix:
            return super()._login_conf(folder, keep_conn)
        return self._changed(folder, {"location ~ ^/(": f"location ~ ^{self._prefix}/("})


class ExampleSite(Nginx):
    """nginx/example-site.conf. What is replaced in it: its host name, ports, and the paths of
    certificate, log, socket and included file; everything else is what is shipped."""

    def __init__(self, folder, target, leaf):
        self.port = ports.free_port()
        self.http_port = ports.free_port()
        self.origin = f"https://localhost:{self.port}"
        self.http_origin = f"http://localhost:{self.http_port}"
        site = substitute(EXAMPLE_SITE, {
            "unix:/run/bakrypt-login/fcgi.sock": fastcgi_address(target),
            "server_name login.example.com;": "server_name localhost;",
            "listen 80;": f"listen 127.0.0.1:{self.http_port};",
            "listen 443 ssl http2;": f"listen 127.0.0.1:{self.port} ssl http2;",
            "listen [::]:80;": "",
            "listen [::]:443 ssl http2;": "",
            "/var/log/nginx/bakrypt-login.log": "access.log",
            "/etc/ssl/login.example.com/fullchain.pem": leaf.certificate,
            "/etc/ssl/login.example.com/privkey.pem": leaf.key,
            "/etc/nginx/snippets/bakrypt-login.conf": f"\"{LOGIN_CONF}\"",
        })
        super().__init__(folder, "example-site", site,
                         [("127.0.0.1", self.port), ("127.0.0.1", self.http_port)])


class TlsFront(Nginx):
    """TLS with HTTP/2 before an HTTPS server on this machine."""

    def __init__(self, folder, origin, authority):
        self.port = ports.free_port()
        self.origin = f"https://localhost:{self.port}"
        self.token_url = f"{self.origin}/auth/token/"
        leaf = authority.leaf()
        super().__init__(
            folder, "tls-front",
            "\tlog_format protocol '$request_method $uri $status $server_protocol $connection';\n"
            f"\tserver {{\n\t\taccess_log access.log protocol;\n"
            f"\t\tlisten 127.0.0.1:{self.port} ssl http2;\n"
            f"\t\tssl_certificate {leaf.certificate};\n\t\tssl_certificate_key {leaf.key};\n"
            f"\t\tlocation / {{\n\t\t\tproxy_pass {origin};\n\t\t\tproxy_http_version 1.1;\n"
            f"\t\t\tproxy_ssl_verify on;\n\t\t\tproxy_ssl_name localhost;\n"
            f"\t\t\tproxy_ssl_trusted_certificate {authority.file};\n\t\t}}\n\t}}\n",
            [("127.0.0.1", self.port)])


def substitute(path, changes):
    """The text of a shipped file with literal changes, each of which must be found."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        if old not in text:
            raise ValueError(f"{path.name} has no {old!r}")
        text = text.replace(old, new)
    return text
