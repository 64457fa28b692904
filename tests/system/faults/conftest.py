"""What the tests of faults share: a gateway, and that nothing is left of them."""

from collections.abc import Iterator

import pytest

from tests.system.faults.aftermath import Aftermath
from tests.system.faults.bench import PATIENT, Bench, bench, model, nowhere
from tests.system.world import Json

BRISK = {"brisk-a": "a", "brisk-b": "b", "brisk-far": "far", "less-brisk-far": "far"}
"""Providers that are not waited for as long as others, and what they lead to."""
TIMEOUTS: dict[str, Json] = {
    **{name: {"first_content": PATIENT, "stall": PATIENT} for name in BRISK},
    "less-brisk-far": {"first_content": "5200ms"},
}
NOWHERE = {"gone-2": nowhere(), "gone-3": nowhere(), "nameless": "http://nowhere.invalid:80"}
MODELS = {
    "ab": model("a", "b"),
    "abc": model("a", "b", "c"),
    "one-gone": model("gone", "a", "b"),
    "two-gone": model("gone", "gone-2", "a"),
    "all-gone": model("gone", "gone-2", "gone-3"),
    "nameless-a": model("nameless", "a"),
    "far-b": model("far", "b"),
    "brisk": model("brisk-a"),
    "brisk-ab": model("brisk-a", "b"),
    "brisk-abc": model("brisk-a", "brisk-b", "c"),
    "brisk-far-b": model("brisk-far", "b"),
    "less-brisk-far-b": model("less-brisk-far", "b"),
}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One gateway for all tests that need no other. Its health forgives what they have done."""
    folder = tmp_path_factory.mktemp("faults")
    config = {"models": MODELS}
    with bench(folder, config, urls=NOWHERE, aliases=BRISK, timeouts=TIMEOUTS) as made:
        assert all(each.is_whole for each in made.ask_both("abc"))
        yield made


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Of a test before the gateway of all, or before one of its module's own, `wary`."""
    used = [name for name in ("world", "wary") if name in request.fixturenames]
    if not used:
        yield
        return
    made: Bench = request.getfixturevalue(used[0])
    made.fresh()
    aftermath = Aftermath(made)
    yield
    aftermath.check()
