"""How long an upstream may take: the model's word, else the provider's, else the default."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.timeouts import (
    FIRST_CONTENT_STREAMED,
    FIRST_CONTENT_WHOLE,
    STALL,
    Timeouts,
    TimeoutSettings,
    timeouts_of,
)

_said = st.none() | st.floats(0.001, 1e6)
_settings = st.builds(TimeoutSettings, connect=_said, first_content=_said, stall=_said, total=_said)


@given(_settings, _settings, st.booleans())
def test_a_model_says_more_than_its_provider_and_both_more_than_nobody(
    model: TimeoutSettings, provider: TimeoutSettings, stream: bool
) -> None:
    made = timeouts_of(model, provider, stream=stream)
    usual = FIRST_CONTENT_STREAMED if stream else FIRST_CONTENT_WHOLE

    assert made.connect == (model.connect or provider.connect)
    assert made.first_content == (model.first_content or provider.first_content or usual)
    assert made.stall == (model.stall or provider.stall or STALL)
    assert made.attempt == (provider.total or inf)


def test_whole_answers_may_take_longer_to_begin_than_streams() -> None:
    said, unsaid = TimeoutSettings(connect=1, stall=3), TimeoutSettings(total=4)

    assert timeouts_of(said, unsaid, stream=True) == Timeouts(1, FIRST_CONTENT_STREAMED, 3, 4)
    assert timeouts_of(unsaid, said, stream=False) == Timeouts(1, FIRST_CONTENT_WHOLE, 3, inf)


@pytest.mark.parametrize("wrong", [{"stall": "0s"}, {"stall": -1}, {"idle": "1s"}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"stall|idle"):
        TimeoutSettings.model_validate(wrong)
