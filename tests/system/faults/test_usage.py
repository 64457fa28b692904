"""Rows 27 to 29: upstreams that miscount, say more than they may, or are another model."""

import json
from random import Random
from typing import Any

import pytest

from tests.support.faulty import chunk
from tests.system.faults import answers
from tests.system.faults.answers import DONE, ROLE, SAID, STOP, TEXT, WORDS, event, part, usage
from tests.system.faults.bench import AT_LENGTH, PRICE, Bench, Told
from tests.system.faults.upstreams import Reply, forever
from tests.system.world import Json

MARGIN = 64
"""Tokens above its cap at which an answer is cut."""
CAP = 512
"""Of the models here, for requests that name none."""

Count = tuple[int, int]
GOOD: list[tuple[Any, Count]] = [
    (usage(7, 5), (7, 5)),
    (usage(0, 0), (0, 0)),
    (usage(9, 4), (9, 4)),
    (usage(7, 0), (7, 0)),
    (usage(1, 300), (1, 300)),
]
BAD: list[Any] = [
    usage(-1, 5),
    usage(7, -5),
    usage(7, 10**12),
    usage("7", "5"),
    usage(7.5, 5),
    usage(None, None),
    usage(True, 5),
    {"usage": None},
    {"usage": []},
    {"usage": {}},
    {"usage": "much"},
]


def told_of(world: Bench, told: Told) -> tuple[str, Count]:
    """Whose count it was, and the tokens of prompt and answer."""
    record = world.record(told)
    prompt, completion = record["prompt_tokens"], record["completion_tokens"]
    assert record["cost_nano_usd"] == 1000 * (
        prompt * PRICE["input"] + completion * PRICE["output"]
    )
    return record["usage_source"], (prompt, completion)


def test_27_the_last_report_of_usage_that_makes_sense_is_charged(world: Bench) -> None:
    """Wherever reports stand, and however many there are; without any, our own count is."""
    chance = Random(27)
    cases: dict[str, Reply] = {}
    expected: dict[str, Count | None] = {}
    for number in range(1000 if AT_LENGTH else 60):
        reports = [
            chance.choice([*GOOD, *((each, None) for each in BAD)])
            for _ in range(chance.randrange(4))
        ]
        events = [ROLE, *SAID, STOP]
        places = sorted(chance.sample(range(len(events)), len(reports)))
        for place, (report, _) in zip(reversed(places), reversed(reports), strict=True):
            events[place] = _with_report(events[place], report, alone=chance.random() < 0.5)
        cases[str(number)] = answers.stream(*events, DONE)
        good = [count for _, count in reports if count is not None]
        expected[str(number)] = good[-1] if good else None
    world.a.says_each(cases)

    told = world.ask_cases("a", list(cases), stream=True)

    for case, each in told.items():
        assert each.is_whole, (case, each.text)
        assert each.said == TEXT
        source, count = told_of(world, each)
        if expected[case] is None:
            assert (source, count[1]) == ("counted", len(WORDS)), case
        else:
            assert (source, count) == ("measured", expected[case]), case


def _with_report(event_: bytes, report: Json, *, alone: bool) -> bytes:
    """With usage in that event, or in one of its own after it."""
    named = {"id": "chatcmpl-1", "object": "chat.completion.chunk"}
    if alone:
        return event_ + event({**named, "choices": [], **report})
    return event({**json.loads(event_.split(b"\n\n")[0].removeprefix(b"data: ")), **report})


def test_27_a_whole_answer_without_usage_is_estimated(world: Bench) -> None:
    reports: dict[str, Any] = {str(number): each for number, each in enumerate(BAD)}
    world.a.says_each({case: answers.whole(**each) for case, each in reports.items()})

    for case, each in world.ask_cases("a", list(reports)).items():
        source, (prompt, completion) = told_of(world, each)
        assert source == "counted", case
        assert prompt > 0
        assert completion == -(-len(json.dumps(TEXT)) // 4) or completion == -(-len(TEXT) // 4)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_27_usage_beyond_belief_is_charged_as_what_was_reserved(
    world: Bench, *, stream: bool
) -> None:
    absurd = usage(7, 1_000_000)
    events = (ROLE, *SAID, STOP, event({"choices": [], **absurd}), DONE)
    world.a.says_each(
        {
            "absurd": answers.stream(*events) if stream else answers.whole(**absurd),
            "silent": answers.stream(ROLE, *SAID, STOP, DONE),
        }
    )

    told = world.ask_cases("a", ["absurd"], stream=stream)["absurd"]
    [silent] = world.ask_cases("a", ["silent"], stream=True).values()

    assert told.is_whole
    _, (estimated, _) = told_of(world, silent)
    assert told_of(world, told) == ("upper_bound", (estimated, CAP + MARGIN))


# Row 28


@pytest.mark.parametrize(
    ("fields", "most"),
    [({"max_tokens": 8}, 8 + MARGIN), ({"max_tokens": 8, "n": 2}, 16 + MARGIN), ({}, CAP + MARGIN)],
    ids=["named", "two_choices", "the_models"],
)
def test_28_an_upstream_that_ignores_its_cap_is_cut_without_an_invented_end(
    world: Bench, fields: Json, most: int
) -> None:
    world.a.says(forever(answers.HEAD + chunk(ROLE), chunk(part({"content": "x"}))))

    told = world.ask("ab", stream=True, **fields)

    assert (told.status, told.attempts) == (200, 1)
    assert told.code == "upstream_exceeded_max_tokens"
    assert told.said == "x" * most
    assert all(
        choice["finish_reason"] is None for each in told.events[:-1] for choice in each["choices"]
    )
    record = world.record(told)
    assert (record["outcome"], record["usage_source"]) == ("cut", "counted")
    assert record["completion_tokens"] == most


def test_28_what_a_whole_answer_has_above_its_cap_is_charged(world: Bench) -> None:
    world.a.says(answers.whole("x" * 300, "length", **usage(7, 80)))

    told = world.ask("a", max_tokens=8)

    assert told.said == "x" * 300
    assert told_of(world, told) == ("measured", (7, 80))


# Row 29


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_29_another_model_than_was_asked_for_is_relayed_and_told(
    world: Bench, *, stream: bool
) -> None:
    other = b'"model": "impostor"'
    sane = answers.stream() if stream else answers.whole()
    sane = sane.replace(b'"model": "demo-model"', other.ljust(len(b'"model": "demo-model"')))
    world.a.says(sane)
    name = 'lockgate_served_model_differs_total{target="a/demo-model"}'
    before = world.gateway.metrics().get(name, 0)

    told = world.ask("a", stream=stream)

    assert (told.is_whole, told.said) == (True, TEXT)
    assert "impostor" not in told.text
    assert world.record(told)["attempts"][0]["served_model"] == "impostor"
    assert world.gateway.metrics()[name] == before + 1
    [row] = world.rows([told])
    [attempt] = row["attempts"]
    assert (attempt["model"], attempt["served_model"]) == ("demo-model", "impostor")
    assert told_of(world, told)[0] == "measured"
