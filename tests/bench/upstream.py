"""The token server of the benchmark: faster than all that is measured before it.

nginx with Lua, over TLS, by HTTP/1.1 or HTTP/2, each at once and after a delay. It reads every
login whole, answers 400 to one that is none, and counts its connections. Whatever is to be revoked
is. Its workers have a queue each for those who connect (reuseport): of one queue, the first to wake
takes nearly all, and one worker alone cannot serve a hundred connections as fast.
"""
import itertools
import json
import re
import resource
import urllib.request

from servers import ports, upstream
from servers.nginx import Nginx

MODULES = "/usr/lib/nginx/modules"
LUA_MODULES = (f"load_module {MODULES}/ndk_http_module.so;\n"
               f"load_module {MODULES}/ngx_http_lua_module.so;\n")
BACKLOG = 8192
CLIENTS_MAX = 10000
WORKERS = 2
DELAYS_S = (0, 0.3, 3)
USER_PREFIX = "user-"  # of every user name that the load sends

SERVER = """\
	server {{
{listens}
		ssl_certificate {leaf.certificate};
		ssl_certificate_key {leaf.key};
		ssl_protocols TLSv1.2 TLSv1.3;
		keepalive_requests 100000000;
		keepalive_timeout 300s;
		http2_max_concurrent_streams 128;
		client_body_buffer_size 16k;
		location /auth/revoke_token/ {{
			content_by_lua_block {{
				ngx.req.read_body()
			}}
		}}
		location / {{
			default_type application/json;
			content_by_lua_block {{
				ngx.req.read_body()
				local body = ngx.req.get_body_data()
				if not body or not body:find("{prefix}", 1, true) then
					return ngx.exit(400)
				end
				{wait}
				ngx.header.content_length = {length}
				ngx.print([[{answer}]])
			}}
		}}
	}}
"""


def nginx_options(clients, workers=1):
    """For every nginx of the benchmark: it logs no accesses, and there is room for so many clients
    with a connection each to what is behind it, and as many more that are being closed. Clients
    that come late are not starved by those who are at it."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return {"is_quiet": True, "accepts_all": True, "connections": min(files, 3 * clients + 512),
            "keep": 20, "main": "", "workers": workers}


class TokenServer(Nginx):
    """url(is_http2, delay_s) is the token endpoint."""

    def __init__(self, folder, authority):
        leaf = authority.leaf()
        answer = json.dumps(upstream.token_members())
        kinds = list(itertools.product((False, True), DELAYS_S))
        self._ports = {kind: ports.free_port() for kind in kinds}
        self._status_port = ports.free_port()
        servers = "".join(SERVER.format(
            listens=self._listens(is_http2, delay_s), leaf=leaf, prefix=USER_PREFIX,
            wait=f"ngx.sleep({delay_s})" if delay_s else "", length=len(answer),
            answer=answer) for is_http2, delay_s in kinds)
        status = (f"\tserver {{\n\t\tlisten 127.0.0.1:{self._status_port};\n"
                  "\t\tlocation / {\n\t\t\tstub_status;\n\t\t}\n\t}\n")
        options = nginx_options(CLIENTS_MAX, workers=WORKERS)
        options["main"] += LUA_MODULES
        super().__init__(folder, "token-server", servers + status,
                         [("127.0.0.1", port) for port in
                          (*self._ports.values(), self._status_port)], **options)
        self._looks = 0

    def _listens(self, is_http2, delay_s):
        hosts = ("127.0.0.1", "[::1]") if ports.has_ipv6() else ("127.0.0.1",)
        more = "ssl http2" if is_http2 else "ssl"
        port = self.port(is_http2, delay_s)
        return "\n".join(f"\t\tlisten {host}:{port} {more} reuseport backlog={BACKLOG};"
                         for host in hosts)

    def port(self, is_http2, delay_s):
        return self._ports[is_http2, delay_s]

    def url(self, is_http2, delay_s):
        return f"https://localhost:{self.port(is_http2, delay_s)}/auth/token/"

    def connections(self):
        """How many it accepted so far, those of this question aside."""
        return self._look()[0] - self._looks

    def open_connections(self):
        """How many are open now."""
        return self._look()[1] - 1

    def _look(self):
        self._looks += 1
        with urllib.request.urlopen(f"http://127.0.0.1:{self._status_port}/") as reply:
            return read_status(reply.read().decode("ascii"))


def read_status(text):
    """(connections accepted so far, those open now), from a page of nginx's stub_status."""
    accepted = re.search(r"server accepts handled requests\s+(\d+) ", text).group(1)
    return int(accepted), int(re.search(r"Active connections: (\d+)", text).group(1))
