"""Active probes on a clock that jumps, of providers whose answers are scripts."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from structlog.testing import capture_logs

from gateway.contract.errors import ProviderUnreachable
from gateway.contract.provider import AnyProvider
from gateway.health import Health, HealthSettings, Probes
from gateway.health.probes import JITTER, SELDOM
from providers.vllm import VLLM
from tests.support.health import infos

THREE = HealthSettings(consecutive_failures=3)


class Asked:
    """Answers what `says` is at the moment, and remembers when it was asked."""

    def __init__(self, says: bool | None = True) -> None:
        self.says = says
        self.at: list[tuple[str, float]] = []

    async def __call__(self, provider: AnyProvider) -> bool | None:
        self.at.append((provider.name, asyncio.get_running_loop().time()))
        return self.says

    def pauses(self) -> list[float]:
        instants = [at for _, at in self.at]
        return [later - earlier for earlier, later in itertools.pairwise(instants)]


def provider(name: str = "p", **probe: Any) -> AnyProvider:
    given = {"kind": "vllm", "base_url": f"http://{name}.test", "probe": probe}
    return VLLM(name, VLLM.Settings.model_validate(given))


def health() -> Health:
    """Of two targets of `p` and one of `q`, by the loop's clock."""
    return Health(
        THREE,
        infos("p/one", "p/two", "q/one"),
        clock=asyncio.get_running_loop().time,
        chance=Random(1),
    )


def probes_of(known: Health, ask: Callable[[AnyProvider], Awaitable[bool | None]]) -> Probes:
    probes = Probes(known, ask, chance=Random(2))
    probes.configure([provider()])
    return probes


async def test_a_provider_that_is_well_is_asked_now_and_then_at_instants_that_vary() -> None:
    asked = Asked()
    async with probes_of(health(), asked):
        await asyncio.sleep(300)

    pauses = asked.pauses()
    assert 24 <= len(pauses) <= 37
    assert all(10 * (1 - JITTER) <= pause <= 10 * (1 + JITTER) for pause in pauses)
    assert len({round(pause, 6) for pause in pauses}) > 20


async def test_one_that_is_down_is_left_after_a_few_probes_and_asked_ever_more_seldom() -> None:
    known, asked = health(), Asked(says=False)
    async with probes_of(known, asked):
        await asyncio.sleep(1 + 2 * 1.2 + 0.1)
        assert len(asked.at) >= 3
        assert not known.is_up("p/one")
        await asyncio.sleep(600)

    pauses = asked.pauses()
    assert all(pause <= 1.2 for pause in pauses[:3])
    assert all(pause <= SELDOM * (1 + JITTER) for pause in pauses)
    assert all(pause >= SELDOM * (1 - JITTER) for pause in pauses[8:])


async def test_no_request_has_to_find_out_what_probes_know() -> None:
    known, asked = health(), Asked(says=False)
    async with probes_of(known, asked):
        await asyncio.sleep(5)
        for _ in range(600):
            await asyncio.sleep(1)
            assert not known.is_up("p/one")


async def test_one_that_answers_again_is_back_at_once() -> None:
    known, asked = health(), Asked(says=False)
    async with probes_of(known, asked):
        await asyncio.sleep(300)
        asked.says = True
        await asyncio.sleep(SELDOM * (1 + JITTER))

        assert known.states()["p/one"].up
        assert known.states()["p/one"].share < 1
        assert known.admits("p/one")
        assert known.admits("p/one")


async def test_all_targets_of_the_provider_are_meant_and_no_others() -> None:
    known = health()
    async with probes_of(known, Asked(says=False)):
        await asyncio.sleep(5)

    assert {name for name, each in known.states().items() if not each.up} == {"p/one", "p/two"}
    assert known.is_up("q/one")


async def test_a_probe_that_hangs_is_a_failure() -> None:
    async def never(_: AnyProvider) -> bool:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    known = health()
    async with probes_of(known, never):
        await asyncio.sleep(15)
        assert not known.is_up("p/one")


async def test_an_answer_that_says_nothing_changes_nothing_and_is_told_once() -> None:
    known = health()
    with capture_logs() as lines:
        async with probes_of(known, Asked(says=None)):
            await asyncio.sleep(300)

    assert known.is_up("p/one")
    assert [line["event"] for line in lines] == ["probe_says_nothing"]


async def test_a_circuit_that_requests_opened_is_for_a_request_to_close_but_sooner() -> None:
    known = health()
    async with probes_of(known, Asked()):
        await asyncio.sleep(300)
        for _ in range(3):
            known.failed("p/one", ProviderUnreachable("refused"))
        known.admits("p/one")
        retry_in = known.soonest(["p/one"])
        assert retry_in >= 8
        known.probed("p", passed=True)

        assert known.states()["p/one"].state == "probing"
        assert known.admits("p/one")
        assert not known.admits("p/one")
        known.succeeded("p/one")
        assert known.states()["p/one"].up


async def test_a_new_configuration_begins_ends_and_leaves_alone() -> None:
    asked = Asked()
    probes = Probes(health(), asked, chance=Random(3))
    async with probes:
        await asyncio.sleep(60)
        assert asked.at == []

        probes.configure([provider("p"), provider("q")])
        await asyncio.sleep(60)
        assert {name for name, _ in asked.at} == {"p", "q"}
        task = probes._tasks["p"]

        unprobed = VLLM("q", VLLM.Settings.model_validate({"kind": "vllm", "base_url": "http://q"}))
        probes.configure([provider("p"), unprobed])
        asked.at.clear()
        await asyncio.sleep(60)
        assert {name for name, _ in asked.at} == {"p"}
        assert probes._tasks["p"] is task

        probes.configure([provider("p", every=1)])
        asked.at.clear()
        await asyncio.sleep(60)
        assert len(asked.at) >= 48
    assert len(asyncio.all_tasks()) == 1


async def test_nothing_is_left_when_it_ends_in_the_midst_of_a_probe() -> None:
    begun = asyncio.Event()

    async def ask(_: AnyProvider) -> bool:
        begun.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async with probes_of(health(), ask):
        await begun.wait()
    assert len(asyncio.all_tasks()) == 1
