"""The client's side of HTTP: plain by the standard library, HTTP/2 by the curl command."""
import contextlib
import email.parser
import http.client
import json as json_syntax
import subprocess
import urllib.parse

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class Reply:
    """A status, headers (asked for in any letter case) and a body."""

    def __init__(self, status, headers, body, http_version):
        self.status = status
        self.headers = headers
        self.body = body
        self.http_version = http_version

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def json(self):
        return json_syntax.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {dict(self.headers)} {self.text}>"


def send(origin, body=b"", content_type=JSON, *, path="/login", method="POST", headers=None,
         timeout=30, source=None):
    """One request over plain HTTP/1.1, on a connection of its own. A body that is not bytes but
    an iterable of bytes is sent chunked. source: the address that it comes from."""
    address = urllib.parse.urlsplit(origin)
    host = "127.0.0.1" if source else address.hostname
    connection = http.client.HTTPConnection(host, address.port, timeout=timeout,
                                            source_address=(source, 0) if source else None)
    all_headers = {"Content-Type": content_type} if content_type else {}
    all_headers.update(headers or {})
    is_chunked = not isinstance(body, bytes)
    if is_chunked:
        all_headers["Transfer-Encoding"] = "chunked"
    try:
        # A server that has refused the rest of a body has answered: that is there to be read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body=body, headers=all_headers,
                               encode_chunked=is_chunked)
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read(), "1.1")
    finally:
        connection.close()


def send_by_curl(origin, body=b"", content_type=JSON, *, path="/login", method="POST",
                 ca_file=None, headers=None, options=(), timeout=30):
    """One request by curl: HTTP/2 where the server offers it over TLS."""
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", str(timeout), "-X", method,
               "--data-binary", "@-", "-D", "/dev/stderr", "-o", "/dev/stdout",
               "-w", "\n%{http_code} %{http_version}", *options]
    for name, value in {"Content-Type": content_type, **(headers or {})}.items():
        command += ["-H", f"{name}: {value}"]
    if ca_file:
        command += ["--cacert", ca_file]
    done = subprocess.run([*command, origin + path], input=body, capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(f"curl: {done.stderr.decode('utf-8', 'replace')}")
    text, _, last = done.stdout.rpartition(b"\n")
    status, version = last.decode("ascii").split()
    head = done.stderr.decode("latin-1").replace("\r\n", "\n").partition("\n")[2]
    return Reply(int(status), email.parser.Parser().parsestr(head, headersonly=True), text,
                 version)


def json_body(name, password, **more):
    """A login as JSON. Text beyond ASCII goes as UTF-8, not as escapes."""
    fields = {"username": name, "password": password, **more}
    return json_syntax.dumps(fields, ensure_ascii=False).encode("utf-8")


def form_body(name, password, **more):
    """A login as a form."""
    return urllib.parse.urlencode({"username": name, "password": password, **more}).encode("ascii")
