"""Temporary folders that the web server's workers can reach, and nobody else."""
import contextlib
import grp
import os
import pathlib
import pwd
import shutil
import tempfile


def is_root():
    return os.geteuid() == 0


def web_user():
    """The user and group of the web server's workers, where we are root; otherwise None."""
    if not is_root():
        return None
    for user in ("www-data", "nobody"):
        try:
            entry = pwd.getpwnam(user)
            return user, grp.getgrgid(entry.pw_gid).gr_name
        except KeyError:
            continue
    raise RuntimeError("neither the user www-data nor nobody exists")


def web_group():
    """The group to open a Unix socket to, where we are root; otherwise None: the workers are
    ours and need no group."""
    user = web_user()
    return user[1] if user else None


def make_folder(parent="/tmp"):
    """A new folder for us only; as root also to be passed through by the web server's group. Its
    path is kept short, since that of a Unix socket ends at 107 bytes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bakrypt-login-", dir=parent))
    if is_root():
        shutil.chown(folder, group=web_group())
        folder.chmod(0o710)
    return folder


def remove_folder(folder):
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def temporary_folder(parent="/tmp"):
    """make_folder(), removed at the end."""
    folder = make_folder(parent)
    try:
        yield folder
    finally:
        remove_folder(folder)


def make_subfolder(folder, name):
    """A folder inside one of make_folder(), with the same access; it may exist."""
    path = pathlib.Path(folder) / name
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_root():
        shutil.chown(path, group=web_group())
        path.chmod(0o710)
    return path


def copy_for_web(source, folder, name):
    """A copy of a folder of plain files in one of make_folder(), for the web server to read."""
    target = make_subfolder(folder, name)
    for path in pathlib.Path(source).iterdir():
        copy = target / path.name
        shutil.copyfile(path, copy)
        if is_root():
            shutil.chown(copy, group=web_group())
            copy.chmod(0o640)
    return target
