"""Certificates, good ones and others, made with the `openssl` command."""

import ssl
import subprocess
from pathlib import Path

from tests.support.debian import command

CONFIGURATION = """
[ca]
default_ca = here
[here]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """Who vouches for certificates. `file` is for those who shall trust it."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.file = folder / f"{name}.pem"
        self._folder = folder
        self._key = folder / f"{name}.key"
        self._configuration = folder / f"{name}.cnf"
        self._configuration.write_text(CONFIGURATION.format(folder=folder))
        (folder / "index").touch()
        _openssl(
            *("req", "-x509", *EC, "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "keyUsage=critical,keyCertSign"),
            *("-keyout", self._key, "-out", self.file),
        )

    def vouch(
        self, name: str, *, host: str = "127.0.0.1", first: str = "", last: str = "", use: str = ""
    ) -> ssl.SSLContext:
        """
        The context of a server that shows a certificate for `host`.

        It is good from `first` to `last`, as in `20200101000000Z`, by default today; and for
        `use`, by default for servers.
        """
        request, key, made = (self._folder / f"{name}.{kind}" for kind in ("csr", "key", "crt"))
        kind = "IP" if host[0].isdigit() else "DNS"
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(
            f"subjectAltName={kind}:{host}\nextendedKeyUsage={use or 'serverAuth'}\n"
        )
        _openssl("req", *EC, "-subj", f"/CN={host}", "-keyout", key, "-out", request)
        _openssl(
            *("ca", "-batch", "-notext", "-config", self._configuration, "-in", request),
            *("-cert", self.file, "-keyfile", self._key, "-out", made, "-extfile", extensions),
            *(("-startdate", first) if first else ()),
            *(("-enddate", last) if last else ("-days", "2")),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made, key)
        return context


def _openssl(*arguments: str | Path) -> None:
    subprocess.run([command("openssl"), *map(str, arguments)], check=True, capture_output=True)
