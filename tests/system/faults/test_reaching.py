"""Rows 1 to 4: upstreams that can not be reached, or are not who they say."""

import time
from collections.abc import Iterator

import pytest

from tests.support.faulty import Peer, self_signed
from tests.system.faults.bench import Bench, Told, bench, credential, model
from tests.system.faults.certificates import Authority
from tests.system.faults.upstreams import Stage
from tests.system.world import vllm

FAULTS = (
    "another-name",
    "expired",
    "not-yet-valid",
    "vouched-for-by-itself",
    "vouched-for-by-nobody",
    "of-a-client",
    "in-plain-text",
)


class PlainText:
    """A server that knows no TLS, and remembers what it was sent."""

    def __init__(self) -> None:
        self.heard = b""

    async def __call__(self, peer: Peer) -> None:
        self.heard += await peer.reader.read(65536)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


@pytest.fixture(scope="module")
def plain() -> PlainText:
    return PlainText()


@pytest.fixture(scope="module")
def wary(tmp_path_factory: pytest.TempPathFactory, plain: PlainText) -> Iterator[Bench]:
    """With health as users have it, before upstreams that speak TLS, each in a way of its own."""
    folder = tmp_path_factory.mktemp("tls")
    ours, foreign = Authority(folder), Authority(folder, "stranger")
    _, itself = self_signed(folder)
    contexts = {
        "good": ours.vouch("good"),
        "another-name": ours.vouch("another-name", host="upstream.example"),
        "expired": ours.vouch("expired", first="20200101000000Z", last="20200102000000Z"),
        "not-yet-valid": ours.vouch("not-yet", first="20480101000000Z", last="20490101000000Z"),
        "vouched-for-by-itself": itself,
        "vouched-for-by-nobody": foreign.vouch("foreign"),
        "of-a-client": ours.vouch("of-a-client", use="clientAuth"),
    }
    with Stage() as stage:
        port = stage.listen(plain).port
        urls = {"in-plain-text": f"https://127.0.0.1:{port}"}
        models = {f"{name}-a": model(name, "a") for name in (*FAULTS, "gone", "turned")}
        models["turned"] = model("turned")
        turned = vllm(f"http://localhost:{port}", network="public", api_key=credential("turned"))
        config = {
            "models": models,
            "providers": {"turned": turned},
            "upstream": {"ca_file": str(ours.file)},
        }
        with bench(folder, config, names="a", urls=urls, contexts=contexts, health={}) as made:
            yield made


# Row 1


def test_01_refuses_connections_is_somebody_elses_answer(world: Bench) -> None:
    for name, attempts in {"one-gone": 2, "two-gone": 3}.items():
        for told in world.ask_both(name):
            assert (told.is_whole, told.attempts) == (True, attempts)
            record = world.record(told)
            assert {each["error"] for each in record["attempts"][:-1]} == {"no_healthy_upstream"}


def test_01_with_all_of_them_gone_the_client_hears_when_to_come_back(world: Bench) -> None:
    for told in world.ask_both("all-gone"):
        assert_unreachable(told)
        assert world.record(told)["prompt_tokens"] == 0


def assert_unreachable(told: Told) -> None:
    assert (told.status, told.code) == (503, "no_healthy_upstream")
    assert int(told.headers["retry-after"]) >= 1
    assert told.headers["x-should-retry"] == "true"


def test_01_one_that_refuses_five_times_is_left_alone(wary: Bench) -> None:
    attempts = [wary.ask("gone-a").attempts for _ in range(8)]
    alone = wary.ask("gone")

    assert attempts == [2] * 5 + [1] * 3
    assert wary.alerts("gone") == ["failing"]
    assert_unreachable(alone)
    assert int(alone.headers["retry-after-ms"]) > 1000  # when it will be asked again
    assert alone.attempts == 0


# Row 2


def test_02_a_name_that_does_not_exist_is_somebody_elses_answer(world: Bench) -> None:
    began = time.monotonic()

    told = world.ask_all([*(_chat(number) for number in range(5))])

    assert all(each.is_whole and each.attempts == 2 for each in told)
    assert time.monotonic() - began < 10
    [alone] = world.ask_all([{**_chat(9), "model": "nameless"}])
    assert_unreachable(alone)


def _chat(number: int) -> dict[str, object]:
    message = {"role": "user", "content": "canary-prompt"}
    return {"model": "nameless-a", "messages": [message], "user": f"n{number}"}


# Row 3


def test_03_a_public_name_that_means_a_private_address_is_not_spoken_to(
    wary: Bench, plain: PlainText
) -> None:
    for name in ("turned", "turned-a"):
        told = wary.ask(name)
        assert (told.status, told.code) == (502, "upstream_blocked_address")
        assert (told.attempts, told.headers["x-should-retry"]) == (1, "false")
    assert wary.a.asked == 0
    assert credential("turned").encode() not in plain.heard


# Row 4


def test_04_tls_is_spoken_with_whom_we_trust(wary: Bench) -> None:
    assert all(each.is_whole for each in wary.ask_both("good"))


@pytest.mark.parametrize("name", FAULTS)
def test_04_tls_that_can_not_be_trusted_is_not_spoken(
    wary: Bench, plain: PlainText, name: str
) -> None:
    [alone, taken_over] = [wary.ask(name), wary.ask(f"{name}-a")]

    assert (alone.status, alone.code) == (502, "upstream_tls_error")
    assert (taken_over.is_whole, taken_over.attempts) == (True, 2)
    if name in wary.upstreams:
        assert wary.upstreams[name].asked == 0
    assert credential(name).encode() not in plain.heard
    assert b"POST" not in plain.heard
