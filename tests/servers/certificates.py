"""A certificate authority for tests, and certificates of every kind, by the openssl command.

    authority = Authority(folder)
    leaf = authority.leaf()            # localhost, 127.0.0.1, ::1; trusted by authority.file
    leaf.certificate, leaf.key         # PEM files
    authority.wrong_host()             # trusted, for another name
    authority.expiring(12)             # trusted, for so many days more
    authority.expired()                # trusted, but it ended
    authority.self_signed()            # for localhost, by nobody
"""
import dataclasses
import datetime
import pathlib
import subprocess

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
NEW_EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A certificate and its key: the paths of two PEM files."""
    certificate: str
    key: str


def _openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed:\n{done.stderr}")


def _alternative_names(hosts):
    def kind(host):
        return "IP" if ":" in host or host.replace(".", "").isdigit() else "DNS"
    return "subjectAltName=" + ",".join(f"{kind(host)}:{host}" for host in hosts)


class Authority:
    """A test authority in a folder of its own; `file` is its certificate, to be trusted.
    Certificates are made when first asked for and kept. new_key: how openssl makes its key and
    those of its certificates."""

    def __init__(self, folder, name="Test authority", new_key=NEW_EC_KEY):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.file = str(self.folder / "ca.pem")
        self._key = str(self.folder / "ca.key")
        self._new_key = new_key
        self._made = {}
        _openssl("req", "-x509", *new_key, "-days", 30, "-subj", f"/CN={name}",
                 "-addext", "basicConstraints=critical,CA:true",
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                 "-keyout", self._key, "-out", self.file)
        (self.folder / "index.txt").touch()
        (self.folder / "ca.conf").write_text(self._ca_settings(), encoding="ascii")

    def leaf(self, name="localhost", hosts=LOCAL_HOSTS):
        """A good certificate for these host names and addresses."""
        return self._sign(name, hosts, starts=-1, ends=30)

    def wrong_host(self):
        """Signed and current, but for another host."""
        return self._sign("wrong-host", ("elsewhere.invalid",), starts=-1, ends=30)

    def expiring(self, days):
        """As leaf(), but it ends in so many days."""
        return self._sign(f"expiring-{days}", LOCAL_HOSTS, starts=-60, ends=days)

    def expired(self):
        """Signed, for localhost, but it ended yesterday."""
        return self._sign("expired", LOCAL_HOSTS, starts=-30, ends=-1)

    def self_signed(self):
        """For localhost and current, but signed by itself."""
        leaf = self._paths("self-signed")
        if "self-signed" not in self._made:
            _openssl("req", "-x509", *self._new_key, "-days", 30, "-subj", "/CN=localhost",
                     "-addext", _alternative_names(LOCAL_HOSTS),
                     "-keyout", leaf.key, "-out", leaf.certificate)
            self._made["self-signed"] = leaf
        return leaf

    def _paths(self, name):
        return Leaf(str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key"))

    def _sign(self, name, hosts, starts, ends):
        if name in self._made:
            return self._made[name]
        leaf = self._paths(name)
        request = self.folder / f"{name}.csr"
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"{_alternative_names(hosts)}\nextendedKeyUsage=serverAuth\n",
                              encoding="ascii")
        _openssl("req", "-new", *self._new_key, "-subj", f"/CN={hosts[0]}",
                 "-keyout", leaf.key, "-out", request)
        _openssl("ca", "-batch", "-notext", "-config", self.folder / "ca.conf", "-in", request,
                 "-out", leaf.certificate, "-extfile", extensions,
                 "-startdate", self._moment(starts), "-enddate", self._moment(ends))
        self._made[name] = leaf
        return leaf

    @staticmethod
    def _moment(days):
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
        return moment.strftime("%Y%m%d%H%M%SZ")

    def _ca_settings(self):
        return (f"[ca]\ndefault_ca = test\n[test]\ndatabase = {self.folder}/index.txt\n"
                f"new_certs_dir = {self.folder}\ncertificate = {self.file}\n"
                f"private_key = {self._key}\ndefault_md = default\npolicy = any\n"
                "rand_serial = yes\nunique_subject = no\n"
                "[any]\ncommonName = supplied\n")
