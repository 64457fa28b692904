"""The reference says everything that can be set, and nothing that can't."""

import re

from gateway.config import Config
from gateway.config.reference import reference
from gateway.contract.provider import ProviderSettings
from gateway.settings import Settings


class AcmeSettings(ProviderSettings):
    kind: str = "acme"
    engine: str = "x|y"


PAGE = reference({"acme": AcmeSettings})


def test_every_part_of_the_file_has_a_chapter() -> None:
    assert re.findall(r"^## `(\w+)`$", PAGE, re.MULTILINE) == list(Config.model_fields)


def test_every_variable_is_listed() -> None:
    listed = re.findall(r"^\| `LOCKGATE_(\w+)`", PAGE, re.MULTILINE)

    assert [name.lower() for name in listed] == list(Settings.model_fields)


def test_every_row_has_a_meaning() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]

    assert len(rows) > 50
    for row in rows:
        if "(acme)" not in row:
            assert not row.endswith("|  |"), row


def test_a_kind_adds_what_only_it_has() -> None:
    assert "| `providers.<name>.engine (acme)` | `x|y` |" in PAGE
    assert "`providers.<name>.max_concurrency (acme)`" not in PAGE


def test_nested_and_repeated_settings_are_told_by_their_path() -> None:
    for path in (
        "models.<name>.targets[].weight",
        "models.<name>.timeouts.stall",
        "providers.<name>.queue.size",
        "providers.<name>.adaptive",
        "providers.<name>.adaptive.start",
        "tenants.<name>.keys[].key_hash",
        "http.cors.origins",
        "plans.<name>.models.<name>.budget",
        "….service_tiers",
    ):
        assert f"| `{path}` |" in PAGE
