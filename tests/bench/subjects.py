"""What is measured: the program behind web servers, and what one would write or run instead.

Each is a Subject: start() leaves it ready on `port`; `program` and `front` are its processes, the
web server before it, if it needs one, being the second. All talk to the same token server.
"""
import contextlib
import dataclasses
import os
import pathlib

from servers import apache, certificates, folders, nginx, ports, program
from servers.process import Process, wait_until

from bench import tree, upstream

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
IDLE_UPSTREAM_CONNECTIONS = 16384  # that the floor keeps: as many as it ever has
THREADS = 16
ONE_WORKER_MAX = 5000  # clients

# Of Apache from the start: while it has too few it hangs up on clients that it kept.
ENOUGH_THREADS = "ThreadsPerChild 64\nMaxRequestWorkers 256\nStartServers 2\n"


@dataclasses.dataclass(frozen=True)
class Place:
    """What every subject needs: a temporary folder, the folder of what was built, and upstream."""
    folder: pathlib.Path
    build: pathlib.Path
    authority: certificates.Authority
    upstream: upstream.TokenServer


class Subject:
    """label and title: how it is called in a table, and in a picture, where there is less room.
    delay_s and is_http2 choose among the token server's endpoints. clients: how many there must
    be room for. Subclasses define open(), which starts by run() and sets `port` and `program`,
    perhaps `front`."""

    name = None
    label = None
    title = None
    is_http2 = True
    front = None

    def __init__(self, place, *, delay_s=0, is_http2=None, clients=1024):
        self.place = place
        self.delay_s = delay_s
        self.clients = clients
        self.is_http2 = self.is_http2 if is_http2 is None else is_http2
        self.port = None
        self.program = None
        self._stack = contextlib.ExitStack()

    @property
    def token_url(self):
        return self.place.upstream.url(self.is_http2, self.delay_s)

    def nginx_options(self):
        """With a second worker where one may not open enough files."""
        return upstream.nginx_options(self.clients, 2 if self.clients > ONE_WORKER_MAX else 1)

    def run(self, server):
        return self._stack.enter_context(server)

    def open(self):
        raise NotImplementedError

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._stack = stack
            self.open()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *unused):
        self._stack.close()

    # What it costs

    def cpu_seconds(self):
        """Of the program and the web server before it, so far."""
        return sum(tree.cpu_seconds(server.pid) for server in (self.program, self.front) if server)

    def peer_env(self):
        return {"PATH": os.environ["PATH"], "TOKEN_URL": self.token_url,
                "CLIENT_ID": program.CLIENT_ID, "CLIENT_SECRET": program.CLIENT_SECRET,
                "CA_FILE": self.place.authority.file,
                "NODE_EXTRA_CA_CERTS": self.place.authority.file, "NODE_ENV": "production"}

    def start_listening(self, server):
        """Starts a process and waits until it listens on `port`."""
        self.run(server)
        server.wait_until_live(lambda: ports.is_listening(("127.0.0.1", self.port)), 20,
                               f"connections on port {self.port}")
        return server


class Floor(Subject):
    """nginx that passes the login on over kept TLS connections, whatever it is."""

    name = "proxy"
    label = "nginx `proxy_pass`, no logic (floor)"
    title = "nginx proxy_pass, no logic"
    is_http2 = False

    def open(self):
        self.port = ports.free_port()
        target = self.place.upstream.port(False, self.delay_s)
        http = (f"\tupstream tokens {{\n\t\tserver 127.0.0.1:{target};\n"
                f"\t\tkeepalive {IDLE_UPSTREAM_CONNECTIONS};\n"
                "\t\tkeepalive_requests 100000000;\n\t\tkeepalive_timeout 300s;\n\t}\n"
                f"\tserver {{\n\t\tlisten 127.0.0.1:{self.port} backlog={upstream.BACKLOG};\n"
                "\t\tlocation = /login {\n"
                "\t\t\tproxy_pass https://tokens/auth/token/;\n\t\t\tproxy_http_version 1.1;\n"
                "\t\t\tproxy_set_header Connection \"\";\n\t\t\tproxy_ssl_verify on;\n"
                "\t\t\tproxy_ssl_name localhost;\n"
                f"\t\t\tproxy_ssl_trusted_certificate {self.place.authority.file};\n\t\t}}\n\t}}\n")
        self.program = self.run(nginx.Nginx(self.place.folder, "proxy", http,
                                            [("127.0.0.1", self.port)],
                                            **self.nginx_options()))


class Lua(Subject):
    """peers/lua inside of nginx."""

    name = "lua"
    label = "nginx + Lua (cosockets)"
    title = "nginx + Lua"
    is_http2 = False

    def open(self):
        self.port = ports.free_port()
        options = self.nginx_options()
        options["main"] += upstream.LUA_MODULES
        source = folders.copy_for_web(PEERS / "lua", self.place.folder, f"lua-{self.port}")
        http = (f"\tlua_ssl_trusted_certificate {self.place.authority.file};\n"
                f"\tlua_socket_pool_size {IDLE_UPSTREAM_CONNECTIONS};\n"
                f"\tserver {{\n\t\tlisten 127.0.0.1:{self.port} backlog={upstream.BACKLOG};\n"
                "\t\tlocation = /login {\n\t\t\tclient_body_buffer_size 16k;\n"
                "\t\t\tset $token_host 127.0.0.1;\n"
                f"\t\t\tset $token_port {self.place.upstream.port(False, self.delay_s)};\n"
                "\t\t\tset $token_path /auth/token/;\n"
                f"\t\t\tset $client_id {program.CLIENT_ID};\n"
                f"\t\t\tset $client_secret {program.CLIENT_SECRET};\n"
                f"\t\t\tcontent_by_lua_file {source}/login.lua;\n\t\t}}\n\t}}\n")
        self.program = self.run(nginx.Nginx(self.place.folder, "lua", http,
                                            [("127.0.0.1", self.port)], **options))


class Express(Subject):
    """peers/express: the service of Bakrypt's documentation."""

    name = "express"
    label = "Express + axios (Bakrypt's documentation)"
    title = "Express + axios"
    is_http2 = False

    def open(self):
        self.port = ports.free_port()
        self.program = self.start_listening(Process(
            ["node", self.place.build / "express" / "server.mjs"], name="express", keep=20,
            env={**self.peer_env(), "PORT": str(self.port)}))


class Go(Subject):
    """peers/go: net/http on both sides."""

    name = "go"
    label = "Go net/http, HTTP/2 upstream"
    title = "Go net/http, HTTP/2"

    def open(self):
        self.port = ports.free_port()
        self.program = self.start_listening(Process(
            [self.place.build / "go-login"], name="go", keep=20,
            env={**self.peer_env(), "PORT": str(self.port)}))


class Threads(Subject):
    """peers/threads.c behind nginx with a connection per request, nginx's default: threads that
    hold a kept connection starve the others."""

    name = "threads"
    label = f"C, libfcgi on {THREADS} threads, curl easy handles, behind nginx"
    title = "C, 16 threads behind nginx"
    is_http2 = False

    def open(self):
        path = str(self.place.folder / f"threads-{ports.free_port()}.sock")
        self.program = self.run(Process([self.place.build / "threads", path, str(THREADS)],
                                        name="threads", env=self.peer_env(), keep=20))
        wait_until(lambda: ports.is_listening(path), 10, "the threads' socket")
        self.front = self.run(nginx.Login(self.place.folder, path, keep_conn=False,
                                          **self.nginx_options()))
        self.port = self.front.port


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

    def __init__(self, place, *, settings=None, arguments=(), listen="unix", keepalive=16,
                 **options):
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


ALL = (Floor, Lua, Go, Threads, Express, Ours, OursSilent, OursNotKept, OursApache)
