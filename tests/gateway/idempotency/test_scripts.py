"""The entries that the scripts write, one script after another."""

import redis

from gateway.idempotency import scripts
from gateway.redis import Script

BODY, OTHER = "b" * 64, "c" * 64
LEASE, WINDOW = 5_000, 60_000
KEY = "lg1:{s0}:acme:i:name"


def run(raw: redis.Redis, script: Script, *arguments: str | int) -> object:
    answer: object = raw.eval(script.text, 1, KEY, *arguments)
    return answer


def keep(raw: redis.Redis, owner: str) -> object:
    return run(raw, scripts.KEEP, BODY, owner, f"k{BODY}answer", WINDOW)


def test_the_first_to_claim_has_it_and_may_ask_again(raw: redis.Redis) -> None:
    assert run(raw, scripts.CLAIM, BODY, "one", LEASE) == scripts.OURS
    assert run(raw, scripts.CLAIM, BODY, "one", LEASE) == scripts.OURS
    assert run(raw, scripts.CLAIM, BODY, "two", LEASE) == scripts.RUNS
    assert run(raw, scripts.CLAIM, OTHER, "two", LEASE) == scripts.OTHER_BODY


def test_an_answer_is_found_by_all_who_ask_the_same(raw: redis.Redis) -> None:
    run(raw, scripts.CLAIM, BODY, "one", LEASE)
    assert keep(raw, "one") == 1

    assert run(raw, scripts.CLAIM, BODY, "two", LEASE) == scripts.KEPT + b"answer"
    assert run(raw, scripts.CLAIM, OTHER, "two", LEASE) == scripts.OTHER_BODY


def test_only_the_owner_keeps_and_frees(raw: redis.Redis) -> None:
    run(raw, scripts.CLAIM, BODY, "one", LEASE)

    assert keep(raw, "two") == 0
    run(raw, scripts.FREE, BODY, "two")
    assert run(raw, scripts.CLAIM, BODY, "two", LEASE) == scripts.RUNS
    run(raw, scripts.FREE, BODY, "one")
    assert run(raw, scripts.CLAIM, BODY, "two", LEASE) == scripts.OURS


def test_what_nobody_has_any_more_may_be_kept_late(raw: redis.Redis) -> None:
    assert keep(raw, "one") == 1
    assert keep(raw, "two") == 0


def test_a_dropped_answer_is_known_as_long_as_it_would_have_been_kept(raw: redis.Redis) -> None:
    keep(raw, "one")
    before = raw.pttl(KEY)

    run(raw, scripts.DROP, OTHER)
    assert raw.get(KEY) == f"k{BODY}answer".encode()
    run(raw, scripts.DROP, BODY)

    assert raw.get(KEY) == f"g{BODY}".encode()
    assert 0 < raw.pttl(KEY) <= before
    assert run(raw, scripts.CLAIM, BODY, "two", LEASE) == scripts.GONE


def test_what_is_not_there_can_be_freed_and_dropped(raw: redis.Redis) -> None:
    run(raw, scripts.FREE, BODY, "one")
    run(raw, scripts.DROP, BODY)

    assert raw.keys() == []
