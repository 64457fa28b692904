"""A credential that is no good takes all targets of its provider out, and comes back carefully."""

import pytest

from gateway.contract.errors import (
    ProviderAuthFailed,
    ProviderBusy,
    ProviderError,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnreachable,
)
from gateway.health import Health, TargetInfo
from tests.support.health import Clock, health_of, infos

MINE = ("p/one", "p/two")
REFUSED, EMPTY = "upstream_auth_error", "upstream_quota_exhausted"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return health_of(*MINE, "q/one", clock=clock)


@pytest.mark.parametrize(
    ("error", "code", "seconds"),
    [(ProviderAuthFailed("no"), REFUSED, 60.0), (ProviderQuotaExhausted("empty"), EMPTY, 300.0)],
)
def test_all_targets_of_a_provider_whose_credential_is_no_good_are_left_alone(
    health: Health, error: ProviderError, code: str, seconds: float
) -> None:
    health.failed("p/one", error)

    assert [health.is_up(name) for name in (*MINE, "q/one")] == [False, False, True]
    assert not health.admits("p/two")
    assert health.soonest(MINE) == pytest.approx(seconds)
    assert [health.reason(name) for name in (*MINE, "q/one", "unknown")] == [code, code, "", ""]
    assert health.states()["p/two"].state == "cooling"
    assert health.states()["p/two"].reason == code
    assert {pair for pair, found in health.credentials().items() if found} == {("p", code)}


def test_afterwards_one_request_at_a_time_finds_out_whether_it_works(
    health: Health, clock: Clock
) -> None:
    health.failed("p/one", ProviderAuthFailed("no"))
    clock.now += 60

    assert health.admits("p/two")
    assert health.probes("p/two")
    assert not health.admits("p/one")
    assert health.states()["p/one"].state == "probing"

    health.succeeded("p/two")
    assert all(health.admits(name) for name in MINE * 2)
    assert not health.probes("p/one")
    assert not any(health.credentials().values())


def test_one_that_is_refused_again_is_left_alone_again(health: Health, clock: Clock) -> None:
    for _ in range(10):
        health.failed("p/one", ProviderAuthFailed("no"))
        assert health.soonest(MINE) == pytest.approx(60)
        clock.now += 60
        assert health.admits("p/one")
    health.succeeded("p/one")
    assert health.states()["p/one"].up


def test_answers_to_earlier_requests_do_not_bring_it_back(health: Health) -> None:
    health.failed("p/one", ProviderAuthFailed("no"))
    health.succeeded("p/two")

    assert not health.is_up("p/one")
    assert health.reason("p/one") == REFUSED


@pytest.mark.parametrize(
    "error", [ProviderUnreachable("refused"), ProviderRateLimited("slow down", retry_after=1)]
)
def test_a_trial_that_fails_for_another_reason_makes_room_for_the_next(
    health: Health, clock: Clock, error: ProviderError
) -> None:
    health.failed("p/one", ProviderAuthFailed("no"))
    clock.now += 60
    assert health.admits("p/one")
    health.failed("p/one", error)

    assert health.admits("p/two")
    assert health.reason("p/one") == REFUSED


def test_a_trial_that_was_given_up_makes_room_and_one_that_is_lost_is_forgotten(
    health: Health, clock: Clock
) -> None:
    health.failed("p/one", ProviderAuthFailed("no"))
    clock.now += 60
    assert health.admits("p/one")
    health.failed("p/two", ProviderBusy("not admitted"))
    assert not health.admits("p/two")
    health.released("p/one")
    assert health.admits("p/two")
    clock.now += 60
    assert health.admits("p/one")


def test_finding_fault_with_a_request_means_that_the_credential_was_good(
    health: Health, clock: Clock
) -> None:
    health.failed("p/one", ProviderAuthFailed("no"))
    clock.now += 60
    assert health.admits("p/one")
    health.failed("p/one", ProviderRejected("too long", status=400))

    assert all(health.states()[name].up for name in MINE)


def test_a_refused_credential_is_no_failure_of_its_target(health: Health, clock: Clock) -> None:
    for _ in range(20):
        health.failed("p/one", ProviderAuthFailed("no"))
    clock.now += 60
    assert health.admits("p/one")
    health.succeeded("p/one")

    assert health.states()["p/one"].up
    assert health.ejections()["p/one"] == 0


def test_a_new_target_shares_its_providers_credential(health: Health) -> None:
    health.failed("p/one", ProviderAuthFailed("no"))
    health.configure(infos(*MINE, "p/three", "q/one"))

    assert not health.is_up("p/three")
    assert not health.admits("p/three")


def test_a_credential_that_was_replaced_is_good_until_it_is_refused(health: Health) -> None:
    health.failed("p/one", ProviderAuthFailed("no"))
    replaced = {name: TargetInfo("p", frozenset(), settings="another key") for name in MINE}
    health.configure(replaced | infos("q/one"))

    assert all(health.admits(name) for name in MINE)
    assert not any(health.credentials().values())
