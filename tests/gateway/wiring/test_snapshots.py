"""A configuration is made ready beside the one in use."""

import pytest

from gateway.access import ConfiguredKeys, Key, Peppers
from gateway.contract.head import head_of
from gateway.registry import Registry
from gateway.wiring.snapshots import Ready, Snapshots
from tests.support.application import CONFIG, KEY, bearer, configured, raw

PEPPER = b"a pepper of the tests"


def snapshots() -> Snapshots:
    nobody = ConfiguredKeys({}, PEPPER)
    return Snapshots(Registry.load().build, nobody, Peppers(PEPPER), PEPPER)


@pytest.fixture
def ready() -> Ready:
    """Made before there is a loop: finding what is installed reads files."""
    return snapshots().make(configured())


async def test_it_has_all_that_a_request_needs(ready: Ready) -> None:
    assert {route.model for route in ready.snapshot.routes} == ready.config.models.keys()
    assert (await ready.snapshot.access.caller(head_of(raw(bearer())))).tenant == "wide"
    assert ready.targets == {"sim/demo-model"}
    assert {each.name for each in ready.providers} == {"sim", "unset"}
    known = ready.keys.get(Key.parse(KEY).public_id)  # type: ignore[union-attr]
    assert known is not None


def test_what_was_counted_of_failures_counts_on_unless_the_rate_is_another() -> None:
    made = snapshots()
    first = made.make(configured())
    same = made.make(configured(CONFIG.replace("somebody", "another")), first)
    other = made.make(configured(CONFIG + "access: {failures: 5/minute}\n"), same)

    assert same.failures is first.failures
    assert other.failures is not first.failures
