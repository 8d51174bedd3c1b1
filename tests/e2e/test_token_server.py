"""The token server of `make bench`, without which its figures would mean nothing."""
import contextlib
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import time

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from bench import prepare, upstream
from servers import ports, procfs
from servers.process import wait_until
from servers.upstream import REVOKE_PATH, token_members

BODY = f"grant_type=password&username={upstream.USER_PREFIX}7&password=x"
STREAMS_MAX = 128


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench")
    prepare.build_token_server(path)
    return path


@pytest.fixture(name="server")
def token_server(folder, authority, build):
    with upstream.TokenServer(folder, authority, build=build) as server:
        yield server


# What it answers, to curl

def ask(authority, url, body=BODY, *, is_http2, more=()):
    """(status and version, seconds, body)."""
    done = subprocess.run(
        ["curl", "-sS", "--http2" if is_http2 else "--http1.1", "--cacert", authority.file,
         "--data-binary", "@-", "-w", "\n%{http_code} %{http_version}\n%{time_total}", *more, url],
        input=body, capture_output=True, text=True, timeout=30, check=True)
    answer, code, seconds = done.stdout.rsplit("\n", 2)
    return code, float(seconds), answer


@pytest.mark.parametrize("is_http2, version", [(False, "1.1"), (True, "2")])
class TestAnswers:
    def test_a_login(self, server, authority, is_http2, version):
        code, seconds, answer = ask(authority, server.url(is_http2, 0), is_http2=is_http2)
        assert code == f"200 {version}"
        assert json.loads(answer) == token_members()
        assert seconds < 0.3

    def test_a_login_after_a_delay(self, server, authority, is_http2, version):
        code, seconds, answer = ask(authority, server.url(is_http2, 0.3), is_http2=is_http2)
        assert code == f"200 {version}"
        assert json.loads(answer) == token_members()
        assert 0.3 <= seconds < 3

    def test_what_is_no_login(self, server, authority, is_http2, version):
        body = BODY.replace(upstream.USER_PREFIX, "user")
        assert ask(authority, server.url(is_http2, 0), body, is_http2=is_http2)[0] \
            == f"400 {version}"
        assert ask(authority, server.url(is_http2, 0), "", is_http2=is_http2)[0] \
            == f"400 {version}"

    def test_a_revocation(self, server, authority, is_http2, version):
        url = f"https://localhost:{server.port(is_http2, 3)}{REVOKE_PATH}"
        code, seconds, answer = ask(authority, url, "token=x", is_http2=is_http2)
        assert (code, answer) == (f"200 {version}", "")
        assert seconds < 3

    @pytest.mark.parametrize("more", [(), ("-H", "Transfer-Encoding: chunked"),
                                      ("-H", "Expect:")])
    def test_a_body_of_many_records(self, server, authority, is_http2, version, more):
        body = "x" * 3000000 + BODY + "y" * 1000
        if is_http2:
            more = more if "Expect:" in more else ()
        assert ask(authority, server.url(is_http2, 0), body, is_http2=is_http2, more=more)[0] \
            == f"200 {version}"

    def test_tls_1_2(self, server, authority, is_http2, version):
        assert ask(authority, server.url(is_http2, 0), is_http2=is_http2,
                   more=("--tls-max", "1.2"))[0] == f"200 {version}"


def test_http1_where_there_is_http2(server, authority):
    assert ask(authority, server.url(True, 0), is_http2=False)[0] == "200 1.1"


# Bytes

def connect(server, authority, *, is_http2, delay_s=0):
    context = ssl.create_default_context(cafile=authority.file)
    if is_http2:
        context.set_alpn_protocols(["h2"])
    plain = socket.create_connection(("127.0.0.1", server.port(is_http2, delay_s)), timeout=20)
    return context.wrap_socket(plain, server_hostname="localhost")


def read_answers(connection, count):
    """So many tokens, with all around them."""
    data = b""
    while data.count(b"}") < count:
        part = connection.recv(65536)
        assert part, data
        data += part
    return data


HEAD = b"POST /auth/token/ HTTP/1.1\r\nHost: x\r\n"
LOGIN = HEAD + f"content-length:{len(BODY)}\r\n\r\n{BODY}".encode()
CHUNKED = HEAD + (b"Transfer-Encoding: chunked\r\n\r\n9\r\nusername=\r\n2;ext=1\r\nus\r\n"
                  b"5\r\ner-17\r\n0\r\nTrailer: x\r\n\r\n")


@pytest.mark.parametrize("request_bytes", [LOGIN, CHUNKED], ids=["length", "chunked"])
def test_a_request_byte_by_byte(server, authority, request_bytes):
    with connect(server, authority, is_http2=False) as connection:
        for at in range(len(request_bytes)):
            connection.send(request_bytes[at:at + 1])
        assert read_answers(connection, 1).startswith(b"HTTP/1.1 200 OK\r\n")
        connection.send(request_bytes)
        assert read_answers(connection, 1).startswith(b"HTTP/1.1 200 OK\r\n")


def test_requests_one_behind_the_other(server, authority):
    """Each waits for the one before it."""
    with connect(server, authority, is_http2=False, delay_s=0.3) as connection:
        began = time.monotonic()
        connection.send((LOGIN + CHUNKED)[:-5])
        connection.send((LOGIN + CHUNKED)[-5:])
        assert read_answers(connection, 2).count(b"HTTP/1.1 200 OK\r\n") == 2
        assert time.monotonic() - began >= 0.6


@pytest.mark.parametrize("head", [b"POST / HTTP/1.0\r\n",
                                  b"POST / HTTP/1.1\r\nConnection: close\r\n"])
def test_an_answer_that_is_the_last(server, authority, head):
    with connect(server, authority, is_http2=False) as connection:
        connection.send(head + LOGIN[len(HEAD):])
        data = read_answers(connection, 1)
        assert b"\r\nConnection: close\r\n" in data
        assert connection.recv(1) == b""


@pytest.mark.parametrize("garbage", [b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\nx\r\n\r\n",
                                     HEAD + b"Content-Length: 1x\r\n\r\n",
                                     HEAD + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
                                     b"x" * 20000])
def test_what_is_no_request_ends_the_connection(server, authority, garbage):
    with connect(server, authority, is_http2=False) as connection:
        connection.send(garbage)
        assert connection.recv(1) == b""
    assert server.is_running


# HTTP/2

class Http2:
    """A client with one connection. window: how much of an answer may be sent ahead."""

    def __init__(self, connection, window=65535):
        self._socket = connection
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.local_settings = h2.settings.Settings(
            client=True, initial_values={h2.settings.SettingCodes.ENABLE_PUSH: 0,
                                         h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.h2.initiate_connection()
        self.bodies = {}
        self.statuses = {}
        self.ended = []
        self.resets = []
        self.updates = 0
        self.pings = 0
        self.has_room = True
        self.flush()

    def flush(self):
        self._socket.sendall(self.h2.data_to_send())

    def post(self, body=BODY, path="/auth/token/", pieces=1, more=()):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(":method", "POST"), (":scheme", "https"), (":path", path),
                                      (":authority", "localhost"), *more])
        size = -(-len(body) // pieces)
        for at in range(0, len(body), size):
            self.h2.send_data(stream, body[at:at + size].encode())
        self.h2.end_stream(stream)
        return stream

    def read(self):
        """Takes what comes next, and lets more of it come. False: the server hung up."""
        data = self._socket.recv(65536)
        if not data:
            return False
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.statuses[event.stream_id] = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                if self.has_room:
                    self.h2.acknowledge_received_data(event.flow_controlled_length,
                                                      event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.append(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.resets.append(event.stream_id)
            elif isinstance(event, h2.events.WindowUpdated):
                self.updates += 1
            elif isinstance(event, h2.events.PingAckReceived):
                self.pings += 1
        self.flush()
        return True

    def read_until(self, condition):
        while not condition():
            assert self.read()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING = 4, 6


def frame(kind, payload=b"", flags=0):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags, 0, 0, 0, 0]) + payload


@pytest.fixture(name="http2")
def http2_client(server, authority):
    with connect(server, authority, is_http2=True) as connection:
        yield Http2(connection)


def test_as_many_streams_as_there_may_be(server, authority):
    """All wait at the same time, and the next as many after them."""
    with connect(server, authority, is_http2=True, delay_s=0.3) as connection:
        client = Http2(connection)
        for times in (1, 2):
            began = time.monotonic()
            streams = [client.post() for _ in range(STREAMS_MAX)]
            client.flush()
            client.read_until(lambda times=times: len(client.ended) == times * STREAMS_MAX)
            assert 0.3 <= time.monotonic() - began < 5
            assert client.ended[-STREAMS_MAX:] == streams
    assert set(client.statuses.values()) == {200}
    assert {json.dumps(json.loads(body)) for body in client.bodies.values()} \
        == {json.dumps(token_members())}
    assert client.updates <= 1
    assert client.h2.remote_settings.max_concurrent_streams == STREAMS_MAX


def test_streams_beyond_the_most_are_refused(server, authority):
    """By a client that has not read yet how many there may be."""
    with connect(server, authority, is_http2=True, delay_s=0.3) as connection:
        client = Http2(connection)
        streams = [client.post() for _ in range(STREAMS_MAX + 2)]
        client.flush()
        client.read_until(lambda: len(client.ended) == STREAMS_MAX)
    assert client.ended == streams[:STREAMS_MAX]
    assert client.resets == streams[STREAMS_MAX:]


def test_an_answer_that_goes_out_in_pieces(server, authority):
    """By stream, to a client that lets in 50 bytes at a time."""
    with connect(server, authority, is_http2=True) as connection:
        client = Http2(connection, window=50)
        streams = [client.post() for _ in range(3)]
        client.flush()
        client.read_until(lambda: len(client.ended) == 3)
    assert all(json.loads(client.bodies[stream]) == token_members() for stream in streams)


def test_no_more_is_sent_than_the_connection_lets_in(http2):
    """65,535 bytes, until the client says that it has room for more."""
    http2.has_room = False
    per_answer = len(json.dumps(token_members()))
    batches = 65535 // per_answer // STREAMS_MAX
    for number in range(batches + 1):
        for _ in range(STREAMS_MAX):
            http2.post()
        http2.flush()
        if number < batches:
            http2.read_until(lambda most=number + 1: len(http2.ended) == most * STREAMS_MAX)
    http2.read_until(lambda: sum(map(len, http2.bodies.values())) == 65535)
    assert len(http2.ended) == 65535 // per_answer
    http2.h2.increment_flow_control_window(65535)
    http2.flush()
    http2.read_until(lambda: len(http2.ended) == (batches + 1) * STREAMS_MAX)
    assert set(http2.statuses.values()) == {200}
    assert {len(body) for body in http2.bodies.values()} == {per_answer}


def test_more_pings_at_one_time_than_there_is_room_for(http2):
    for _ in range(1000):
        http2.h2.ping(b"12345678")
    stream = http2.post()
    http2.flush()
    http2.read_until(lambda: http2.pings == 1000 and http2.ended == [stream])


def send_until_stuck(connection, data):
    """How much of it the connection takes, before nothing moves for a while."""
    sent = 0
    while sent < len(data):
        try:
            sent += connection.send(data[sent:sent + 16384])
        except ssl.SSLWantWriteError:
            if not select.select([], [connection], [], 0.5)[1]:
                break
    return sent


def test_who_does_not_read_is_not_read_from(server, authority):
    """Until it does: then all that it asked for is there."""
    count = 1000000
    data = memoryview(PREFACE + frame(SETTINGS) + frame(PING, b"12345678") * count)
    with connect(server, authority, is_http2=True) as connection:
        connection.setblocking(False)
        sent = send_until_stuck(connection, data)
        assert sent < len(data)
        received = b""
        acknowledged = frame(PING, b"12345678", flags=1)
        while len(received) < count * len(acknowledged) or not received.endswith(acknowledged):
            select.select([connection], [], [], 0 if connection.pending() else 0.05)
            with contextlib.suppress(ssl.SSLWantReadError):
                part = connection.recv(65536)
                assert part
                received += part
            with contextlib.suppress(ssl.SSLWantWriteError):
                sent += connection.send(data[sent:sent + 16384])
    assert received.count(acknowledged) == count


def test_a_body_in_pieces_and_a_long_head(http2):
    """The name is in two frames; the head in two, with a field that the client remembers."""
    stream = http2.post(pieces=len(BODY), more=[("x-long", "y" * 20000), ("x-known", "z")])
    http2.flush()
    http2.read_until(lambda: http2.ended == [stream])
    again = http2.post(more=[("x-known", "z")])
    no_login = http2.post("username=somebody")
    http2.flush()
    http2.read_until(lambda: len(http2.ended) == 3)
    assert [http2.statuses[number] for number in (stream, again, no_login)] == [200, 200, 400]


def test_a_stream_that_is_cancelled(server, authority):
    """Is not answered; what comes after it is."""
    with connect(server, authority, is_http2=True, delay_s=0.3) as connection:
        client = Http2(connection)
        cancelled = client.post()
        client.h2.reset_stream(cancelled)
        stream = client.post()
        client.flush()
        client.read_until(lambda: client.ended)
    assert client.ended == [stream]
    assert list(client.statuses) == [stream]


def test_a_ping(http2):
    http2.h2.ping(b"12345678")
    http2.flush()
    http2.read_until(lambda: http2.pings == 1)


def test_who_breaks_the_protocol_is_hung_up_on(server, authority):
    with connect(server, authority, is_http2=True) as connection:
        connection.send(b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n")
        while connection.recv(65536):
            pass
    assert server.is_running


# Its connections, and its end

def test_connections_are_counted(server, authority):
    assert (server.connections(), server.open_connections()) == (0, 0)
    with connect(server, authority, is_http2=False), connect(server, authority, is_http2=True):
        wait_until(lambda: server.open_connections() == 2, 10, "two open connections")
        assert server.connections() == 2
    wait_until(lambda: server.open_connections() == 0, 10, "no open connection")
    assert server.connections() == 2


def test_both_addresses_are_listened_on(server):
    hosts = ["127.0.0.1"] + (["::1"] if ports.has_ipv6() else [])
    for host in hosts:
        socket.create_connection((host, server.port(True, 3)), timeout=5).close()


def test_a_signal_ends_it_at_once(server, authority):
    """With all its workers, while a login waits."""
    workers = procfs.children(server.pid)
    assert len(workers) == upstream.WORKERS
    with connect(server, authority, is_http2=False, delay_s=3) as connection:
        connection.send(LOGIN)
        wait_until(lambda: server.open_connections() == 1, 10, "an open connection")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 2
    assert not any(procfs.is_alive(pid) for pid in workers)


def test_it_ends_with_a_worker(server):
    os.kill(procfs.children(server.pid)[0], signal.SIGKILL)
    assert server.wait(timeout=5) == 1
    assert server.lines[-1] == "token_server: a worker has ended"


@pytest.mark.parametrize("place, value", [
    (1, "/nowhere/leaf.pem"), (2, "/nowhere/leaf.key"), (3, "/nowhere/counts"), (4, ""),
    (4, "longer-than-sixteen"), (6, "0"), (6, "1000"), (7, "h1:0:0"), (7, "h1:65536:0"),
    (7, "h3:8000:0"), (7, "h1:8000:-1"), (7, "h1:8000"), (7, "h1:8000:0x")])
def test_misuse(folder, authority, build, place, value):
    leaf = authority.leaf()
    argv = [build / "token-server", leaf.certificate, leaf.key, folder / "counts", "user-", "{}",
            "1", f"h1:{ports.free_port()}:0"]
    argv[place] = value
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("token_server: cannot ")


def test_a_port_that_is_taken(folder, authority, build):
    leaf = authority.leaf()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [build / "token-server", leaf.certificate, leaf.key, folder / "counts", "user-", "{}",
             "1", f"h1:{port}:0"], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 2
    assert done.stderr == f"token_server: cannot listen on port {port}: Address already in use\n"
