from itertools import islice

from gateway.simulator.dice import digest, fractions


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
