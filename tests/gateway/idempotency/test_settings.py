import pytest
from pydantic import ValidationError

from gateway.idempotency import IdempotencySettings


def test_an_answer_is_kept_for_ten_minutes_unless_the_file_says_otherwise() -> None:
    assert IdempotencySettings().window == 600
    assert IdempotencySettings.model_validate({"window": "90s"}).window == 90


def test_memory_that_could_not_hold_the_largest_answer_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_answer is larger than max_memory"):
        IdempotencySettings(max_answer=1001, max_memory=1000)


@pytest.mark.parametrize("field", ["window", "max_answer", "max_memory", "max_entries", "lease"])
def test_nothing_may_be_nothing(field: str) -> None:
    with pytest.raises(ValidationError):
        IdempotencySettings.model_validate({field: 0})
