"""Entries and notes: what goes into a queue comes out as the row that it was."""

import tracemalloc
from dataclasses import asdict
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.entry import LOST, BrokenEntry, Entry, entry_of, note_of, provisional_of, row_of
from gateway.store.ledger_rows import MAX_COST, MAX_TOKENS
from gateway.telemetry.record import AttemptRecord, Record
from tests.support.ledger_rows import request_id
from tests.support.records import AT, record

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=64)
anything = st.text(st.characters(), max_size=400)  # surrogates and NUL too
seconds = st.floats(0, 10_000)
counts = st.integers(0, MAX_TOKENS)
costs = st.integers(0, MAX_COST)
codes = st.none() | anything


def _attempts() -> st.SearchStrategy[list[AttemptRecord]]:
    attempt = st.builds(
        AttemptRecord,
        target=anything, provider=anything, kind=st.just("vllm"), model=anything,
        started=seconds, ended=seconds, status=st.none() | st.integers(100, 599), error=codes,
        cost=costs, span_id=st.just(0), noted=st.just({}),
    )  # fmt: skip
    return st.lists(attempt, max_size=3)


def _records(texts: st.SearchStrategy[str], counts: st.SearchStrategy[int]) -> Any:
    return st.builds(
        record,
        at=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        project=st.sampled_from(["", "web"]), stream=st.booleans(), priced=st.booleans(),
        model=texts, target=texts, error=st.none() | texts, client_request_id=texts,
        tags=st.dictionaries(texts, texts, max_size=3),
        status=st.sampled_from([0, 200, 429, 502]),
        outcome=st.sampled_from(["ok", "refused", "failed", "cut", "hung_up"]),
        prompt_tokens=counts, cached_tokens=counts, cache_written_tokens=counts,
        audio_prompt_tokens=counts, completion_tokens=counts, reasoning_tokens=counts,
        audio_completion_tokens=counts, cost=counts,
        started=seconds, ended=seconds, first_content=st.none() | seconds,
        attempts=_attempts(),
    )  # fmt: skip


@given(_records(texts, counts))
def test_an_entry_is_the_row_of_its_record(made: Record) -> None:
    row = row_of(bytes(entry_of(made)))

    same = asdict(made)
    for name in ("request_id", "at", "tenant", "key", "operation", "stream", "status", "outcome",
                 "model", "target", "error", "tags", "cost", "priced", "usage_source",
                 "prompt_tokens", "cached_tokens", "cache_written_tokens", "audio_prompt_tokens",
                 "completion_tokens", "reasoning_tokens", "audio_completion_tokens"):  # fmt: skip
        assert getattr(row, name) == same[name], name
    assert row.day == made.at.date()
    assert row.project == (made.project or None)
    assert row.client_request_id == (made.client_request_id or None)
    assert not row.provisional
    assert row.duration_ms == max(0, round((made.ended - made.started) * 1000))
    assert (row.first_content_ms is None) == (made.first_content is None)
    assert [each.status for each in row.attempts] == [each.status for each in made.attempts]
    assert [each.cost for each in row.attempts] == [each.cost for each in made.attempts]


@given(_records(anything, st.integers(-(2**70), 2**70)))
def test_what_is_written_is_what_its_bytes_say(made: Record) -> None:
    entry = entry_of(made)

    row = row_of(bytes(entry))
    assert entry.columns() == row.columns()
    assert list(entry.attempt_columns()) == list(row.attempt_columns())
    assert (entry.request_id, entry.provisional) == (row.request_id, row.provisional)


def test_an_entry_takes_no_more_memory_than_it_says() -> None:
    def entry(number: int) -> Entry:
        attempt = AttemptRecord("a/m", "a", "vllm", "m", 1.0, 2.0, 200, cost=10**6 + number)
        return entry_of(
            record(
                request_id=request_id(number), attempts=[attempt], error=f"error {number}",
                prompt_tokens=1000 + number, completion_tokens=1000 + number, cost=10**6 + number,
            )
        )  # fmt: skip

    entry(0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = [entry(number) for number in range(1000)]
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= sum(each.size for each in made) <= 2 * taken


def test_texts_of_its_own_make_an_entry_larger() -> None:
    plain, long = record(), record(error="e" * 64)
    long.attempts[-1].served_model = "m" * 200
    long.tags = {"team": "t" * 100}

    assert entry_of(long).size >= entry_of(plain).size + 60 + 200 + 100


def test_an_entry_that_is_told_is_told_whole() -> None:
    told = repr(entry_of(record()))

    assert "chat-small" in told
    assert "vllm-b/demo-model" in told


@given(_records(anything, st.integers(-(2**70), 2**70)))
def test_whatever_a_strangers_provider_left_in_a_record_its_row_is_kept(made: Record) -> None:
    assert row_of(bytes(entry_of(made))).request_id == made.request_id
    row = provisional_of(note_of(made), 10, 20)
    assert (row.prompt_tokens + row.completion_tokens, row.cost) == (10, 20)


@pytest.mark.parametrize(
    ("count", "kept"), [(3.0, 3), (12.5, 12), (-0.5, 0), (float("nan"), 0), (1e300, MAX_TOKENS)]
)
def test_a_count_that_is_no_whole_number_becomes_one(count: Any, kept: int) -> None:
    made = record(completion_tokens=count)
    made.attempts[-1].cost = count

    entry = entry_of(made)

    row = row_of(bytes(entry))
    assert entry.columns() == row.columns()
    assert row.completion_tokens == kept
    assert row.attempts[-1].cost == (MAX_COST if count > MAX_COST else kept)


def test_an_entry_has_bytes_whatever_it_holds() -> None:
    absurd = bytes(entry_of(record(status=2**70, tenant="\ud800")))

    assert orjson.loads(absurd)["tenant"] == "?"
    with pytest.raises(BrokenEntry):
        row_of(absurd)


@given(_records(texts, counts), counts, costs)
def test_a_provisional_row_charges_what_the_limits_were_charged(
    made: Record, tokens: int, cost: int
) -> None:
    note = note_of(made, prompt_tokens=made.prompt_tokens, priced=made.priced)
    row = provisional_of(note, tokens, cost)

    assert row.provisional
    assert row.prompt_tokens + row.completion_tokens == tokens
    assert row.prompt_tokens == min(tokens, made.prompt_tokens)
    assert (row.cost, row.outcome, row.error) == (cost, "failed", LOST)
    final = row_of(bytes(entry_of(made)))
    for name in ("request_id", "at", "tenant", "project", "key", "operation", "model", "stream",
                 "client_request_id", "tags"):  # fmt: skip
        assert getattr(row, name) == getattr(final, name)


@given(st.binary(max_size=200), st.dictionaries(texts, st.integers() | texts, max_size=5))
def test_garbage_is_a_broken_entry_and_nothing_else(bytes_: bytes, fields: dict[str, Any]) -> None:
    for garbage in (bytes_, orjson.dumps({k: str(v) for k, v in fields.items()}), b"[]", b"null"):
        with pytest.raises(BrokenEntry):
            row_of(garbage)
        with pytest.raises(BrokenEntry):
            provisional_of(garbage, 1, 1)


def test_a_broken_entry_is_told_without_what_it_holds() -> None:
    entry = orjson.loads(bytes(entry_of(record()))) | {"model": "secret" * 100}

    with pytest.raises(BrokenEntry) as raised:
        row_of(orjson.dumps(entry))
    assert "model" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_an_entry_of_another_version_is_read_as_far_as_it_is_known() -> None:
    entry = orjson.loads(bytes(entry_of(record())))
    for added_later in ("tags", "cache_written_tokens", "priced", "attempts"):
        del entry[added_later]
    entry["added_later_still"] = {"a": [1]}

    row = row_of(orjson.dumps(entry))
    assert (row.tags, row.cache_written_tokens, row.attempts) == ({}, 0, ())


def test_tags_may_be_any_mapping() -> None:
    made = record(tags=MappingProxyType({"team": "a"}))

    assert row_of(bytes(entry_of(made))).tags == {"team": "a"}


def test_a_record_without_an_end_lasted_no_time() -> None:
    assert row_of(bytes(entry_of(record(ended=0.0)))).duration_ms == 0


def test_a_row_is_dated_when_its_request_came() -> None:
    assert row_of(bytes(entry_of(record()))).at == AT
