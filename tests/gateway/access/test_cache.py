from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import Caller, StoredKey
from gateway.access.cache import LIFE, UNKNOWN_LIFE, KeyCache
from gateway.access.holders import Holders


def stored(public_id: str, tenant: str = "acme", project: str | None = None) -> StoredKey:
    caller = Caller(tenant, public_id, "ci", "gold", None, frozenset(), project)
    return StoredKey(digest=public_id.encode().ljust(32), caller=caller)


def cache(most: int = 3, most_unknown: int = 3) -> KeyCache:
    return KeyCache(Random(1), most=most, most_unknown=most_unknown)


def test_a_key_is_found_as_it_was_put() -> None:
    kept = cache()
    kept.put("a", stored("a"), 100.0)

    entry = kept.get("a")

    assert entry is not None
    assert entry.stored == stored("a")
    assert entry.read == 100.0
    assert kept.get("b") is None


def test_lives_are_at_most_a_minute_and_spread() -> None:
    kept = cache(most=1000)
    for number in range(1000):
        kept.put(str(number), stored(str(number)), 0.0)

    entries = [entry for n in range(1000) if (entry := kept.get(str(n)))]
    lives = [entry.until for entry in entries]

    assert min(lives) >= 0.8 * LIFE
    assert max(lives) <= 1.2 * LIFE <= 60.0
    assert max(lives) - min(lives) > 0.35 * LIFE
    assert all(entry.refresh_at == pytest.approx(0.8 * entry.until) for entry in entries)


def test_the_key_that_was_used_longest_ago_goes_first() -> None:
    kept = cache(most=2)
    kept.put("a", stored("a"), 0.0)
    kept.put("b", stored("b"), 0.0)
    kept.get("a")
    kept.put("c", stored("c"), 0.0)

    assert [kept.get(each) is not None for each in "abc"] == [True, False, True]


def test_nobodys_ids_are_remembered_for_five_seconds_at_most() -> None:
    kept = cache()
    kept.put_unknown("a", 100.0)

    assert UNKNOWN_LIFE <= 5.0
    assert kept.is_unknown("a", 100.0)
    assert kept.is_unknown("a", 104.9)
    assert not kept.is_unknown("a", 105.0)
    assert not kept.is_unknown("b", 100.0)


def test_an_id_is_either_a_keys_or_nobodys() -> None:
    kept = cache()
    kept.put_unknown("a", 0.0)
    kept.put("a", stored("a"), 0.0)
    assert not kept.is_unknown("a", 0.0)

    kept.put_unknown("a", 0.0)
    assert kept.get("a") is None


def test_memory_is_bounded_whatever_is_asked() -> None:
    kept = cache(most=10, most_unknown=20)

    for number in range(10_000):
        kept.put_unknown(f"u{number}", float(number))
        kept.put(f"k{number}", stored(f"k{number}"), float(number))

    assert len(kept) == 30
    assert kept.is_unknown("u9999", 9_999.0)
    assert not kept.is_unknown("u9979", 9_979.0)


@pytest.mark.parametrize(
    ("holders", "left"),
    [
        (Holders(), "abcd"),
        (Holders(keys=frozenset({"a", "x"})), "bcd"),
        (Holders(tenants=frozenset({"acme"})), "d"),
        (Holders(projects=frozenset({("acme", "web")})), "acd"),
        (Holders(projects=frozenset({("other", "web")})), "abc"),
        (Holders(frozenset({"other"}), frozenset({("acme", "web")}), frozenset({"a"})), "c"),
    ],
)
def test_only_the_keys_of_those_concerned_are_dropped(holders: Holders, left: str) -> None:
    kept = cache(most=10)
    kept.put("a", stored("a"), 0.0)
    kept.put("b", stored("b", project="web"), 0.0)
    kept.put("c", stored("c", project="mobile"), 0.0)
    kept.put("d", stored("d", "other", "web"), 0.0)

    kept.drop(holders)

    assert "".join(each for each in "abcd" if kept.get(each)) == left


def test_a_key_that_was_nobodys_is_asked_for_again_once_it_is_made() -> None:
    kept = cache()
    kept.put_unknown("a", 0.0)

    kept.drop(Holders(keys=frozenset({"a"})))

    assert not kept.is_unknown("a", 0.0)


@given(st.lists(st.tuples(st.sampled_from("pgud"), st.sampled_from("abcdef")), max_size=60))
def test_what_is_found_is_always_the_keys_own(steps: list[tuple[str, str]]) -> None:
    kept = cache()

    for now, (step, public_id) in enumerate(steps):
        match step:
            case "p":
                kept.put(public_id, stored(public_id), float(now))
            case "u":
                kept.put_unknown(public_id, float(now))
            case "d":
                kept.drop(Holders(keys=frozenset({public_id})))
        entry = kept.get(public_id)
        assert entry is None or entry.stored == stored(public_id)
        assert not (step == "d" and (entry or kept.is_unknown(public_id, float(now))))
        assert len(kept) <= 6
