from hypothesis import given
from hypothesis import strategies as st

from gateway.idempotency import Kept

PAIRS = st.tuples(st.binary(max_size=20), st.binary(max_size=20))
KEPT = st.builds(
    Kept,
    request_id=st.text(max_size=26),
    status=st.sampled_from([200, 400, 413, 422]),
    headers=st.lists(PAIRS, max_size=4).map(tuple),
    body=st.binary(max_size=200),
)


@given(KEPT)
def test_an_answer_is_the_same_after_it_was_stored(kept: Kept) -> None:
    assert Kept.decode(kept.encode()) == kept


@given(KEPT)
def test_its_size_is_no_less_than_what_it_holds(kept: Kept) -> None:
    assert kept.size > len(kept.body) + sum(len(n) + len(v) for n, v in kept.headers)


def test_its_body_is_not_in_its_repr() -> None:
    assert "secret" not in repr(Kept("id", 200, (), b"secret"))
