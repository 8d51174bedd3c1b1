"""Bodies are read as others read them: JSON as Python does, made strict, and forms as Node does
by the WHATWG URL standard, but that what is damaged is refused; and so are the token server's
answers."""
import random
import subprocess

import pytest

from fuzz import cases, differential, readings, targets

COUNT = 6000


@pytest.fixture(autouse=True)
def needs(require, request):
    kind = request.node.callspec.params.get("kind") if hasattr(request.node, "callspec") else None
    require(differential.missing(kind))


@pytest.mark.parametrize("kind", differential.KINDS)
def test_kept(kind):
    assert not list(differential.differences(kind, differential.kept(kind)))


@pytest.mark.parametrize("kind", differential.KINDS)
def test_generated(kind):
    made = differential.generated(kind, seed=4711, count=COUNT)
    assert not list(differential.differences(kind, made))


@pytest.mark.parametrize("kind, verdicts", [
    ("json", ("OK", "SYNTAX", "TEXT", "NONE", "BODY_SYNTAX", "FIELD_MISSING", "TOKEN_MISSING",
              "FIELD_TEXT", "FIELD_REPEATED")),
    ("form", ("NONE", "FIELD_MISSING", "TOKEN_MISSING", "FIELD_TEXT", "FIELD_REPEATED", "0", "1")),
    ("200:", ("NONE", "UPSTREAM_MALFORMED", "UPSTREAM_CONTRACT", "LOGIN_REFUSED",
              "CLIENT_REJECTED")),
    ("400:", ("UPSTREAM_MALFORMED", "UPSTREAM_CONTRACT", "LOGIN_REFUSED", "CLIENT_REJECTED"))])
def test_generated_bodies_are_of_every_kind(kind, verdicts):
    """Each is met by one in a hundred, or the comparison would prove little of it."""
    count = 2000
    source = random.Random(1)
    lines = "".join(f"{kind} {cases.make(kind, source).hex()}\n" for _ in range(count))
    done = subprocess.run([targets.BUILD / "tests" / "reading"], input=lines, text=True,
                          capture_output=True, timeout=60, check=True)
    told = [set(line.split(" ")) for line in done.stdout.splitlines()]
    assert len(told) == count
    for verdict in verdicts:
        assert sum(verdict in words for words in told) > count / 100, verdict


@pytest.mark.parametrize("body, verdict", [
    (b"{}", "OK"), (b" [1.5e3, null]\n", "OK"), (b"[NaN]", "SYNTAX"), (b"[-Infinity]", "SYNTAX"),
    (b"\xef\xbb\xbf{}", "SYNTAX"), (b'"\t"', "SYNTAX"), (b"\xff", "SYNTAX"), (b'"\xff"', "TEXT"),
    (rb'"\ud800"', "TEXT"), (rb'{"\u0000":1}', "TEXT"), (rb'"\ud83d\ude00"', "OK"),
    (b"[" * 32 + b"]" * 32, "OK"), (b"[" * 33 + b"]" * 33, "SYNTAX"), (b"[" * 9999, "SYNTAX"),
    (b"1" * 5000, "OK"), ("[\u0661]".encode(), "SYNTAX"), (b'{"a":1,"a":2}', "OK")])
def test_the_strict_reading_is_strict(body, verdict):
    assert readings.parse_json(body)[0] == verdict


@pytest.mark.parametrize("kind, body", [
    ("json", b'{"username":"abcd","password":"b"}'), ("form", b"username=abcd&password=b"),
    ("200:", b'{"access_token":"a","token_type":"Bearer","expires_in":4}'),
    ("400:", b'{"error":"invalid_grant"}')])
def test_a_difference_is_seen(kind, body, monkeypatch):
    """By a reading with other ceilings and codes."""
    assert not list(differential.differences(kind, [body]))
    monkeypatch.setattr(readings, "FIELD_MAX_BYTES", 3)
    monkeypatch.setattr(readings, "SECONDS_MAX", 3)
    monkeypatch.setattr(readings, "ERRORS", {})
    assert [found for found, _, _ in differential.differences(kind, [b"", body])] == [body]
