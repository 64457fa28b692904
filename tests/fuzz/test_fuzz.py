"""
Every parser that meets bytes from outside: what is nasty, and what hypothesis makes of it.

`python -m tests.fuzz` does the same for as long as one likes.
"""

from collections.abc import Iterator
from logging import CRITICAL

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.inputs import inputs
from tests.fuzz.targets import TARGETS

EXAMPLES = 150


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    """A connection that is refused is a line in the log, of which there would be thousands."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("name", TARGETS)
def test_known_inputs_are_no_defects(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        target.fuzz(seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=EXAMPLES, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_nothing_that_comes_in_is_a_defect(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    target.fuzz(data.draw(inputs(target.seeds)))
