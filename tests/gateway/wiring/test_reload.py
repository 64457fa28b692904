"""Another configuration while the gateway runs: all of it or nothing, and nobody notices."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.access import Key
from gateway.config import ConfigError, parse
from gateway.telemetry.redaction import REPLACED
from tests.support.application import (
    CHAT,
    CHAT_PATH,
    CONFIG,
    KEY,
    NARROW_KEY,
    NOWHERE,
    TOKEN,
    Exchange,
    bearer,
    client,
    exchanged,
    raw,
)
from tests.support.reloading import REGISTRY, Reloading, reloading
from tests.support.simulator import events, eventually, running_simulator

NEW_KEY = Key.generate(Random(4)).reveal()
SECRET = "sk-a-new-credential-of-an-upstream"
BROKEN = [
    ("models:", "models: ["),
    ("models:", "modles:"),
    ("max_output: 64", "max_output: -1"),
    ("provider: sim", "provider: nobody"),
    ("${SIM}", "${NOT_SET_ANYWHERE}"),
    ("kind: vllm", "kind: unknown"),
    ("plan: free", "plan: missing"),
    ('key: "${KEY}"', "key: lg_mistyped"),
    ('key: "${NARROW}"', 'key: "${KEY}"'),
    ("org/other:latest:", "chat:"),
    (CONFIG, ""),
]
LOOP = """
  a: {targets: [{provider: sim, model: demo-model}], fallback: {to: [b], on: [unavailable]}}
  b: {targets: [{provider: sim, model: demo-model}], fallback: {to: [a], on: [unavailable]}}
"""


def metrics(world: Reloading) -> dict[str, float]:
    text = world.gateway._metrics.render("")[0].decode()
    samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in samples}


async def ask(world: Reloading, key: str = KEY, **fields: Any) -> int:
    async with client(world.gateway, key=key) as http:
        return (await http.post(CHAT_PATH, json={**CHAT, **fields})).status_code


async def test_what_the_file_says_holds_from_the_reload_on(tmp_path: Path) -> None:
    with_more = CONFIG.replace(
        "tenants:",
        "  more:\n    targets: [{provider: sim, model: demo-model}]\n    max_output: 9\ntenants:",
    )
    async with (
        running_simulator(answer_tokens=2) as sim,
        reloading(tmp_path, sim=sim.url) as world,
    ):
        assert await ask(world, model="more") == 404
        world.write(with_more)
        assert await ask(world, model="more") == 404

        staged = await world.gateway.reload.reload()

        assert await ask(world, model="more") == 200
        assert staged.needs_restart == ()
        assert world.gateway.reload.source.digest == staged.source.digest
        counted = metrics(world)
        labels = 'model="more",operation="chat",outcome="ok",status="200"'
        assert counted[f"lockgate_requests_total{{{labels}}}"] == 1
        assert counted["lockgate_config_reloads_total"] == 1
        assert counted["lockgate_config_reload_failures_total"] == 0


@pytest.mark.parametrize(("old", "new"), [*BROKEN, ("tenants:", f"{LOOP}tenants:")])
async def test_a_file_that_can_not_be_used_changes_nothing(
    tmp_path: Path, old: str, new: str
) -> None:
    assert old in CONFIG
    async with (
        running_simulator(answer_tokens=2) as sim,
        reloading(tmp_path, sim=sim.url) as world,
    ):
        before = world.gateway.config, world.gateway.pipeline.snapshot
        loaded = metrics(world)["lockgate_config_loaded_timestamp_seconds"]
        world.write(CONFIG.replace(old, new, 1))

        with pytest.raises(ConfigError) as refused:
            await world.gateway.reload.reload()

        assert refused.value.lines
        assert KEY not in str(refused.value)
        after = world.gateway.config, world.gateway.pipeline.snapshot
        assert all(old is new for old, new in zip(before, after, strict=True))
        assert await ask(world) == 200
        counted = metrics(world)
        assert counted["lockgate_config_reload_failures_total"] == 1
        assert counted["lockgate_config_reloads_total"] == 0
        assert counted["lockgate_config_loaded_timestamp_seconds"] == loaded


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """The good file with a few of its pieces cut, doubled, exchanged or overwritten."""
    text = CONFIG
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        piece = draw(
            st.one_of(
                st.just(""),
                st.just(text[start:end] * 2),
                st.text(max_size=8),
                st.sampled_from(["\n", "  ", ": ", "{", "]", "${X}", "&a", "- ", "!!int ", "#"]),
            )
        )
        text = text[:start] + piece + text[end:]
    return text


@pytest.mark.no_cover
async def test_whatever_is_wrong_with_a_file_live_requests_succeed(tmp_path: Path) -> None:
    """Row 78."""
    async with (
        running_simulator(answer_tokens=1) as sim,
        reloading(tmp_path, sim=sim.url) as world,
    ):
        texts = await asyncio.to_thread(_unusable, 400)
        snapshot = world.gateway.pipeline.snapshot
        statuses = await _asked_while(world, lambda: _try_each(world, texts))
        told = metrics(world)

    assert len(texts) > 200
    assert told["lockgate_config_reload_failures_total"] == len(texts)
    assert told["lockgate_config_reloads_total"] == 0
    assert world.gateway.pipeline.snapshot is snapshot
    assert len(statuses) > 10
    assert set(statuses) == {200}


def _unusable(count: int) -> list[bytes]:
    """Those of so many mutants that can't be used, the same in every run."""
    drawn: list[bytes] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutants())
    def draw(text: str) -> None:
        written = text.encode("utf-8", "surrogatepass")
        environ = {"SIM": NOWHERE, "KEY": KEY, "NARROW": NARROW_KEY}
        try:
            parse(written, "file.yaml", environ, REGISTRY.find)
        except ConfigError:
            drawn.append(written)

    draw()
    return drawn


async def _try_each(world: Reloading, texts: list[bytes]) -> None:
    for text in texts:
        await asyncio.to_thread(world.file.write_bytes, text)
        with pytest.raises(ConfigError):
            await world.gateway.reload.reload()


async def _asked_while(
    world: Reloading, work: Callable[[], Coroutine[Any, Any, None]]
) -> list[int]:
    """The statuses of requests that are made one after the other until that work is done."""
    statuses: list[int] = []
    async with asyncio.TaskGroup() as tasks, client(world.gateway) as http:
        task = tasks.create_task(work())
        while not task.done():
            statuses.append((await http.post(CHAT_PATH, json=CHAT)).status_code)
    return statuses


async def test_a_thousand_reloads_under_load_fail_no_request(tmp_path: Path) -> None:
    """Row 79, as many as fit into a test; a plan is renamed each time, and a target goes."""
    async with (
        running_simulator(answer_tokens=2) as sim,
        running_simulator(answer_tokens=2) as other,
    ):
        renamed = CONFIG.replace("plan: free", "plan: new").replace("  free: {}", "  new: {}")
        texts = [CONFIG, renamed.replace("${SIM}", other.url).replace("sim:", "sim:", 1)]
        async with reloading(tmp_path, sim=sim.url) as world:

            async def reload() -> None:
                for number in range(100):
                    await asyncio.to_thread(world.write, texts[number % 2])
                    await world.gateway.reload.reload()

            statuses = await _asked_while(world, reload)

        assert sim.state()["by_finish"]
        assert other.state()["by_finish"]
    assert set(statuses) == {200}


async def test_a_stream_finishes_on_the_target_that_it_began_with(tmp_path: Path) -> None:
    """Row 79: its target, its model and its provider are gone meanwhile."""
    fewer = CONFIG.replace("  sim: {kind: vllm", "  another: {kind: vllm")
    fewer = fewer.replace("provider: sim", "provider: another").replace("  chat:", "  talk:")
    fewer = fewer.replace("[chat,", "[talk,")
    async with (
        running_simulator(answer_tokens=20, tokens_per_second=20) as sim,
        reloading(tmp_path, sim=sim.url) as world,
        asyncio.TaskGroup() as tasks,
    ):
        stream, body = Exchange(), orjson.dumps({**CHAT, "stream": True, "max_tokens": 20})
        task = tasks.create_task(exchanged(world.gateway, body, watched=stream))
        await eventually(lambda: len(stream.sent) > 1, within=10)
        world.write(fewer)
        await world.gateway.reload.reload()
        assert await ask(world) == 404
        assert await ask(world, model="talk", max_tokens=1) == 200
        assert not task.done()

        await task
        assert events(stream.body.decode())[-1] == "[DONE]"
        assert world.gateway.pipeline.queues.taken() == 0


def with_tenant(key: str = "${NEW}", **more: str) -> str:
    extra = "".join(f", {name}: {value}" for name, value in more.items())
    keys = f'[{{name: ci, key: "{key}"{extra}}}]'
    return CONFIG.replace(
        "plans:", f"  fresh: {{models: [chat], plan: free, keys: {keys}}}\nplans:"
    )


@pytest.mark.parametrize("on_revoke", ["cut", "finish"])
async def test_a_new_tenants_key_works_and_one_that_is_removed_stops(
    tmp_path: Path, on_revoke: str
) -> None:
    policy = f"access: {{on_revoke: {on_revoke}}}\n"
    async with (
        running_simulator(answer_tokens=20, tokens_per_second=20) as sim,
        reloading(tmp_path, CONFIG + policy, sim=sim.url, environ={"NEW": NEW_KEY}) as world,
        asyncio.TaskGroup() as tasks,
    ):
        assert await ask(world, NEW_KEY, max_tokens=1) == 401
        world.write(with_tenant() + policy)
        await world.gateway.reload.reload()
        assert await ask(world, NEW_KEY, max_tokens=1) == 200

        body = orjson.dumps({**CHAT, "stream": True, "max_tokens": 20})
        streams = [Exchange(), Exchange()]
        for stream, key in zip(streams, (NEW_KEY, KEY), strict=True):
            headers = raw(bearer(key))
            tasks.create_task(exchanged(world.gateway, body, headers=headers, watched=stream))
        await eventually(lambda: all(len(each.sent) > 1 for each in streams), within=10)
        world.write(with_tenant(disabled="true") + policy)
        await world.gateway.reload.reload()

        assert await ask(world, NEW_KEY) == 401
        assert await ask(world, max_tokens=1) == 200
    removed, kept = (events(each.body.decode())[-1] for each in streams)
    assert kept == "[DONE]"
    if on_revoke == "finish":
        assert removed == "[DONE]"
    else:
        assert removed["error"]["code"] == "access_revoked"


async def test_a_new_credential_shows_nowhere_and_the_old_one_neither(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    written = CONFIG.replace('"${SIM}"', f'"${{SIM}}", api_key: {SECRET}')
    async with reloading(tmp_path) as world:
        clean = world.gateway._redaction.word
        assert clean(SECRET[3:]) == SECRET[3:]
        for text in (written, CONFIG):
            world.write(text)
            await world.gateway.reload.reload()
            assert clean(f"x {SECRET} x") == f"x {REPLACED} x"
            assert SECRET not in repr(world.gateway.reload.source)
    assert SECRET not in capfd.readouterr().out


async def test_what_a_reload_can_not_apply_is_told_each_time_until_it_is_undone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with reloading(tmp_path, log_level="info") as world:
        world.write(CONFIG + "http: {max_body: 7}\n")
        for _ in range(2):
            staged = await world.gateway.reload.reload()
            assert staged.needs_restart == ("http.max_body",)
        world.write(CONFIG)
        assert (await world.gateway.reload.reload()).needs_restart == ()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    told = [line for line in lines if line["event"] == "config_reloaded"]
    assert [line["level"] for line in told] == ["warning", "warning", "info"]
    assert told[0]["needs_restart"] == ["http.max_body"]


async def test_a_signal_reloads_and_the_log_says_what_became_of_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with reloading(tmp_path) as world:
        reload = world.gateway.reload
        world.write("nonsense")
        reload.ask()
        await eventually(lambda: reload.failures == 1, within=10)
        world.write(CONFIG)
        reload.ask()
        await eventually(lambda: reload.reloads == 1, within=10)
    [told] = [line for line in capfd.readouterr().out.splitlines() if "reload_failed" in line]
    assert "gateway.yaml:1" in json.loads(told)["faults"][0]


async def test_a_plug_in_that_breaks_leaves_signals_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async with reloading(tmp_path) as world:
        reload = world.gateway.reload
        with monkeypatch.context() as patch:
            patch.setattr(world.gateway._snapshots.__class__, "make", _broken)
            reload.ask()
            await eventually(lambda: reload.failures == 1, within=10)
        reload.ask()
        await eventually(lambda: reload.reloads == 1, within=10)
    assert '"config_reload_broke"' in capfd.readouterr().out


def _broken(*_: object) -> None:
    raise RuntimeError("a stranger's")


async def test_reloads_come_one_after_the_other(tmp_path: Path) -> None:
    async with reloading(tmp_path) as world:
        reload = world.gateway.reload
        running = most = 0
        stage = reload.stage

        async def counted(*given: Any) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                return await stage(*given)
            finally:
                running -= 1

        reload.stage = counted  # type: ignore[method-assign]
        await asyncio.gather(*(reload.reload() for _ in range(5)))

    assert (most, reload.reloads) == (1, 5)


async def test_plans_of_the_store_outlive_a_reload(tmp_path: Path) -> None:
    async with reloading(tmp_path) as world, client(world.gateway, key=TOKEN) as admin:
        body = {"name": "stored", "limits": {"requests": "1/hour"}}
        assert (await admin.post("/admin/v1/plans", json=body)).status_code == 201
        plans = lambda: world.gateway.pipeline.snapshot.plans._plans  # noqa: E731 - read anew
        await eventually(lambda: "stored" in plans(), within=10)
        world.write(CONFIG.replace("  free: {}", "  free: {}\n  of-file: {}"))
        await world.gateway.reload.reload()
        assert plans().keys() == {"free", "of-file", "stored"}


async def test_an_operator_reloads_and_is_told_of_the_faults(tmp_path: Path) -> None:
    path = "/admin/v1/config/reload"
    async with reloading(tmp_path) as world, client(world.gateway, key=TOKEN) as admin:
        world.write(CONFIG + "http: {max_body: 7}\n")
        done = await admin.post(path)
        assert done.status_code == 200
        assert done.json()["needs_restart"] == ["http.max_body"]
        [event] = (await admin.get("/admin/v1/audit?action=reload")).json()["data"]
        assert event["after"]["sha256"] == done.json()["sha256"]

        world.write("models: 1\n")
        refused = await admin.post(path)
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "config_refused"
        assert "gateway.yaml:1: models" in refused.json()["error"]["message"]
