"""Rows 30 to 32 and 34: upstreams that come and go, and what retries make of it."""

import time
from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.faulty import Received
from tests.system.faults.answers import refusal
from tests.system.faults.bench import AT_LENGTH, PATIENCE, Bench, bench, body, model
from tests.system.faults.upstreams import Reply, sanely
from tests.system.world import until

RETRY_SHARE, RETRIES_PER_SECOND, SAVED = 0.1, 3, 10
"""As users have it: of first attempts, beside them, and the seconds that those are saved up for."""
COLD = refusal(503, message="still loading")
NAMES = ("flapping", "steady", "storm-a", "storm-b", "storm-c", "cold", "warm")


@pytest.fixture(scope="module")
def wary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """With health as users have it, but for one that comes back soon and then slowly."""
    models = {
        "flapping-steady": model("flapping", "steady", strategy="weighted"),
        "storm": model("storm-a", "storm-b", "storm-c"),
        "cold-warm": model("cold", "warm", strategy="weighted"),
    }
    aliases = dict(zip(NAMES, "ababcab", strict=True))
    folder = tmp_path_factory.mktemp("storms")
    health = {"cool_down": "300ms", "ramp": "120s"}
    with bench(folder, {"models": models}, aliases=aliases, health=health) as made:
        yield made


# Row 30


def test_30_a_connection_that_closes_while_we_send_costs_nobody_an_answer(world: Bench) -> None:
    """Callers come back after about as long as the upstream keeps a connection."""
    world.a.patience = 0.02
    requests = 10_000 if AT_LENGTH else 400

    told = world.ask_all([body("a") for _ in range(requests)], at_once=8, pause=0.04)

    assert all(each.is_whole and each.attempts == 1 for each in told)
    assert world.a.asked == requests
    assert world.a.server.accepted > 8  # it was so: connections had to be made anew


# Row 31


def test_31_one_that_flaps_is_nobodys_trouble(wary: Bench) -> None:
    began = time.monotonic()
    numbers = count()
    period = 20  # requests, of which it fails the first half

    def flap(received: Received) -> Reply:
        return COLD if next(numbers) % period < period // 2 else sanely(received)

    wary.a.reply = flap
    requests = 10_000 if AT_LENGTH else 400

    told = wary.ask_all([body("flapping-steady") for _ in range(requests)], at_once=4)

    failed = sum(not each.is_whole for each in told)
    assert failed <= requests // 1000
    sent = wary.a.asked + wary.b.asked
    free = RETRIES_PER_SECOND * (time.monotonic() - began + SAVED)
    assert sent <= (1 + RETRY_SHARE) * requests + 2 * free


# Row 32


def test_32_a_storm_is_not_made_worse_by_retries(wary: Bench) -> None:
    for each in wary.upstreams.values():
        each.says(COLD)
    began = time.monotonic()
    requests = 10_000 if AT_LENGTH else 1000

    told = wary.ask_all([body("storm") for _ in range(requests)])

    assert {each.status for each in told} <= {502, 503}
    assert {each.headers["x-should-retry"] for each in told} == {"true"}
    assert all(int(each.headers["retry-after-ms"]) >= 1000 for each in told)
    sent = sum(each.asked for each in wary.upstreams.values())
    free = RETRIES_PER_SECOND * (time.monotonic() - began + SAVED)
    assert sent <= (1 + RETRY_SHARE) * requests + 3 * free
    refused = wary.gateway.metrics()
    assert sum(v for name, v in refused.items() if "retry_budget_exhausted" in name) > 0


# Row 34


def test_34_one_that_starts_cold_is_probed_and_comes_back_slowly(wary: Bench) -> None:
    up = 'lockgate_upstream_up{target="cold/demo-model"}'
    wary.a.says(COLD)
    loading = wary.ask_all([body("cold-warm") for _ in range(100)], at_once=4)
    assert wary.gateway.metrics()[up] == 0
    probes = wary.a.asked
    wary.a.fresh()

    while not wary.gateway.metrics()[up]:  # somebody's request is its probe
        loading.append(wary.ask("cold-warm"))
    back = wary.a.asked
    told = wary.ask_all([body("cold-warm") for _ in range(200)], at_once=4)

    assert all(each.is_whole for each in [*loading, *told])
    assert probes < 20
    # Half of them would be its fair share; it has a tenth of that, and a little more each second.
    assert wary.a.asked - back < 60
    until(lambda: bool(wary.gateway.records("target_back")), within=PATIENCE)
