from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.access import Key, Pepper
from gateway.admin.declared import Declared, compared
from gateway.admin.difference import Object, difference

KEY = Key.generate(Random(1))
PEPPER = Pepper(b"pepper")


def declared(**sections: Any) -> Declared:
    return Declared.model_validate(sections)


def one(fields: dict[str, Any]) -> Declared:
    """A file whose one tenant has one key."""
    return declared(tenants={"acme": {"keys": [{"name": "ci", **fields}]}})


def objects(file: Declared) -> dict[tuple[str, ...], Object]:
    return {(each.kind, *each.name): each for each, _ in file.objects()}


def test_every_object_is_told_with_its_place() -> None:
    file = declared(
        plans={"gold": {"requests": "60/minute"}},
        tenants={"acme": {"projects": {"web": {}}, "keys": [{"name": "ci"}, {"name": "cd"}]}},
    )

    assert [(each.kind, each.name, place) for each, place in file.objects()] == [
        ("plan", ("gold",), ("plans", "gold")),
        ("tenant", ("acme",), ("tenants", "acme")),
        ("project", ("acme", "web"), ("tenants", "acme", "projects", "web")),
        ("key", ("acme", "ci"), ("tenants", "acme", "keys", 0)),
        ("key", ("acme", "cd"), ("tenants", "acme", "keys", 1)),
    ]


def test_what_is_not_written_is_not_compared() -> None:
    found = objects(declared(tenants={"acme": {"title": "Acme", "keys": [{"name": "ci"}]}}))

    assert found["tenant", "acme"].fields == {"title": "Acme"}
    assert found["key", "acme", "ci"].fields == {}


def test_a_plan_is_compared_whole() -> None:
    narrow = objects(declared(plans={"gold": {"requests": "60/minute"}}))["plan", "gold"]
    wide = objects(declared(plans={"gold": {"requests": "60/minute", "concurrency": 5}}))

    [step] = difference([narrow], [wide["plan", "gold"]])
    assert (step.before, step.after) == ({"concurrency": 5}, {"concurrency": None})


def test_the_order_of_lists_that_have_none_makes_no_difference() -> None:
    one_way = compared({"models": ["a", "b"], "networks": ("10.0.0.1", "10.0.0.0/8")})
    other = compared({"models": ("b", "a", "a"), "networks": ["10.0.0.0/8", "10.0.0.1/32"]})

    assert one_way == other
    assert compared({"models": None, "title": "a b"}) == {"models": None, "title": "a b"}


@pytest.mark.parametrize(
    "written", [{"key": KEY.reveal()}, {"key_hash": KEY.stored(b"pepper")}], ids=["key", "hash"]
)
def test_a_written_key_is_known_by_its_public_id_and_digest(written: dict[str, str]) -> None:
    file = one(written)

    assert objects(file)["key", "acme", "ci"].fields == {"public_id": KEY.public_id}
    verifier = file.verifiers(PEPPER)["acme", "ci"]
    assert f"{verifier.public_id}:{verifier.digest.hex()}" == KEY.stored(b"pepper")
    assert verifier.pepper == PEPPER.name
    assert KEY.reveal() not in repr(file)


def test_a_key_may_be_written_without_a_secret() -> None:
    assert one({}).verifiers(PEPPER) == {}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"key": KEY.reveal(), "key_hash": KEY.stored(b"p")}, "only one of"),
        ({"key": ""}, "an empty key"),
        ({"key_hash": ""}, "an empty key"),
        ({"key": "lg_x"}, "not a Lockgate key"),
        ({"project": "No Project"}, "pattern"),
        ({"no_such": 1}, "not permitted"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        one(fields)


def test_the_lists_that_are_written_are_those_that_may_be_pruned() -> None:
    assert declared().lists() == frozenset()
    assert declared(plans={}).lists() == {("plan", ())}
    file = declared(tenants={"acme": {"keys": []}, "other": {"projects": {}}})
    assert file.lists() == {("tenant", ()), ("key", ("acme",)), ("project", ("other",))}
