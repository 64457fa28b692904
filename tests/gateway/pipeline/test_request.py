"""One request over several targets: who is asked, what the client is told, what is charged."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.errors import (
    GatewayError,
    InvalidKey,
    InvalidRequest,
    LimitExceeded,
    NoHealthyUpstream,
    ProviderAuthFailed,
    ProviderDisconnected,
    ProviderError,
    ProviderFailed,
    ProviderGarbled,
    ProviderModelMissing,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRedirected,
    ProviderRefused,
    ProviderRejected,
    ProviderTimedOut,
    ProviderUnreachable,
    RequestExceedsLimit,
    Retry,
    UnknownModel,
)
from gateway.health import HealthSettings
from gateway.limits import prompt_tokens
from gateway.pipeline import Request
from tests.support.pipeline import (
    DONE,
    FINISH,
    GOOD,
    GOOD_WHOLE,
    HANGS_UP,
    MESSAGES,
    ROLE,
    STREAM,
    UNREACHABLE,
    Bench,
    Gate,
    Says,
    breaks,
    completion,
    pipeline_of,
    refuses,
    says_whole,
    streams,
    text,
)
from tests.support.virtual_time import VirtualTime

BODY = {"model": "chat", "messages": MESSAGES}
PROMPT = prompt_tokens("chat", BODY)


@dataclass(frozen=True)
class Kind:
    """How a target fails, always in the same way."""

    says: Says
    error: type[ProviderError] | None
    code: str | None = "upstream_error"
    cools: bool = False


KINDS = {
    "answers": Kind(GOOD, None),
    # Class N: nothing was sent.
    "unreachable": Kind(UNREACHABLE, ProviderUnreachable, "no_healthy_upstream"),
    "no connection in time": Kind(
        breaks(httpx.ConnectTimeout("late")), ProviderUnreachable, "no_healthy_upstream"
    ),
    # Class R: refused outright.
    "429": Kind(refuses(429), ProviderRateLimited, "rate_limit_exceeded"),
    "429 for long": Kind(
        refuses(429, retry_after="59"), ProviderRateLimited, "rate_limit_exceeded", cools=True
    ),
    "502": Kind(refuses(502), ProviderRefused),
    "503": Kind(refuses(503), ProviderRefused),
    "529": Kind(refuses(529), ProviderRefused),
    "401": Kind(refuses(401), ProviderAuthFailed, "upstream_auth_error", cools=True),
    "403": Kind(refuses(403), ProviderAuthFailed, "upstream_auth_error", cools=True),
    "402": Kind(refuses(402), ProviderQuotaExhausted, "upstream_quota_exhausted", cools=True),
    "404": Kind(refuses(404), ProviderModelMissing, "upstream_model_missing"),
    "307": Kind(refuses(307, location="http://b.test"), ProviderRedirected, "upstream_redirect"),
    # Class A: it may have been worked on.
    "408": Kind(refuses(408), ProviderFailed),
    "500": Kind(refuses(500), ProviderFailed),
    "504": Kind(refuses(504), ProviderFailed),
    "reset": Kind(HANGS_UP, ProviderDisconnected, "upstream_disconnected"),
    "silent": Kind(streams(1e6), ProviderTimedOut, "upstream_timeout"),
    "no stream": Kind(GOOD_WHOLE, ProviderGarbled, "upstream_unexpected_content_type"),
    "cut": Kind(streams(ROLE), ProviderDisconnected, "upstream_disconnected"),
    "garbage": Kind(streams(b"data: {\n\n"), ProviderGarbled, "upstream_invalid_event"),
    # The request's own fault.
    "400": Kind(refuses(400), ProviderRejected, "theirs"),
    "409": Kind(refuses(409), ProviderRejected, "theirs"),
    "413": Kind(refuses(413), ProviderRejected, "theirs"),
    "422": Kind(refuses(422), ProviderRejected, "theirs"),
}


def oracle(kinds: list[Kind], attempts: int) -> tuple[list[int], Kind]:
    """
    Which targets are asked, by DECISIONS 22, and how the last attempt ends.

    Final ends it, so does a second ambiguous failure or the last attempt. All others go round,
    without those that may have worked on it or must be left alone, unless all must be.
    """
    asked: list[int] = []
    ambiguous: set[int] = set()
    round_ = list(range(len(kinds)))
    while True:
        for each in round_:
            kind = kinds[each]
            asked.append(each)
            if kind.error is None or kind.error.retry is Retry.FINAL:
                return asked, kind
            if kind.error.retry is Retry.ONCE:
                if ambiguous:
                    return asked, kind
                ambiguous.add(each)
            if len(asked) == attempts:
                return asked, kind
        last = kinds[asked[-1]]
        round_ = [
            each
            for each, kind in enumerate(kinds)
            if each not in ambiguous and not (kind.cools and each in asked)
        ]
        if not round_:
            return asked, last


@settings(max_examples=400)
@given(
    names=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4),
    attempts=st.integers(1, 10),
)
async def test_targets_are_asked_as_their_failures_allow(names: list[str], attempts: int) -> None:
    kinds = [KINDS[name] for name in names]
    asked, last = oracle(kinds, attempts)
    bench = pipeline_of(
        *[kind.says for kind in kinds],
        # Together shorter than the shortest that a target is left alone for.
        retries={"attempts": attempts, "max_backoff": 0.5},
        timeouts={"first_content": 10.0},
        quarantine=False,  # what breaks down over a request is a rule of its own
    )

    error = await raised_by(bench)

    assert bench.upstreams.asked == ["abcd"[each] for each in asked]
    assert [each.target for each in bench.record.attempts] == [f"{'abcd'[i]}/m" for i in asked]
    assert type(error) is (type(None) if last.error is None else last.error)
    assert error is None or error.code == last.code
    assert bench.record.outcome == outcome_of(last)
    assert bench.record.target == ("" if last.error else f"{'abcd'[asked[-1]]}/m")
    assert bench.limiter.settled[0][1] == (0 if last.error else 9)
    bench.check_nothing_is_left()


def outcome_of(kind: Kind) -> str:
    if kind.error is None:
        return "ok"
    return "refused" if kind.error.retry is Retry.FINAL else "failed"


async def raised_by(bench: Bench, request: Request | None = None) -> ProviderError | None:
    try:
        await bench.ask(request)
    except ProviderError as error:
        return error
    return None


@pytest.mark.parametrize("name", sorted(KINDS))
async def test_a_failure_goes_to_the_next_target_unless_it_is_the_requests_own(name: str) -> None:
    bench = pipeline_of(KINDS[name].says, GOOD)

    error = await raised_by(bench)

    kind = KINDS[name].error
    if kind is None:
        assert bench.upstreams.asked == ["a"]
    elif kind.retry is Retry.FINAL:
        assert (bench.upstreams.asked, type(error)) == (["a"], kind)
    else:
        assert (bench.upstreams.asked, error) == (["a", "b"], None)


async def test_a_target_that_may_have_worked_on_a_request_is_not_asked_again() -> None:
    bench = pipeline_of([refuses(500), GOOD], [refuses(503), GOOD])

    await bench.ask()

    assert bench.upstreams.asked == ["a", "b", "b"]


async def test_nobody_waits_when_there_is_no_target_left_to_ask() -> None:
    bench = pipeline_of(refuses(500), retries={"backoff": 5.0})
    clock = asyncio.get_running_loop().time
    began = clock()

    assert type(await raised_by(bench)) is ProviderFailed

    assert clock() == began


async def test_the_wait_is_for_a_target_that_may_still_be_asked() -> None:
    bench = pipeline_of(refuses(500), [refuses(429, retry_after="3"), GOOD])

    await bench.ask()

    assert bench.upstreams.asked == ["a", "b", "b"]


async def test_the_wait_is_for_a_target_that_speaks_the_operation() -> None:
    bench = pipeline_of(
        GOOD,
        [refuses(429, retry_after="3"), GOOD],
        operations={"a": frozenset({"embedding"})},
    )

    await bench.ask()

    assert bench.upstreams.asked == ["b", "b"]


async def test_a_refusal_is_waited_out_when_there_is_no_other_target() -> None:
    bench = pipeline_of([refuses(429, retry_after="3"), GOOD])
    clock = asyncio.get_running_loop().time
    began = clock()

    await bench.ask()

    assert bench.upstreams.asked == ["a", "a"]
    assert 3.0 <= clock() - began <= 3.2


async def test_a_refusal_is_waited_out_by_timers_that_fire_early_too() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTime)
    loop.fire_early(0.001)
    bench = pipeline_of([refuses(429, retry_after="3"), GOOD], retries={"backoff": 0.0001})

    await bench.ask()

    assert bench.upstreams.asked == ["a", "a"]


@pytest.mark.parametrize(("asked_for", "told"), [("7", 7.0), ("0.5", 1.0)])
@pytest.mark.parametrize("status", [429, 503])
async def test_who_must_wait_is_told_how_long(status: int, asked_for: str, told: float) -> None:
    bench = pipeline_of(refuses(status, retry_after=asked_for), retries={"attempts": 1})

    error = await raised_by(bench)

    assert error is not None
    assert error.retry_after == pytest.approx(told)


async def test_a_wait_beyond_the_longest_pause_is_the_clients() -> None:
    bench = pipeline_of(refuses(429, retry_after="6"), retries={"max_backoff": 5.0})
    clock = asyncio.get_running_loop().time
    began = clock()

    error = await raised_by(bench)

    assert clock() == began
    assert error is not None
    assert error.retry_after == pytest.approx(6.0)


async def test_no_attempt_begins_after_the_deadline_of_the_request() -> None:
    bench = pipeline_of(
        streams(1e6), GOOD, timeouts={"first_content": 10.0, "total": 10.0}, retries={"attempts": 5}
    )

    error = await raised_by(bench)

    assert type(error) is ProviderTimedOut
    assert bench.upstreams.asked == ["a"]
    bench.check_nothing_is_left()


async def test_a_later_attempt_gets_what_is_left_of_the_time() -> None:
    bench = pipeline_of(streams(1e6), streams(1e6), timeouts={"first_content": 10.0, "total": 15.0})
    clock = asyncio.get_running_loop().time
    began = clock()

    assert type(await raised_by(bench)) is ProviderTimedOut

    assert clock() - began == pytest.approx(15.0)
    assert [round(each.ended - each.started) for each in bench.record.attempts] == [10, 5]


# Health.


async def test_targets_that_are_down_are_passed_over_and_tried_when_their_time_is_over() -> None:
    bench = pipeline_of(
        [refuses(503), GOOD], GOOD, health=HealthSettings(consecutive_failures=1, cool_down=10)
    )

    await bench.ask()
    await bench.ask()
    await asyncio.sleep(10)
    await bench.ask()

    assert bench.upstreams.asked == ["a", "b", "b", "a"]
    assert bench.health.states()["a/m"].state == "up"


async def test_only_one_request_finds_out_whether_a_target_is_back() -> None:
    gate = Gate()
    bench = pipeline_of(
        [refuses(503), streams(*STREAM, before=(gate,)), GOOD],
        GOOD,
        health=HealthSettings(consecutive_failures=1, cool_down=10),
    )
    await bench.ask()
    await asyncio.sleep(10)

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        await gate.reached.wait()
        await bench.ask()
        gate.open()

    assert bench.upstreams.asked == ["a", "b", "a", "b"]
    bench.check_nothing_is_left()


async def test_a_target_whose_plan_was_made_before_its_probe_began_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = pipeline_of(
        [refuses(503), streams(1e6)],
        streams(*STREAM),
        health=HealthSettings(consecutive_failures=1, cool_down=10),
    )
    await bench.ask()
    await asyncio.sleep(10)
    assert bench.health.admits("a/m")  # as another request would that planned at the same time
    for planned_by in ("is_up", "prefers"):
        monkeypatch.setattr(bench.health, planned_by, lambda _: True)

    await bench.ask()

    assert bench.upstreams.asked == ["a", "b", "b"]
    assert [each.target for each in bench.heard.records[-1].attempts] == ["b/m"]
    bench.check_nothing_is_left()


async def test_nothing_is_sent_when_all_targets_are_down() -> None:
    bench = pipeline_of(refuses(503), health=HealthSettings(consecutive_failures=1, cool_down=10))
    await raised_by(bench)

    with pytest.raises(NoHealthyUpstream) as raised:
        await bench.ask()

    assert raised.value.retry_after == pytest.approx(10.0, abs=1.0)
    assert bench.upstreams.asked == ["a"]
    assert [each.outcome for each in bench.heard.records] == ["failed", "failed"]
    assert len(bench.limiter.settled) == len(bench.limiter.entries) == 1
    bench.check_nothing_is_left()


async def test_a_stream_that_breaks_counts_against_its_target() -> None:
    bench = pipeline_of(
        streams(text("x"), httpx.ReadError("reset")), health=HealthSettings(consecutive_failures=1)
    )

    assert type(await raised_by(bench)) is ProviderDisconnected

    assert not bench.health.is_up("a/m")


async def test_a_request_that_was_refused_does_its_target_no_harm() -> None:
    bench = pipeline_of(refuses(400), health=HealthSettings(consecutive_failures=1))

    assert type(await raised_by(bench)) is ProviderRejected

    assert bench.health.is_up("a/m")
    assert bench.record.error == "upstream_rejected"


# Concurrency of providers.


@given(bound=st.integers(1, 4), requests=st.integers(1, 6))
async def test_requests_beyond_a_providers_bound_go_to_the_next_target(
    bound: int, requests: int
) -> None:
    bench = pipeline_of(
        streams(text("x"), 10.0, FINISH, DONE),
        GOOD,
        providers={"a": {"max_concurrency": bound}},
    )

    async with asyncio.TaskGroup() as group:
        for _ in range(requests):
            group.create_task(bench.ask())
    await bench.ask()

    assert bench.upstreams.asked.count("a") == min(bound, requests) + 1
    assert bench.upstreams.asked.count("b") == max(0, requests - bound)
    bench.check_nothing_is_left()


@pytest.mark.parametrize("name", sorted(KINDS))
async def test_a_slot_is_given_back_however_its_attempt_ends(name: str) -> None:
    bench = pipeline_of(KINDS[name].says, providers={"a": {"max_concurrency": 1}})

    await raised_by(bench)

    bench.check_nothing_is_left()


async def test_a_provider_without_a_free_slot_is_waited_for_and_not_blamed() -> None:
    bench = pipeline_of(
        streams(text("x"), 0.01, FINISH, DONE),
        providers={"a": {"max_concurrency": 1}},
        health=HealthSettings(consecutive_failures=1),
        retries={"attempts": 10, "backoff": 1.0},
    )

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        group.create_task(bench.ask())

    assert [each.outcome for each in bench.heard.records] == ["ok", "ok"]
    assert bench.upstreams.asked == ["a", "a"]
    bench.check_nothing_is_left()


# Limits and what is charged.


@pytest.mark.parametrize(
    ("says", "stream", "charged", "source"),
    [
        (GOOD, True, (7, 2), "measured"),
        (GOOD_WHOLE, False, (7, 2), "measured"),
        (streams(text("a"), text("b"), FINISH, DONE), True, (PROMPT, 2), "counted"),
        (says_whole(completion("x" * 40, tokens=None)), False, (PROMPT, 11), "counted"),
    ],
)
async def test_what_was_used_is_charged_and_the_rest_given_back(
    says: Says, stream: bool, charged: tuple[int, int], source: str
) -> None:
    bench = pipeline_of(says)

    await bench.ask(stream=stream)

    record = bench.record
    assert (record.prompt_tokens, record.completion_tokens) == charged
    assert record.usage_source == source
    assert bench.limiter.settled == [(PROMPT + 100 + 64, sum(charged))]
    assert record.reserved_tokens == PROMPT + 100 + 64


async def test_usage_that_the_client_did_not_ask_for_is_asked_for_and_marked() -> None:
    bench = pipeline_of(GOOD)

    hidden = await bench.ask()
    shown = await bench.ask(stream_options={"include_usage": True})

    sent = [orjson.loads(each.content) for each in bench.upstreams.requests]
    assert [each["stream_options"]["include_usage"] for each in sent] == [True, True]
    assert (hidden.sent.injected_usage, shown.sent.injected_usage) == (True, False)
    assert [charged for _, charged in bench.limiter.settled] == [9, 9]


@pytest.mark.parametrize(
    ("last", "charged"),
    [
        (GOOD_WHOLE, 9),
        (says_whole(completion("x" * 40, tokens=None)), PROMPT + 11),
        (refuses(503), 0),
    ],
)
async def test_what_an_earlier_attempt_used_is_not_the_callers_to_pay(
    last: Says, charged: int
) -> None:
    unfinished = says_whole(completion("y" * 80, reason=None, tokens=(500, 500)))
    bench = pipeline_of(unfinished, last, retries={"attempts": 2})

    with suppress(ProviderRefused):
        await bench.ask(stream=False)

    assert bench.upstreams.asked == ["a", "b"]
    assert bench.limiter.settled[0][1] == charged


async def test_a_stream_that_breaks_is_charged_for_what_passed() -> None:
    bench = pipeline_of(streams(text("a"), text("b"), httpx.ReadError("reset")))

    await raised_by(bench)

    assert bench.limiter.settled[0][1] == PROMPT + 2
    assert bench.record.usage_source == "counted"


async def test_tokens_that_were_cached_are_noted_and_part_of_the_prompt() -> None:
    answer = completion(tokens=(7, 2))
    answer["usage"]["prompt_tokens_details"] = {"cached_tokens": 5}
    bench = pipeline_of(says_whole(answer))

    await bench.ask(stream=False)

    assert (bench.record.cached_tokens, bench.record.prompt_tokens) == (5, 7)
    assert bench.limiter.settled[0][1] == 9


async def test_an_embedding_is_charged_for_its_prompt() -> None:
    vectors = {
        "data": [{"index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    bench = pipeline_of(says_whole(vectors))
    request = bench.request("embedding")

    await bench.ask(request, stream=False, input="a lock")

    assert bench.limiter.settled[0][1] == 3
    assert bench.record.operation == "embedding"


@pytest.mark.parametrize(
    ("plan", "reserved"),
    [
        ({}, 0),
        ({"requests": "10/minute"}, 0),
        ({"concurrency": 1}, 0),
        ({"tokens": "1000/minute"}, PROMPT + 164),
    ],
)
async def test_tokens_are_reserved_only_where_tokens_are_limited(
    plan: dict[str, object], reserved: int
) -> None:
    bench = pipeline_of(GOOD, plan=plan)

    await bench.ask()

    assert bench.limiter.settled == [(reserved, 9)]
    bench.check_nothing_is_left()


@pytest.mark.parametrize(
    ("plan", "error", "code"),
    [
        ({"requests": "1/minute"}, LimitExceeded, "rate_limit_exceeded"),
        ({"concurrency": 1}, LimitExceeded, "rate_limit_exceeded"),
        ({"tokens": "10/minute"}, RequestExceedsLimit, "request_exceeds_limit"),
    ],
)
async def test_a_request_beyond_its_limits_reaches_no_upstream(
    plan: dict[str, object], error: type[GatewayError], code: str
) -> None:
    gate = Gate()
    bench = pipeline_of(streams(text("x"), gate, FINISH, DONE), plan=plan)

    async with asyncio.TaskGroup() as group:
        if error is LimitExceeded:
            group.create_task(bench.ask())
            await gate.reached.wait()
        with pytest.raises(error):
            await bench.ask()
        gate.open()

    refused = bench.heard.records[0]
    assert (refused.outcome, refused.error, refused.attempts) == ("refused", code, [])
    assert refused.limited_by == (None if error is RequestExceedsLimit else next(iter(plan)))
    assert len(bench.upstreams.asked) == (1 if error is LimitExceeded else 0)
    bench.check_nothing_is_left()


async def test_a_request_knows_how_its_callers_limits_stand() -> None:
    bench = pipeline_of(GOOD, plan={"requests": "10/minute"})
    request = bench.request()

    await bench.ask(request)

    assert request.account is not None
    assert [each.remaining for each in request.account.standings] == [9]


# Who may ask for what.


async def test_a_model_that_is_unknown_and_one_that_is_forbidden_are_told_alike() -> None:
    bench = pipeline_of(GOOD)
    errors = []
    for caller, model in [
        (bench.caller, "other"),
        (replace(bench.caller, models=frozenset()), "chat"),
    ]:
        request = bench.request()
        with pytest.raises(UnknownModel) as raised:
            async with request:
                await request.answer(caller, {**BODY, "model": model}, stream=True)
        errors.append(raised.value)

    assert errors[0].message == errors[1].message
    assert [each.model for each in bench.heard.records] == ["", ""]
    assert bench.limiter.settled == []
    bench.check_nothing_is_left()


async def test_an_operation_that_no_target_offers_is_the_requests_fault() -> None:
    bench = pipeline_of(GOOD, operations={"a": frozenset({"chat"})})

    with pytest.raises(InvalidRequest) as raised:
        await bench.ask(bench.request("embedding"), stream=False, input="x")

    assert raised.value.param == "model"
    assert bench.record.model == "chat"


async def test_a_request_that_the_provider_can_not_express_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = pipeline_of(GOOD, providers={"a": {"max_concurrency": 1}})
    (candidate,) = bench.pipeline.snapshot.routes.find("chat").candidates  # type: ignore[union-attr]

    def refuse(*_: object) -> None:
        raise InvalidRequest("not here", param="tools")

    monkeypatch.setattr(type(candidate.provider), "encode", refuse)

    with pytest.raises(InvalidRequest):
        await bench.ask()

    assert (bench.record.outcome, bench.record.attempts[0].error) == (
        "refused",
        "invalid_request_error",
    )
    bench.check_nothing_is_left()


async def test_a_stranger_gets_no_further_than_the_door() -> None:
    bench = pipeline_of(GOOD)

    request = bench.request()
    with pytest.raises(InvalidKey):
        async with request:
            await request.identify({})

    assert (bench.record.tenant, bench.record.error) == ("", "invalid_api_key")
    bench.check_nothing_is_left()


async def test_a_fault_of_our_own_is_recorded_as_one_and_leaves_nothing() -> None:
    bench = pipeline_of(breaks(ZeroDivisionError("ours")))

    with pytest.raises(ZeroDivisionError):
        await bench.ask()

    assert (bench.record.outcome, bench.record.status) == ("failed", 500)
    assert bench.record.error == "internal_error"
    bench.check_nothing_is_left()


# The record.


async def test_a_record_tells_who_asked_whom_and_when() -> None:
    bench = pipeline_of(streams(*STREAM, before=(1.0,)), expose_target=True)
    request = bench.request()

    await bench.ask(request)

    record = bench.record
    assert (record.tenant, record.key, record.model) == ("acme", bench.caller.key_id, "chat")
    assert (record.target, record.finish_reasons) == ("a/m", ("stop",))
    assert record.first_content == pytest.approx(record.started + 1.0)
    assert (record.attempts[0].status, record.attempts[0].kind) == (200, "vllm")
    assert request.exposes_target
    assert request.serving is not None


async def test_every_attempt_carries_the_requests_id_and_its_number() -> None:
    bench = pipeline_of(refuses(503), GOOD)

    await bench.ask()

    ids = [each.headers["x-request-id"] for each in bench.upstreams.requests]
    assert ids == [f"{bench.record.request_id}-1", f"{bench.record.request_id}-2"]


async def test_a_snapshot_is_kept_by_the_requests_that_began_with_it() -> None:
    bench, other = pipeline_of(GOOD), pipeline_of(GOOD)
    request = bench.request()
    other_routes = replace(
        other.pipeline.snapshot, routes=type(other.pipeline.snapshot.routes)({}, {})
    )
    bench.pipeline.snapshot = other_routes

    await bench.ask(request)
    with pytest.raises(UnknownModel):
        await bench.ask()

    assert [each.outcome for each in bench.heard.records] == ["ok", "refused"]


async def test_a_busy_provider_is_passed_over_and_is_no_attempt() -> None:
    gate = Gate()
    bench = pipeline_of(
        streams(text("x"), gate, FINISH, DONE),
        GOOD,
        providers={"a": {"max_concurrency": 1}},
        retries={"attempts": 1},
    )

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        await gate.reached.wait()
        try:
            await bench.ask()
        finally:
            gate.open()

    assert bench.upstreams.asked == ["a", "b"]


async def test_what_no_target_answered_is_not_charged_whatever_was_reported() -> None:
    bench = pipeline_of(says_whole(completion(reason=None)))

    with pytest.raises(ProviderError):
        await bench.ask(stream=False)

    assert (bench.record.prompt_tokens, bench.record.completion_tokens) == (0, 0)


async def test_what_one_provider_can_not_express_is_asked_of_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = pipeline_of(GOOD, GOOD)
    (first, _) = bench.pipeline.snapshot.routes.find("chat").candidates  # type: ignore[union-attr]

    def refuse(*_: object) -> None:
        raise InvalidRequest("not here", param="tools")

    monkeypatch.setattr(first.provider, "encode", refuse)
    await bench.ask()

    assert bench.upstreams.asked == ["b"]
    assert bench.record.outcome == "ok"
    bench.check_nothing_is_left()


async def test_a_request_from_before_an_outage_frees_nobodys_probe() -> None:
    old, rest, probe = Gate(), Gate(), Gate()
    bench = pipeline_of(
        [
            streams(old, text("x"), rest, FINISH, DONE),
            refuses(503),
            streams(*STREAM, before=(probe,)),
        ],
        [GOOD, GOOD],
        health=HealthSettings(consecutive_failures=1, cool_down=10),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        await old.reached.wait()
        await bench.ask()  # the outage: answered by the other
        await asyncio.sleep(10)
        group.create_task(bench.ask())
        await probe.reached.wait()
        old.open()  # the first one's content comes only now
        await asyncio.sleep(1)

        assert not bench.health.is_up("a/m")
        await bench.ask()
        probe.open()
        rest.open()

    assert bench.upstreams.asked == ["a", "a", "b", "a", "b"]
    bench.check_nothing_is_left()


# An operator's account: rows 19 and 22 of the failures.


@pytest.mark.parametrize(
    ("refusal", "error", "status"),
    [
        (refuses(401), ProviderAuthFailed, 502),
        (refuses(403), ProviderAuthFailed, 502),
        (refuses(402), ProviderQuotaExhausted, 503),
    ],
)
async def test_while_an_operators_account_is_no_good_callers_are_told_so(
    refusal: Says, error: type[ProviderError], status: int
) -> None:
    bench = pipeline_of(refusal, health=HealthSettings())

    for _ in range(3):
        with pytest.raises(error) as raised:
            await bench.ask()
        assert raised.value.status == status

    assert bench.upstreams.asked == ["a"]
    bench.check_nothing_is_left()
