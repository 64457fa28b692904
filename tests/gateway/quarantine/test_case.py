"""One request: what is recognised, what is refused, and what nobody can learn from the book."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import RequestQuarantined
from gateway.quarantine import Book, Case, Flag, MemoryBook, Quarantine, QuarantineSettings
from tests.support.ticker import Ticker

SECRET = b"a pepper of the tests"
POISON = {"model": "m", "messages": [{"role": "user", "content": "Ping of death"}]}
OTHER = {"model": "m", "messages": [{"role": "user", "content": "Say hello."}]}

bodies = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-(2**31), 2**31), st.text(max_size=5)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=6,
    ),
    max_size=5,
)


def quarantine(book: Book, secret: bytes = SECRET, **settings: Any) -> Quarantine:
    return Quarantine(QuarantineSettings.model_validate(settings), book, secret)


@pytest.fixture(scope="module")
def prints() -> Quarantine:
    return quarantine(MemoryBook(1, clock=lambda: 0.0))


async def checked(quarantine: Quarantine, body: dict[str, Any], tenant: str = "acme") -> Case:
    """The case of a request that may be sent."""
    case, flag = quarantine.case(tenant, body), quarantine.flag(tenant)
    if flag is not None:
        await case.check(flag)
    return case


class Replicas:
    """Backends that die of the poison, behind a gateway: `sent` are those that it was sent to."""

    def __init__(self, quarantine: Quarantine, backends: str) -> None:
        self._quarantine = quarantine
        self._backends = backends
        self.sent: list[str] = []

    async def ask(self, body: dict[str, Any], *, poison: bool = True) -> str | None:
        """Who answered, None where it was quarantined; at most one failover, as for class A."""
        try:
            case = await checked(self._quarantine, body)
            for backend in self._chosen():
                self.sent.append(backend)
                if not poison:
                    await case.answered()
                    return backend
                await case.killed(backend)
        except RequestQuarantined:
            return None
        raise AssertionError("two backends were killed and nothing was said")

    def _chosen(self) -> list[str]:
        return random.Random(len(self.sent)).sample(self._backends, 2)


async def test_a_request_that_kills_meets_no_more_than_two_backends(book: Book) -> None:
    backends = Replicas(quarantine(book), "abcdefgh")

    answers = [await backends.ask(POISON) for _ in range(100)]

    assert answers == [None] * 100
    assert len(backends.sent) == len(set(backends.sent)) == 2


async def test_other_requests_of_the_tenant_go_on(book: Book) -> None:
    backends = Replicas(quarantine(book), "abcdefgh")
    await backends.ask(POISON)

    assert await backends.ask(OTHER, poison=False) is not None


async def test_the_same_body_of_another_tenant_is_another_request(book: Book) -> None:
    await Replicas(quarantine(book), "abcdefgh").ask(POISON)

    await checked(quarantine(book), POISON, "beta")


async def test_after_the_window_it_may_be_sent_again(book: Book, ticker: Ticker) -> None:
    backends = Replicas(quarantine(book), "ab")
    await backends.ask(POISON)
    assert await backends.ask(POISON, poison=False) is None

    ticker.ms += 600_000

    assert await backends.ask(POISON, poison=False) is not None


async def test_resets_of_a_network_between_answers_convict_nobody(book: Book) -> None:
    for backend in "abababab":
        case = await checked(quarantine(book), OTHER)
        await case.killed(backend)
        again = await checked(quarantine(book), OTHER)
        assert again.kills == 1
        await again.answered()

    assert await book.kills("acme", quarantine(book).fingerprint(OTHER)) == 0


async def test_backends_that_restart_one_after_the_other_convict_nobody(book: Book) -> None:
    for backend in "abcdefgh":
        case = await checked(quarantine(book), OTHER)
        await case.killed(backend)
        await case.answered()  # by the next one, on the same request
        assert case.kills == 0

    assert await book.kills("acme", quarantine(book).fingerprint(OTHER)) == 0


async def test_what_is_never_answered_is_refused_for_what_it_is(book: Book) -> None:
    await quarantine(book).case("acme", POISON).killed("a")

    with pytest.raises(RequestQuarantined) as refused:
        await quarantine(book).case("acme", POISON).killed("b")

    assert (refused.value.status, refused.value.code) == (422, "request_quarantined")
    assert not refused.value.retryable


async def test_how_many_backends_may_die_is_a_setting(book: Book) -> None:
    case = quarantine(book, backends=3).case("acme", POISON)

    await case.killed("a")
    await case.killed("b")
    with pytest.raises(RequestQuarantined):
        await case.killed("c")


class Untouchable:
    """A book that must not be opened."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


async def test_switched_off_it_neither_asks_nor_writes() -> None:
    book: Any = Untouchable()
    case = await checked(quarantine(book, enabled=False), POISON)

    await case.killed("a")
    await case.killed("b")
    await case.answered()

    assert case.kills == 0


class Down:
    """A book without kills, in which nothing may be looked up."""

    def flag(self, tenant: str) -> Flag:
        return self

    async def is_up(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


async def test_a_tenant_without_kills_pays_for_no_fingerprint() -> None:
    book: Any = Down()
    unreadable: Any = object()  # which no fingerprint can be made of

    case = await checked(quarantine(book), unreadable)

    await case.answered()


@given(bodies, st.randoms(use_true_random=False))
def test_the_order_of_fields_makes_no_other_request(
    prints: Quarantine, body: dict[str, Any], chance: random.Random
) -> None:
    fields = list(body.items())
    chance.shuffle(fields)

    assert prints.fingerprint(dict(fields)) == prints.fingerprint(body)


@given(bodies, bodies)
def test_bodies_are_told_apart(
    prints: Quarantine, one: dict[str, Any], other: dict[str, Any]
) -> None:
    same = repr(one) == repr(other) or one == other

    assert same or prints.fingerprint(one) != prints.fingerprint(other)


def test_a_fingerprint_says_nothing_without_the_secret(prints: Quarantine) -> None:
    assert prints.fingerprint(POISON) != quarantine(prints.book, b"another").fingerprint(POISON)
    assert len(prints.fingerprint(POISON)) == 32


def test_neither_body_nor_secret_shows_in_a_repr(prints: Quarantine) -> None:
    shown = repr(prints) + repr(prints.case("acme", POISON))

    assert "death" not in shown
    assert SECRET.decode() not in shown
