"""The gateway in front of vLLM itself, which the simulator only plays."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.real.servers import KEY, MODEL, RealServer, vllm
from tests.real.suite import RealServerSuite, ask, client, half_read, settings_for
from tests.system.world import Gateway, data, gateway, post, simulator, until

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    with vllm(tmp_path_factory.mktemp("vllm")) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, real: RealServer) -> Iterator[Gateway]:
    config = settings_for(real)
    config["providers"]["counting"] = real.provider(continuous_usage=True)
    config["models"]["counted"] = {
        "targets": [{"provider": "counting", "model": MODEL}],
        "max_output": 64,
    }
    with gateway(tmp_path_factory.mktemp("gateway"), config) as running:
        yield running


class TestVLLM(RealServerSuite):
    """All that holds in front of every server, and what only vLLM has."""

    def test_streams_one_after_another_share_a_connection(self, server: Gateway) -> None:
        for stream in (True, False, True):
            assert post(server, ask(max_tokens=2, stream=stream)).status_code == 200

        until(server.is_idle)
        assert server.metrics()['lockgate_upstream_connections{state="open"}'] == 1

    def test_a_model_that_the_server_lacks_is_the_operators_fault(self, server: Gateway) -> None:
        answer = post(server, ask(model="missing"))

        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_model_missing"
        assert "does not exist" not in answer.text

    @pytest.mark.parametrize(
        "wanted",
        [{"structured_outputs": {"choice": ["aye", "no"]}}, {"guided_choice": ["aye", "no"]}],
        ids=["new", "old"],
    )
    def test_its_own_fields_are_passed_on_under_their_present_names(
        self, server: Gateway, wanted: dict[str, Any]
    ) -> None:
        with client(server) as sdk:
            answer = sdk.chat.completions.create(**ask(), extra_body=wanted)

        assert answer.choices[0].message.content in ("aye", "no")

    def test_a_faulty_parameter_is_refused_in_the_servers_words(self, server: Gateway) -> None:
        answer = post(server, ask(max_tokens=100_000))

        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["type"], error["param"]) == ("invalid_request_error", "max_tokens")
        assert "2048" in error["message"]

    def test_continuous_usage_measures_a_stream_that_its_client_left(self, server: Gateway) -> None:
        records = len(server.records())
        with half_read(server, model="counted") as rest:
            seen = [line for line in (next(rest), next(rest)) if line]

        until(lambda: len(server.records()) > records)
        record = server.records()[records]
        assert (record["outcome"], record["usage_source"]) == ("hung_up", "measured")
        assert record["completion_tokens"] >= 9  # twenty lines are ten events, one of the role
        assert not any('"usage"' in line for line in seen)

    def test_its_metrics_count_the_tokens_that_the_gateway_counts(
        self, server: Gateway, real: RealServer
    ) -> None:
        before = real.tokens()
        answer = post(server, ask()).json()

        until(lambda: real.tokens() != before)
        after = real.tokens()
        assert (after[0] - before[0], after[1] - before[1]) == (
            answer["usage"]["prompt_tokens"],
            answer["usage"]["completion_tokens"],
        )


CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
TO_CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
TO_TEXT = {"model": MODEL, "prompt": "Hi", "max_tokens": 3}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
CONTINUOUS = {
    "stream": True,
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
}
LEFT_OUT = {"system_fingerprint", "prompt_tokens_details", "completion_tokens_details"}
"""Fields that the simulator does not play."""


def fields(told: Any) -> Any:
    """The names of an answer's fields, in their order, and of the fields in them."""
    match told:
        case dict():
            return [(name, fields(told[name])) for name in told if name not in LEFT_OUT]
        case list():
            return [fields(each) for each in told]
        case _:
            return None


def answered(url: str, path: str, body: dict[str, Any], key: str = KEY) -> tuple[int, list[Any]]:
    """The status, and the JSON of the body or of each event."""
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.post(url + path, json=body, headers=headers, timeout=60)
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return answer.status_code, [answer.json()]
    return answer.status_code, [json.loads(each) for each in data(answer.text)[:-1]]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = ("--model", MODEL, "--api-key", KEY)
    folder: Path = tmp_path_factory.mktemp("simulator")
    with simulator(folder, *options) as running:
        yield running.url


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("how", [{}, STREAM, CONTINUOUS], ids=["whole", "stream", "continuous"])
def test_the_simulator_answers_with_the_fields_of_the_real_one(
    real: RealServer, played: str, path: str, how: dict[str, Any]
) -> None:
    body = (TO_CHAT if path == CHAT else TO_TEXT) | how | {"ignore_eos": True}

    assert fields(answered(played, path, body)[1]) == fields(answered(real.url, path, body)[1])


@pytest.mark.parametrize(
    ("wrong", "key"),
    [({}, "sk-wrong"), ({"model": "other"}, KEY), ({"max_tokens": 1_000_000}, KEY)],
    ids=["key", "model", "max_tokens"],
)
def test_the_simulator_refuses_as_the_real_one_does(
    real: RealServer, played: str, wrong: dict[str, Any], key: str
) -> None:
    mine, its = (answered(url, CHAT, TO_CHAT | wrong, key) for url in (played, real.url))

    assert mine[0] == its[0]
    assert _without_words(mine[1]) == _without_words(its[1])


def test_the_simulator_refuses_a_prompt_beyond_its_context_as_the_real_one_does(
    real: RealServer, played: str
) -> None:
    told = []
    for url in (played, real.url):
        headers = {"authorization": f"Bearer {KEY}"}
        [model] = httpx.get(f"{url}/v1/models", headers=headers).json()["data"]
        long = [{"role": "user", "content": "word " * 2 * model["max_model_len"]}]
        told.append(_without_words(answered(url, CHAT, TO_CHAT | {"messages": long})[1]))

    assert told[0] == told[1]


def _without_words(bodies: list[Any]) -> list[Any]:
    """Their errors; messages hold numbers that differ."""
    errors = [body["error"] for body in bodies]
    return [each if isinstance(each, str) else {**each, "message": None} for each in errors]
