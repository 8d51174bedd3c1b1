"""What stands in two of the files for nginx is the same in both."""
import re

from servers import nginx


def upstream_block(path, indent=""):
    """The lines inside of the block that defines the upstream, comments aside."""
    text = path.read_text(encoding="ascii")
    block = re.search(rf"^{indent}upstream bakrypt_login {{\n(.*?)^{indent}}}$", text,
                      flags=re.M | re.S)
    lines = [line.removeprefix(indent).strip() for line in block[1].splitlines()]
    return [line for line in lines if not line.startswith("#")]


def test_the_comment_shows_the_upstream_of_the_example_site():
    shown = upstream_block(nginx.LOGIN_CONF, indent="#\t")
    assert shown == upstream_block(nginx.EXAMPLE_SITE)
    assert f"keepalive {nginx.KEEPALIVE};" in shown
