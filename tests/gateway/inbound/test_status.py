import pytest

from gateway import __version__
from gateway.health import State, TargetHealth
from gateway.inbound.status import GatewayStatus


class World:
    """The things that a gateway depends on, and a clock."""

    def __init__(self, **stores: bool) -> None:
        self.stores = stores
        self.targets: dict[str, TargetHealth] = {}
        self.now = 50.0
        self.warnings: dict[str, str] = {}
        self.status = GatewayStatus(
            lambda: self.targets,
            lambda: self.stores,
            lambda: self.now,
            warnings=lambda: self.warnings,
        )


def test_a_gateway_without_stores_is_ready_from_the_start() -> None:
    told = World().status.ready()

    assert (told.ready, told.message) == (True, "taking requests")


def test_a_gateway_is_not_ready_before_the_first_contact_with_its_store() -> None:
    told = World(redis=False).status.ready()

    assert (told.ready, told.message) == (False, "waiting for redis")


def test_a_store_that_fails_after_the_first_contact_is_no_matter_of_readiness() -> None:
    world = World(redis=True)
    assert world.status.ready().ready
    world.stores["redis"] = False

    assert world.status.ready().ready
    assert world.status.health().status == "degraded"
    assert world.status.health().components["redis"].status == "down"


def test_65_a_store_that_answers_and_forgets_is_told_of_and_no_matter_of_readiness() -> None:
    world = World(redis=True)
    world.warnings["redis"] = "forgets"

    told = world.status.health()
    assert (told.status, told.components["redis"].status) == ("degraded", "degraded")
    assert told.components["redis"].detail == "forgets"
    assert world.status.ready().ready

    world.stores["redis"] = False
    assert world.status.health().components["redis"].status == "down"


def test_a_store_that_was_met_before_anyone_asked_counts_as_met() -> None:
    world = World(redis=True)
    world.status.meet()
    world.stores["redis"] = False
    assert world.status.ready().ready


def test_all_stores_must_have_been_met_though_not_at_once() -> None:
    world = World(a=True, b=False)
    assert world.status.ready().message == "waiting for b"
    world.stores = {"a": False, "b": True}

    assert world.status.ready().ready


def test_a_gateway_that_drains_is_not_ready_whatever_else_is() -> None:
    world = World(redis=True)
    assert world.status.ready().ready
    world.status.drain()

    assert (world.status.ready().ready, world.status.ready().message) == (False, "draining")
    assert world.status.health().status == "draining"


def test_upstreams_are_no_matter_of_readiness() -> None:
    world = World()
    world.targets = {"a/m": TargetHealth("open", 9.96, 5)}

    assert world.status.ready().ready


@pytest.mark.parametrize(
    ("state", "status", "detail"),
    [
        ("up", "up", ""),
        ("open", "down", "open, tried again in 10.0 s"),
        ("cooling", "down", "cooling, tried again in 10.0 s"),
        ("kept", "degraded", "kept, tried again in 10.0 s"),
        ("probing", "degraded", "probing, tried again in 10.0 s"),
    ],
)
def test_each_target_is_a_component(state: State, status: str, detail: str) -> None:
    world = World()
    world.targets = {"a/m": TargetHealth(state, 9.96, 5)}
    world.now += 2.5

    told = world.status.health()

    assert told.components["target a/m"].status == status
    assert told.components["target a/m"].detail == detail
    assert told.status == ("ok" if state == "up" else "degraded")
    assert (told.uptime, told.version) == (2.5, __version__)


def test_a_target_without_a_good_credential_says_why() -> None:
    world = World()
    world.targets = {"a/m": TargetHealth("cooling", 31.0, 0, reason="upstream_auth_error")}

    told = world.status.health().components["target a/m"]

    assert told.detail == "cooling (upstream_auth_error), tried again in 31.0 s"


def test_a_target_that_starts_slowly_is_up_and_says_so() -> None:
    world = World()
    world.targets = {"a/m": TargetHealth("up", 0.0, 0, share=0.25)}

    told = world.status.health().components["target a/m"]

    assert (told.status, told.detail) == ("up", "starting slowly, at 25%")
