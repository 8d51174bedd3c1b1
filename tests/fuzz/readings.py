"""What a body means, by others' readings: Python's json, made strict, and Node's URLSearchParams."""
import json

DEPTH_MAX = 32
FIELD_MAX_BYTES = 4096

# Of each route, the names that it takes and the field that each is.
ROUTES = {
    "login": {"username": "username", "password": "password"},
    "refresh": {"refresh_token": "refresh", "refreshToken": "refresh"},
    "logout": {"refresh_token": "refresh", "refreshToken": "refresh",
               "access_token": "access", "accessToken": "access"},
}
SHOWN = {"login": ("username", "password"), "refresh": ("refresh",),
         "logout": ("refresh", "access")}
MISSING = {"login": "FIELD_MISSING", "refresh": "TOKEN_MISSING", "logout": "TOKEN_MISSING"}
CREDENTIALS = sorted({name for names in ROUTES.values() for name in names})

BAD = object()  # stands for a pair of a form that is refused

ERRORS = {"invalid_grant": "LOGIN_REFUSED", "invalid_request": "UPSTREAM_CONTRACT",
          "invalid_client": "CLIENT_REJECTED", "unauthorized_client": "CLIENT_REJECTED",
          "unsupported_grant_type": "CLIENT_REJECTED", "invalid_scope": "CLIENT_REJECTED"}
TOKEN_MEMBERS = ("access_token", "expires_in", "token_type", "scope", "refresh_token")
SECONDS_MAX = 999999999999999


class Members(list):
    """An object's members, repeated ones too."""

    def first(self, name):
        """The value of the first of that name; None too where there is none."""
        return next((value for member, value in self if member == name), None)


class Number:
    """A number as it is written."""

    def __init__(self, text):
        self.text = text


def _refuse(word):
    raise ValueError(word)


def _depth(root):
    """How deep it nests; counted, since Python's own stack has an end."""
    deepest, left = 0, [(root, 1)]
    while left:
        node, depth = left.pop()
        if isinstance(node, list):
            deepest = max(deepest, depth)
            children = (value for _, value in node) if isinstance(node, Members) else node
            left.extend((child, depth + 1) for child in children)
    return deepest


def _texts(root):
    """Every name and every text."""
    left = [root]
    while left:
        node = left.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, Members):
            for name, value in node:
                left += (name, value)
        elif isinstance(node, list):
            left += node


def _is_text(text):
    return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)


def parse_json(body):
    """(verdict, value) as json_check() gives them. A byte that is not UTF-8 becomes a lone
    surrogate, which is JSON inside of a string alone, and no text."""
    try:
        value = json.loads(body.decode("utf-8", "surrogateescape"), strict=True,
                           parse_constant=_refuse, parse_int=Number, parse_float=Number,
                           object_pairs_hook=Members)
    except (ValueError, RecursionError):
        return "SYNTAX", None
    if _depth(value) > DEPTH_MAX:
        return "SYNTAX", None
    return ("OK" if all(map(_is_text, _texts(value))) else "TEXT"), value


def _read_route(pairs, route):
    """(fault, fields) of what a route takes from pairs, in their order."""
    fields = {}
    for pair in pairs:
        if pair is BAD:
            return "FIELD_TEXT", {}
        name, value = pair
        field = ROUTES[route].get(name)
        if field is None:
            continue
        if field in fields:
            return "FIELD_REPEATED", {}
        if not isinstance(value, str) or not value:
            return MISSING[route], {}
        if len(value.encode()) > FIELD_MAX_BYTES:
            return "FIELD_TEXT", {}
        fields[field] = value
    if not fields or (route == "login" and len(fields) < 2):
        return MISSING[route], {}
    return "NONE", fields


def _words(reading):
    """As tests/fuzz/reading.c writes them."""
    for route in ROUTES:
        fault, fields = reading(route)
        yield fault
        yield from (fields.get(field, "").encode().hex() + "." for field in SHOWN[route])


def read_json(body):
    """The line of reading.c for a JSON body."""
    verdict, value = parse_json(body)

    def reading(route):
        if verdict == "TEXT":
            return "FIELD_TEXT", {}
        if verdict == "SYNTAX" or not isinstance(value, Members):
            return "BODY_SYNTAX", {}
        return _read_route(value, route)
    return " ".join((verdict, *_words(reading)))


def read_form(told):
    """The line of reading.c for a form, from what form_reference.mjs says of it."""
    pairs = []
    for word in told.rpartition(" ")[0].split(",")[:-1]:
        name, _, value = word.partition("=")
        pairs.append(BAD if word == "bad" else
                     (bytes.fromhex(name).decode(), bytes.fromhex(value).decode()))
    return " ".join((told, *_words(lambda route: _read_route(pairs, route))))


# Answers of the token server

def _seconds(value):
    """A number of seconds, or BAD. Some servers quote it."""
    if isinstance(value, str):
        is_number = value.isascii() and value.isdigit() and len(value) <= 15
        return int(value) if is_number else BAD
    seconds = float(value.text) if isinstance(value, Number) else -1.0
    return int(seconds) if 0 <= seconds <= SECONDS_MAX and seconds == int(seconds) else BAD


def _token(members):
    """(fault, token) of a 200."""
    kind = members.first("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer" or not members.first("access_token"):
        return "UPSTREAM_MALFORMED", None
    token = {}
    for name in TOKEN_MEMBERS:
        value = members.first(name)
        if value is None:
            continue
        if name == "expires_in":
            value = _seconds(value)
        elif not isinstance(value, str):
            value = BAD
        if value is BAD:
            return "UPSTREAM_MALFORMED", None
        token[name] = value
    return "NONE", token


def read_answer(status, body):
    """The line of reading.c for an answer, with the token's JSON as shown() has it."""
    verdict, value = parse_json(body)
    members = value if verdict == "OK" and isinstance(value, Members) else Members()
    error = members.first("error")
    fault, token = ERRORS.get(error if isinstance(error, str) else None), None
    if fault is None and error is not None:
        fault = "UPSTREAM_CONTRACT"
    if fault is None and status == 200:
        fault, token = _token(members)
    return f"{fault or 'UPSTREAM_MALFORMED'} {json.dumps(token)}"


def shown(line):
    """What reading.c says of an answer, with the token's JSON written in one way."""
    fault, _, token = line.rstrip(".").partition(" ")
    return f"{fault} {json.dumps(json.loads(bytes.fromhex(token)) if token else None)}"
