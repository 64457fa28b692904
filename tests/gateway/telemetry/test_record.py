"""A record is told everything about a request but what was in it."""

from dataclasses import fields
from datetime import UTC, datetime
from typing import get_args

from gateway.telemetry.record import AttemptRecord, Outcome, Record, TraceContext, UsageSource
from tests.support.records import AT

BEGUN = Record("01JNA0000000000000000000AA", "chat", AT, 100.0)


def test_a_request_has_failed_until_it_is_said_to_have_ended_otherwise() -> None:
    assert (BEGUN.outcome, BEGUN.status, BEGUN.error) == ("failed", 0, None)
    assert (BEGUN.model, BEGUN.target, BEGUN.tenant, BEGUN.key) == ("", "", "", "")
    assert BEGUN.prompt_tokens == BEGUN.completion_tokens == BEGUN.reserved_tokens == 0
    assert BEGUN.first_content is None


def test_two_records_share_nothing() -> None:
    other = Record("01JNA0000000000000000000AB", "chat", AT, 100.0)
    attempts = [AttemptRecord("a/m", "a", "vllm", "m", 100.0) for _ in range(2)]

    assert other.attempts is not BEGUN.attempts
    assert attempts[0].noted is not attempts[1].noted


def test_there_is_no_place_for_what_was_asked_or_answered() -> None:
    names = {each.name for kind in (Record, AttemptRecord) for each in fields(kind)}

    assert not names & {"body", "messages", "prompt", "content", "answer", "headers", "credential"}


def test_a_record_takes_no_field_that_is_not_its_own() -> None:
    assert not hasattr(BEGUN, "__dict__")
    assert not hasattr(AttemptRecord("a/m", "a", "vllm", "m", 1.0), "__dict__")


def test_a_trace_that_begins_here_has_no_parent_and_is_not_sampled() -> None:
    trace = TraceContext(1, 2)

    assert (trace.parent_id, trace.sampled, trace.state) == (None, False, "")


def test_the_words_for_endings_and_usage_are_these() -> None:
    assert set(get_args(Outcome)) == {"ok", "refused", "failed", "cut", "hung_up"}
    assert set(get_args(UsageSource)) == {"measured", "counted", "upper_bound"}


def test_a_records_wall_clock_is_in_utc() -> None:
    assert BEGUN.at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert BEGUN.at.utcoffset() is not None
