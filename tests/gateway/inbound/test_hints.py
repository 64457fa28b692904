"""A hint takes time or attempts away, and what makes no sense is none."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.head import head_of
from gateway.inbound.hints import MAX_REPEATS, hints_of
from gateway.pipeline import Hints


@pytest.mark.parametrize(
    ("headers", "hints"),
    [
        ([], Hints()),
        ([(b"x-stainless-read-timeout", b"600.0")], Hints(patience=600)),
        ([(b"x-stainless-timeout", b"600")], Hints(patience=600)),
        ([(b"x-stainless-timeout", b"0")], Hints()),
        ([(b"x-stainless-read-timeout", b"9"), (b"x-stainless-timeout", b"7")], Hints(7)),
        ([(b"x-stainless-retry-count", b"2")], Hints(repeats=2)),
        ([(b"x-stainless-retry-count", b"999999")], Hints(repeats=MAX_REPEATS)),
        ([(b"x-stainless-retry-count", b"-1")], Hints()),
        ([(b"x-stainless-read-timeout", b"nan")], Hints()),
        ([(b"x-stainless-read-timeout", b"NOT_GIVEN")], Hints()),
    ],
)
def test_what_sdks_send_is_understood(headers: list[tuple[bytes, bytes]], hints: Hints) -> None:
    assert hints_of(head_of(headers)) == hints


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_whatever_is_sent_there_is_some_patience_and_a_count(timeout: bytes, count: bytes) -> None:
    hints = hints_of(
        head_of([(b"x-stainless-read-timeout", timeout), (b"x-stainless-retry-count", count)])
    )

    assert 0 < hints.patience <= inf
    assert 0 <= hints.repeats <= MAX_REPEATS
