"""deploy/openapi.json is whole, and says what the tables of the code say."""
import pathlib
import re

import pytest

from servers import description, source

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEDIA_TYPES = {"application/json", "application/x-www-form-urlencoded"}


@pytest.fixture(autouse=True)
def needs(require):
    require(description.missing())


def nodes(node, path=()):
    """Every object in the document, with the way to it."""
    if isinstance(node, dict):
        yield path, node
        for name, child in node.items():
            yield from nodes(child, (*path, name))
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from nodes(child, (*path, number))


def test_head():
    told = description.document()
    assert set(told) == {"openapi", "info", "servers", "paths", "components"}
    assert told["openapi"] == "3.1.0"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert told["info"]["version"] == re.search(r"^VERSION +\?= (.+)$", makefile, re.M).group(1)
    assert told["info"]["title"] and told["servers"][0]["url"].startswith("https://")


def test_references_lead_somewhere_and_nothing_lies_about():
    used = {node["$ref"] for _, node in nodes(description.document()) if "$ref" in node}
    for name in used:
        assert description.resolve({"$ref": name})
    made = {f"#/components/{kind}/{name}"
            for kind, items in description.document()["components"].items() for name in items}
    assert used == made
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name.rpartition("/")[2]) for name in made)


def test_schemas():
    import jsonschema  # pylint: disable=import-outside-toplevel
    schemas = [node["schema"] for _, node in nodes(description.document()) if "schema" in node]
    schemas += description.document()["components"]["schemas"].values()
    assert len(schemas) > 20
    for schema in schemas:
        jsonschema.Draft202012Validator.check_schema(schema)


def test_routes():
    told = {}
    for path, method, _ in description.operations():
        told.setdefault(path, set()).add(method)
    assert told == {route.path: set(route.allow.split(", "))
                    for route in source.routes().values()}


def test_operations():
    names = [operation["operationId"] for _, _, operation in description.operations()]
    assert len(names) == len(set(names)) > 5
    for _, method, operation in description.operations():
        assert set(operation) <= {"operationId", "summary", "description", "requestBody",
                                  "responses"}
        assert operation["summary"]
        assert ("requestBody" in operation) == (method == "POST")
        if method == "POST":
            assert operation["requestBody"]["required"]
            assert set(operation["requestBody"]["content"]) == MEDIA_TYPES


def test_responses():
    for path, method, operation in description.operations():
        for status in operation["responses"]:
            told = description.response(path, method, status)
            assert set(told) <= {"description", "headers", "content"}
            assert told["description"]
            assert {"X-Request-Id", "Cache-Control"} <= set(told["headers"])
            assert bool(description.content(told)) == (status != "204")


def test_examples():
    """Every example is one."""
    seen = 0
    for _, node in nodes(description.document()):
        for example in node.get("examples", {}).values():
            assert not description.problems(node["schema"], example["value"]), example
            seen += 1
    assert seen > 30


@pytest.mark.parametrize("path", sorted(source.routes()))
def test_faults(path):
    """Each row of fault.h that the route can give is described, and nothing else is."""
    method = source.routes()[path].method
    statuses = description.document()["paths"][path][method.lower()]["responses"]
    told = {(int(status), example["error"], example["error_description"])
            for status in statuses if int(status) >= 400
            for example in description.examples(description.response(path, method, status))
            if "error" in example}
    coded = {(row.status, row.code, row.description) for row in description.faults_of(path)}
    assert told == coded
    for status, code, _ in coded:
        schema = description.content(description.response(path, method, status))["schema"]
        assert code in schema["properties"]["error"]["enum"]


def test_reasons():
    schema = description.document()["components"]["schemas"]["Unavailable"]
    faults = source.faults().values()
    reasons = {row.event for row in faults if row.status >= 500 or row.event == "upstream_429"}
    assert set(schema["properties"]["reason"]["enum"]) == reasons - {"upstream_down"} | {"stopping"}
