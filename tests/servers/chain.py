"""Everything a login passes: nginx, the program, and an authorization server behind it.

    chains = Chains(folder, authority)
    chain = chains.get(listen="tcp", keep_conn=False, token_url=dot.token_url)
    reply = chain.login_json("alice", password)
"""
import contextlib
import uuid

from servers import client, nginx
from servers.program import Program


class Chain:
    """An nginx before a program. is_http2: the example site, with TLS and HTTP/2."""

    def __init__(self, program, front, authority):
        self.program = program
        self.front = front
        self.authority = authority
        self.is_http2 = isinstance(front, nginx.ExampleSite)
        self.tokens = set()

    def send(self, body=b"", content_type=client.JSON, **request):
        """One request; tokens in the reply are remembered, to be looked for in logs."""
        if self.is_http2:
            reply = client.send_by_curl(self.front.origin, body, content_type,
                                        ca_file=self.authority.file, **request)
        else:
            reply = client.send(self.front.origin, body, content_type, **request)
        if reply.status == 200:
            self.tokens |= {reply.json["access_token"], reply.json["refresh_token"]}
        return reply

    def login_json(self, name, password, **request):
        return self.send(client.json_body(name, password), client.JSON, **request)

    def login_form(self, name, password, **request):
        return self.send(client.form_body(name, password), client.FORM, **request)

    def log_of(self, reply):
        """The program's log entry for a reply."""
        return self.program.log_for(reply.headers["X-Request-Id"])

    def log_text(self):
        """Everything that the program and nginx logged."""
        return "\n".join(self.program.lines) + "\n" + self.front.log_text()


def new_request_id():
    return f"test-{uuid.uuid4()}"


class Chains:
    """Chains by what they are made of, started when first asked for and then kept."""

    def __init__(self, folder, authority):
        self._folder = folder
        self._authority = authority
        self._stack = contextlib.ExitStack()
        self._programs = {}
        self._chains = {}

    def get(self, *, token_url, listen="unix", site="plain", settings=None):
        """site: "plain", "plain, keep_conn off" or "example"."""
        program_key = (token_url, listen, tuple(sorted((settings or {}).items())))
        key = (program_key, site)
        if program_key not in self._programs:
            self._programs[program_key] = self._stack.enter_context(Program(
                self._folder, token_url=token_url, ca_file=self._authority.file, listen=listen,
                settings=settings))
        if key not in self._chains:
            program = self._programs[program_key]
            front = self._stack.enter_context(self._front(site, program.target))
            self._chains[key] = Chain(program, front, self._authority)
        return self._chains[key]

    def _front(self, site, target):
        if site == "example":
            return nginx.ExampleSite(self._folder, target, self._authority.leaf())
        return nginx.Login(self._folder, target, keep_conn=site == "plain")

    def __iter__(self):
        return iter(list(self._chains.values()))

    def close(self):
        self._stack.close()
