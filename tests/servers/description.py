"""deploy/openapi.json, and what it says about a reply.

    description.check_reply("/login", "POST", reply)
"""
import functools
import importlib.util
import json
import pathlib
import re

from servers import source

FILE = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "openapi.json"

# What a door adds or decides, and the description leaves out.
UNTOLD = {"status", "content-type", "content-length"}


def missing():
    """What the machine lacks to read schemas, as a sentence; or None."""
    found = importlib.util.find_spec("jsonschema")
    return None if found else "jsonschema is not installed (python3-jsonschema)"


@functools.cache
def document():
    return json.loads(FILE.read_text(encoding="ascii"))


def resolve(node):
    """The node itself, or what its $ref names."""
    while "$ref" in node:
        found = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def problems(schema, value):
    """What is wrong with a value, as texts."""
    import jsonschema  # pylint: disable=import-outside-toplevel
    resolver = jsonschema.RefResolver.from_schema(document())
    validator = jsonschema.Draft202012Validator(schema, resolver=resolver)
    return [error.message for error in validator.iter_errors(value)]


def operations():
    """(path, method, operation) of each."""
    return [(path, method.upper(), operation) for path, item in document()["paths"].items()
            for method, operation in item.items()]


def response(path, method, status):
    """What is said about this reply: a response, resolved. KeyError if nothing is."""
    return resolve(document()["paths"][path][method.lower()]["responses"][str(status)])


def content(told):
    """The media type's object of a response; None if it has no body."""
    return told.get("content", {}).get("application/json")


def examples(told):
    """The values of a response's examples."""
    return [example["value"] for example in content(told)["examples"].values()]


def faults_of(path):
    """The rows of fault.h that a route can answer with, as they stand there."""
    alone = {"LOGIN_REFUSED": "/login", "FIELD_MISSING": "/login", "REFRESH_REFUSED": "/refresh"}
    never = {"NOT_FOUND", "CLIENT_GONE", "UNCHECKED"}  # another path; no reply; /readyz
    if path == "/login":
        never.add("TOKEN_MISSING")
    rows = source.faults()
    if source.routes()[path].method == "GET":
        return [rows["CREDENTIALS_IN_URL"], rows["METHOD"]]
    return [row for symbol, row in rows.items()
            if symbol not in never and alone.get(symbol, path) == path]


def _header_value(schema, text):
    return int(text) if schema.get("type") == "integer" and re.fullmatch(r"\d+", text) else text


def check_reply(path, method, reply):
    """A reply of the program is one that is described: status, body, headers, and no other."""
    told = response(path, method, reply.status)
    body = content(told)
    assert bool(reply.body) == bool(body), (path, reply)
    if body:
        assert not problems(body["schema"], json.loads(reply.body)), (path, reply)
    headers = {name.lower(): resolve(header) for name, header in told["headers"].items()}
    given = {name: value for name, value in reply.headers if name not in UNTOLD}
    assert set(given) <= set(headers), (path, reply)
    assert {name for name, header in headers.items() if header["required"]} <= set(given), reply
    for name, text in given.items():
        schema = headers[name]["schema"]
        assert not problems(schema, _header_value(schema, text)), (path, name, text)
