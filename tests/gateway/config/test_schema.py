import json
from typing import Any

import pytest

from gateway.config import schema
from gateway.contract.provider import ProviderSettings
from tests.support.configuration import BilledSettings

WRITTEN = schema({"plain": ProviderSettings, "billed": BilledSettings})


def test_each_section_of_the_file_is_described() -> None:
    assert set(WRITTEN["properties"]) >= {"providers", "models", "plans", "tenants", "limits"}
    assert WRITTEN["additionalProperties"] is False
    assert all("description" in section for section in WRITTEN["properties"].values())


def test_a_provider_is_described_by_its_kind() -> None:
    ((_, allowed),) = WRITTEN["properties"]["providers"]["patternProperties"].items()
    entries = allowed["anyOf"]
    names = [entry["$ref"].rpartition("/")[2] for entry in entries]

    assert [WRITTEN["$defs"][name]["properties"]["kind"]["const"] for name in names] == [
        "billed",
        "plain",
    ]


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ("ModelSettings", "max_output"),
        ("ModelSettings", "strategy"),
        ("ModelSettings", "expose_target"),
        ("TimeoutSettings", "stall"),
        ("KeySettings", "expires"),
        ("HealthSettings", "failure_rate"),
    ],
)
def test_a_reference_to_the_environment_may_stand_for_any_plain_value(
    model: str, field: str
) -> None:
    allowed = WRITTEN["$defs"][model]["properties"][field]

    assert {"type": "string", "pattern": r"\$\{"} in leaves(allowed)


def leaves(node: dict[str, Any]) -> list[dict[str, Any]]:
    """What a value may be, alternatives of alternatives included."""
    return [leaf for each in node.get("anyOf", []) for leaf in leaves(each)] or [node]


def test_every_reference_inside_the_schema_leads_somewhere() -> None:
    def references(node: Any) -> list[str]:
        match node:
            case {"$ref": str(ref)}:
                return [ref]
            case dict():
                return [ref for each in node.values() for ref in references(each)]
            case list():
                return [ref for each in node for ref in references(each)]
            case _:
                return []

    assert {ref.rpartition("/")[2] for ref in references(WRITTEN)} <= set(WRITTEN["$defs"])


def test_the_schema_is_the_same_each_time_and_is_json() -> None:
    again = schema({"billed": BilledSettings, "plain": ProviderSettings})

    assert json.dumps(again) == json.dumps(WRITTEN)
