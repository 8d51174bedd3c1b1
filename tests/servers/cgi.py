"""The program as a web server starts it for one request by CGI (RFC 3875)."""
import json
import subprocess
from dataclasses import dataclass

from servers import fastcgi, program


@dataclass
class Run:
    """One request's end: the reply, the log, and what else there was."""
    reply: fastcgi.Reply
    entries: list
    returncode: int

    @property
    def entry(self):
        """The one log line of a request that was not at level debug."""
        assert len(self.entries) == 1, self.entries
        return self.entries[0]


def variables(*, method="POST", target="/login", content_type=fastcgi.JSON, length=None, **more):
    """The meta-variables of a request; None leaves one out."""
    path, _, query = target.partition("?")
    named = {"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1",
             "REQUEST_METHOD": method, "REQUEST_URI": target, "QUERY_STRING": query,
             "SCRIPT_NAME": path, "REMOTE_ADDR": "192.0.2.7", "CONTENT_TYPE": content_type,
             "CONTENT_LENGTH": length, **more}
    return {name: str(value) for name, value in named.items() if value is not None}


def settings(token_url, ca_file):
    return {"BAKRYPT_TOKEN_URL": token_url, "BAKRYPT_CA_FILE": str(ca_file),
            "BAKRYPT_CLIENT_ID": program.CLIENT_ID,
            "BAKRYPT_CLIENT_SECRET": program.CLIENT_SECRET}


def read_reply(output):
    head, _, body = output.partition(b"\r\n\r\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
    headers = [(name.lower(), value) for name, value in lines]
    status = int(dict(headers)["status"].split()[0])
    return fastcgi.Reply(status=status, headers=headers, body=body)


def start(env, *arguments, path=None, **options):
    """A running program with pipes for its three descriptors, unless options name others."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([path or program.binary(), *arguments], env=program.make_env(env),
                            **{**pipes, **options})


def finish(process, body=b"", timeout=20):
    output, errors = process.communicate(body, timeout=timeout)
    return Run(read_reply(output), [json.loads(line) for line in errors.decode().splitlines()],
               process.returncode)


def request(body, env, *arguments, **variable):
    """A whole request with the length that its body has; more variables as variables()."""
    variable.setdefault("length", len(body))
    return finish(start({**variables(**variable), **env}, *arguments), body)
