from typing import Any

import pytest
from pydantic import ValidationError

from gateway.simulator.dice import fractions
from gateway.simulator.faults import Fault, FaultList, Faults, parse_fault

CHAT = ("POST", "/v1/chat/completions")


def faults(*rules: dict[str, Any]) -> Faults:
    return Faults(FaultList.validate_python(rules), fractions(0))


def test_a_rule_with_times_is_met_that_often() -> None:
    drawn = faults({"kind": "status", "times": 2})

    met = [drawn.draw(*CHAT) is not None for _ in range(5)]

    assert met == [True, True, False, False, False]


def test_a_probability_is_the_share_of_requests_that_meet_the_fault() -> None:
    drawn = faults({"kind": "status", "probability": 0.25})

    met = sum(drawn.draw(*CHAT) is not None for _ in range(4000))

    assert 900 < met < 1100


def test_the_first_rule_that_applies_is_met_and_then_the_next() -> None:
    drawn = faults({"kind": "cut", "times": 1}, {"kind": "status"})

    met = [fault and fault.kind for fault in (drawn.draw(*CHAT), drawn.draw(*CHAT))]

    assert met == ["cut", "status"]


@pytest.mark.parametrize(
    ("rule", "method", "path", "met"),
    [
        ({"kind": "status"}, "POST", "/v1/embeddings", True),
        ({"kind": "status"}, "GET", "/v1/models", False),
        ({"kind": "status"}, "GET", "/health", False),
        ({"kind": "status", "path": "/health"}, "GET", "/health", True),
        ({"kind": "status", "path": "/health"}, "POST", "/v1/embeddings", False),
        ({"kind": "refuse"}, "GET", "/metrics", True),
    ],
)
def test_a_rule_applies_to_its_paths(
    rule: dict[str, Any], method: str, path: str, met: bool
) -> None:
    assert (faults(rule).draw(method, path) is not None) is met


def test_new_rules_begin_with_all_their_times() -> None:
    drawn = faults({"kind": "status", "times": 1})
    drawn.draw(*CHAT)

    drawn.rules = drawn.rules

    assert drawn.draw(*CHAT) is not None


def test_the_short_form_is_the_long_one() -> None:
    assert parse_fault("cut,after=3,times=1,mid_event=true") == Fault(
        kind="cut", after=3, times=1, mid_event=True
    )
    assert parse_fault("status,status=429,retry_after=7").status == 429


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "cut,after",
        "cut,after=-1",
        "status,status=999",
        "cut,unknown=1",
        "status,retry_after=a\r\nb",
        "stall,silent=true,after=1",
        "garbage,mid_event=true",
    ],
)
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        parse_fault(text)
