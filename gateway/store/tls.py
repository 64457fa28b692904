"""
TLS to PostgreSQL, as an address asks for it in libpq's words.

`sslmode=verify-full` is the one that shows who the server is; its certificate must come from
`sslrootcert`, or else from an authority that the system trusts. `require` encrypts and, with a
`sslrootcert`, checks the certificate but not the name. Without a mode the driver encrypts where
the server can, which helps against nobody who is in between.
"""

import ssl

from sqlalchemy import URL

_OURS = ("sslmode", "sslrootcert", "sslcert", "sslkey")
_CHECKED = ("require", "verify-ca", "verify-full")
_MODES = ("disable", "allow", "prefer", *_CHECKED)


def check_tls(url: URL) -> None:
    """
    Refuse a mode that there is not, and files that the mode would not look at.

    Raises:
        ValueError: the address asks for something else than it may seem to.
    """
    asked = {name for name in _OURS if name in url.query}
    mode = url.query.get("sslmode", "prefer")
    if mode not in _MODES:
        raise ValueError(f"sslmode is none of {', '.join(_MODES)}")
    if mode not in _CHECKED and asked - {"sslmode"}:
        raise ValueError(f"certificates are for sslmode={', '.join(_CHECKED)}")


def read_tls(url: URL) -> tuple[URL, ssl.SSLContext | str | None]:
    """
    The address without its words on TLS, and what the driver is to do about it; None: as it likes.

    Raises:
        OSError: a file can't be read, or holds no certificate.
    """
    rest = url.difference_update_query(_OURS)
    mode, root, certificate, key = (_text(url, name) for name in _OURS)
    if mode not in _CHECKED:
        return rest, mode
    context = ssl.create_default_context(cafile=root)
    context.check_hostname = mode == "verify-full"
    if mode == "require" and root is None:
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return rest, context


def _text(url: URL, name: str) -> str | None:
    value = url.query.get(name)
    return value if isinstance(value, str) else None
