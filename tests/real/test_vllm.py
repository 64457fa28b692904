"""The gateway in front of vLLM itself, which the simulator only plays."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.real.servers import RealServer, vllm
from tests.real.suite import RealServerSuite, ask, client, half_read, settings_for
from tests.system.world import Gateway, gateway, post, until

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
        "targets": [{"provider": "counting", "model": "smollm2"}],
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
