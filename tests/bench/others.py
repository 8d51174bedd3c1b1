"""What one would write or run instead of the program."""
import os
import pathlib

from servers import folders, nginx, ports, program
from servers.process import Process, wait_until

from bench import upstream
from bench.subjects import Subject

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
MODULES = "/usr/lib/nginx/modules"
LUA_MODULES = (f"load_module {MODULES}/ndk_http_module.so;\n"
               f"load_module {MODULES}/ngx_http_lua_module.so;\n")
IDLE_UPSTREAM_CONNECTIONS = 16384  # that nginx keeps: as many as it ever has
THREADS = 16


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
        options["main"] += LUA_MODULES
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


class Peer(Subject):
    """A program with settings of its own names in the environment."""

    def env(self, **more):
        return {"PATH": os.environ["PATH"], "TOKEN_URL": self.token_url,
                "CLIENT_ID": program.CLIENT_ID, "CLIENT_SECRET": program.CLIENT_SECRET,
                "CA_FILE": self.place.authority.file,
                "NODE_EXTRA_CA_CERTS": self.place.authority.file, "NODE_ENV": "production", **more}

    def serve(self, argv):
        """Starts it, with a port to serve HTTP on, and waits until it does."""
        self.port = ports.free_port()
        self.program = self.run(Process(argv, name=self.name, keep=20,
                                        env=self.env(PORT=str(self.port))))
        self.program.wait_until_live(lambda: ports.is_listening(("127.0.0.1", self.port)), 20,
                                     f"connections on port {self.port}")


class Express(Peer):
    """peers/express: the service of Bakrypt's documentation."""

    name = "express"
    label = "Express + axios (Bakrypt's documentation)"
    title = "Express + axios"
    warm_times = 4  # until its code is compiled
    is_http2 = False

    def open(self):
        self.serve(["node", self.place.build / "express" / "server.mjs"])


class Go(Peer):
    """peers/go: net/http on both sides."""

    name = "go"
    label = "Go net/http, HTTP/2 upstream"
    title = "Go net/http, HTTP/2"

    def open(self):
        self.serve([self.place.build / "go-login"])


class Threads(Peer):
    """peers/threads.c behind nginx with a connection per request, nginx's default: threads that
    hold a kept connection starve the others."""

    name = "threads"
    label = f"C, libfcgi on {THREADS} threads, curl easy handles, behind nginx"
    title = "C, 16 threads behind nginx"
    is_http2 = False

    def open(self):
        path = str(self.place.folder / f"threads-{ports.free_port()}.sock")
        self.program = self.run(Process([self.place.build / "threads", path, str(THREADS)],
                                        name="threads", env=self.env(), keep=20))
        wait_until(lambda: ports.is_listening(path), 10, "the threads' socket")
        self.front = self.run(nginx.Login(self.place.folder, path, keep_conn=False,
                                          **self.nginx_options()))
        self.port = self.front.port
