"""What a gateway in production leaves open: nothing that is for developers (SECURITY S42)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.world import PEPPER, Gateway, ask, gateway, settings

NOWHERE = "http://127.0.0.1:9"
NOT_THERE = ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/debug", "/metrics"]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    variables = {"LOCKGATE_ENVIRONMENT": "production", "LOCKGATE_ADMIN_LISTEN": "127.0.0.1:0"}
    folder = tmp_path_factory.mktemp("hardening")
    with gateway(folder, settings({"sim": NOWHERE}), **variables) as made:
        yield made


def test_it_leaves_no_core_file_and_opens_as_many_files_as_it_may(process: Gateway) -> None:
    limits = {
        line[:25].strip(): line[25:].split()[:2]
        for line in Path(f"/proc/{process.pid}/limits").read_text().splitlines()[1:]
    }

    assert limits["Max core file size"] == ["0", "0"]
    soft, hard = limits["Max open files"]
    assert soft == hard


@pytest.mark.parametrize("path", NOT_THERE)
def test_it_shows_clients_nothing_that_is_for_developers(process: Gateway, path: str) -> None:
    assert ask("GET", process.url + path).status_code == 404


def test_its_secrets_are_in_nothing_that_it_prints(process: Gateway) -> None:
    assert PEPPER not in process.output
