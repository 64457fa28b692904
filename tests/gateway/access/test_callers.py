from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import (
    SCOPES,
    Access,
    Caller,
    ConfiguredKeys,
    Failures,
    Key,
    Pepper,
    Peppers,
    Scope,
    StoredKey,
    TenantSettings,
)
from gateway.access.callers import NOBODY
from gateway.contract.errors import InvalidKey, InvalidRequest, PermissionDenied, TooManyFailures
from gateway.contract.head import Head

PEPPER = b"a pepper of the tests"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = Key.generate(Random(1))
OTHER = Key.generate(Random(2))


class Counting:
    """A source that counts what it is asked."""

    def __init__(self, source: ConfiguredKeys) -> None:
        self._source = source
        self.asked: list[str] = []
        self.uses: list[tuple[str, bool]] = []

    def known(self, public_id: str) -> StoredKey | None:
        return None

    def used(self, stored: StoredKey, key: Key | None) -> None:
        self.uses.append((stored.caller.key_id, key is not None))

    async def find(self, public_id: str) -> StoredKey | None:
        self.asked.append(public_id)
        return await self._source.find(public_id)


def configured(tenant: Mapping[str, Any] | None = None, **key: Any) -> ConfiguredKeys:
    written = {"name": "ci", "key": KEY.reveal()} | key
    settings = {"models": ["chat"], "keys": [written]} | dict(tenant or {})
    return ConfiguredKeys({"acme": TenantSettings.model_validate(settings)}, PEPPER)


def access(source: ConfiguredKeys | Counting, pepper: bytes = PEPPER) -> Access:
    return Access(source, Peppers(pepper), now=lambda: NOW)


class Moving:
    """A source of one key, of which `stored` is known."""

    def __init__(self) -> None:
        self.stored = configured().known(KEY.public_id)
        self.is_in_memory = True
        self.uses: list[tuple[str, bool]] = []
        """Ids of keys, and whether they were shown."""
        self.asked: list[str] = []

    def known(self, public_id: str) -> StoredKey | None:
        return self.stored if self.is_in_memory else None

    async def find(self, public_id: str) -> StoredKey | None:
        self.asked.append(public_id)
        return self.stored

    def used(self, stored: StoredKey, key: Key | None) -> None:
        self.uses.append((stored.caller.key_id, key is not None))


def bearer(text: str) -> Head:
    return {b"authorization": [b"Bearer " + text.encode("latin-1", "replace")]}


async def test_a_known_key_tells_its_caller() -> None:
    source = configured({"plan": "gold"}, plan="silver")

    caller = await access(source).caller(bearer(KEY.reveal()))

    assert (caller.tenant, caller.key_id, caller.key_name) == ("acme", KEY.public_id, "ci")
    assert (caller.plan, caller.key_plan) == ("gold", "silver")
    assert caller.may_use("chat")
    assert not caller.may_use("other")


async def test_a_key_kept_in_its_stored_form_works_the_same() -> None:
    source = configured(key_hash=KEY.stored(PEPPER), key=None)

    assert (await access(source).caller(bearer(KEY.reveal()))).tenant == "acme"


async def test_a_tenant_with_a_star_may_use_every_model() -> None:
    caller = await access(configured({"models": ["*"]})).caller(bearer(KEY.reveal()))

    assert caller.may_use("anything")


@pytest.mark.parametrize(
    "head",
    [
        {},
        {b"authorization": [b"Basic " + KEY.reveal().encode()]},
        bearer(""),
        bearer("sk-something"),
        bearer(OTHER.reveal()),
        bearer(Key(KEY.public_id, "0" * 32).reveal()),
        bearer(KEY.stored(PEPPER)),
        bearer(KEY.digest(Pepper(PEPPER)).hex()),
        bearer(KEY.reveal() + "x" * 8192),
        bearer(KEY.reveal() + " x"),
        bearer("l\xfcg_" + KEY.reveal()),
    ],
)
async def test_anything_but_a_known_key_is_refused_in_the_same_words(head: Head) -> None:
    with pytest.raises(InvalidKey) as refused:
        await access(configured()).caller(head)
    assert refused.value.message == InvalidKey().message


async def test_two_credentials_are_a_bad_request() -> None:
    with pytest.raises(InvalidRequest):
        await access(configured()).caller({**bearer(KEY.reveal()), b"api-key": [b"another"]})


async def test_a_key_is_refused_under_another_pepper() -> None:
    with pytest.raises(InvalidKey):
        await access(configured(), pepper=b"another").caller(bearer(KEY.reveal()))


@pytest.mark.parametrize("peppers", [Peppers(b"new", PEPPER), Peppers(PEPPER, b"next")])
async def test_a_key_that_is_kept_as_a_digest_works_under_every_pepper_that_is_known(
    peppers: Peppers,
) -> None:
    gate = Access(configured(key_hash=KEY.stored(PEPPER), key=None), peppers)

    assert (await gate.caller(bearer(KEY.reveal()))).tenant == "acme"


async def test_a_key_works_until_it_expires() -> None:
    later = configured(expires=(NOW + timedelta(seconds=1)).isoformat())
    past = configured(expires=NOW.isoformat())

    assert (await access(later).caller(bearer(KEY.reveal()))).tenant == "acme"
    with pytest.raises(InvalidKey):
        await access(past).caller(bearer(KEY.reveal()))


async def test_an_expiry_is_held_against_the_real_clock_by_default() -> None:
    source = configured(expires="2001-01-01T00:00:00Z")

    with pytest.raises(InvalidKey):
        await Access(source, Peppers(PEPPER)).caller(bearer(KEY.reveal()))


async def test_a_disabled_key_is_refused() -> None:
    with pytest.raises(InvalidKey):
        await access(configured(disabled=True)).caller(bearer(KEY.reveal()))


@pytest.mark.parametrize("scope", ["inference", "usage:read"])
async def test_a_key_does_what_it_is_for_and_nothing_else(scope: Scope) -> None:
    gate = access(configured(scopes=[scope]))

    for asked in SCOPES:
        if asked == scope:
            assert (await gate.caller(bearer(KEY.reveal()), None, asked)).tenant == "acme"
            continue
        with pytest.raises(PermissionDenied) as refused:
            await gate.caller(bearer(KEY.reveal()), None, asked)
        assert (refused.value.status, refused.value.code) == (403, "insufficient_scope")


async def test_a_key_works_from_its_networks_and_from_nowhere_else() -> None:
    gate = access(configured(networks=["10.0.0.0/8", "2001:db8::/32"]))

    for inside in ("10.1.2.3", "2001:db8::7"):
        assert (await gate.caller(bearer(KEY.reveal()), inside)).tenant == "acme"
    for outside in ("11.1.2.3", "2001:db9::7", None):
        with pytest.raises(PermissionDenied) as refused:
            await gate.caller(bearer(KEY.reveal()), outside)
        assert (refused.value.status, refused.value.code) == (403, "network_not_allowed")


async def test_only_the_holder_of_a_key_hears_what_it_may_not_do() -> None:
    gate = access(configured(networks=["10.0.0.0/8"]))

    with pytest.raises(InvalidKey):
        await gate.caller(bearer(Key(KEY.public_id, "0" * 32).reveal()), "11.1.2.3")


def test_a_caller_knows_the_limits_of_each_of_its_levels() -> None:
    whole = Caller("acme", "k", "ci", "gold", "small", frozenset(), "web", "medium")
    plain = Caller("acme", "k", "ci", "gold", None, frozenset(), "web")

    assert whole.levels == (("tenant:acme", "gold"), ("project:web", "medium"), ("key:k", "small"))
    assert plain.levels == (("tenant:acme", "gold"),)


async def test_an_empty_key_is_no_key() -> None:
    source = configured(key="")

    assert len(source) == 0
    for nothing in ("", "lg_"):
        with pytest.raises(InvalidKey):
            await access(source).caller(bearer(nothing))


async def test_ten_thousand_bad_keys_cause_no_look_up() -> None:
    rng = Random(4)
    source = Counting(configured())
    gate = access(source)
    good = KEY.reveal()

    for _ in range(10_000):
        place = rng.randrange(len(good))
        bad = good[:place] + ("~" if rng.random() < 0.5 else "") + good[place + 1 :]
        with pytest.raises(InvalidKey):
            await gate.caller(bearer(bad))
    assert source.asked == []


async def test_a_source_hears_of_keys_that_were_verified_and_of_no_others() -> None:
    source = Counting(configured())
    gate = access(source)

    await gate.caller(bearer(KEY.reveal()))
    for wrong in (OTHER, Key(KEY.public_id, "0" * 32)):
        with pytest.raises(InvalidKey):
            await gate.caller(bearer(wrong.reveal()))
    assert source.uses == [(KEY.public_id, False)]


async def test_an_address_with_too_many_failures_is_looked_up_no_more() -> None:
    source = Counting(configured())
    gate = Access(source, Peppers(PEPPER), failures=Failures("3/minute", clock=lambda: 0.0))

    for number in range(10):
        unknown = Key.generate(Random(number + 10)).reveal()
        with pytest.raises(InvalidKey if number < 3 else TooManyFailures):
            await gate.caller(bearer(unknown), "192.0.2.1")
    assert len(source.asked) == 3
    with pytest.raises(TooManyFailures) as refused:
        await gate.caller(bearer(KEY.reveal()), "192.0.2.1")
    assert refused.value.retry_after == pytest.approx(20.0)
    assert (await gate.caller(bearer(KEY.reveal()), "192.0.2.2")).tenant == "acme"


async def test_a_key_in_memory_works_whatever_else_came_from_its_address() -> None:
    gate = Access(configured(), Peppers(PEPPER), failures=Failures("1/minute", clock=lambda: 0.0))

    for number in range(3):
        with pytest.raises(InvalidKey if number < 1 else TooManyFailures):
            await gate.caller(bearer(OTHER.reveal()), "192.0.2.1")
    assert (await gate.caller(bearer(KEY.reveal()), "192.0.2.1")).tenant == "acme"


async def test_the_answer_to_an_address_with_too_many_failures_tells_no_known_id() -> None:
    gate = Access(configured(), Peppers(PEPPER), failures=Failures("1/minute", clock=lambda: 0.0))
    with pytest.raises(InvalidKey):
        await gate.caller(bearer(OTHER.reveal()))

    for wrong in (OTHER, Key(KEY.public_id, "0" * 32)):
        with pytest.raises(TooManyFailures):
            await gate.caller(bearer(wrong.reveal()))


async def test_a_good_key_and_an_unknown_one_cause_one_look_up_each() -> None:
    source = Counting(configured())
    gate = access(source)

    await gate.caller(bearer(KEY.reveal()))
    with pytest.raises(InvalidKey):
        await gate.caller(bearer(OTHER.reveal()))
    assert source.asked == [KEY.public_id, OTHER.public_id]


async def test_an_unknown_id_costs_one_digest_as_a_known_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digests = 0
    digest = Key.digest

    def counting(key: Key, pepper: Pepper) -> bytes:
        nonlocal digests
        digests += 1
        return digest(key, pepper)

    gate = access(configured())
    monkeypatch.setattr(Key, "digest", counting)
    for unknown in (OTHER, Key(KEY.public_id, "0" * 32)):
        before = digests
        with pytest.raises(InvalidKey):
            await gate.caller(bearer(unknown.reveal()))
        assert digests == before + 1


async def test_a_key_that_was_verified_is_not_read_or_digested_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Moving()
    gate = access(source)
    await gate.caller(bearer(KEY.reveal()))

    monkeypatch.setattr(Key, "parse", pytest.fail)
    monkeypatch.setattr(Key, "digest", pytest.fail)
    for _ in range(3):
        assert (await gate.caller(bearer(KEY.reveal()))).tenant == "acme"
    assert source.uses == [(KEY.public_id, False)] * 4


async def test_a_key_that_was_verified_stops_working_with_what_its_source_knows_of_it() -> None:
    source = Moving()
    gate = access(source)
    other = Key(KEY.public_id, "0" * 32)
    for _ in range(2):
        await gate.caller(bearer(KEY.reveal()))

    known = source.stored
    for worse in (
        replace(known, disabled=True),
        replace(known, expires=NOW),
        replace(known, digest=other.digest(Pepper(PEPPER))),
        NOBODY,
    ):
        source.stored = worse
        with pytest.raises(InvalidKey):
            await gate.caller(bearer(KEY.reveal()))
    source.stored = replace(known, suspended=True)
    with pytest.raises(PermissionDenied):
        await gate.caller(bearer(KEY.reveal()))
    source.stored = known
    assert (await gate.caller(bearer(KEY.reveal()))).tenant == "acme"


async def test_a_key_under_an_older_pepper_is_shown_whole_each_time() -> None:
    source = Moving()
    gate = Access(source, Peppers(b"a new pepper", PEPPER), now=lambda: NOW)

    for _ in range(2):
        assert (await gate.caller(bearer(KEY.reveal()))).tenant == "acme"
    assert source.uses == [(KEY.public_id, True)] * 2


async def test_a_key_that_was_verified_and_is_in_memory_no_more_is_looked_up() -> None:
    source = Moving()
    gate = access(source)
    await gate.caller(bearer(KEY.reveal()))

    source.is_in_memory = False
    assert (await gate.caller(bearer(KEY.reveal()))).tenant == "acme"
    assert source.asked == [KEY.public_id]


@given(st.integers(0, 31), st.sampled_from("0aZ"))
async def test_a_key_that_shares_all_but_one_character_of_a_secret_is_refused(
    place: int, other: str
) -> None:
    secret = KEY.reveal()[16:48]
    near = secret[:place] + other + secret[place + 1 :]
    gate = access(configured())

    if near == secret:
        assert (await gate.caller(bearer(KEY.reveal()))).tenant == "acme"
        return
    with pytest.raises(InvalidKey):
        await gate.caller(bearer(Key(KEY.public_id, near).reveal()))


def test_a_stored_key_does_not_show_its_digest() -> None:
    stored = configured().known(KEY.public_id)

    assert stored is not None
    assert repr(stored.digest) not in repr(stored)
