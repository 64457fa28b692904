from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.access import Key
from gateway.admin.keys import KeyPatch, ShownKey
from gateway.admin.listing import Listing
from gateway.admin.plans import PlanPatch
from gateway.admin.projects import ProjectPatch
from gateway.admin.routers import admin_routers
from gateway.admin.shapes import (
    Documented,
    Instant,
    Kept,
    KeyId,
    Name,
    Network,
    Patch,
    Request,
    Shown,
    TenantId,
    Text,
)
from gateway.admin.tenants import NewTenant, Tenant, TenantPatch
from gateway.admin.usage import LedgerAttempt

assert admin_routers, "imported for the models of all routes"

PATCHES: tuple[type[Patch], ...] = (KeyPatch, PlanPatch, ProjectPatch, TenantPatch)


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (TenantId, ["a", "acme-1", "a" * 40], ["", "Acme", "a" * 41, "a b", "a\n", "ä", "a/b"]),
        (KeyId, ["0" * 12, "aZ0aZ0aZ0aZ0"], ["0" * 11, "0" * 13, "0" * 11 + "-", "0" * 12 + "\n"]),
        (Name, ["a", "A.b_c-1", "a" * 64], ["", "a" * 65, "a b", "a:b", "a\0"]),
        (Text, ["", "naïve “text”", "日本"], ["a\nb", "\0", "\x1b[31m", "\u202e", "\ud800"]),
        (Network, ["10.0.0.0/8", "::1", "192.0.2.1"], ["10.0.0.0/99", "x", "", "1" * 60]),
    ],
    ids=["tenant", "key", "name", "text", "network"],
)
def test_names_and_texts_have_their_bounds(type_: Any, good: list[str], bad: list[str]) -> None:
    adapter = TypeAdapter[str](type_)

    for text in good:
        assert adapter.validate_python(text) == text
    for text in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(text)


INSTANT = TypeAdapter[datetime](Instant)


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00.000000Z"],
)
def test_an_instant_is_read_with_its_offset_and_kept_in_utc(text: str) -> None:
    read = INSTANT.validate_python(text)

    assert read == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert read.utcoffset() == timedelta(0)


def test_an_instant_may_come_as_one() -> None:
    given = datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1)))

    assert INSTANT.validate_python(given) == given


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31T12:00:00",
        "2026-01-31",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "1769860800",
        1769860800,
        1.5,
        True,
        "",
        "now",
    ],
)
def test_what_is_no_instant_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        INSTANT.validate_python(value)


@pytest.mark.parametrize("patch", PATCHES)
def test_a_change_names_something(patch: type[Patch]) -> None:
    with pytest.raises(ValidationError, match="names nothing to change"):
        patch.model_validate({})
    assert patch.model_json_schema()["minProperties"] == 1


@pytest.mark.parametrize("patch", PATCHES)
def test_a_change_has_no_defaults_to_tell_of(patch: type[Patch]) -> None:
    schema = patch.model_json_schema()

    assert all("default" not in field for field in schema["properties"].values())
    assert "required" not in schema


def test_a_change_has_what_was_sent_and_no_more() -> None:
    assert TenantPatch(suspended=False).given() == {"suspended": False}
    assert KeyPatch(plan=None, models=None).given() == {"models": None, "plan": None}


@pytest.mark.parametrize(
    ("patch", "fields"),
    [(TenantPatch, {"title": None}), (TenantPatch, {"plan": None}), (KeyPatch, {"scopes": None})],
)
def test_null_is_no_value_of_what_can_not_be_missing(
    patch: type[Patch], fields: dict[str, None]
) -> None:
    with pytest.raises(ValidationError):
        patch.model_validate(fields)


def test_what_is_unknown_or_wrong_is_refused_without_being_repeated() -> None:
    for sent in ({"id": "acme", "secret": "hunter2"}, {"id": "acme", "title": ["hunter2"]}):
        with pytest.raises(ValidationError) as raised:
            NewTenant.model_validate(sent)
        assert "hunter2" not in str(raised.value)


def test_a_key_in_the_wrong_field_is_refused_without_being_repeated() -> None:
    key = Key.generate(Random(1)).reveal()

    for sent in ({"id": "acme", "title": f"see {key}"}, {"id": "acme", "plan": key}):
        with pytest.raises(ValidationError) as raised:
            NewTenant.model_validate(sent)
        assert key not in str(raised.value)


def test_the_audit_log_keeps_what_an_object_is_and_not_when_or_where() -> None:
    key = ShownKey(id="0" * 12, tenant="acme", name="ci", scopes=("inference",), version=3)

    assert key.record() == {
        "id": "0" * 12,
        "tenant": "acme",
        "name": "ci",
        "scopes": ["inference"],
        "networks": [],
        "disabled": False,
    }


def models(kind: type[Documented]) -> set[type[Documented]]:
    """Everything that is of a kind, and not made for others to be."""
    below = {each for made in kind.__subclasses__() for each in (made, *models(made))}
    ours = {each for each in below if each.__module__.startswith("gateway.admin")}
    return {each for each in ours - FOUNDATIONS if "~" not in each.__name__}


FOUNDATIONS: set[type[Documented]] = {Request, Patch, Shown, Kept, Listing}


@pytest.mark.parametrize(
    "model", sorted(models(Documented), key=lambda each: each.__name__), ids=lambda m: m.__name__
)
def test_an_example_is_one(model: type[Documented]) -> None:
    if model is LedgerAttempt:  # always part of a row's
        return
    assert model.model_validate(model.example).model_dump(
        mode="json", exclude_unset=True
    ).keys() == set(model.example)
    assert model.model_json_schema()["examples"] == [model.example]


def test_a_list_has_the_example_of_what_it_is_of() -> None:
    schema = Listing[Tenant].model_json_schema()

    assert schema["examples"] == [{"object": "list", "data": [Tenant.example]}]
