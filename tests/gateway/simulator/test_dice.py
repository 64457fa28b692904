from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.dice import Walk, digest, fractions


def test_the_same_seed_and_words_give_the_same_bytes() -> None:
    assert digest(3, "words", size=64) == digest(3, "words", size=64)


def test_seed_words_and_index_each_change_the_bytes() -> None:
    drawn = {
        digest(1, "a", size=16),
        digest(2, "a", size=16),
        digest(1, "b", size=16),
        digest(1, "a", index=1, size=16),
    }

    assert len(drawn) == 4


def test_fractions_are_repeatable_and_spread_over_the_unit_interval() -> None:
    drawn = list(islice(fractions(7), 2000))

    assert drawn == list(islice(fractions(7), 2000))
    assert all(0 <= number < 1 for number in drawn)
    assert 0.45 < sum(drawn) / len(drawn) < 0.55


@given(st.text(st.characters(exclude_categories=["Cs"])), st.data())
def test_a_walk_goes_where_the_words_lead_however_they_were_cut(
    words: str, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(words)))
    one, two = Walk(3, words, index=1), Walk(3, words[:cut], index=1)

    two.hear(words[cut:])

    assert one.step() == two.step()


def test_walks_go_everywhere() -> None:
    steps = {Walk(0, str(number)).step() for number in range(5000)}

    assert steps == set(range(256))
