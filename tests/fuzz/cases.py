"""Bodies to be read: made by their grammar, then damaged, so that most are nearly right."""
from fuzz import readings

BODY_MAX_BYTES = 16 * 1024
NAMES = (*readings.CREDENTIALS, "client_id", "grant_type", "Username", "", "x")
CHARS = ("a", "Z", "7", " ", "+", "%", "&", "=", ";", "?", "#", "/", "\\", '"', "'", "\x7f", "\t",
         "\0", "é", "\u2028", "\ufeff", "\uffff", "\U0001f600", "\U0010ffff")
BAD_BYTES = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80",
             b"\xf0\x9f\x98", b"\xfe", b"\xc3")


def _chars(random):
    count = random.choice((0, 1, 1, 2, 3, 5, 9, 17))
    if random.random() < 0.01:
        count = random.choice((readings.FIELD_MAX_BYTES, readings.FIELD_MAX_BYTES + 1))
        return ["a"] * count
    return random.choices(CHARS, (24, 8, 8, 8, *[3] * 7, *[2] * 6, *[1] * 7), k=count)


# JSON

def _escape(random, char):
    """One of the ways to write a character in a string."""
    short = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\t": "\\t"}.get(char)
    units = char.encode("utf-16-be").hex()
    if random.random() < 0.2:
        units = units.upper()
    long = "".join(f"\\u{units[i:i + 4]}" for i in range(0, len(units), 4))
    if short:
        return short if random.random() < 0.8 else long
    return long if char == "\0" or random.random() < 0.2 else char


def _json_text(random, text=None):
    inner = "".join(_escape(random, char) for char in (_chars(random) if text is None else text))
    if random.random() < 0.02:
        inner += random.choice(("\\ud800", "\\udc00", "\\ud83d\\u0041", "\\ud83d\\ud83d\\ude00",
                                "\\x", "\\u12g4", "\\u 123", "\\u+123", "\\", "\n", "\x1f"))
    return f'"{inner}"'


def _space(random):
    return random.choice(("", "", "", "", " ", "\n", "\t\r\n "))


def _number(random):
    return random.choice(("0", "-0", "7", "-12.50", "1e5", "1E-05", "0.0e+0", "1" * 80,
                          "0." + "3" * 70, "1e999", "01", "+1", "1.", ".5", "-", "1e", "0x1",
                          "NaN", "Infinity", "-Infinity", "1_000", "\u0661"))


def _json_value(random, depth=0):
    kind = random.random()
    if kind < 0.45:
        return _json_text(random)
    if kind < 0.6:
        return _number(random)
    if kind < 0.75 or depth > 3:
        return random.choice(("true", "false", "null", "True", "nul", "[]", "{}", ""))
    if kind < 0.77:
        deep = random.choice((31, 32, 33, 200))
        return "[" * deep + "]" * deep
    if kind < 0.88:
        items = (_json_value(random, depth + 1) for _ in range(random.randrange(4)))
        return "[" + ",".join(_space(random) + item + _space(random) for item in items) + "]"
    return _json_object(random, depth + 1)


def _json_object(random, depth=0):
    members = []
    for _ in range(random.randrange(5)):
        name = random.choice(NAMES)
        members.append(_space(random) + _json_text(random, name) + _space(random) + ":" +
                       _space(random) + _json_value(random, depth) + _space(random))
    return "{" + ",".join(members) + "}"


def _login(random):
    """Both fields, most of the time as they should be."""
    members = [f'{_json_text(random, name)}:{_json_text(random)}'
               for name in ("username", "password", *random.choices(NAMES, k=random.randrange(3)))]
    random.shuffle(members)
    return "{" + ",".join(members) + "}"


def _json(random):
    made = random.choice((_login, _login, _json_object, _json_value))(random)
    return (_space(random) + made + _space(random)).encode("utf-8")


def _answer(random):
    """A token or an error, most of the time nearly as it should be."""
    texts = {"access_token": _json_text, "refresh_token": _json_text, "scope": _json_text,
             "token_type": lambda random: random.choice(('"Bearer"', '"Bearer"', '"bEARER"',
                                                         '"MAC"', '"Bearer "', "null", "1")),
             "expires_in": lambda random: random.choice((
                 "3600", "36e2", '"3600"', "0", "-0", "-1", "1.5", '"1.5"', '""', '" 1"', "null",
                 "999999999999999", "1000000000000000", '"999999999999999"', '"1000000000000000"',
                 '"\\u0661"', "1e14", "1e999", "true", "[]")),
             "error": lambda random: random.choice((
                 "null", "7", '"other"', *(f'"{code}"' for code in readings.ERRORS))),
             "user": _json_value}
    names = ["access_token", "token_type", "expires_in"]
    if random.random() < 0.3:
        names = ["error"]
    names += random.choices([*texts], (1, 4, 4, 1, 1, 1, 4), k=random.randrange(4))
    random.shuffle(names)
    members = (f"{_json_text(random, name)}{_space(random)}:"
               f"{_json_value(random) if random.random() < 0.05 else texts[name](random)}"
               for name in names)
    return ("{" + f",{_space(random)}".join(members) + "}").encode("utf-8")


# Forms

def _form_text(random, text=None):
    out = bytearray()
    for char in (_chars(random) if text is None else text):
        for byte in char.encode():
            kind = random.random()
            if char == " " and kind < 0.7:
                out += b"+"
            elif kind < 0.3 or char in "%&=+#\0":
                out += random.choice((b"%%%02x", b"%%%02X")) % byte
            else:
                out.append(byte)
    if random.random() < 0.03:
        out += random.choice((b"%", b"%4", b"%zz", b"%%41", b"%00", b"\0", b"%ff", b"%C3",
                              b"%ed%a0%80", b"%C3\xa4", b"\xc3%a4", b"%u0041", b"%-1", b"%+1"))
    return bytes(out)


def _form(random):
    pairs = []
    for _ in range(random.randrange(1, 6)):
        pair = _form_text(random, random.choice(NAMES))
        if random.random() < 0.9:
            pair += b"=" + _form_text(random)
        pairs.append(pair)
    return random.choice((b"&", b"&", b"&", b"&&", b";")).join(pairs)


# Damage

def _damage(random, body):
    """One small change."""
    at = random.randrange(len(body) + 1)
    kind = random.randrange(5)
    if kind == 0:
        return body[:at] + random.choice(BAD_BYTES) + body[at:]
    if kind == 1:
        return body[:at] + body[at + 1:]
    if kind == 2:
        return body[:at] + bytes([random.randrange(256)]) + body[at + 1:]
    if kind == 3:
        return body[:at]
    return body[:at] + body[random.randrange(len(body) + 1):]


MAKERS = {"json": _json, "form": _form, "200:": _answer, "400:": _answer}


def make(kind, random):
    body = MAKERS[kind](random)
    while random.random() < 0.4:
        body = _damage(random, body)
    return body[:BODY_MAX_BYTES]
