"""Configuration files as text, read with made-up provider kinds."""

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from gateway.access import Key
from gateway.config import Config, ConfigError, parse
from gateway.contract.errors import ProviderError
from gateway.contract.provider import (
    AnyProvider,
    Body,
    Operation,
    Provider,
    ProviderSettings,
    Reader,
    Target,
    UpstreamRequest,
)
from gateway.registry import UnknownKind

KEY = Key.generate(Random(11)).reveal()
SECRET = "sk-an-upstream-credential"

GOOD = """\
# A comment with ${NOT_SET} in it.
providers:
  a: {kind: plain, base_url: "http://a.example/v1", api_key: "${UPSTREAM_KEY}"}
  b:
    kind: billed
    base_url: http://b.example
    bill_to: "${ORG:-nobody}"
models:
  chat:
    strategy: weighted
    targets:
      - {provider: a, model: one}
      - {provider: b, model: two, weight: 3}
    max_output: 100
    timeouts: {first_content: 5s, total: 2m}
  org/other:latest:
    targets: [{provider: b, model: two}]
plans:
  default: {requests: 10/minute}
  counted: {tokens: 1000/minute, concurrency: 3}
tenants:
  acme:
    models: [chat, org/other:latest]
    keys:
      - {name: ci, key: "${ACME_KEY}"}
      - {name: web, key: "${WEB_KEY:-}", models: [chat], plan: counted}
"""
ENVIRON = {"UPSTREAM_KEY": SECRET, "ACME_KEY": KEY}


class BilledSettings(ProviderSettings):
    """Settings of a kind with a field of its own."""

    bill_to: str = ""


class _Silent(Provider[Any]):
    """Is only ever configured."""

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        raise AssertionError("never asked")

    def reader(self, operation: Operation, body: Body, *, stream: bool) -> Reader:
        raise AssertionError("never read")

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        raise AssertionError("never answers")


class Plain(_Silent):
    """A kind without settings of its own, and with a price list."""

    Settings = ProviderSettings

    def price_list(self, model: str) -> tuple[str, str] | None:
        return "plain", model


class Billed(_Silent):
    """A kind with one setting of its own, and without a price list."""

    Settings = BilledSettings

    @property
    def is_active(self) -> bool:
        return bool(self.settings.bill_to)


def provider_class(kind: str) -> type[AnyProvider]:
    """What the registry does, for the two made-up kinds."""
    kinds: dict[str, type[AnyProvider]] = {"plain": Plain, "billed": Billed}
    if kind not in kinds:
        raise UnknownKind(f"no provider of kind {kind!r}")
    return kinds[kind]


def configured(text: str = GOOD, **environ: str) -> Config:
    """The configuration that a file says."""
    return parse(text.encode(), "file.yaml", ENVIRON | environ, provider_class)


def refused(text: str, **environ: str) -> list[str]:
    """What is said of a file that cannot be used."""
    with pytest.raises(ConfigError) as error:
        configured(text, **environ)
    assert error.value.lines
    return list(error.value.lines)


def line_of(text: str, part: str) -> int:
    """The line, from 1, in which a part of a text first occurs."""
    return text[: text.index(part)].count("\n") + 1
