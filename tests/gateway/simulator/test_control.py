import httpx
import pytest

from tests.support.simulator import running_simulator

ASK = {"messages": [{"role": "user", "content": "Hi"}]}


async def test_faults_are_set_shown_and_cleared_while_it_runs() -> None:
    rules = [{"kind": "status", "status": 503, "times": 2}, {"kind": "cut", "after": 3}]
    async with running_simulator() as sim, httpx.AsyncClient(base_url=sim.url) as client:
        assert (await client.put("/simulator/faults", json=rules)).json() == rules
        assert (await client.get("/simulator/faults")).json() == rules
        assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 503

        assert (await client.delete("/simulator/faults")).json() == []
        assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200


@pytest.mark.parametrize("wrong", ["{", '[{"kind":"none"}]', '[{"kind":"cut","afterr":1}]', "7"])
async def test_wrong_rules_are_refused_and_the_old_ones_stay(wrong: str) -> None:
    async with (
        running_simulator(faults=[{"kind": "delay"}]) as sim,
        httpx.AsyncClient(base_url=sim.url) as client,
    ):
        answer = await client.put("/simulator/faults", content=wrong)

        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "BadRequestError"
        assert (await client.get("/simulator/faults")).json() == [{"kind": "delay"}]


async def test_the_state_over_the_wire_is_the_state_and_the_open_connections() -> None:
    async with running_simulator() as sim, httpx.AsyncClient(base_url=sim.url) as client:
        answer = (await client.post("/v1/chat/completions", json=ASK)).json()
        state = (await client.get("/simulator/state")).json()

        assert state == sim.state() | {"connections": 1}
        assert state["requests"] == 1
        assert state["by_status"] == {"200": 1}
        assert state["prompt_tokens"] == answer["usage"]["prompt_tokens"]
        assert state["completion_tokens"] == answer["usage"]["completion_tokens"]


async def test_requests_are_shown_as_they_came_and_can_be_forgotten() -> None:
    async with running_simulator() as sim, httpx.AsyncClient(base_url=sim.url) as client:
        await client.post("/v1/chat/completions?a=b", json=ASK, headers={"X-Thing": "Value"})
        [seen] = (await client.get("/simulator/requests")).json()

        assert (seen["method"], seen["path"], seen["query"]) == (
            "POST",
            "/v1/chat/completions",
            "a=b",
        )
        assert seen["headers"]["x-thing"] == "Value"
        assert "Hi" in seen["body"]
        assert (await client.delete("/simulator/requests")).json() == []
        assert sim.requests() == []


@pytest.mark.parametrize(("method", "path"), [("GET", "none"), ("POST", "state")])
async def test_there_is_nothing_else(method: str, path: str) -> None:
    async with running_simulator() as sim, httpx.AsyncClient(base_url=sim.url) as client:
        assert (await client.request(method, f"/simulator/{path}")).status_code == 404


async def test_refusing_all_else_leaves_the_control_open() -> None:
    async with running_simulator() as sim, httpx.AsyncClient(base_url=sim.url) as client:
        sim.faults({"kind": "refuse"})

        for path in ("/v1/models", "/health", "/metrics"):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(path)
        assert (await client.delete("/simulator/faults")).status_code == 200
        assert (await client.get("/health")).status_code == 200
