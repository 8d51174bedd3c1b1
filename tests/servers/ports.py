"""TCP ports that are free, and whether somebody listens on one."""
import http.client
import socket
import ssl

_given = set()


def free_port(host="127.0.0.1"):
    """A port of this address that nobody uses now, never the same one twice."""
    while True:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def is_listening(address):
    """Whether a connection to a (host, port) or to the path of a Unix socket is accepted."""
    is_path = isinstance(address, str)
    family = socket.AF_UNIX if is_path else (
        socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True


def has_ipv6():
    """Whether the machine has the address ::1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def outside_address():
    """An IPv4 address of this machine that is not loopback; None if it has none. Nothing is sent:
    the kernel is asked which address it would send from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") else address


def answers_http(host, port, path, timeout=2):
    """Whether a TLS server answers a GET there, whatever the answer and its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=timeout)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
