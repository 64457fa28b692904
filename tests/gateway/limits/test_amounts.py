from gateway.limits.amounts import NOTHING, Amounts, Ask


def test_each_token_of_the_cap_adds_its_part() -> None:
    ask = Ask(fixed=Amounts(100, 5_000), each=Amounts(2, 300), cap=50, least=10)

    assert ask.at(50) == (200, 20_000)
    assert ask.at(ask.least) == (120, 8_000)


def test_what_has_no_cap_is_fixed() -> None:
    assert Ask(Amounts(7)).at(0) == (7, 0)
    assert NOTHING == (0, 0)
