"""What a provider's entry may say of concurrency."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.contract.concurrency import AdaptiveSettings, QueueSettings
from gateway.contract.provider import ProviderSettings


def settings(**fields: Any) -> ProviderSettings:
    return ProviderSettings(kind="made-up", base_url="http://a.test", **fields)


def test_by_default_nothing_waits_and_nothing_adapts() -> None:
    assert settings().queue.size == 0
    assert settings().adaptive is None


@pytest.mark.parametrize("bound", [{"max_concurrency": 4}, {"adaptive": AdaptiveSettings()}])
def test_a_queue_stands_before_a_bound(bound: dict[str, Any]) -> None:
    assert settings(queue=QueueSettings(size=10), **bound).queue.size == 10


def test_a_queue_before_nothing_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="needs `max_concurrency` or `adaptive`"):
        settings(queue=QueueSettings(size=10))


def test_bounds_the_wrong_way_round_are_a_mistake() -> None:
    with pytest.raises(ValidationError, match="`min` must not be above `max`"):
        AdaptiveSettings(min=9, max=8)
