"""The doors through nginx, with the files of nginx/."""
from servers import nginx
from servers.door import ProgramDoor

TOO_LARGE = (413, "client_max_body_size: nginx's own page of the same form")
DIFFERENCES = dict.fromkeys(
    ("oversize", "oversize chunked", "huge", "huge chunked"), TOO_LARGE)


class NginxDoor(ProgramDoor):
    """nginx before the program's Unix socket."""

    name = "nginx-unix"
    differences = DIFFERENCES
    sees_abort = True

    @classmethod
    def missing(cls):
        return nginx.missing()

    def open_front(self, target):
        return self.run(nginx.Login(self.folder, target)).origin


class NginxTcpDoor(NginxDoor):
    """nginx before the program's TCP socket."""

    name = "nginx-tcp"
    listen = "tcp"
