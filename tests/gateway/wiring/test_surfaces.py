"""Which application has which routes, and what callers see of themselves through them."""

from pathlib import Path

from gateway.limits import MemoryLimiter
from tests.support.application import (
    CHAT,
    CHAT_PATH,
    CONFIG,
    TOKEN,
    bearer,
    client,
    running,
)
from tests.support.simulator import running_simulator

PRODUCTION = {
    "environment": "production",
    "key_pepper": "p" * 32,
    "admin_token": TOKEN,
    "jwt_secret": "j" * 32,
}
LIMITED = CONFIG.replace(
    "  free: {}",
    '  free: {requests: "5/hour", tokens: "9000/day", models: {chat: {requests: "2/hour"}}}',
)


async def test_in_production_administration_has_a_listener_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path, **PRODUCTION) as gateway:
        assert gateway.admin is not None
        async with client(gateway, key=TOKEN) as data, client(gateway.admin, key=TOKEN) as admin:
            assert (await data.get("/admin/v1/plans")).status_code == 404
            assert (await admin.get("/admin/v1/plans")).status_code == 200
            assert (await admin.get("/v1/models", headers=bearer())).status_code == 404


async def test_callers_see_all_of_their_limits_and_for_which_model_each_is(tmp_path: Path) -> None:
    async with (
        running_simulator(answer_tokens=2) as sim,
        running(tmp_path, LIMITED, sim=sim.url) as gateway,
        client(gateway) as http,
    ):
        assert (await http.post(CHAT_PATH, json=CHAT)).status_code == 200
        shown = (await http.get("/v1/limits")).json()["data"]

    found = {(each["measure"], each["model"]): each["limit"] - each["remaining"] for each in shown}
    assert found.keys() == {("requests", None), ("tokens", None), ("requests", "chat")}
    assert found["requests", None] == found["requests", "chat"] == 1
    assert found["tokens", None] > 2


async def test_a_caller_that_asks_for_its_limits_often_is_remembered_once(tmp_path: Path) -> None:
    async with running(tmp_path, LIMITED) as gateway, client(gateway) as http:
        for _ in range(3):
            assert (await http.get("/v1/limits")).status_code == 200
        limiter = gateway.pipeline.limiter
        assert isinstance(limiter, MemoryLimiter)
        assert len(limiter._bound) == 1
