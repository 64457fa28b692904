from gateway.contract.continuation import Continuation, Said


def test_what_was_said_shows_in_no_repr() -> None:
    said = Said("a secret", tokens=2, solid_tokens=2)
    rest = Continuation({"prompt": "a secret"}, 2, "secret")

    assert "secret" not in repr(said) + repr(rest)
