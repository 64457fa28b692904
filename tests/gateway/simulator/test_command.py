import socket
from typing import Any

import pytest

from gateway.server import AddressInUse
from gateway.settings import StartRefused
from gateway.simulator import SimulatorSettings, command
from gateway.simulator.command import simulate


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[SimulatorSettings]:
    """The settings of each server that would have run."""
    calls: list[SimulatorSettings] = []
    monkeypatch.setattr(command, "run", calls.append)
    return calls


def test_options_and_faults_become_settings(ran: list[SimulatorSettings]) -> None:
    simulate(
        {"port": 0, "models": ["a", "b"], "seed": 3, "api_key": "k"},
        ["cut,after=3,times=2", "status,status=429,probability=0.5,retry_after=2"],
    )

    (settings,) = ran
    assert (settings.port, settings.models, settings.seed) == (0, ("a", "b"), 3)
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "k"
    cut, status = settings.faults
    assert (cut.kind, cut.after, cut.times) == ("cut", 3, 2)
    assert (status.kind, status.status, status.probability) == ("status", 429, 0.5)


def test_without_options_the_defaults_hold(ran: list[SimulatorSettings]) -> None:
    simulate({}, [])

    assert ran == [SimulatorSettings()]


@pytest.mark.parametrize(
    ("options", "faults", "told"),
    [
        ({"port": 70_000}, [], "port: "),
        ({"answer_tokens": 0}, [], "answer_tokens: "),
        ({"port": 70_000, "answer_tokens": 0}, [], "port: "),
        ({"no_such": 1}, [], "no_such: "),
        ({}, ["no-such"], "kind: "),
        ({}, [""], "kind: "),
        ({}, ["cut,after=soon"], "after: "),
        ({}, ["cut,=3"], ""),
        ({}, ["delay,mid_event=1"], "has no mid_event"),
        ({}, ["cut", "stall,after=1,silent=1"], "silent"),
    ],
)
def test_what_makes_no_sense_is_told_and_nothing_runs(
    ran: list[SimulatorSettings], options: dict[str, Any], faults: list[str], told: str
) -> None:
    with pytest.raises(StartRefused) as refused:
        simulate(options, faults)

    assert told in str(refused.value)
    assert refused.value.exit_code == 2
    assert ran == []


def test_a_refusal_has_a_line_for_each_fault_and_repeats_no_secret(
    ran: list[SimulatorSettings],
) -> None:
    with pytest.raises(StartRefused) as refused:
        simulate({"port": -1, "answer_tokens": 0, "api_key": ["a secret"]}, [])

    assert len(str(refused.value).splitlines()) == 3
    assert "a secret" not in str(refused.value)


def test_an_address_that_is_taken_is_told_with_its_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match=f"can't listen on 127.0.0.1:{port}: ") as refused:
            simulate({"port": port}, [])

    assert refused.value.exit_code == 1
