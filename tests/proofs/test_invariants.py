"""
The invariants of LIMITS, each by its name, for the limiter in process and the one on Redis: over
histories at random of reserve, extend, renew, settle, expire, cancel, crash, change and clock.

All of them are held against the same histories, which is quick. Where one fails, each is tried
alone, so that a test tells of its own invariant.
"""

from collections.abc import Callable, Iterator
from itertools import chain

import pytest

from tests.proofs.claims import CLAIMS
from tests.proofs.histories import prove, sides
from tests.support.redis_server import RedisServer

EXAMPLES = {"memory": 400, "redis": 200}
"""Histories, as `make test` has time for; `make prove-limits` has more."""

Holds = Callable[[str], None]


class Proof:
    """What has been tried of a side, so that it is tried once."""

    def __init__(self, side: str, url: str) -> None:
        self._side = sides(side, url)
        self._examples = EXAMPLES[side]
        self._quick = side == "memory"
        self._together: bool | None = None

    def holds(self, name: str) -> None:
        """Pass if the invariant holds, with all others or alone."""
        if self._together is None:
            self._together = self._all_hold()
        if not self._together:
            prove(self._side, CLAIMS[name], examples=self._examples, shorten=self._quick)

    def _all_hold(self) -> bool:
        claims = list(chain.from_iterable(CLAIMS.values()))
        try:
            admitted = prove(self._side, claims, examples=self._examples, shorten=False)
        except AssertionError:
            return False
        assert admitted > self._examples, "hardly anything was admitted, so nothing is proven"
        return True


@pytest.fixture(scope="module")
def proofs() -> Iterator[dict[str, Proof]]:
    with RedisServer() as server:
        yield {side: Proof(side, server.url) for side in EXAMPLES}


@pytest.fixture(params=EXAMPLES)
def holds(request: pytest.FixtureRequest, proofs: dict[str, Proof]) -> Holds:
    """Fails where the invariant of that name does not hold."""
    return proofs[request.param].holds


def test_q1_window_no_interval_of_its_length_ever_holds_more_than_the_limit(holds: Holds) -> None:
    holds("q1")


def test_q2_budget_settled_and_reserved_are_within_it_at_every_admission(holds: Holds) -> None:
    holds("q2")


def test_q3_concurrency_no_more_leases_live_than_there_are_places(holds: Holds) -> None:
    holds("q3")


def test_q4_all_or_nothing_a_refused_request_changes_no_counter(holds: Holds) -> None:
    holds("q4")


def test_q5_conservation_what_is_reserved_is_what_open_requests_hold(holds: Holds) -> None:
    holds("q5")


def test_q6_once_however_often_a_request_ends_it_is_charged_once(holds: Holds) -> None:
    holds("q6")


def test_q7_ledger_has_one_row_with_its_usage_for_every_request(holds: Holds) -> None:
    holds("q7")


def test_q8_ledger_and_counters_tell_the_same_sum(holds: Holds) -> None:
    holds("q8")


def test_q9_honest_retry_waiting_as_told_is_enough_and_less_is_not(holds: Holds) -> None:
    holds("q9")


def test_q10_progress_a_lease_after_a_crash_nothing_is_held(holds: Holds) -> None:
    holds("q10")


def test_q11_isolation_no_tenant_changes_what_is_stored_of_another(holds: Holds) -> None:
    holds("q11")


def test_q12_utilisation_nobody_is_refused_while_there_is_room(holds: Holds) -> None:
    holds("q12")
