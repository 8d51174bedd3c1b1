"""Instructions per login, counted by callgrind: a figure that does not depend on the clock.

A program is run twice, with so many logins one after the other and with twice as many; what is more
in the second is those logins' alone. The kernel's share is not in it. Costs are
{(object file, function): instructions}.
"""
import collections
import http.client
import json
import os
import shutil

from servers import cgi, client, nginx, program
from servers.process import ServerError

LOGINS = 100

# callgrind runs within the process, and writes its file at the end.
UNCONFINED = {"BAKRYPT_SANDBOX": "off"}
# A handshake that is given up and made again would count twice.
PATIENT = {"BAKRYPT_CONNECT_TIMEOUT_MS": 30000, "BAKRYPT_TIMEOUT_MS": 60000}


class Counted(program.Program):
    """The program under callgrind; `costs` are there once it has ended."""

    def __init__(self, folder, *, settings=None, **options):
        super().__init__(folder, settings={**PATIENT, **(settings or {}), **UNCONFINED}, **options)
        self.out = f"{folder}/callgrind-{self.number}"
        self.argv = [*_callgrind(self.out), *self.argv]

    def start(self, timeout=60):
        return super().start(timeout)

    @property
    def costs(self):
        return _read_file(self.out)


def missing():
    """What the machine lacks for it, as a sentence; or None."""
    return None if shutil.which("valgrind") else "valgrind is not installed"


def _callgrind(out):
    return ["valgrind", "--tool=callgrind", "--vgdb=no", f"--callgrind-out-file={out}",
            f"--log-file={out}.log"]


def _read_file(path):
    try:
        with open(path, encoding="utf-8") as file:
            return read_costs(file.read())
    except FileNotFoundError:
        raise ServerError(f"callgrind wrote no {path}") from None


def read_costs(text):
    """Of a callgrind output file. The line after "calls=" is what the called cost, and that stands
    under them as well."""
    names = {"ob": {}, "fn": {}}
    costs = collections.Counter()
    current = {}
    is_call = False
    total = None
    for line in text.splitlines():
        key, is_assignment, value = line.partition("=")
        kind = key.removeprefix("c")
        if is_assignment and kind in names:
            number, _, name = value.partition(" ")
            if name:
                names[kind][number] = name
            if key == kind:
                current[kind] = names[kind][number]
        elif key == "calls":
            is_call = True
        elif line.startswith("totals:"):
            total = int(line.split()[1])
        elif line and line[0] in "0123456789+-*":
            if not is_call:
                costs[os.path.basename(current["ob"]), current["fn"]] += int(line.split()[1])
            is_call = False
    if total != sum(costs.values()):
        raise ValueError(f"callgrind counted {total}, its parts are {sum(costs.values())}")
    return costs


def less(more, fewer, count):
    """What each of count logins cost, where `more` has so many more than `fewer`."""
    return {place: (more.get(place, 0) - fewer.get(place, 0)) / count
            for place in {**more, **fewer} if more.get(place, 0) != fewer.get(place, 0)}


def by_object(costs):
    """{object file: instructions}."""
    sums = collections.Counter()
    for (name, _), cost in costs.items():
        sums[name] += cost
    return sums


def _log_in(port, count):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in range(count):
        body = json.dumps({"username": f"user-{number:06}", "password": "correct horse"})
        connection.request("POST", "/login", body, {"Content-Type": client.JSON})
        reply = connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise ServerError(f"a login under callgrind: {reply.status} {text!r}")
    connection.close()


def count(folder, token_url, ca_file, logins):
    """The costs of a whole run with so many logins, start and end included."""
    with Counted(folder, token_url=token_url, ca_file=ca_file) as counted, \
            nginx.Login(folder, counted.target, is_quiet=True) as front:
        _log_in(front.port, logins)
    return counted.costs


def per_login(folder, token_url, ca_file, logins=LOGINS):
    """The costs of one login behind nginx with kept connections."""
    fewer = count(folder, token_url, ca_file, logins)
    return less(count(folder, token_url, ca_file, 2 * logins), fewer, logins)


def per_cgi_run(folder, token_url, ca_file):
    """The costs of one login by CGI, from exec to the end."""
    out = f"{folder}/callgrind-cgi"
    body = client.json_body("user-000001", "correct horse")
    env = {**cgi.variables(length=len(body)), **cgi.settings(token_url, ca_file), **UNCONFINED}
    valgrind, *arguments = _callgrind(out)
    run = cgi.finish(cgi.start(env, *arguments, program.binary(), path=shutil.which(valgrind)),
                     body, timeout=60)
    if run.reply.status != 200:
        raise ServerError(f"a login by CGI under callgrind: {run.reply.status}")
    return _read_file(out)


def run(place, say):
    """{what: costs}."""
    found = {}
    for is_http2, name in ((True, "JSON login, HTTP/2"), (False, "JSON login, HTTP/1.1")):
        found[name] = per_login(place.folder, place.upstream.url(is_http2, 0),
                                place.authority.file)
        say(f"  {name}: {sum(found[name].values()):,.0f} instructions")
    name = "one CGI run"
    found[name] = per_cgi_run(place.folder, place.upstream.url(True, 0), place.authority.file)
    say(f"  {name}: {sum(found[name].values()):,.0f} instructions")
    return found
