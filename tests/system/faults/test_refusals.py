"""Rows 18 to 23 and 25: upstreams that answer, and will not serve."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import product

import pytest

from tests.support.faulty import response
from tests.system.faults import answers
from tests.system.faults.answers import ROLE, SAID, as_json, begun, event, refusal
from tests.system.faults.bench import Bench, bench, credential, model
from tests.system.faults.upstreams import Reply
from tests.system.world import Json

TOLD = "words-of-the-upstreams-own"
NOW = datetime.now(UTC)
LONG = 60.0
"""Seconds that an upstream is left alone at most."""

Headers = list[tuple[str, str]]
WAITS: dict[str, tuple[Headers, float]] = {
    "seconds": ([("retry-after", "7")], 7),
    "fraction": ([("retry-after", "7.5")], 7.5),
    "date": (
        [
            ("date", format_datetime(NOW, usegmt=True)),
            ("retry-after", format_datetime(NOW + timedelta(seconds=20), usegmt=True)),
        ],
        20,
    ),
    "date-of-a-wrong-clock": (
        [
            ("date", "Tue, 01 Jan 2008 00:00:00 GMT"),
            ("retry-after", "Tue, 01 Jan 2008 00:00:30 GMT"),
        ],
        30,
    ),
    "milliseconds": ([("retry-after-ms", "9000"), ("retry-after", "1")], 9),
    "reset-of-the-spent": (
        [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "12s"),
            ("x-ratelimit-remaining-tokens", "5"),
            ("x-ratelimit-reset-tokens", "40s"),
        ],
        12,
    ),
    "reset-in-minutes": ([("x-ratelimit-reset-tokens", "6m0s")], LONG),
    "1e9": ([("retry-after", "1e9")], LONG),
    "year-9999": ([("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")], LONG),
    "in-the-past": ([("retry-after", "Tue, 01 Jan 2008 00:00:00 GMT")], 0),
    "minus-one": ([("retry-after", "-1")], 0),
    "nan": ([("retry-after", "nan")], 0),
    "infinity": ([("retry-after", "Infinity")], 0),
    "garbage": ([("retry-after", "soon; 7")], 0),
    "empty": ([("retry-after", "")], 0),
    "nothing": ([], 0),
}
KINDS = ("quota", "sound", "unauthorized", "forbidden")


@pytest.fixture(scope="module")
def wary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """With health as users have it, and a provider for each case, all before one upstream."""
    aliases = dict.fromkeys([*WAITS, *KINDS], "a")
    models = {f"{name}-b": model(name, "b") for name in aliases}
    models |= {f"{name}-too": model(name) for name in KINDS}
    for name in KINDS:
        models[f"{name}-too"]["targets"][0]["model"] = "another"
    folder = tmp_path_factory.mktemp("wary")
    with bench(folder, {"models": models}, names="ab", aliases=aliases, health={}) as made:
        yield made


def test_18_a_rate_limit_is_waited_out_and_told_as_our_own(wary: Bench) -> None:
    limited = {name: refusal(429, *headers, message=TOLD) for name, (headers, _) in WAITS.items()}
    wary.a.says_each(limited)

    told = {name: wary.ask(name, user=name) for name in WAITS}
    asked = wary.a.asked
    again = {name: wary.ask(name, user=name) for name in WAITS}

    assert asked == len(WAITS)
    assert wary.a.asked - asked == sum(not wait for _, wait in WAITS.values())
    for name, (_, wait) in WAITS.items():
        each = told[name]
        assert (each.status, each.code, each.attempts) == (429, "rate_limit_exceeded", 1), name
        assert each.headers["x-lockgate-error-source"] == "upstream"
        assert each.headers["x-should-retry"] == "true"
        milliseconds = int(each.headers["retry-after-ms"])
        assert int(each.headers["retry-after"]) == -(-milliseconds // 1000)
        # What is left of it when the answer goes out, and a second where nothing was asked for.
        assert max(wait, 1) * 1000 - 10_000 < milliseconds <= max(wait, 1) * 1000, name
        assert milliseconds <= LONG * 1000
        assert TOLD not in each.text
        if wait:
            assert (again[name].status, again[name].code) == (503, "no_healthy_upstream"), name
            assert again[name].headers["x-lockgate-error-source"] == "gateway"
        else:
            assert again[name].status == 429, name


def test_18_a_rate_limit_is_somebody_elses_answer(wary: Bench) -> None:
    wary.a.says(refusal(429, ("retry-after", "7")))

    told = [wary.ask(f"{name}-b", stream=stream) for name, stream in product(WAITS, (True, False))]

    assert all(each.is_whole for each in told)
    assert wary.b.asked == len(told)


def test_19_an_empty_account_is_no_rate_limit(wary: Bench) -> None:
    wary.a.says(refusal(429, ("retry-after", "1"), code="insufficient_quota", message=TOLD))

    first = wary.ask("quota")
    others = [wary.ask(each) for each in ("quota", "quota-too", "quota-b")]

    for each in (first, *others[:2]):
        assert (each.status, each.code) == (503, "upstream_quota_exhausted")
        assert each.headers["x-should-retry"] == "false"
        assert TOLD not in each.text
    assert others[2].is_whole
    assert wary.a.asked == 1  # the credential is left alone, whatever it is shown for
    assert wary.alerts("quota") == ["upstream_quota_exhausted"]


# Row 20

REFUSED, AMBIGUOUS = (502, 503, 529), (408, 500, 504)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_20_a_server_error_goes_to_as_many_others_as_it_may(world: Bench, *, stream: bool) -> None:
    cases = {
        f"{status}-{failing}": (status, failing)
        for status, failing in product((*REFUSED, *AMBIGUOUS), (1, 2, 3))
    }
    well = answers.stream() if stream else answers.whole()
    for place, name in enumerate("abc"):
        world.upstreams[name].says_each(
            {
                case: refusal(status, message=TOLD) if place < failing else well
                for case, (status, failing) in cases.items()
            }
        )
    for targets in ("a", "ab", "abc"):
        asked = {case: each for case, each in cases.items() if each[1] <= len(targets)}
        told = world.ask_cases(targets, list(asked), stream=stream)
        for case, (status, failing) in asked.items():
            each = told[case]
            attempts, succeeds = expected(status, failing, len(targets))
            assert (each.attempts, each.is_whole) == (attempts, succeeds), (case, targets)
            assert TOLD not in each.text
            if not succeeds:
                assert (each.status, each.code) == (502, "upstream_error")
                assert each.headers["x-should-retry"] == str(status in REFUSED).lower()
                assert each.headers["x-lockgate-error-source"] == "upstream"
                assert ("retry-after" in each.headers) == (status in REFUSED)


def expected(status: int, failing: int, targets: int) -> tuple[int, bool]:
    """
    Attempts, and whether one succeeds: what was refused may go on to all, and to the first again
    as long as there are attempts; what may have been worked on goes to one other.
    """
    if targets == 1:
        return 1, False
    if status in AMBIGUOUS:
        return 2, failing == 1
    return min(3, failing + 1), failing < targets


# Row 21


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_21_the_requests_own_fault_is_relayed_and_harms_nobody(wary: Bench, status: int) -> None:
    wary.a.says(refusal(status, message="mend it", param="top_p", code="because"))

    told = [wary.ask("sound-b", stream=stream) for stream in (True, False) * 5]

    assert {each.status for each in told} == {status}
    assert all(
        each.error == {"message": "mend it", "type": "invalid_request_error", "param": "top_p",
                       "code": "because"} for each in told
    )  # fmt: skip
    assert {each.attempts for each in told} == {1}
    assert {each.headers["x-should-retry"] for each in told} == {"false"}
    assert (wary.a.asked, wary.b.asked) == (10, 0)
    assert wary.record(told[0])["outcome"] == "refused"


def test_21_a_model_that_an_upstream_does_not_have_is_somebody_elses(world: Bench) -> None:
    world.a.says(refusal(404, code="model_not_found"))

    assert all(each.is_whole and each.attempts == 2 for each in world.ask_both("ab"))
    for each in world.ask_both("a"):
        assert (each.status, each.code) == (502, "upstream_model_missing")


# Row 22


@pytest.mark.parametrize(("name", "status"), [("unauthorized", 401), ("forbidden", 403)])
def test_22_a_credential_that_is_refused_is_left_alone_and_never_the_clients(
    wary: Bench, name: str, status: int
) -> None:
    key = credential(name)
    wary.a.says(refusal(status, ("www-authenticate", key), message=f"{key} is no good", code=key))

    first = wary.ask(name)
    taken_over = wary.ask_both(f"{name}-b")
    another = wary.ask(f"{name}-too")

    assert (first.status, first.code) == (502, "upstream_auth_error")
    assert first.headers["x-should-retry"] == "false"
    assert "www-authenticate" not in first.headers
    assert all(each.is_whole and each.attempts == 1 for each in taken_over)
    assert (another.status, another.code) == (502, "upstream_auth_error")
    assert another.attempts == 0
    assert wary.a.asked == 1
    assert wary.a.server.requests[0].headers["authorization"] == f"Bearer {key}"
    assert wary.alerts(name) == ["upstream_auth_error"]


# Row 23


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_23_a_redirect_is_not_followed(world: Bench, status: int) -> None:
    location = ("location", f"{world.c.url}/v1/chat/completions")
    world.a.says(refusal(status, location))

    taken_over = world.ask_both("ab")
    alone = world.ask_both("a")

    assert all(each.is_whole and each.attempts == 2 for each in taken_over)
    for each in alone:
        assert (each.status, each.code) == (502, "upstream_redirect")
        assert "location" not in each.headers
    assert world.c.server.accepted == 0


# Row 25


ERRORS_UNDER_200: dict[str, tuple[Json, int, str | None]] = {
    "429": ({"error": {"message": TOLD, "code": 429}}, 429, "rate_limit_exceeded"),
    "rate-limit": ({"error": {"type": "rate_limit_error"}}, 429, "rate_limit_exceeded"),
    "empty": ({"error": {"code": "insufficient_quota"}}, 503, "upstream_quota_exhausted"),
    "503": ({"error": {"message": TOLD, "code": "503"}}, 502, "upstream_error"),
    "500": ({"error": TOLD}, 502, "upstream_error"),
    "vllms": ({"object": "error", "message": TOLD, "code": 500}, 502, "upstream_error"),
    "401": ({"error": {"type": "authentication_error"}}, 502, "upstream_auth_error"),
    "404": ({"error": {"code": "model_not_found"}}, 502, "upstream_model_missing"),
    "400": ({"error": {"type": "invalid_request_error", "message": "mend"}}, 400, None),
    "length": ({"error": {"code": "context_length_exceeded"}}, 400, "context_length_exceeded"),
}


@pytest.mark.parametrize("where", ["whole", "in-place-of-a-stream", "first-event"])
def test_25_an_error_under_200_is_what_it_says(world: Bench, where: str) -> None:
    said = event if where == "first-event" else as_json
    cases: dict[str, Reply] = {
        name: answers.stream(ROLE, said(payload)) if where == "first-event" else said(payload)
        for name, (payload, _, _) in ERRORS_UNDER_200.items()
    }
    world.a.says_each(cases)

    alone = world.ask_cases("a", list(cases), stream=where != "whole", at_once=1)
    taken_over = world.ask_cases("ab", list(cases), stream=where != "whole", at_once=1)

    for name, (_, status, code) in ERRORS_UNDER_200.items():
        assert (alone[name].status, alone[name].code) == (status, code), name
        assert TOLD not in alone[name].text
        assert taken_over[name].is_whole == (status != 400), name
        assert taken_over[name].attempts == (1 if status == 400 else 2), name


def test_25_an_error_after_content_is_the_last_event(world: Bench) -> None:
    cases: dict[str, Reply] = {
        name: begun(ROLE, *SAID, event(payload))
        for name, (payload, _, _) in ERRORS_UNDER_200.items()
    }
    world.a.says_each(cases)

    for name, told in world.ask_cases("ab", list(cases), stream=True).items():
        assert (told.status, told.attempts) == (200, 1)
        assert len(told.events) == 2 + len(SAID)
        assert told.error is not None
        assert told.code == ERRORS_UNDER_200[name][2]


# Row 26


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "", "application/xml"])
def test_26_a_captive_page_is_no_answer(world: Bench, content_type: str) -> None:
    page = b"<html>Pay here for the internet</html>"
    headers = [("content-type", content_type)] if content_type else []
    world.a.says(response(page, headers=headers))

    assert all(each.is_whole and each.attempts == 2 for each in world.ask_both("ab"))
    for each in world.ask_both("a"):
        assert (each.status, each.code) == (502, "upstream_unexpected_content_type")
        assert "internet" not in each.text
