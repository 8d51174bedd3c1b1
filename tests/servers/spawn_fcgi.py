"""The door through nginx to a program that spawn-fcgi started: its socket is descriptor 0."""
import shutil

from servers import folders, nginx, program
from servers.door import Door
from servers.nginx_door import DIFFERENCES

SPAWN_FCGI = "spawn-fcgi"


class Spawned(program.Program):
    """The program, started by spawn-fcgi in its own place.

    folder: where the socket goes. path: the program, where `user` can run it. user: (user,
    group) to run as and to open the socket to, or None for our own.
    """

    def __init__(self, folder, path, user, settings):
        super().__init__(folder, settings=settings)
        command = [shutil.which(SPAWN_FCGI), "-n", "-s", self.address, "-M", "0660"]
        if user:
            name, group = user
            command += ["-u", name, "-g", group, "-U", name, "-G", group]
        self.argv = [*command, "--", str(path)]


class SpawnFcgiDoor(Door):
    """spawn-fcgi, and nginx before its socket."""

    name = "nginx-spawn-fcgi"
    differences = DIFFERENCES
    sees_abort = True

    @classmethod
    def missing(cls):
        if not shutil.which(SPAWN_FCGI):
            return "spawn-fcgi is not installed"
        return nginx.missing()

    def open(self):
        self.install_ca_file()
        path = self.install_program(self.folder / "program")
        self.program = self.run(Spawned(self.folder, path, folders.web_user(), self.settings))
        self.origin = self.run(nginx.Login(self.folder, self.program.target)).origin

    def log_lines(self):
        return self.program.lines
