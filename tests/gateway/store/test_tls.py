"""Whoever asks for TLS gets what was asked for, or no connection."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from gateway.contract.errors import StoreUnavailable
from gateway.store.database import Database
from gateway.store.tls import check_tls, read_tls
from tests.support.faulty import self_signed
from tests.support.postgres_server import PostgresServer


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Tls:
    """A server that speaks TLS on loopback, with a certificate for one name."""

    def __init__(self, folder: Path, host: str) -> None:
        self.root, _ = self_signed(folder, host=host)
        self.port = _free_port()
        self.server = PostgresServer(self.port)
        certificate = self.server.keep(self.root)
        key = self.server.keep(folder / "key.pem")
        self.server.set("listen_addresses=127.0.0.1", "ssl=on")
        self.server.set(f"ssl_cert_file={certificate}", f"ssl_key_file={key}")

    def url(self, query: str) -> str:
        return f"postgresql://lockgate@127.0.0.1:{self.port}/postgres?{query}"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    tls = Tls(tmp_path_factory.mktemp("honest"), "127.0.0.1")
    with tls.server:
        yield tls


@pytest.fixture(scope="module")
def misnamed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    tls = Tls(tmp_path_factory.mktemp("misnamed"), "elsewhere.test")
    with tls.server:
        yield tls


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    tls = Tls(tmp_path_factory.mktemp("plain"), "127.0.0.1")
    tls.server.set("ssl=off")
    with tls.server:
        yield tls


async def _is_encrypted(url: str) -> bool:
    async with Database(url) as database, database.reading() as connection:
        asked = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        return bool((await connection.execute(asked)).scalar())


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_server_that_shows_who_it_is_is_trusted(honest: Tls, mode: str) -> None:
    assert await _is_encrypted(honest.url(f"sslmode={mode}&sslrootcert={honest.root}"))


async def test_require_alone_encrypts(honest: Tls) -> None:
    assert await _is_encrypted(honest.url("sslmode=require"))


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
async def test_a_server_that_nobody_vouches_for_is_not_trusted(honest: Tls, mode: str) -> None:
    with pytest.raises(StoreUnavailable) as error:
        await _is_encrypted(honest.url(f"sslmode={mode}"))
    assert isinstance(error.value.__cause__, ssl.SSLCertVerificationError)


async def test_a_server_that_somebody_else_vouches_for_is_not_trusted(
    honest: Tls, misnamed: Tls
) -> None:
    for mode in ("require", "verify-ca", "verify-full"):
        with pytest.raises(StoreUnavailable):
            await _is_encrypted(honest.url(f"sslmode={mode}&sslrootcert={misnamed.root}"))


async def test_a_server_of_another_name_is_trusted_only_where_names_do_not_count(
    misnamed: Tls,
) -> None:
    with pytest.raises(StoreUnavailable):
        await _is_encrypted(misnamed.url(f"sslmode=verify-full&sslrootcert={misnamed.root}"))
    assert await _is_encrypted(misnamed.url(f"sslmode=verify-ca&sslrootcert={misnamed.root}"))


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_nothing_is_sent_to_a_server_without_tls(plain: Tls, mode: str) -> None:
    with pytest.raises(StoreUnavailable):
        await _is_encrypted(plain.url(f"sslmode={mode}&sslrootcert={plain.root}"))


async def test_a_certificate_that_is_not_there_is_told_on_opening(tmp_path: Path) -> None:
    url = f"postgresql://u@h/d?sslmode=verify-full&sslrootcert={tmp_path}/none.pem"
    with pytest.raises(StoreUnavailable) as error:
        async with Database(url):
            pass
    assert isinstance(error.value.__cause__, FileNotFoundError)


def test_a_client_may_show_a_certificate_too(honest: Tls) -> None:
    key = honest.root.with_name("key.pem")
    url = make_url(f"postgresql://h/d?sslmode=require&sslcert={honest.root}&sslkey={key}&x=y")

    rest, context = read_tls(url)

    assert rest.query == {"x": "y"}
    assert isinstance(context, ssl.SSLContext)


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_what_checks_nothing_is_the_drivers(mode: str) -> None:
    assert read_tls(make_url(f"postgresql://h/d?sslmode={mode}"))[1] == mode


@pytest.mark.parametrize(
    "query",
    ["sslmode=on", "sslrootcert=x", "sslmode=prefer&sslcert=x", "sslmode=a&sslmode=b"],
)
def test_what_would_check_less_than_it_seems_to_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match="sslmode"):
        check_tls(make_url(f"postgresql://h/d?{query}"))
